//! The report as a page for people: no script, nothing loaded from elsewhere. Everything that is shown is escaped by
//! the templates.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use wsgi_core::stats::Phase;
use wsgi_core::stats::report::{Group, Process, Report, Running, Times};

/// Seconds after which the browser loads it again.
const REFRESH: u64 = 5;

/// Threads of a process that are listed; the busy ones first.
const THREADS: usize = 50;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn render(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(REFRESH);
                meta name="robots" content="noindex";
                title { "WSGI status" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "WSGI status" }
                    p { (clock(report.time_us)) " UTC · loads again every " (REFRESH) " s · "
                        a href="?format=json" { "JSON" } " · " a href="?format=openmetrics" { "OpenMetrics" } }
                }
                main {
                    @if report.groups.is_empty() { p.note { "Nothing has been reported yet." } }
                    @for group in &report.groups { (section(group, report.time_us)) }
                }
            }
        }
    };
    page.into_string()
}

fn section(group: &Group, now: u64) -> Markup {
    let total = group.times(Phase::Request);
    let queue = group.times(Phase::Queue);
    html! {
        section {
            h2 { (group.title()) " " span class={ "state " (group.state) } { (group.state) } }
            div.facts {
                (fact("requests", &count(group.requests.completed), &format!("{:.1} /s", group.rate(12))))
                (fact("in progress", &count(group.requests.running), ""))
                @if !group.name.is_empty() {
                    (fact("in queue", &count(group.queue_length), &format!("p99 {}", time(queue.p99_us))))
                }
                (fact("time, p50", &time(total.p50_us), &format!("p99 {}", time(total.p99_us))))
                (fact("server errors", &count(group.requests.status[4]), &share(group.requests.status[4], group.requests.completed)))
                (fact("memory", &bytes(group.memory()), &processes_of(group.processes.len())))
                (fact("processor", &time(Some(group.cpu_user_us.saturating_add(group.cpu_system_us))), ""))
                figure { (sparkline(group)) figcaption { "requests, last " (group.history.len() as u64 * group.history_seconds / 60) " min" } }
            }
            (processes(group, now))
            details {
                summary { "Where the time goes, and why processes ended" }
                div.beside {
                    (phases(group))
                    // httpd starts its own processes, and nobody counts them.
                    @if !group.name.is_empty() { (ends(group)) }
                }
            }
        }
    }
}

fn fact(title: &str, value: &str, more: &str) -> Markup {
    html! { dl { dt { (title) } dd { (value) } @if !more.is_empty() { dd.more { (more) } } } }
}

/// The columns of processes: title and class. In a narrow window each value has its title above it.
const PROCESS: [(&str, &str); 9] = [
    ("process", ""),
    ("state", ""),
    ("since", ""),
    ("requests", "n"),
    ("failed", "n"),
    ("processor", "n"),
    ("memory", "n"),
    ("interpreters", "n"),
    ("runs now", "runs"),
];

fn processes(group: &Group, now: u64) -> Markup {
    html! {
        @if group.processes.is_empty() { p.note { "No process at the moment." } }
        @else {
            table.cards.processes {
                (head(&PROCESS))
                tbody { @for process in &group.processes { (process_row(process, now)) } }
            }
        }
    }
}

fn head(columns: &[(&str, &str)]) -> Markup {
    html! { thead { tr { @for (title, class) in columns { th class=(class) { (title) } } } } }
}

fn row(columns: &[(&str, &str)], values: &[Markup]) -> Markup {
    html! { tr { @for ((title, class), value) in columns.iter().zip(values) { td class=(class) data-title=(title) { (value) } } } }
}

fn process_row(process: &Process, now: u64) -> Markup {
    let cpu = process.cpu_user_us.saturating_add(process.cpu_system_us);
    let mut running: Vec<(u64, &Running)> = process
        .threads
        .iter()
        .filter_map(|thread| Some((thread.tid, thread.running.as_ref()?)))
        .collect();
    running.sort_by_key(|(_, running)| std::cmp::Reverse(running.elapsed_us));
    let more = running.len().saturating_sub(THREADS);
    let values = [
        html! { (process.pid) },
        html! { span class={ "state " (process.state) } { (process.state) } },
        html! { span title={ (clock(process.started_us)) " UTC" } { (time(Some(now.saturating_sub(process.started_us)))) } },
        html! { (count(process.requests.completed)) },
        html! { (count(process.requests.failed)) },
        html! { (time(Some(cpu))) },
        html! { (bytes(process.memory)) },
        html! { (process.interpreters) },
        html! {
            @if running.is_empty() { span.idle { "idle" } }
            @for (tid, running) in running.iter().take(THREADS) { (request(*tid, running)) }
            @if more > 0 { div.idle { "and " (more) " more" } }
        },
    ];
    row(&PROCESS, &values)
}

fn request(tid: u64, running: &Running) -> Markup {
    html! {
        div title={ "thread " (tid) } {
            code { (running.request) } " "
            span class=(if running.elapsed_us > 1_000_000 { "slow" } else { "idle" }) { (time(Some(running.elapsed_us))) }
            @if running.queued_us > 100_000 { span.idle { " after " (time(Some(running.queued_us))) " in the queue" } }
        }
    }
}

/// The columns of phases, as those of processes.
const PHASE: [(&str, &str); 7] = [
    ("time of requests", "name"),
    ("requests", "n"),
    ("mean", "n"),
    ("p50", "n"),
    ("p90", "n"),
    ("p99", "n"),
    ("longest", "n"),
];

fn phases(group: &Group) -> Markup {
    let rows = [
        ("all of it", Phase::Request),
        ("in httpd before", Phase::Server),
        ("in the queue", Phase::Queue),
        ("before the application", Phase::Daemon),
        ("in the application", Phase::Application),
        ("waiting for Python's lock", Phase::GilWait),
        ("reading the body", Phase::InputRead),
        ("sending the reply", Phase::OutputWrite),
    ];
    html! {
        table.cards {
            (head(&PHASE))
            tbody { @for (title, phase) in rows { (phase_row(title, &group.times(phase))) } }
        }
    }
}

fn phase_row(title: &str, times: &Times) -> Markup {
    let value = |micros| html! { (time(micros)) };
    let values = [
        html! { (title) },
        html! { (count(times.count)) },
        value(times.mean_us()),
        value(times.p50_us),
        value(times.p90_us),
        value(times.p99_us),
        value(times.max_us),
    ];
    row(&PHASE, &values)
}

fn ends(group: &Group) -> Markup {
    html! {
        table {
            thead { tr { th { "processes" } th.n { "number" } } }
            tbody {
                tr { td { "started" } td.n { (count(group.starts)) } }
                @for (reason, number) in &group.ends {
                    tr { td { "ended: " (reason.replace('_', " ")) } td.n { (count(*number)) } }
                }
            }
        }
    }
}

/// Bars for the history, the latest at the right.
fn sparkline(group: &Group) -> Markup {
    let most = group.history.iter().copied().max().unwrap_or(0).max(1);
    let width = group.history.len() * 4;
    html! {
        svg viewBox={ "0 0 " (width) " 40" } width=(width) height="40" role="img" aria-label={ "at most " (most) " requests in " (group.history_seconds) " s" } {
            title { "at most " (count(most)) " requests in " (group.history_seconds) " s" }
            @for (at, number) in group.history.iter().enumerate() {
                @let height = bar(*number, most);
                rect x=(at * 4) y=(40 - height) width="3" height=(height) {}
            }
        }
    }
}

/// Height of a bar; whatever is not nothing can be seen.
fn bar(number: u64, most: u64) -> u64 {
    match number {
        0 => 1,
        _ => ((number as f64 / most as f64 * 40.0) as u64).clamp(2, 40),
    }
}

fn processes_of(number: usize) -> String {
    match number {
        1 => "1 process".to_owned(),
        _ => format!("{number} processes"),
    }
}

/// A number, in groups of three digits.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return String::new();
    }
    format!("{:.2} %", part as f64 / whole as f64 * 100.0)
}

fn bytes(number: u64) -> String {
    match number {
        0 => "–".to_owned(),
        1..1_000_000 => format!("{} KB", number / 1000),
        1_000_000..10_000_000_000 => format!("{} MB", number / 1_000_000),
        _ => format!("{} GB", number / 1_000_000_000),
    }
}

/// A time in µs, short.
fn time(micros: Option<u64>) -> String {
    let Some(micros) = micros else { return "–".to_owned() };
    let time = Duration::from_micros(micros);
    let (seconds, minutes) = (time.as_secs(), time.as_secs() / 60);
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..10_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{} ms", time.as_millis()),
        1_000_000..60_000_000 => format!("{:.1} s", time.as_secs_f64()),
        60_000_000..3_600_000_000 => format!("{minutes} min {} s", seconds % 60),
        3_600_000_000..172_800_000_000 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1440, minutes / 60 % 24),
    }
}

/// A moment since the epoch in µs, as date and time of day in UTC.
fn clock(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days, in eras of 400 years that begin on 1 March 0000.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}
