//! What is installed: the module with its host, httpd, a Python, a user for them.

use std::env;
use std::path::{Path, PathBuf};

use wsgi_core::python::{self, Choice, Python};

use crate::arguments::{Mpm, Parts};
use crate::fault::Fault;
use crate::httpd::Httpd;
use crate::owner::Owner;

/// Where the host lies, seen from the folder of `mod_wsgi.so`.
const HOST: &str = "mod_wsgi/wsgi_host.abi3.so";

/// `mod_wsgi.so` and the Python host that belongs to it.
#[derive(Debug)]
pub struct Module {
    pub file: PathBuf,
    pub host: PathBuf,
}

impl Module {
    /// Finds it: the one named by `--module`, the one beside this program, or the one in httpd's module folder.
    pub fn find(named: Option<&Path>, httpd: Option<&Httpd>, owner: Option<&Owner>) -> Result<Module, Fault> {
        let beside = env::current_exe()
            .ok()
            .and_then(|program| Some(program.parent()?.join("mod_wsgi.so")));
        let installed = httpd.map(|httpd| httpd.modules.join("mod_wsgi.so"));
        let file = match named {
            Some(file) => std::path::absolute(file).unwrap_or(file.to_owned()),
            None => {
                let found = [&beside, &installed].into_iter().flatten().find(|file| file.is_file());
                let places = [&beside, &installed]
                    .into_iter()
                    .flatten()
                    .map(|file| format!("{file:?}"));
                found.cloned().ok_or_else(|| {
                    let places = places.collect::<Vec<_>>().join(" nor ");
                    Fault::new(
                        640,
                        format!("mod_wsgi.so is neither {places}; install it there, or name it by --module"),
                    )
                })?
            }
        };
        if !file.is_file() {
            return Err(Fault::new(640, format!("there is no file {file:?}; correct --module")));
        }
        let host = file.parent().unwrap_or(Path::new("/")).join(HOST);
        if !host.is_file() {
            return Err(Fault::new(
                641,
                format!(
                    "{file:?} has no {HOST} beside it: another project's module, or half an installation; install both files together"
                ),
            ));
        }
        if let Some(owner) = owner {
            owner.reaches("the Python host", &host)?;
        }
        Ok(Module { file, host })
    }
}

/// What `--python` or the environment says about the Python.
#[derive(Debug)]
pub enum Wanted {
    /// Nothing: the system's.
    Default,
    /// An interpreter: `WSGIPython`.
    Interpreter(PathBuf),
    /// A folder: `WSGIPythonHome`.
    Home(PathBuf),
}

impl Wanted {
    /// `--python`, else the virtual environment that is active in this shell.
    pub fn new(python: Option<&Path>) -> Wanted {
        let active = || {
            env::var_os("VIRTUAL_ENV")
                .map(PathBuf::from)
                .filter(|venv| venv.is_dir())
        };
        let Some(path) = python.map(Path::to_owned).or_else(active) else {
            return Wanted::Default;
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        if path.is_dir() {
            Wanted::Home(path)
        } else {
            Wanted::Interpreter(path)
        }
    }

    /// Looks whether it can be used.
    pub fn find(&self, owner: Option<&Owner>) -> Result<Python, Fault> {
        let choice = match self {
            Wanted::Default => Choice::default(),
            Wanted::Interpreter(path) => Choice {
                python: Some(path),
                home: None,
            },
            Wanted::Home(path) => Choice {
                python: None,
                home: Some(path),
            },
        };
        Ok(python::find(&choice, owner.map(Owner::run_as))?)
    }
}

/// Everything that a server needs.
#[derive(Debug)]
pub struct Installation {
    pub owner: Option<Owner>,
    pub httpd: Httpd,
    pub module: Module,
    pub wanted: Wanted,
    pub python: Python,
}

impl Installation {
    /// Finds all of it, or tells the first thing that is wrong.
    pub fn find(parts: &Parts) -> Result<Installation, Fault> {
        let owner = Owner::find(parts)?;
        let httpd = Httpd::find(parts.httpd.as_deref())?;
        let module = Module::find(parts.module.as_deref(), Some(&httpd), owner.as_ref())?;
        let wanted = Wanted::new(parts.python.as_deref());
        let python = wanted.find(owner.as_ref())?;
        Ok(Installation {
            owner,
            httpd,
            module,
            wanted,
            python,
        })
    }

    /// The modules for httpd to load, the MPM first; `files` says whether it serves files too.
    pub fn modules(&self, mpm: Mpm, files: bool) -> Result<Vec<(String, PathBuf)>, Fault> {
        let mut modules = Vec::new();
        if let Some(file) = self.httpd.mpm_module(mpm) {
            modules.push((format!("mpm_{}_module", mpm.name()), file));
        }
        let needed = ["unixd", "authz_core", "log_config", "reqtimeout"];
        let for_files = ["alias", "mime", "dir"].into_iter().filter(|_| files);
        for name in needed.into_iter().chain(for_files) {
            if let Some(file) = self.httpd.module(name)? {
                modules.push((format!("{name}_module"), file));
            }
        }
        modules.push(("wsgi_module".to_owned(), self.module.file.clone()));
        Ok(modules)
    }
}
