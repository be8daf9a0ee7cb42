//! What `APP` means: a script, or a module to import.

use std::path::{Path, PathBuf};

use crate::fault::Fault;

/// An application to serve.
#[derive(Debug, PartialEq, Eq)]
pub enum Application {
    /// A file that defines the callable.
    Script {
        /// Absolute; its folder has no symbolic links.
        path: PathBuf,
        /// Name of the callable.
        callable: String,
    },
    /// A module on `sys.path`.
    Module {
        /// Dotted name.
        name: String,
        /// Name of the callable; dots lead to attributes of attributes.
        callable: String,
    },
}

impl Application {
    /// Reads the argument. An existing file is a script, whatever it is called.
    pub fn parse(argument: &str) -> Result<Application, Fault> {
        let (front, callable) = match argument.rsplit_once(':') {
            // `C:` of a path such as `dir:1/app.wsgi` is no callable.
            Some((front, callable)) if !callable.contains('/') => (front, callable),
            _ => (argument, "application"),
        };
        for (path, callable) in [(argument, "application"), (front, callable)] {
            if Path::new(path).is_file() {
                return script(Path::new(path), callable);
            }
        }
        if front.contains('/') || front.ends_with(".wsgi") || front.ends_with(".py") {
            return Err(Fault::new(
                610,
                format!("there is no file {front:?}; name the application's script"),
            ));
        }
        if !dotted(front) || !dotted(callable) {
            return Err(Fault::new(
                611,
                format!("{argument:?} is neither a file nor package.module:callable; name one of the two"),
            ));
        }
        Ok(Application::Module {
            name: front.to_owned(),
            callable: callable.to_owned(),
        })
    }

    /// The script that httpd serves for a module.
    pub fn module_script(name: &str, callable: &str) -> String {
        let attribute = callable.split('.').map(|part| format!(".{part}")).collect::<String>();
        format!(
            "# Written by wsgictl; it goes away with the server.\n\
             from importlib import import_module\n\n\
             application = import_module(\"{name}\"){attribute}\n"
        )
    }
}

fn script(path: &Path, callable: &str) -> Result<Application, Fault> {
    if !dotted(callable) || callable.contains('.') {
        return Err(Fault::new(
            612,
            format!("{callable:?} cannot be the name of a callable"),
        ));
    }
    let found = (|| {
        let folder = std::path::absolute(path)?
            .parent()
            .unwrap_or(Path::new("/"))
            .canonicalize()?;
        Ok(folder.join(path.file_name().unwrap_or_default()))
    })();
    let path = found.map_err(|error: std::io::Error| Fault::new(610, format!("cannot find {path:?}: {error}")))?;
    Ok(Application::Script {
        path,
        callable: callable.to_owned(),
    })
}

/// One or more Python identifiers with dots between.
fn dotted(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut letters = part.chars();
        letters
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, callable: &str) -> Application {
        Application::Module {
            name: name.to_owned(),
            callable: callable.to_owned(),
        }
    }

    #[test]
    fn modules() {
        assert_eq!(
            Application::parse("shop.wsgi_app").unwrap(),
            module("shop.wsgi_app", "application")
        );
        assert_eq!(Application::parse("shop:make.app").unwrap(), module("shop", "make.app"));
    }

    #[test]
    fn scripts() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        for (name, rest, callable) in [
            ("a.wsgi", "", "application"),
            ("b:c", "", "application"),
            ("d", ":e", "e"),
        ] {
            let path = base.join(name);
            std::fs::write(&path, "").unwrap();
            let found = Application::parse(&format!("{}/../{}/{name}{rest}", base.display(), last(&base))).unwrap();
            let callable = callable.to_owned();
            assert_eq!(found, Application::Script { path, callable });
        }
    }

    fn last(path: &Path) -> &str {
        path.file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn nonsense_is_told() {
        for (argument, code) in [
            ("no/such/app.wsgi", "WSGI0610"),
            ("gone.wsgi", "WSGI0610"),
            ("gone.py:app", "WSGI0610"),
            ("", "WSGI0611"),
            ("a..b", "WSGI0611"),
            ("a:", "WSGI0611"),
            ("a:b\"c", "WSGI0611"),
            ("a\nb:c", "WSGI0611"),
            ("1a", "WSGI0611"),
            ("Cargo.toml:a-b", "WSGI0612"),
        ] {
            let text = Application::parse(argument).unwrap_err().to_string();
            assert!(text.starts_with(code), "{argument:?}: {text}");
        }
    }

    #[test]
    fn a_module_gets_a_script() {
        let text = Application::module_script("shop.site", "factory.app");
        assert!(text.ends_with("application = import_module(\"shop.site\").factory.app\n"));
    }
}
