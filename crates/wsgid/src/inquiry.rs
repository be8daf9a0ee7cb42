//! What an administrator wants to hear from daemons, and has not heard yet.

use std::time::Duration;

use wsgi_core::supervision::Time;
use wsgi_core::wire::control::command::{Answer, Stacks};

use crate::control::ClientId;

/// How long a daemon may take to say what its threads are doing.
const PATIENCE: Duration = Duration::from_secs(5);

/// The inquiries of a group.
#[derive(Debug, Default)]
pub struct Inquiries(Vec<Inquiry>);

#[derive(Debug)]
struct Inquiry {
    client: ClientId,
    waiting: Vec<u32>,
    heard: Vec<Stacks>,
    until: Time,
}

impl Inquiries {
    /// These processes have been asked.
    pub fn begin(&mut self, client: ClientId, asked: Vec<u32>, now: Time) {
        self.0.push(Inquiry {
            client,
            waiting: asked,
            heard: Vec::new(),
            until: now + PATIENCE,
        });
    }

    /// A process has answered. What nobody has asked for goes nowhere.
    pub fn hear(&mut self, pid: u32, text: &str) {
        for inquiry in &mut self.0 {
            if let Some(at) = inquiry.waiting.iter().position(|waiting| *waiting == pid) {
                inquiry.waiting.swap_remove(at);
                let text = text.to_owned();
                inquiry.heard.push(Stacks { pid, text });
            }
        }
    }

    /// When the next answer is due.
    pub fn timer(&self) -> Option<Time> {
        self.0.iter().map(|inquiry| inquiry.until).min()
    }

    /// The answers that are complete, or due.
    pub fn finished(&mut self, now: Time) -> Vec<(ClientId, Answer)> {
        let (done, rest): (Vec<Inquiry>, Vec<Inquiry>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|inquiry| inquiry.waiting.is_empty() || inquiry.until <= now);
        self.0 = rest;
        let answer = |mut inquiry: Inquiry| {
            let silent = inquiry.waiting.drain(..).map(|pid| Stacks {
                pid,
                text: "it does not answer".to_owned(),
            });
            inquiry.heard.extend(silent);
            inquiry.heard.sort_by_key(|stacks| stacks.pid);
            (inquiry.client, Answer::Stacks(inquiry.heard))
        };
        done.into_iter().map(answer).collect()
    }
}
