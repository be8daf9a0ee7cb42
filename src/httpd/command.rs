//! The directive table (`command_rec` of `http_config.h`).
//!
//! Every directive takes its arguments raw and reads them with [`Words`], so that one trampoline serves them all and the
//! grammar is tested without httpd.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr;

use wsgi_core::directive::{Refusal, Words};

use super::fence::fence;
use super::module::Module;
use super::pool::Pool;
use super::{ffi, text};

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Server configuration outside of any `<VirtualHost>`.
    Main,
    /// Server configuration and `<VirtualHost>`.
    Server,
    /// Those, `<Directory>` and the like, and `.htaccess` under `AllowOverride FileInfo`.
    FileInfo,
    /// As [`Place::FileInfo`] without `.htaccess`.
    Directory,
    /// Only `<Directory>` and the like, and `.htaccess` under `AllowOverride AuthConfig`.
    AuthConfig,
}

/// Whether a directive took its arguments.
type Taken = Result<(), Refusal>;

/// What a directive does: sets a value, or refuses with a sentence for the administrator.
pub enum Set<M: Module> {
    /// The server or virtual host it stands in.
    Server(fn(&mut M::Server, &Arguments<'_>) -> Result<(), Refusal>),
    /// The place it stands in.
    Directory(for<'p> fn(&mut M::Directory<'p>, &Arguments<'p>) -> Result<(), Refusal>),
    /// The same, with a look at the server. That one is shared: `.htaccess` files are read while requests run.
    Hook(for<'p> fn(&M::Server, &mut M::Directory<'p>, &Arguments<'p>) -> Taken),
    /// Nothing that requests depend on, wherever it stands: noted with the server. In `.htaccess` only its arguments
    /// are checked.
    Aside(fn(&mut M::Server, &Arguments<'_>) -> Result<(), Refusal>),
    /// A section; its name begins with `<`.
    Section {
        /// The directives that may stand in it.
        inside: &'static [&'static str],
        /// Reads the arguments.
        begin: fn(&mut M::Server, &Arguments<'_>) -> Result<(), Refusal>,
        /// Is called when the directives in it were set, all or up to one that was refused.
        end: fn(&mut M::Server),
    },
}

/// A row of the table.
pub struct Directive<M: Module> {
    /// The name in the configuration file.
    pub name: &'static CStr,
    /// What stands behind it, as the documentation shows it.
    pub arguments: &'static str,
    /// What holds without it; empty: nothing of the kind.
    pub default: &'static str,
    /// Where it may stand.
    pub place: Place,
    /// What it is for, as `httpd -L` shows it.
    pub help: &'static CStr,
    /// What it does.
    pub set: Set<M>,
}

/// Directives that belong together.
pub struct Topic<M: Module> {
    /// Its heading in the documentation.
    pub title: &'static str,
    /// Its rows.
    pub directives: &'static [Directive<M>],
}

/// What stands behind a directive's name.
pub struct Arguments<'p> {
    /// The pool of the configuration.
    pub pool: Pool<'p>,
    /// The directive's name, and what it is for.
    pub about: (&'static CStr, &'static CStr),
    raw: &'p [u8],
}

impl<'p> Arguments<'p> {
    /// The arguments, from the first word on.
    pub fn words(&self) -> Words<'p> {
        Words::new(self.raw)
    }

    /// On or Off.
    pub fn flag(&self) -> Result<bool, Refusal> {
        self.words().flag()
    }
}

/// A row as httpd reads it.
#[repr(transparent)]
pub struct Command<M> {
    raw: ffi::command_rec,
    module: PhantomData<fn() -> M>,
}

// SAFETY: constant data.
unsafe impl<M> Sync for Command<M> {}

/// The rows that [`table`] has.
pub const fn rows<M: Module>(topics: &[Topic<M>]) -> usize {
    let (mut rows, mut topic) = (1, 0);
    while topic < topics.len() {
        rows += topics[topic].directives.len();
        topic += 1;
    }
    rows
}

/// httpd's table for the directives, with the empty row that ends it.
pub const fn table<M: Module, const ROWS: usize>(topics: &'static [Topic<M>]) -> [Command<M>; ROWS] {
    assert!(rows(topics) == ROWS);
    let mut table = [const { end::<M>() }; ROWS];
    let (mut row, mut topic) = (0, 0);
    while topic < topics.len() {
        let mut index = 0;
        while index < topics[topic].directives.len() {
            table[row].raw = command(&topics[topic].directives[index]);
            row += 1;
            index += 1;
        }
        topic += 1;
    }
    table
}

const fn command<M: Module>(directive: &'static Directive<M>) -> ffi::command_rec {
    ffi::command_rec {
        name: directive.name.as_ptr(),
        func: ffi::cmd_func {
            raw_args: Some(set::<M>),
        },
        cmd_data: ptr::from_ref(directive).cast_mut().cast(),
        req_override: match directive.place {
            Place::Main | Place::Server => ffi::RSRC_CONF,
            Place::FileInfo => ffi::OR_FILEINFO,
            Place::Directory => ffi::RSRC_CONF | ffi::ACCESS_CONF,
            Place::AuthConfig => ffi::OR_AUTHCFG,
        },
        args_how: ffi::cmd_how_RAW_ARGS,
        errmsg: directive.help.as_ptr(),
    }
}

const fn end<M>() -> Command<M> {
    Command {
        raw: ffi::command_rec {
            name: ptr::null(),
            func: ffi::cmd_func { raw_args: None },
            cmd_data: ptr::null_mut(),
            req_override: 0,
            args_how: ffi::cmd_how_RAW_ARGS,
            errmsg: ptr::null(),
        },
        module: PhantomData,
    }
}

/// # Safety
/// httpd calls it for a row of [`table`]: `cmd_data` is that row's `Directive<M>`, `directory` and the server's entry
/// were made by this module's create or merge functions, and nothing else uses them meanwhile.
unsafe extern "C" fn set<M: Module>(
    parameters: *mut ffi::cmd_parms,
    directory: *mut c_void,
    arguments: *const c_char,
) -> *const c_char {
    // SAFETY: the caller's promise.
    let (command, pool) = unsafe { (&*parameters, Pool::from_ptr((*parameters).pool)) };
    // SAFETY: as above.
    let directive: &'static Directive<M> = unsafe { &*(*command.cmd).cmd_data.cast() };
    let about = (directive.name, directive.help);
    let mut refusal = ptr::null();
    let report = |text: &str| refusal = pool.string(text.as_bytes()).as_ptr();
    let result = fence(Ok(()), report, || {
        // SAFETY: httpd's line buffer is copied, for the settings may keep what they are given.
        let raw = pool.bytes(unsafe { text::bytes(arguments) });
        let arguments = Arguments { pool, about, raw };
        // SAFETY: the caller's promise; each reference ends before the next one is made.
        let server =
            || unsafe { &mut *ffi::ap_get_module_config((*command.server).module_config, M::record().as_ptr()).cast() };
        if directive.place == Place::Main {
            // SAFETY: live parameters.
            unsafe { outside(parameters)? };
        }
        match directive.set {
            Set::Server(set) => set(server(), &arguments)?,
            // SAFETY: the caller's promise.
            Set::Directory(set) => set(unsafe { &mut *directory.cast() }, &arguments)?,
            Set::Hook(set) => {
                // SAFETY: the caller's promise; the server's configuration is only read.
                let (server, directory) = unsafe {
                    let server = ffi::ap_get_module_config((*command.server).module_config, M::record().as_ptr());
                    (&*server.cast::<M::Server>(), &mut *directory.cast())
                };
                set(server, directory, &arguments)?;
            }
            // Files .htaccess are read for requests, when servers do not change any more.
            Set::Aside(set) if command.pool == command.temp_pool => set(&mut M::server(), &arguments)?,
            Set::Aside(set) => set(server(), &arguments)?,
            Set::Section { inside, begin, end } => {
                let Some(raw) = raw.trim_ascii_end().strip_suffix(b">") else {
                    return Err(Refused::Ours("the line has no > at its end".into()));
                };
                // SAFETY: live parameters.
                unsafe { admit(&*command.directive, inside)? };
                begin(server(), &Arguments { pool, about, raw })?;
                // SAFETY: live parameters; the directives inside are this module's and called like this one.
                let message = unsafe {
                    let first = (*command.directive).first_child;
                    text::optional(ffi::ap_walk_config(first, parameters, command.context))
                };
                end(server());
                Refused::theirs(message)?;
            }
        }
        Ok(())
    });
    let name = directive.name.to_string_lossy();
    match result {
        Ok(()) => refusal,
        Err(Refused::Ours(text)) => {
            let close = if name.starts_with('<') { ">" } else { "" };
            pool.string(format!("{name}{close}: {text}").as_bytes()).as_ptr()
        }
        Err(Refused::Theirs(text)) => pool.string(text.as_bytes()).as_ptr(),
    }
}

/// Why a directive is not accepted.
enum Refused {
    /// Our sentence, which needs the directive's name in front.
    Ours(Refusal),
    /// httpd's, which has it.
    Theirs(String),
}

impl Refused {
    fn theirs(message: Option<&[u8]>) -> Result<(), Refused> {
        message.map_or(Ok(()), |message| {
            Err(Refused::Theirs(String::from_utf8_lossy(message).into_owned()))
        })
    }
}

impl From<Refusal> for Refused {
    fn from(text: Refusal) -> Refused {
        Refused::Ours(text)
    }
}

/// The directive stands outside of any `<VirtualHost>` and the like.
///
/// # Safety
/// `parameters` are live.
unsafe fn outside(parameters: *mut ffi::cmd_parms) -> Result<(), Refused> {
    // SAFETY: the caller's promise.
    Refused::theirs(unsafe { text::optional(ffi::ap_check_cmd_context(parameters, ffi::GLOBAL_ONLY.unsigned_abs())) })
}

/// All directives inside a section are among `known`.
///
/// # Safety
/// `section` is of a live configuration tree.
unsafe fn admit(section: &ffi::ap_directive_t, known: &[&str]) -> Result<(), Refused> {
    let mut next = section.first_child;
    // SAFETY: the caller's promise; NULL ends the list.
    while let Some(directive) = unsafe { next.as_ref() } {
        // SAFETY: the name of a directive in the tree.
        let name = String::from_utf8_lossy(unsafe { text::bytes(directive.directive) });
        if !known.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(Refused::Ours(format!(
                "{name} in line {} may not stand inside; only {} may",
                directive.line_num,
                known.join(", ")
            )));
        }
        next = directive.next;
    }
    Ok(())
}
