//! The scripts that requests use in a group's daemons: what replaces those daemons must be able to load them.

use super::ProcessId;
use crate::wire::control::Preload;

/// Most scripts that are remembered of a daemon, and that its successor is given.
pub const MOST: usize = 500;

/// Most bytes of paths and names that a successor is given: a part of what fits into its settings.
pub const MOST_BYTES: usize = 32 * 1024;

/// What each daemon has said about that.
#[derive(Clone, Debug, Default)]
pub struct Scripts(Vec<(ProcessId, Script)>);

/// Path and application group.
type Script = (Vec<u8>, Vec<u8>);

impl Scripts {
    /// A request uses that script in that daemon, where it was loaded. What is too much is forgotten, which false says: then
    /// a successor serves it as well, but loads it only when it is asked for.
    pub fn note(&mut self, id: ProcessId, script: Vec<u8>, application_group: Vec<u8>) -> bool {
        let new = (id, (script, application_group));
        let own = || self.0.iter().filter(|(other, _)| *other == id);
        if own().any(|known| *known == new) {
            return true;
        }
        let size = |(path, name): &Script| path.len() + name.len();
        let bytes: usize = own().map(|(_, script)| size(script)).sum();
        let room = own().count() < MOST && bytes + size(&new.1) <= MOST_BYTES;
        if room {
            self.0.push(new);
        }
        room
    }

    /// The daemon is gone.
    pub fn forget(&mut self, id: ProcessId) {
        self.0.retain(|(other, _)| *other != id);
    }

    /// What a new daemon loads: what is `declared` for all, and the scripts of those that are `serving`. As long as
    /// somebody serves a script, whoever cannot load it is of no use; when nobody does, the requests for it may as well get
    /// to see the error.
    pub fn preload(&self, declared: &[Preload], serving: impl Fn(ProcessId) -> bool) -> Vec<Preload> {
        let mut preload = declared.to_vec();
        let (mut count, mut bytes) = (0, 0);
        for (_, (script, application_group)) in self.0.iter().filter(|(id, _)| serving(*id)) {
            let same = |other: &&mut Preload| other.script == *script && other.application_group == *application_group;
            if let Some(known) = preload.iter_mut().find(same) {
                known.required = true;
                continue;
            }
            let more = script.len() + application_group.len();
            if count < MOST && bytes + more <= MOST_BYTES {
                (count, bytes) = (count + 1, bytes + more);
                preload.push(Preload {
                    script: script.clone(),
                    application_group: application_group.clone(),
                    required: true,
                });
            }
        }
        preload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ProcessId = ProcessId(1);
    const SECOND: ProcessId = ProcessId(2);

    fn script(path: &str, required: bool) -> Preload {
        Preload {
            script: path.into(),
            application_group: b"app".to_vec(),
            required,
        }
    }

    fn used(scripts: &[(ProcessId, &str)]) -> Scripts {
        let mut used = Scripts::default();
        for (id, path) in scripts {
            used.note(*id, path.as_bytes().to_vec(), b"app".to_vec());
        }
        used
    }

    #[test]
    fn successors_load_what_is_served() {
        let mut scripts = used(&[(FIRST, "/a"), (FIRST, "/a"), (SECOND, "/a"), (SECOND, "/b")]);
        let all = |_| true;
        assert_eq!(scripts.preload(&[], all), [script("/a", true), script("/b", true)]);
        assert_eq!(scripts.preload(&[], |id| id == FIRST), [script("/a", true)]);
        assert_eq!(
            scripts.preload(&[script("/c", false)], |_| false),
            [script("/c", false)]
        );
        scripts.forget(SECOND);
        assert_eq!(scripts.preload(&[], all), [script("/a", true)]);
    }

    #[test]
    fn what_is_served_is_required() {
        let declared = [script("/a", false), script("/b", false)];
        let scripts = used(&[(FIRST, "/b")]);
        assert_eq!(
            scripts.preload(&declared, |_| true),
            [script("/a", false), script("/b", true)]
        );
        let mut elsewhere = script("/b", false);
        elsewhere.application_group = Vec::new();
        assert_eq!(
            scripts.preload(std::slice::from_ref(&elsewhere), |_| true),
            [elsewhere, script("/b", true)]
        );
    }

    #[test]
    fn bounded() {
        let mut scripts = Scripts::default();
        for id in [FIRST, SECOND] {
            for number in 0..1000 {
                scripts.note(id, format!("/{id:?}/{number}").into(), Vec::new());
            }
        }
        assert_eq!(scripts.0.len(), 2 * MOST);
        assert_eq!(scripts.preload(&[], |_| true).len(), MOST);
        let mut long = Scripts::default();
        for number in 0..10u8 {
            let known = long.note(FIRST, vec![number; 4096], Vec::new());
            assert_eq!(known, number < 8, "{number}");
        }
        assert_eq!(long.preload(&[], |_| true).len(), 8);
    }
}
