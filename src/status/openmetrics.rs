//! The report as OpenMetrics text, for Prometheus and its kin.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use wsgi_core::stats::Phase;
use wsgi_core::stats::report::{Group, Report, Times};

/// The text.
///
/// # Errors
/// The encoder's.
pub fn render(report: &Report) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("mod_wsgi");
    registry.register_collector(Box::new(Shown(report.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// Upper ends of the buckets, in ms.
const BUCKETS: [u64; 16] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 300_000,
];

/// The phases that are shown, their names and what they are.
const PHASES: [(Phase, &str, &str); 4] = [
    (
        Phase::Request,
        "request_duration",
        "From httpd's receipt of a request until its end",
    ),
    (Phase::Queue, "request_queue", "How long requests waited in the queue"),
    (
        Phase::Application,
        "request_application",
        "How long requests were in the application",
    ),
    (
        Phase::GilWait,
        "request_gil_wait",
        "How long requests waited for Python's lock",
    ),
];

#[derive(Debug)]
struct Shown(Report);

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut out = Out(encoder);
        let groups = &self.0.groups;
        let mut classes = out.metric(
            "requests",
            "Requests ended, by the class of their status",
            None,
            MetricType::Counter,
        )?;
        for group in groups {
            for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .into_iter()
                .zip(group.requests.status)
            {
                counter(&mut classes, &[("group", name(group)), ("status", class)], count)?;
            }
        }
        out.counter(
            "requests_failed",
            "Requests whose reply was not whole, or not received",
            groups,
            |group| group.requests.failed,
        )?;
        out.gauge("requests_in_progress", "Requests that run", groups, |group| {
            group.requests.running
        })?;
        out.gauge(
            "queue_length",
            "Requests that wait for a process, judged by their bytes",
            groups,
            |group| group.queue_length,
        )?;
        out.counter("gil_waits", "How often Python's lock was waited for", groups, |group| {
            group.requests.gil_waits
        })?;
        let bytes = Some(Unit::Bytes);
        out.counter_of("request_body", "Bodies of requests", bytes.as_ref(), groups, |group| {
            group.requests.input_bytes
        })?;
        out.counter_of("reply_body", "Bodies of replies", bytes.as_ref(), groups, |group| {
            group.requests.output_bytes
        })?;
        for (phase, title, help) in PHASES {
            let mut metric = out.metric(title, help, Some(&Unit::Seconds), MetricType::Histogram)?;
            for group in groups {
                histogram(metric.encode_family(&[("group", name(group))])?, &group.times(phase))?;
            }
        }
        let mut states = out.metric("processes", "Processes of the group, by state", None, MetricType::Gauge)?;
        for group in groups {
            for state in ["starting", "serving", "draining", "ending"] {
                let count = group.processes.iter().filter(|process| process.state == state).count() as u64;
                gauge(&mut states, &[("group", name(group)), ("state", state)], count)?;
            }
        }
        let mut starts = out.metric("process_starts", "Daemon processes started", None, MetricType::Counter)?;
        // httpd starts its own, and nobody counts them.
        for group in groups.iter().filter(|group| !group.name.is_empty()) {
            counter(&mut starts, &[("group", name(group))], group.starts)?;
        }
        let mut ends = out.metric(
            "process_ends",
            "Processes that have ended, by reason",
            None,
            MetricType::Counter,
        )?;
        for group in groups {
            for (reason, count) in &group.ends {
                counter(&mut ends, &[("group", name(group)), ("reason", reason)], *count)?;
            }
        }
        out.gauge("interpreters", "Python interpreters", groups, |group| {
            group
                .processes
                .iter()
                .map(|process| process.interpreters)
                .fold(0, u64::saturating_add)
        })?;
        let mut memory = out.metric("memory", "Memory in use", bytes.as_ref(), MetricType::Gauge)?;
        for group in groups {
            gauge(&mut memory, &[("group", name(group))], group.memory())?;
        }
        let mut cpu = out.metric("cpu", "Processor time", Some(&Unit::Seconds), MetricType::Counter)?;
        for group in groups {
            for (mode, micros) in [("user", group.cpu_user_us), ("system", group.cpu_system_us)] {
                let labels = [("group", name(group)), ("mode", mode)];
                cpu.encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&seconds(micros), None)?;
            }
        }
        Ok(())
    }
}

struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn metric<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn counter(&mut self, name: &str, help: &str, groups: &[Group], value: impl Fn(&Group) -> u64) -> fmt::Result {
        self.counter_of(name, help, None, groups, value)
    }

    fn counter_of(
        &mut self,
        title: &str,
        help: &str,
        unit: Option<&Unit>,
        groups: &[Group],
        value: impl Fn(&Group) -> u64,
    ) -> fmt::Result {
        let mut metric = self.metric(title, help, unit, MetricType::Counter)?;
        groups
            .iter()
            .try_for_each(|group| counter(&mut metric, &[("group", name(group))], value(group)))
    }

    fn gauge(&mut self, title: &str, help: &str, groups: &[Group], value: impl Fn(&Group) -> u64) -> fmt::Result {
        let mut metric = self.metric(title, help, None, MetricType::Gauge)?;
        groups
            .iter()
            .try_for_each(|group| gauge(&mut metric, &[("group", name(group))], value(group)))
    }
}

fn counter(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: u64) -> fmt::Result {
    metric
        .encode_family(&labels)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: u64) -> fmt::Result {
    metric.encode_family(&labels)?.encode_gauge(&value)
}

fn histogram(mut metric: MetricEncoder<'_>, times: &Times) -> fmt::Result {
    let mut before = 0;
    let mut buckets = Vec::with_capacity(BUCKETS.len() + 1);
    for millis in BUCKETS {
        let below = times.up_to(millis * 1000);
        buckets.push((millis as f64 / 1000.0, below.saturating_sub(before)));
        before = below;
    }
    buckets.push((f64::INFINITY, times.count.saturating_sub(before)));
    metric.encode_histogram::<NoLabelSet>(seconds(times.sum_us), times.count, &buckets, None)
}

fn name(group: &Group) -> &str {
    if group.name.is_empty() {
        "%{GLOBAL}"
    } else {
        &group.name
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
