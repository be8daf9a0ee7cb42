//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs Python WSGI applications in Apache httpd.
#[derive(Debug, Parser)]
#[command(name = "wsgictl", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve an application in the foreground, from a private httpd
    Serve(Serve),
    /// Show what each process group does: live in a terminal, otherwise once
    Status(Status),
    /// Print the Python stacks of all threads of a process group
    Stacks(OneGroup),
    /// Replace the processes of a group: new ones first, while the old ones finish what they have
    Reload(Renew),
    /// End the processes of a group and start new ones
    Restart(Renew),
    /// Say which httpd, module and Python would be used, or what a configuration runs where, and what is wrong with them
    Check(Check),
}

/// What both commands look for.
#[derive(Args, Debug)]
pub struct Parts {
    /// Python to run in: an interpreter, or the folder of a virtual environment [default: $VIRTUAL_ENV, else the
    /// system's python3]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,

    /// httpd to run [default: the one that apxs names, else apache2 or httpd on the PATH]
    #[arg(long, value_name = "PATH")]
    pub httpd: Option<PathBuf>,

    /// mod_wsgi.so to load [default: the one beside wsgictl, else the one in httpd's module folder]
    #[arg(long, value_name = "PATH")]
    pub module: Option<PathBuf>,

    /// User that requests run as, when started by root [default: www-data, apache or nobody]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// Group that requests run as, when started by root [default: the user's own]
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
}

#[derive(Args, Debug)]
pub struct Serve {
    /// path/to/app.wsgi or package.module, either with ':callable' when it is not called 'application'
    #[arg(value_name = "APP")]
    pub application: String,

    /// Address to listen on (0.0.0.0: every IPv4 address)
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8000, value_name = "N")]
    pub port: u16,

    /// How httpd shares out the work [default: the first of these that it has]
    #[arg(long, value_enum)]
    pub mpm: Option<Mpm>,

    /// Run the application inside httpd's own processes, not in daemon processes beside them
    #[arg(long)]
    pub embedded: bool,

    /// Processes that run the application
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub processes: u16,

    /// Requests at a time in each process; embedded with the prefork MPM each of them is a process of its own
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub threads: u16,

    /// Serve the application below this URL path
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub url_prefix: String,

    /// Serve the files of a folder below a URL path; may be repeated
    #[arg(long = "static", value_name = "URL=DIR")]
    pub files: Vec<String>,

    /// Folder to import from, in front of sys.path; may be repeated
    #[arg(long, value_name = "DIR")]
    pub python_path: Vec<PathBuf>,

    /// Folder that package.module is imported from, and that --reload watches [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub working_directory: Option<PathBuf>,

    /// Start the application anew when one of its Python files changes (for development)
    #[arg(long)]
    pub reload: bool,

    /// What to log, as httpd's LogLevel takes it, for example 'info' or 'warn wsgi:debug'
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    pub log_level: String,

    /// Do not log requests
    #[arg(long)]
    pub no_access_log: bool,

    #[command(flatten)]
    pub parts: Parts,
}

#[derive(Args, Debug)]
pub struct Check {
    /// httpd's configuration to look at: what it runs where, and what is wrong with it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Name that the configuration asks for by IfDefine; may be repeated
    #[arg(long, value_name = "NAME", requires = "config")]
    pub define: Vec<String>,

    /// Folder that the configuration's paths start from [default: as ServerRoot says]
    #[arg(long, value_name = "DIR", requires = "config")]
    pub server_root: Option<PathBuf>,

    /// Write JSON
    #[arg(long, requires = "config")]
    pub json: bool,

    #[command(flatten)]
    pub parts: Parts,
}

/// Which server is meant.
#[derive(Args, Debug)]
pub struct Server {
    /// Configuration file of the httpd that is meant
    #[arg(long, short = 'f', value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Control socket of the httpd that is meant: the path of its PidFile, followed by '.wsgid'
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,

    /// httpd that reads the configuration file [default: the one that apxs names, else apache2 or httpd on the PATH]
    #[arg(long, value_name = "PATH", requires = "config")]
    pub httpd: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Status {
    /// Print everything as JSON, once
    #[arg(long)]
    pub json: bool,

    /// Print the table once, in a terminal too
    #[arg(long)]
    pub once: bool,

    /// Seconds from one look to the next
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS", value_parser = seconds)]
    pub interval: f64,

    #[command(flatten)]
    pub server: Server,
}

#[derive(Args, Debug)]
pub struct OneGroup {
    /// Name of the process group
    #[arg(value_name = "GROUP")]
    pub group: String,

    #[command(flatten)]
    pub server: Server,
}

#[derive(Args, Debug)]
pub struct Renew {
    /// Name of the process group
    #[arg(value_name = "GROUP")]
    pub group: String,

    /// Do not wait until the new processes serve
    #[arg(long)]
    pub no_wait: bool,

    /// Give up waiting after so many seconds
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: f64,

    #[command(flatten)]
    pub server: Server,
}

fn seconds(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.1 to 86400 is needed".to_owned()),
    }
}

/// httpd's multi-processing modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mpm {
    /// Threads, and waiting connections cost none
    Event,
    /// Threads
    Worker,
    /// A process for each request
    Prefork,
}

impl Mpm {
    /// From the one to prefer to the last resort.
    pub const ALL: [Mpm; 3] = [Mpm::Event, Mpm::Worker, Mpm::Prefork];

    /// As in `mod_mpm_NAME.so`.
    pub fn name(self) -> &'static str {
        match self {
            Mpm::Event => "event",
            Mpm::Worker => "worker",
            Mpm::Prefork => "prefork",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn bounds_are_kept() {
        for wrong in [
            ["--threads", "0"],
            ["--processes", "1001"],
            ["--port", "65536"],
            ["--mpm", "winnt"],
        ] {
            let words = ["wsgictl", "serve", "app.wsgi"].into_iter().chain(wrong);
            assert!(Arguments::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }
}
