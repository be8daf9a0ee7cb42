//! Directives of the Python interpreter.

use wsgi_core::directive::{Refusal, count, interval, number};
use wsgi_core::interpreter::{Options, Section, Selector};

use super::{absolute, flag};
use crate::config::{PythonSettings, ServerConfig};
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// Directives that may stand in `<WSGIInterpreterOptions>`.
const SCOPED: [&str; 7] = [
    "WSGIPythonPath",
    "WSGISwitchInterval",
    "WSGIRestrictStdin",
    "WSGIRestrictStdout",
    "WSGIRestrictSignal",
    "WSGIPerInterpreterGIL",
    "WSGIFreeThreading",
];

/// The rows.
pub const PYTHON: Topic<Wsgi> = Topic {
    title: "The Python interpreter",
    directives: &[
        Directive {
            name: c"WSGICaseSensitivity",
            arguments: "On|Off",
            default: "On",
            place: Place::Main,
            help: c"Off puts %{RESOURCE} in lower case, and takes scripts whose paths differ in case only for one: for file systems that do not tell upper case from lower case",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.case_sensitivity, arguments)),
        },
        Directive {
            name: c"WSGIDestroyInterpreter",
            arguments: "On|Off",
            default: "On",
            place: Place::Main,
            help: c"Off ends processes without ending their interpreters: exit handlers do not run",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.destroy, arguments)),
        },
        Directive {
            name: c"WSGIDontWriteBytecode",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help: c"On writes no .pyc files",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.dont_write_bytecode, arguments)),
        },
        Directive {
            name: c"WSGIFreeThreading",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help: c"On leaves the GIL off in a Python that is built without; such a Python cannot be used yet",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.options().free_threading, arguments)),
        },
        Directive {
            name: c"WSGIInterpreterLimit",
            arguments: "number",
            default: "100",
            place: Place::Main,
            help: c"How many interpreters a process may have, the main one included; 0: any number",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                let number = count(&arguments.words().only("number of interpreters")?)?;
                config.global.python.limit = Some(number);
                Ok(())
            }),
        },
        Directive {
            name: c"<WSGIInterpreterOptions",
            arguments: "[process-group=name] [application-group=name]",
            default: "",
            place: Place::Main,
            help: c"Settings for the interpreters of a process group, of an application group, or of both; the more particular section counts",
            set: Set::Section {
                inside: &SCOPED,
                begin: |config: &mut ServerConfig, arguments| {
                    let selector = Selector::parse(arguments.words())?;
                    let options = Options::default();
                    let python = &mut config.global.python;
                    python.sections.push(Section { selector, options });
                    python.inside = true;
                    Ok(())
                },
                end: |config: &mut ServerConfig| config.global.python.inside = false,
            },
        },
        Directive {
            name: c"WSGIPerInterpreterGIL",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help: c"On gives each interpreter but the main one a GIL of its own, from Python 3.13 on; extensions must support that",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.options().own_gil, arguments)),
        },
        Directive {
            name: c"WSGIPython",
            arguments: "path",
            default: "",
            place: Place::Main,
            help: c"Path of the Python interpreter whose version and library to use, the system's python3 if not set",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.interpreter = Some(absolute(arguments, "path of a Python interpreter")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonEggs",
            arguments: "folder",
            default: "",
            place: Place::Main,
            help: c"PYTHON_EGG_CACHE of the environment",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.eggs = Some(arguments.words().only("folder")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonHashSeed",
            arguments: "number|random",
            default: "",
            place: Place::Main,
            help: c"Seed of the hashes of strings: a number from 0 to 4294967295, the same in all processes; random, or nothing: another one in each",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.hash_seed = Some(hash_seed(arguments.words().only("number or random")?)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonHome",
            arguments: "folder",
            default: "",
            place: Place::Main,
            help: c"Folder of the virtual environment or Python installation to use",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.home = Some(absolute(arguments, "folder of a virtual environment or of a Python")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonOptimize",
            arguments: "0|1|2",
            default: "0",
            place: Place::Main,
            help: c"1 leaves out assertions, 2 docstrings as well",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.optimize = number(&arguments.words().only("number")?)?;
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonPath",
            arguments: "folder[:folder …]",
            default: "",
            place: Place::Main,
            help: c"Folders to search for Python modules first; outside of a section for httpd's own processes only: daemons have python-path=",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.options().path = arguments.words().only("list of folders")?;
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonWarnings",
            arguments: "filter",
            default: "",
            place: Place::Main,
            help: c"A filter of Python's warnings, as its option -W has them; may be given several times",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.python.warnings.push(warning(arguments.words().only("filter")?)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIRestrictSignal",
            arguments: "On|Off",
            default: "On",
            place: Place::Main,
            help: c"Off lets applications have signal handlers",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.options().restrict_signal, arguments)),
        },
        Directive {
            name: c"WSGIRestrictStdin",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help: c"On makes every use of sys.stdin an error",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.options().restrict_stdin, arguments)),
        },
        Directive {
            name: c"WSGIRestrictStdout",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help: c"On makes every use of sys.stdout an error, print() included",
            set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.python.options().restrict_stdout, arguments)),
        },
        Directive {
            name: c"WSGISwitchInterval",
            arguments: "seconds",
            default: "0.005",
            place: Place::Main,
            help: c"How long a thread may keep the GIL when others want it; in a section for an application group only where that has a GIL of its own",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                let seconds = interval(&arguments.words().only("number of seconds")?)?;
                config.global.python.options().switch_interval = Some(seconds);
                Ok(())
            }),
        },
    ],
};

impl PythonSettings {
    /// Of the section that is being read, else those for all interpreters.
    fn options(&mut self) -> &mut Options {
        match self.sections.last_mut() {
            Some(section) if self.inside => &mut section.options,
            _ => &mut self.general,
        }
    }
}

/// As `PYTHONHASHSEED` has it.
fn hash_seed(word: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if word.eq_ignore_ascii_case(b"random") {
        return Ok(b"random".to_vec());
    }
    let text = String::from_utf8_lossy(&word);
    match text.parse::<u32>() {
        Ok(_) if word[0].is_ascii_digit() => Ok(word),
        _ => Err(format!("must be random or a number from 0 to 4294967295, not '{text}'")),
    }
}

/// As `PYTHONWARNINGS` has it, where commas separate filters.
fn warning(word: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if word.contains(&b',') {
        return Err("is for one filter; give each of them a line of its own, without commas".into());
    }
    Ok(word)
}
