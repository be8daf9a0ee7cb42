//! `wsgictl reload` and `wsgictl restart`: other processes for a group.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use wsgi_core::stats::report::{Group, Report};
use wsgi_core::wire::control::command::{Answer, Command};

use crate::arguments::Renew;
use crate::control::{Control, unexpected};
use crate::fault::Fault;

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// New processes first.
pub fn reload(options: &Renew) -> Result<ExitCode, Fault> {
    let group = options.group.clone();
    renew(options, &Command::Reload { group }, "reloaded")
}

/// The old ones end at once.
pub fn restart(options: &Renew) -> Result<ExitCode, Fault> {
    let group = options.group.clone();
    renew(options, &Command::Restart { group }, "restarted")
}

fn renew(options: &Renew, command: &Command, done: &str) -> Result<ExitCode, Fault> {
    let control = Control::find(&options.server)?;
    let Answer::Begun { generation, old } = control.ask(command)? else {
        return Err(unexpected());
    };
    let name = &options.group;
    if options.no_wait {
        say(&format!("{name}: has begun"));
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_secs_f64(options.timeout);
    loop {
        let report = control.report()?;
        let group = find(&report, name)?;
        let serving = serving(group, generation, &old);
        if !serving.is_empty() && !remain(group, &old) {
            let pids: Vec<String> = serving.iter().map(u32::to_string).collect();
            say(&format!("{name}: {done}; served by process {}", pids.join(", ")));
            return Ok(ExitCode::SUCCESS);
        }
        if group.state == "failed" {
            let text = format!("new processes of {name} do not start; the error log says why");
            return Err(Fault::new(648, text));
        }
        if Instant::now() > deadline {
            let text = format!(
                "{name} is not {done} after {} s: {} new processes serve, {} old ones are still there; the error log says \
                 more",
                options.timeout,
                serving.len(),
                group
                    .processes
                    .iter()
                    .filter(|process| old.contains(&process.pid))
                    .count()
            );
            return Err(Fault::new(649, text));
        }
        thread::sleep(PAUSE);
    }
}

fn find<'r>(report: &'r Report, name: &str) -> Result<&'r Group, Fault> {
    let found = report.groups.iter().find(|group| group.name == name);
    found.ok_or_else(|| {
        Fault::new(
            649,
            format!("the process group '{name}' is gone: another configuration is in effect"),
        )
    })
}

/// New processes that serve.
fn serving(group: &Group, generation: u64, old: &[u32]) -> Vec<u32> {
    let new = group.processes.iter().filter(|process| {
        process.state == "serving" && process.generation >= generation && !old.contains(&process.pid)
    });
    new.map(|process| process.pid).collect()
}

/// Whether old processes still take requests.
fn remain(group: &Group, old: &[u32]) -> bool {
    let old = |pid| old.contains(&pid);
    group
        .processes
        .iter()
        .any(|process| matches!(&process.state[..], "serving" | "starting") && old(process.pid))
}

fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stdout(), "{text}");
}
