//! The settings of interpreters: what `<WSGIInterpreterOptions>` and the directives outside of it say, and what of it
//! holds for one interpreter.

use crate::directive::{NameValue, Refusal, Words, flag};

/// How many interpreters a process may have when `WSGIInterpreterLimit` does not say.
pub const DEFAULT_LIMIT: u32 = 100;

/// What can be said for some interpreters only. What is not said is left to those who say it for more of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `WSGIPythonPath`: folders, separated by `:`.
    pub path: Vec<u8>,
    /// `WSGISwitchInterval`, in seconds.
    pub switch_interval: Option<f64>,
    /// `WSGIRestrictStdin`; Off if unset
    pub restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`; Off if unset
    pub restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`; On if unset
    pub restrict_signal: Option<bool>,
    /// `WSGIPerInterpreterGIL`; Off if unset
    pub own_gil: Option<bool>,
    /// `WSGIFreeThreading`; Off if unset
    pub free_threading: Option<bool>,
}

/// Which interpreters a section is for. Names as processes have them: empty is `%{GLOBAL}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `process-group=`
    pub process_group: Option<Vec<u8>>,
    /// `application-group=`
    pub application_group: Option<Vec<u8>>,
}

/// A section `<WSGIInterpreterOptions>`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Which interpreters it is for.
    pub selector: Selector,
    /// What it says.
    pub options: Options,
}

/// What holds for the interpreters of one process. It travels as a list of names and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How many interpreters there may be, the main one included; 0: any number.
    pub limit: u32,
    /// `WSGIDestroyInterpreter`: interpreters are ended with the process.
    pub destroy: bool,
    /// `WSGICaseSensitivity Off`: scripts whose paths differ in upper and lower case only are one.
    pub fold_case: bool,
    /// Variables that steered Python while it started and are not for applications to see.
    pub hidden: Vec<Vec<u8>>,
    /// What is said for all interpreters, or for one application group, from the general to the particular.
    scopes: Vec<Scope>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Scope {
    application_group: Option<Vec<u8>>,
    options: Options,
}

impl Selector {
    /// Reads what stands behind `<WSGIInterpreterOptions`, without the `>`.
    ///
    /// # Errors
    /// Names the key that is unknown, or given twice.
    pub fn parse(mut words: Words<'_>) -> Result<Selector, Refusal> {
        let mut selector = Selector::default();
        while let Some((key, value)) = words.option()? {
            let place = match &key.to_ascii_lowercase()[..] {
                b"process-group" => &mut selector.process_group,
                b"application-group" => &mut selector.application_group,
                _ => {
                    let key = String::from_utf8_lossy(&key);
                    return Err(format!(
                        "'{key}' selects nothing: known are process-group and application-group"
                    ));
                }
            };
            let key = String::from_utf8_lossy(&key);
            let name = match &value[..] {
                b"" => return Err(format!("{key}= has no value")),
                b"%{GLOBAL}" => Vec::new(),
                _ => value,
            };
            if place.replace(name).is_some() {
                return Err(format!("{key}= is given twice"));
            }
        }
        Ok(selector)
    }

    /// How particular it is.
    fn rank(&self) -> usize {
        usize::from(self.process_group.is_some()) + usize::from(self.application_group.is_some())
    }
}

impl Options {
    /// These over less particular ones: folders in front of theirs, everything else instead of theirs.
    fn over(&self, outer: &Options) -> Options {
        let both = !self.path.is_empty() && !outer.path.is_empty();
        Options {
            path: [&self.path[..], if both { b":" } else { b"" }, &outer.path].concat(),
            switch_interval: self.switch_interval.or(outer.switch_interval),
            restrict_stdin: self.restrict_stdin.or(outer.restrict_stdin),
            restrict_stdout: self.restrict_stdout.or(outer.restrict_stdout),
            restrict_signal: self.restrict_signal.or(outer.restrict_signal),
            own_gil: self.own_gil.or(outer.own_gil),
            free_threading: self.free_threading.or(outer.free_threading),
        }
    }

    fn flags(&self) -> [(&'static [u8], Option<bool>); 5] {
        [
            (RESTRICT_STDIN, self.restrict_stdin),
            (RESTRICT_STDOUT, self.restrict_stdout),
            (RESTRICT_SIGNAL, self.restrict_signal),
            (OWN_GIL, self.own_gil),
            (FREE_THREADING, self.free_threading),
        ]
    }
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            limit: DEFAULT_LIMIT,
            destroy: true,
            fold_case: false,
            hidden: Vec::new(),
            scopes: Vec::new(),
        }
    }
}

const LIMIT: &[u8] = b"limit";
const DESTROY: &[u8] = b"destroy";
const FOLD_CASE: &[u8] = b"fold-case";
const HIDDEN: &[u8] = b"hidden";
const ALL: &[u8] = b"all";
const APPLICATION_GROUP: &[u8] = b"application-group";
const PATH: &[u8] = b"path";
const SWITCH_INTERVAL: &[u8] = b"switch-interval";
const RESTRICT_STDIN: &[u8] = b"restrict-stdin";
const RESTRICT_STDOUT: &[u8] = b"restrict-stdout";
const RESTRICT_SIGNAL: &[u8] = b"restrict-signal";
const OWN_GIL: &[u8] = b"own-gil";
const FREE_THREADING: &[u8] = b"free-threading";

impl Plan {
    /// What holds in the processes of a group (empty: httpd's own): `server`, what is said for all interpreters, and the
    /// sections in the order of the configuration. The more selectors a section has the more it counts; of equals, the
    /// later one.
    pub fn new(process_group: &[u8], server: Options, sections: &[Section]) -> Plan {
        let own = |section: &&Section| match &section.selector.process_group {
            Some(name) => name == process_group,
            None => true,
        };
        let mut own: Vec<&Section> = sections.iter().filter(own).collect();
        own.sort_by_key(|section| section.selector.rank());
        let general = Scope {
            application_group: None,
            options: server,
        };
        let sections = own.into_iter().map(|section| Scope {
            application_group: section.selector.application_group.clone(),
            options: section.options.clone(),
        });
        Plan {
            scopes: std::iter::once(general).chain(sections).collect(),
            ..Plan::default()
        }
    }

    /// Sets the interval that goes before what any section says for the whole process.
    pub fn set_switch_interval(&mut self, seconds: f64) {
        for scope in &mut self.scopes {
            if scope.application_group.is_none() {
                scope.options.switch_interval = Some(seconds);
            }
        }
    }

    /// What holds for the interpreter of an application group (empty: the main one).
    pub fn options(&self, application_group: &[u8]) -> Options {
        self.merge(|scope| {
            let group = scope.application_group.as_deref();
            group.is_none_or(|group| group == application_group)
        })
    }

    /// What holds for all interpreters of the process.
    pub fn common(&self) -> Options {
        self.merge(|scope| scope.application_group.is_none())
    }

    /// What a particular application group has of its own.
    pub fn particular(&self, application_group: &[u8]) -> Options {
        self.merge(|scope| scope.application_group.as_deref() == Some(application_group))
    }

    /// Whether some interpreter is meant to be so.
    pub fn any(&self, what: impl Fn(&Options) -> Option<bool>) -> bool {
        self.scopes.iter().any(|scope| what(&scope.options) == Some(true))
    }

    fn merge(&self, holds: impl Fn(&Scope) -> bool) -> Options {
        let scopes = self.scopes.iter().filter(|scope| holds(scope));
        scopes.fold(Options::default(), |outer, scope| scope.options.over(&outer))
    }

    /// The list.
    pub fn to_list(&self) -> Vec<NameValue> {
        let mut list = Vec::new();
        let mut put = |name: &[u8], value: &[u8]| list.push((name.to_vec(), value.to_vec()));
        put(LIMIT, self.limit.to_string().as_bytes());
        put(DESTROY, word(self.destroy));
        put(FOLD_CASE, word(self.fold_case));
        for name in &self.hidden {
            put(HIDDEN, name);
        }
        for Scope {
            application_group,
            options,
        } in &self.scopes
        {
            match application_group {
                Some(name) => put(APPLICATION_GROUP, name),
                None => put(ALL, b""),
            }
            if !options.path.is_empty() {
                put(PATH, &options.path);
            }
            if let Some(seconds) = options.switch_interval {
                put(SWITCH_INTERVAL, seconds.to_string().as_bytes());
            }
            for (name, value) in options.flags() {
                if let Some(value) = value {
                    put(name, word(value));
                }
            }
        }
        list
    }

    /// Reads the list.
    ///
    /// # Errors
    /// When it is none of this version.
    pub fn from_list<'a>(list: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for (name, value) in list {
            let text = String::from_utf8_lossy(value);
            let odd = || {
                format!(
                    "'{}={text}' is no setting of this version",
                    String::from_utf8_lossy(name)
                )
            };
            let options = plan.scopes.last_mut().map(|scope| &mut scope.options);
            match (name, options) {
                (LIMIT, _) => plan.limit = text.parse().map_err(|_| odd())?,
                (DESTROY, _) => plan.destroy = flag(value)?,
                (FOLD_CASE, _) => plan.fold_case = flag(value)?,
                (HIDDEN, _) => plan.hidden.push(value.to_vec()),
                (ALL, _) => plan.scopes.push(Scope::default()),
                (APPLICATION_GROUP, _) => plan.scopes.push(Scope {
                    application_group: Some(value.to_vec()),
                    options: Options::default(),
                }),
                (PATH, Some(options)) => options.path = value.to_vec(),
                (SWITCH_INTERVAL, Some(options)) => options.switch_interval = Some(text.parse().map_err(|_| odd())?),
                (RESTRICT_STDIN, Some(options)) => options.restrict_stdin = Some(flag(value)?),
                (RESTRICT_STDOUT, Some(options)) => options.restrict_stdout = Some(flag(value)?),
                (RESTRICT_SIGNAL, Some(options)) => options.restrict_signal = Some(flag(value)?),
                (OWN_GIL, Some(options)) => options.own_gil = Some(flag(value)?),
                (FREE_THREADING, Some(options)) => options.free_threading = Some(flag(value)?),
                _ => return Err(odd()),
            }
        }
        Ok(plan)
    }
}

fn word(value: bool) -> &'static [u8] {
    if value { b"on" } else { b"off" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(selector: &str, options: Options) -> Section {
        Section {
            selector: Selector::parse(Words::new(selector.as_bytes())).unwrap(),
            options,
        }
    }

    fn path(path: &str) -> Options {
        Options {
            path: path.into(),
            ..Options::default()
        }
    }

    #[test]
    fn selectors() {
        let parse = |text: &str| Selector::parse(Words::new(text.as_bytes()));
        assert_eq!(parse(""), Ok(Selector::default()));
        let both = parse(r#"Process-Group=%{GLOBAL} APPLICATION-GROUP="a b""#).unwrap();
        assert_eq!(both.process_group, Some(Vec::new()));
        assert_eq!(both.application_group, Some(b"a b".to_vec()));
        for bad in [
            "process-group=a process-group=b",
            "server=a",
            "process-group",
            "process-group=",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn precedence() {
        let stdin = |value| Options {
            restrict_stdin: Some(value),
            ..Options::default()
        };
        let sections = [
            section("process-group=p application-group=a", path("/both")),
            section("application-group=a", stdin(true)),
            section("", path("/none")),
            section("process-group=p", stdin(false)),
            section("process-group=other", path("/other")),
            section("application-group=a", path("/a")),
        ];
        let plan = Plan::new(b"p", path("/server"), &sections);
        assert_eq!(plan.options(b"a").path, b"/both:/a:/none:/server");
        assert_eq!(plan.options(b"b").path, b"/none:/server");
        assert_eq!(plan.common().path, b"/none:/server");
        assert_eq!(plan.particular(b"a").path, b"/both:/a");
        // Equal rank: the later one.
        assert_eq!(plan.options(b"a").restrict_stdin, Some(false));
        assert!(plan.any(|options| options.restrict_stdin));
        let plan = Plan::new(b"", path("/server"), &sections);
        assert_eq!(plan.options(b"a").path, b"/a:/none:/server");
        assert_eq!(plan.options(b"a").restrict_stdin, Some(true));
        assert_eq!(plan.options(b"").restrict_stdin, None);
    }

    #[test]
    fn lists() {
        let full = Options {
            path: b"/x:/y".to_vec(),
            switch_interval: Some(0.001),
            restrict_stdin: Some(true),
            restrict_stdout: Some(false),
            restrict_signal: Some(false),
            own_gil: Some(true),
            free_threading: Some(false),
        };
        let plan = Plan {
            limit: 7,
            destroy: false,
            fold_case: true,
            hidden: vec![b"PYTHONHOME".to_vec()],
            ..Plan::new(b"", path("/a"), &[section("application-group=%{GLOBAL}", full)])
        };
        for plan in [plan, Plan::default()] {
            let list = plan.to_list();
            let list = list.iter().map(|(name, value)| (&name[..], &value[..]));
            assert_eq!(Plan::from_list(list), Ok(plan));
        }
        let bad: [&[(&[u8], &[u8])]; 4] = [
            &[(PATH, b"/x")],
            &[(LIMIT, b"x")],
            &[(b"new", b"1")],
            &[(ALL, b""), (OWN_GIL, b"maybe")],
        ];
        for list in bad {
            assert!(Plan::from_list(list.iter().copied()).is_err());
        }
    }
}
