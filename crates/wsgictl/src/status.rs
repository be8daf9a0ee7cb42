//! `wsgictl status`: what each process group does.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;
use wsgi_core::stats::Phase;
use wsgi_core::stats::report::{Group, Process, Report};

use crate::arguments::Status;
use crate::control::Control;
use crate::fault::Fault;

/// The terminal's other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner; then what is left of a line or of the screen is cleared.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Shows it.
pub fn status(options: &Status) -> Result<ExitCode, Fault> {
    let control = Control::find(&options.server)?;
    let report = control.report()?;
    let out = io::stdout();
    if options.json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        let _ = writeln!(&out, "{text}");
    } else if options.once || !out.is_terminal() {
        let _ = out.lock().write_all((lines(&report).join("\n") + "\n").as_bytes());
    } else {
        live(&control, report, Duration::from_secs_f64(options.interval))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows it again and again, until somebody has seen enough.
fn live(control: &Control, mut report: Report, interval: Duration) -> Result<(), Fault> {
    // Without ears for Ctrl-C the terminal could not be put back in order.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGWINCH]) else {
        write(&(lines(&report).join("\n") + "\n"));
        return Ok(());
    };
    let (heard, hearing) = mpsc::channel();
    thread::spawn(move || {
        for signal in &mut signals {
            if heard.send(signal).is_err() {
                return;
            }
        }
    });
    let screen = Screen::enter();
    loop {
        screen.show(&lines(&report));
        match hearing.recv_timeout(interval) {
            Ok(SIGINT | SIGTERM) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => report = control.report()?,
        }
    }
}

/// The terminal while it is ours.
struct Screen;

impl Screen {
    fn enter() -> Screen {
        write(ENTER);
        Screen
    }

    fn show(&self, lines: &[String]) {
        let size = tcgetwinsize(io::stdout()).ok();
        let (rows, columns) = size.map_or((24, 80), |size| (size.ws_row.max(2).into(), size.ws_col.max(20).into()));
        let mut text = HOME.to_owned();
        let more = lines.len().saturating_sub(rows - 1);
        for line in &lines[..lines.len() - more] {
            text.extend(line.chars().take(columns));
            text += CLEAR_LINE;
            text += "\r\n";
        }
        text += CLEAR_REST;
        if more > 0 {
            text += &format!("… {more} more lines");
        } else {
            text += "Ctrl-C ends this";
        }
        write(&text);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that is gone shows nothing.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The table.
fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &report.groups {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(group_lines(group, report.time_us));
    }
    if lines.is_empty() {
        lines.push("no process groups".to_owned());
    }
    lines
}

fn group_lines(group: &Group, now: u64) -> Vec<String> {
    let requests = &group.requests;
    let times = group.times(Phase::Request);
    // Requests do not wait for httpd's own processes in a queue of ours.
    let (queue, queued) = match &group.name[..] {
        "" => (String::new(), String::new()),
        _ => (
            format!("{} in queue, ", group.queue_length),
            format!("in queue p99 {}; ", time(group.times(Phase::Queue).p99_us)),
        ),
    };
    let mut lines = vec![
        format!("{}  {}", plain(group.title()), group.state),
        format!(
            "  {} requests ({:.1}/s), {} in progress, {queue}{} with status 5xx, {} failed",
            requests.completed,
            group.rate(12),
            requests.running,
            requests.status[4],
            requests.failed
        ),
        format!(
            "  time p50 {} p90 {} p99 {}; {queued}waiting for the GIL p99 {}",
            time(times.p50_us),
            time(times.p90_us),
            time(times.p99_us),
            time(group.times(Phase::GilWait).p99_us)
        ),
    ];
    let ends: Vec<String> = group
        .ends
        .iter()
        .map(|(reason, count)| format!("{count} {}", plain(reason)))
        .collect();
    if !ends.is_empty() {
        lines.push(format!(
            "  {} processes started; ended: {}",
            group.starts,
            ends.join(", ")
        ));
    }
    if !group.processes.is_empty() {
        lines.push(format!(
            "  {:>8}  {:<9} {:>9} {:>10} {:>8} {:>9} {:>9}  {}",
            "PROCESS", "STATE", "SINCE", "REQUESTS", "FAILED", "CPU", "MEMORY", "RUNS NOW"
        ));
    }
    for process in &group.processes {
        lines.extend(process_lines(process, now));
    }
    lines
}

fn process_lines(process: &Process, now: u64) -> Vec<String> {
    let mut running: Vec<String> = Vec::new();
    let mut busy: Vec<_> = process
        .threads
        .iter()
        .filter_map(|thread| thread.running.as_ref())
        .collect();
    busy.sort_by_key(|running| std::cmp::Reverse(running.elapsed_us));
    for request in busy {
        running.push(format!(
            "{} {}",
            time(Some(request.elapsed_us)),
            plain(&request.request)
        ));
    }
    let first = format!(
        "  {:>8}  {:<9} {:>9} {:>10} {:>8} {:>9} {:>9}  {}",
        process.pid,
        plain(&process.state),
        time(Some(now.saturating_sub(process.started_us))),
        process.requests.completed,
        process.requests.failed,
        time(Some(process.cpu_user_us.saturating_add(process.cpu_system_us))),
        format!("{} MB", process.memory / 1_000_000),
        running.first().map_or("-", String::as_str)
    );
    let more = running.iter().skip(1).map(|request| format!("{:73}{request}", ""));
    std::iter::once(first).chain(more).collect()
}

/// Text that a tenant may have chosen, as one that a terminal only shows.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A time in µs, short.
fn time(micros: Option<u64>) -> String {
    let Some(micros) = micros else { return "-".to_owned() };
    let seconds = micros / 1_000_000;
    match micros {
        0..1000 => format!("{micros}us"),
        1000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", micros / 1000),
        1_000_000..60_000_000 => format!("{:.1}s", micros as f64 / 1e6),
        60_000_000..3_600_000_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600_000_000..172_800_000_000 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgi_core::stats::report::{Running, Thread};

    #[test]
    fn times() {
        for (micros, text) in [
            (0, "0us"),
            (1500, "1.5ms"),
            (15_000, "15ms"),
            (1_500_000, "1.5s"),
            (61_000_000, "1m01s"),
            (3_660_000_000, "1h01m"),
            (266_400_000_000, "3d02h"),
        ] {
            assert_eq!(time(Some(micros)), text);
        }
        assert_eq!(time(None), "-");
    }

    #[test]
    fn a_table() {
        let thread = |elapsed_us, request: &str| Thread {
            running: Some(Running {
                request: request.into(),
                elapsed_us,
                ..Running::default()
            }),
            ..Thread::default()
        };
        let process = Process {
            pid: 77,
            state: "serving".into(),
            threads: vec![thread(5, "GET /\x1b[2J"), thread(2_000_000, "GET /slow")],
            ..Process::default()
        };
        let group = Group {
            name: "shop".into(),
            state: "ready".into(),
            processes: vec![process],
            ..Group::default()
        };
        let report = Report {
            groups: vec![group],
            ..Report::default()
        };
        let lines = lines(&report);
        assert_eq!(lines[0], "shop  ready");
        assert!(lines.iter().all(|line| !line.contains('\x1b')));
        let slow = lines.iter().find(|line| line.contains(" 77 ")).unwrap();
        assert!(slow.ends_with("  2.0s GET /slow"), "{slow}");
        assert!(lines.last().unwrap().ends_with("5us GET /\u{fffd}[2J"));
        assert_eq!(super::lines(&Report::default()), ["no process groups"]);
    }
}
