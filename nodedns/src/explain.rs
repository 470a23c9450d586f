//! The record of one decision, for whoever wants to know why a name is answered
//! as it is: which zone it went to, who was asked and what came of it, what the
//! chain of trust looks like, and what the answer is worth.
//!
//! Nobody records what clients ask: the parts that write here are handed none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::key::Key;
use crate::validate::Verdict;
use crate::wire::Rcode;
use crate::wire::name::Name;
use crate::wire::record::Section;
use crate::wire::response::Response;

/// What happened, in order.
#[derive(Debug)]
pub(crate) struct Record {
    began: Instant,
    steps: Mutex<Vec<Step>>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Since the record began.
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

/// What may happen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A name goes to a zone of the configuration.
    Route {
        key: Key,
        zone: Name,
        /// Whether nobody in particular is asked: the way goes down from the root.
        recursion: bool,
        validate: bool,
    },
    /// A server was asked.
    Asked {
        /// The zone as whose server it was.
        zone: Name,
        server: String,
        key: Key,
        over: Over,
        outcome: Outcome,
        after: Duration,
    },
    /// A server referred to the servers of a zone below.
    Referral {
        from: Name,
        to: Name,
        servers: Servers,
    },
    /// A part of the answer was judged.
    Judged { key: Key, verdict: Verdict },
}

/// How a question travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Tls,
}

/// What became of a question to a server.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It answered, with so many records in the answer section.
    Answered { rcode: Rcode, records: usize },
    /// It failed, in words.
    Failed(String),
    /// It has not answered in time; another was asked beside it.
    Late,
}

/// How the servers of a zone are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Servers {
    /// Name servers.
    pub(crate) names: usize,
    /// Those whose addresses came along.
    pub(crate) with_glue: usize,
}

impl Record {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            steps: Mutex::default(),
        }
    }

    /// Takes note; of no more than a person would read.
    pub(crate) fn add(&self, event: Event) {
        let at = self.began.elapsed();
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() < MAX_STEPS {
            steps.push(Step { at, event });
        }
    }

    /// What happened.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.clone()
    }
}

impl Outcome {
    /// That this came.
    pub(crate) fn of(response: &Response) -> Self {
        Self::Answered {
            rcode: response.rcode(),
            records: response.layout().section(Section::Answer).count(),
        }
    }
}

impl Over {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

const MAX_STEPS: usize = 1_000;
