//! What the threads of the whole server do (`scoreboard.h`), as JSON in the shape of `mod_wsgi.server_metrics()`.

use std::ffi::{c_char, c_int};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ffi;

/// Letters for the states of a thread, as mod_status has them, by number (`SERVER_*` in `scoreboard.h`).
const STATES: [char; 11] = ['.', 'S', '_', 'R', 'W', 'K', 'L', 'D', 'C', 'G', 'I'];

/// The scoreboard now; `null` where httpd has none.
pub fn json() -> String {
    // SAFETY: httpd's own accessors, which are safe in any thread once the server runs. The records are shared with
    // other processes, which write them whenever they like: they are read as plain numbers and bytes.
    unsafe {
        if ffi::ap_exists_scoreboard_image() == 0 {
            return "null".into();
        }
        let Some(global) = ffi::ap_get_scoreboard_global().as_ref() else {
            return "null".into();
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let restart = seconds(global.restart_time);
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "{{\"server_limit\":{},\"thread_limit\":{},\"running_generation\":{},\"restart_time\":{restart},\
             \"current_time\":{},\"running_time\":{},\"processes\":[",
            global.server_limit,
            global.thread_limit,
            global.running_generation,
            now.as_secs_f64(),
            (now.as_secs_f64() - restart).max(0.0).floor(),
        );
        let processes = (0..global.server_limit).filter_map(|number| {
            let process = ffi::ap_get_scoreboard_process(number).as_ref()?;
            (process.pid != 0).then_some((number, process))
        });
        for (at, (number, process)) in processes.enumerate() {
            let _ = write!(
                out,
                "{}{{\"process_num\":{number},\"pid\":{},\"generation\":{},\"quiescing\":{},\"workers\":[",
                comma(at),
                process.pid,
                process.generation,
                process.quiescing != 0,
            );
            for thread in 0..global.thread_limit {
                worker(&mut out, number, thread);
            }
            out.push_str("]}");
        }
        out.push_str("]}");
        out
    }
}

/// # Safety
/// The scoreboard exists, and both numbers are within its limits.
unsafe fn worker(out: &mut String, process: c_int, thread: c_int) {
    // SAFETY: the caller's promise; the record is copied by httpd's own function.
    let score = unsafe {
        let mut score: ffi::worker_score = std::mem::zeroed();
        ffi::ap_copy_scoreboard_worker(&raw mut score, process, thread);
        score
    };
    let state = STATES.get(usize::from(score.status)).copied().unwrap_or('?');
    let _ = write!(
        out,
        "{}{{\"thread_num\":{thread},\"generation\":{},\"status\":\"{state}\",\"access_count\":{},\"bytes_served\":{},\
         \"start_time\":{},\"stop_time\":{},\"last_used\":{},\"client\":{},\"request\":{},\"vhost\":{}}}",
        comma(usize::try_from(thread).unwrap_or(0)),
        score.generation,
        score.access_count,
        score.bytes_served,
        seconds(score.start_time),
        seconds(score.stop_time),
        seconds(score.last_used),
        text(&score.client64),
        text(&score.request),
        text(&score.vhost),
    );
}

fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { "," }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 need 51 bits")]
fn seconds(time: ffi::apr_time_t) -> f64 {
    time as f64 / 1e6
}

/// The text up to its NUL, one character for each byte.
fn text(bytes: &[c_char]) -> String {
    let mut out = String::from("\"");
    for byte in bytes
        .iter()
        .map(|byte| byte.cast_unsigned())
        .take_while(|byte| *byte != 0)
    {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(byte.into());
            }
            0x20..0x7f => out.push(byte.into()),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push('"');
    out
}
