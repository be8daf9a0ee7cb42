//! Threads that sleep while there is nothing for them to do; waking them costs next to nothing while none of them sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Where they sleep.
#[derive(Debug, Default)]
pub struct Doze {
    /// Somebody may be asleep.
    asleep: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
}

impl Doze {
    /// With nobody asleep.
    pub const fn new() -> Doze {
        Doze {
            asleep: AtomicBool::new(false),
            lock: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    /// Sleeps until `awake` is true. It is asked first, and again at each [`Doze::wake`]; it should read what others write
    /// with sequential consistency.
    pub fn until(&self, awake: impl Fn() -> bool) {
        if awake() {
            return;
        }
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let sleepy = |(): &mut ()| {
            // Before each look, not only the first: what made somebody wake us may be over by now. Who makes it true
            // after the look sees this.
            self.asleep.store(true, Ordering::SeqCst);
            !awake()
        };
        drop(
            self.woken
                .wait_while(guard, sleepy)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Has those who sleep look again. For who has just made it true that they should be awake.
    pub fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.asleep.store(false, Ordering::SeqCst);
            self.woken.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::{self, Receiver};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Nothing takes that long.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// What two threads that sleep and a third that wakes them have in common.
    #[derive(Default)]
    struct Scene {
        doze: Doze,
        work: AtomicBool,
        looks: AtomicUsize,
    }

    /// Two threads that sleep; each says so when it gets up.
    fn sleepers() -> (Arc<Scene>, Receiver<()>) {
        let scene = Arc::new(Scene::default());
        let (up, ups) = mpsc::channel();
        for _ in 0..2 {
            let (scene, up) = (Arc::clone(&scene), up.clone());
            thread::spawn(move || {
                scene.doze.until(|| {
                    scene.looks.fetch_add(1, Ordering::SeqCst);
                    scene.work.load(Ordering::SeqCst)
                });
                let _ = up.send(());
            });
        }
        // Each looks once before it lies down, and once more then.
        await_looks(&scene, 4);
        (scene, ups)
    }

    fn await_looks(scene: &Scene, count: usize) {
        while scene.looks.load(Ordering::SeqCst) < count {
            thread::yield_now();
        }
    }

    fn get_up(scene: &Scene, ups: &Receiver<()>) {
        scene.work.store(true, Ordering::SeqCst);
        scene.doze.wake();
        for _ in 0..2 {
            assert_eq!(ups.recv_timeout(PATIENCE), Ok(()));
        }
    }

    #[test]
    fn all_are_woken() {
        let (scene, ups) = sleepers();
        get_up(&scene, &ups);
    }

    #[test]
    fn who_was_woken_for_nothing_can_be_woken_again() {
        let (scene, ups) = sleepers();
        // The work was done before they could look.
        scene.doze.wake();
        await_looks(&scene, 6);
        get_up(&scene, &ups);
    }

    #[test]
    fn nobody_sleeps_while_there_is_work() {
        let doze = Doze::new();
        doze.until(|| true);
        doze.wake();
    }
}
