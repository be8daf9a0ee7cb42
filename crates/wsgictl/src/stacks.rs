//! `wsgictl stacks`: what the threads of a group's processes are doing in Python.

use std::io::{self, Write};
use std::process::ExitCode;

use wsgi_core::wire::control::command::{Answer, Command};

use crate::arguments::OneGroup;
use crate::control::{Control, unexpected};
use crate::fault::Fault;
use crate::status::plain;

/// Prints them.
pub fn stacks(options: &OneGroup) -> Result<ExitCode, Fault> {
    let control = Control::find(&options.server)?;
    let group = options.group.clone();
    let Answer::Stacks(stacks) = control.ask(&Command::Stacks { group })? else {
        return Err(unexpected());
    };
    let mut out = io::stdout().lock();
    if stacks.is_empty() {
        let _ = writeln!(out, "{}: no process is there at the moment", options.group);
    }
    for process in stacks {
        let _ = writeln!(out, "process {}", process.pid);
        for line in process.text.lines() {
            // It comes from the tenant's process: it must not speak to the terminal.
            let _ = writeln!(out, "  {}", plain(line));
        }
    }
    Ok(ExitCode::SUCCESS)
}
