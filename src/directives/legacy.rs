//! Directives that are accepted, since configurations hold them, and have no effect.

use wsgi_core::directive::{Refusal, Words};

use crate::config::ServerConfig;
use crate::httpd::command::{Arguments, Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const LEGACY: Topic<Wsgi> = Topic {
    title: "Without effect",
    directives: &[
        Directive {
            name: c"WSGIAcceptMutex",
            arguments: "mechanism",
            default: "",
            place: Place::Main,
            help: c"Has no effect: daemons share a queue, without a lock",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, mechanism)),
        },
        Directive {
            name: c"WSGIApacheExtensions",
            arguments: "On|Off",
            default: "",
            place: Place::FileInfo,
            help: c"Has no effect: there is no such module any more; mod_wsgi 4.0 was the last that read it",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGIGroupAuthoritative",
            arguments: "On|Off",
            default: "On",
            place: Place::AuthConfig,
            help: c"Has no effect: Require and the sections around it say what decides",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGILazyInitialization",
            arguments: "On|Off",
            default: "",
            place: Place::Main,
            help: c"Has no effect: Python starts in the processes that use it, never in httpd itself, as On had it",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGINewRelicConfigFile",
            arguments: "file",
            default: "",
            place: Place::Main,
            help: c"Has no effect: set NEW_RELIC_CONFIG_FILE in the environment of the daemons, by env=",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, any)),
        },
        Directive {
            name: c"WSGINewRelicEnvironment",
            arguments: "name",
            default: "",
            place: Place::Main,
            help: c"Has no effect: set NEW_RELIC_ENVIRONMENT in the environment of the daemons, by env=",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, any)),
        },
        Directive {
            name: c"WSGIOutputBuffering",
            arguments: "On|Off",
            default: "",
            place: Place::FileInfo,
            help: c"Has no effect: WSGI forbids to hold back what applications yield",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGIPy3kWarningFlag",
            arguments: "On|Off",
            default: "",
            place: Place::Main,
            help: c"Has no effect: it was for Python 2",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGIPythonExecutable",
            arguments: "path",
            default: "",
            place: Place::Main,
            help: c"Has no effect: WSGIPython names the interpreter to use",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, any)),
        },
        Directive {
            name: c"WSGIReloadMechanism",
            arguments: "Module|Process",
            default: "",
            place: Place::FileInfo,
            help: c"Has no effect: daemons are replaced when a script changes; in httpd's own processes the script is loaded again",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, any)),
        },
        Directive {
            name: c"WSGIServerGroup",
            arguments: "name",
            default: "",
            place: Place::Directory,
            help: c"Has no effect: it was never more than a name",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, any)),
        },
        Directive {
            name: c"WSGISocketPrefix",
            arguments: "path",
            default: "",
            place: Place::Main,
            help: c"Has no effect: there are no socket files",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, any)),
        },
        Directive {
            name: c"WSGISocketRotation",
            arguments: "On|Off",
            default: "On",
            place: Place::Main,
            help: c"Has no effect: there are no socket files",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGITelemetryOptions",
            arguments: "[+|-]option …|None|All",
            default: "None",
            place: Place::Main,
            help: c"Has no effect: nothing is sent to a collector; SetHandler wsgi-status shows the numbers, with ?format=openmetrics to Prometheus",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, telemetry)),
        },
        Directive {
            name: c"WSGITelemetryService",
            arguments: "unix:path [interval=seconds]",
            default: "",
            place: Place::Main,
            help: c"Has no effect: nothing is sent to a collector; SetHandler wsgi-status shows the numbers, with ?format=openmetrics to Prometheus",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, service)),
        },
        Directive {
            name: c"WSGIUserAuthoritative",
            arguments: "On|Off",
            default: "On",
            place: Place::AuthConfig,
            help: c"Has no effect: AuthBasicProvider and Require say what decides",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
        Directive {
            name: c"WSGIVerboseDebugging",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help: c"Has no effect: LogLevel wsgi:debug logs more",
            set: Set::Aside(|config: &mut ServerConfig, arguments| note(config, arguments, flag)),
        },
    ],
};

/// Takes note of a directive whose arguments are as they should be.
fn note(
    config: &mut ServerConfig,
    arguments: &Arguments<'_>,
    check: impl FnOnce(Words<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    check(arguments.words())?;
    if !config.without_effect.contains(&arguments.about) {
        config.without_effect.push(arguments.about);
    }
    Ok(())
}

fn flag(words: Words<'_>) -> Result<(), Refusal> {
    words.flag().map(drop)
}

fn any(words: Words<'_>) -> Result<(), Refusal> {
    words.only("value").map(drop)
}

/// `WSGIAcceptMutex`
fn mechanism(words: Words<'_>) -> Result<(), Refusal> {
    const KNOWN: [&str; 6] = ["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];
    let word = words.only("name of a mechanism")?;
    let word = String::from_utf8_lossy(&word);
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(&word)) {
        Ok(())
    } else {
        Err(format!("'{word}' is no mechanism; known are {}", KNOWN.join(", ")))
    }
}

/// `WSGITelemetryService`
fn service(mut words: Words<'_>) -> Result<(), Refusal> {
    let target = words.required("address of a collector")?;
    if target.strip_prefix(b"unix:").is_none_or(<[u8]>::is_empty) {
        let target = String::from_utf8_lossy(&target);
        return Err(format!("must be unix: and a path, not '{target}'"));
    }
    while let Some((name, value)) = words.option()? {
        let value = String::from_utf8_lossy(&value);
        let good = name == b"interval" && value.parse::<f64>().is_ok_and(|seconds| seconds >= 0.5);
        if !good {
            let name = String::from_utf8_lossy(&name);
            return Err(format!(
                "'{name}={value}' is no option: known is interval=, a number of seconds, 0.5 or greater"
            ));
        }
    }
    Ok(())
}

/// `WSGITelemetryOptions`
fn telemetry(mut words: Words<'_>) -> Result<(), Refusal> {
    let first = words.required("name of an option")?;
    let mut relative = None;
    for word in std::iter::once(first).chain(std::iter::from_fn(|| words.word())) {
        let name = word.strip_prefix(b"+").or_else(|| word.strip_prefix(b"-"));
        let signed = name.is_some();
        let name = name.unwrap_or(&word);
        let whole = name.eq_ignore_ascii_case(b"none") || name.eq_ignore_ascii_case(b"all");
        if !(name.eq_ignore_ascii_case(b"captureuseragent") || whole && !signed) {
            let word = String::from_utf8_lossy(&word);
            return Err(format!(
                "'{word}' is no option: known are CaptureUserAgent, None and All"
            ));
        }
        if relative.replace(signed).is_some_and(|before| before != signed) {
            return Err("options with + or - and options without cannot stand together".into());
        }
    }
    Ok(())
}
