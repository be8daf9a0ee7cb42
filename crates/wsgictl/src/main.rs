//! `wsgictl`: the administrator's command. Serves an application from a private httpd, says what an installation
//! consists of and what is wrong with it, and speaks to the supervisor of a running one.
#![forbid(unsafe_code)]

mod application;
mod arguments;
mod check;
mod configuration;
mod control;
mod effective;
mod fault;
mod httpd;
mod install;
mod listen;
mod owner;
mod private;
mod renew;
mod running;
mod serve;
mod stacks;
mod status;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(options) => serve::serve(&options),
        Command::Status(options) => status::status(&options),
        Command::Stacks(options) => stacks::stacks(&options),
        Command::Reload(options) => renew::reload(&options),
        Command::Restart(options) => renew::restart(&options),
        Command::Check(options) => match &options.config {
            Some(configuration) => effective::check(&options, configuration),
            None => check::check(&options),
        },
    };
    match done {
        Ok(code) => code,
        Err(fault) => {
            // Without a terminal or log to write to there is nobody to tell.
            let _ = writeln!(io::stderr(), "wsgictl: {fault}");
            ExitCode::FAILURE
        }
    }
}
