//! The Python host, but for its gate, for tests of its fence: it panics at the gate while a file named `panic` stands beside
//! it. Requests pass the gate when an interpreter is made for them, and when a script is loaded.

#[path = "../../crates/host/src/adapter/mod.rs"]
mod adapter;
#[path = "../../crates/host/src/api/mod.rs"]
mod api;
#[path = "../../crates/host/src/embedded.rs"]
mod embedded;
#[path = "../../crates/host/src/environment.rs"]
mod environment;
#[path = "../../crates/host/src/fence.rs"]
mod fence;
#[path = "../../crates/host/src/frames.rs"]
mod frames;
#[path = "../../crates/host/src/host.rs"]
mod host;
#[path = "../../crates/host/src/python/mod.rs"]
mod python;
#[path = "../../crates/host/src/gate.rs"]
mod real;
#[path = "../../crates/host/src/slow.rs"]
mod slow;
#[path = "../../crates/host/src/stats.rs"]
mod stats;
#[path = "../../crates/host/src/worker/mod.rs"]
mod worker;

mod gate {
    use std::path::Path;

    use crate::real;

    /// The door.
    #[derive(Default)]
    pub struct Gate(real::Gate);

    impl Gate {
        /// Waits until nobody else is inside, then enters, or panics.
        pub fn enter(&self) -> real::Passage<'_> {
            let passage = self.0.enter();
            assert!(!told(), "as told");
            passage
        }
    }

    fn told() -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let host = maps.lines().find_map(|line| {
            let path = &line[line.find('/')?..];
            path.ends_with("wsgi_host.abi3.so").then(|| Path::new(path))
        });
        host.is_some_and(|host| host.with_file_name("panic").exists())
    }
}
