//! What is known of one question when it is done: the schema of `-o json`. Fields
//! are added, never changed or taken away.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use serde::Serialize;

use crate::config::Name;
use crate::explain::{Event, Outcome, Step};
use crate::query::Question;
use crate::validate::{TrustLink, VERDICTS, Verdict};

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) rtype: String,
    /// As in `NXDOMAIN`.
    pub(super) rcode: String,
    /// `secure`, `insecure`, `indeterminate`, `bogus`; `unchecked` where nothing is
    /// validated, or nothing came that could be.
    pub(super) verdict: &'static str,
    /// Why the verdict is that, in words.
    pub(super) reason: Option<String>,
    /// Whether clients that want to know are told that it is authentic (AD).
    pub(super) authentic: bool,
    pub(super) error: Option<ErrorForm>,
    pub(super) answer: Vec<RecordForm>,
    pub(super) authority: Vec<RecordForm>,
    pub(super) steps: Vec<StepForm>,
    pub(super) trust: Vec<LinkForm>,
}

/// An extended error (RFC 8914).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ErrorForm {
    pub(super) code: u16,
    pub(super) text: String,
}

/// A record of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RecordForm {
    pub(super) name: String,
    pub(super) ttl: u32,
    #[serde(rename = "type")]
    pub(super) rtype: String,
    pub(super) data: String,
}

/// A step on the way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StepForm {
    /// Milliseconds since the question was asked.
    pub(super) at_ms: f64,
    #[serde(flatten)]
    pub(super) what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub(super) enum What {
    /// The question goes to the zone with the longest name.
    Route {
        question: String,
        zone: String,
        recursion: bool,
        validate: bool,
    },
    /// A server was asked.
    Asked {
        question: String,
        zone: String,
        server: String,
        transport: &'static str,
        /// `answered`, `failed`, `late`: another server was asked beside it.
        outcome: &'static str,
        /// The code of the answer, or what went wrong.
        detail: String,
        /// Records in the answer section.
        records: Option<usize>,
        took_ms: f64,
    },
    /// A server knows who knows more.
    Referral {
        from: String,
        to: String,
        name_servers: usize,
        with_address: usize,
    },
    /// A part of the answer was judged.
    Judged {
        question: String,
        verdict: &'static str,
        reason: Option<String>,
    },
}

/// A link of the chain of trust.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LinkForm {
    pub(super) zone: String,
    /// `secure`, `signed`, `insecure`, `bogus`.
    pub(super) state: &'static str,
    /// In words.
    pub(super) reason: String,
    /// Whether trust begins here.
    pub(super) anchor: bool,
}

impl Report {
    /// What `answer` says to `question`, what happened, and what is known of the
    /// zones above each name that was judged.
    pub(super) fn new(
        question: &Question,
        answer: &Message,
        steps: &[Step],
        links: impl Fn(&Name) -> Vec<TrustLink>,
    ) -> Self {
        let judged: Vec<_> = steps
            .iter()
            .filter_map(|step| match &step.event {
                Event::Judged { key, verdict } => Some((key, verdict)),
                _ => None,
            })
            .collect();
        let mut trust: Vec<TrustLink> = Vec::new();
        for (key, _) in &judged {
            for link in Name::from_wire(key.name()).iter().flat_map(&links) {
                if !trust.contains(&link) {
                    trust.push(link);
                }
            }
        }
        let worst = judged.iter().map(|(_, verdict)| *verdict);
        let worst = worst.max_by_key(|verdict| verdict.rank());
        Self {
            name: question.name.to_string(),
            rtype: question.rtype.to_string(),
            rcode: code(answer.metadata.response_code),
            verdict: worst.map_or("unchecked", |verdict| VERDICTS[verdict.rank()]),
            reason: match worst {
                Some(verdict) => reason(verdict).or_else(|| grounds(&trust)),
                // Why there is no answer at all the error says.
                None if is_answer(answer.metadata.response_code) => unvalidated(steps),
                None => None,
            },
            authentic: answer.metadata.authentic_data,
            error: error(answer),
            answer: answer.answers.iter().map(RecordForm::of).collect(),
            authority: answer.authorities.iter().map(RecordForm::of).collect(),
            steps: steps.iter().map(StepForm::of).collect(),
            trust: trust.iter().map(LinkForm::of).collect(),
        }
    }

    /// Whether there is an answer, be it that there is no such name.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.rcode.as_str(), "NOERROR" | "NXDOMAIN" | "YXDOMAIN")
    }
}

impl RecordForm {
    fn of(record: &Record) -> Self {
        Self {
            name: record.name.to_ascii(),
            ttl: record.ttl,
            rtype: record.record_type().to_string(),
            data: record.data.to_string(),
        }
    }
}

impl LinkForm {
    fn of(link: &TrustLink) -> Self {
        Self {
            zone: link.zone.to_string(),
            state: link.state.name(),
            reason: link.state.to_string(),
            anchor: link.is_anchor,
        }
    }
}

impl StepForm {
    fn of(step: &Step) -> Self {
        Self {
            at_ms: millis(step.at),
            what: What::of(&step.event),
        }
    }
}

impl What {
    fn of(event: &Event) -> Self {
        match event {
            Event::Route {
                key,
                zone,
                recursion,
                validate,
            } => Self::Route {
                question: key.to_string(),
                zone: zone.to_string(),
                recursion: *recursion,
                validate: *validate,
            },
            Event::Asked {
                zone,
                server,
                key,
                over,
                outcome,
                after,
            } => {
                let (outcome, detail, records) = match outcome {
                    Outcome::Answered { rcode, records } => {
                        ("answered", rcode.to_string(), Some(*records))
                    }
                    Outcome::Failed(what) => ("failed", what.clone(), None),
                    Outcome::Late => ("late", "another is asked beside it".to_owned(), None),
                };
                Self::Asked {
                    question: key.to_string(),
                    zone: zone.to_string(),
                    server: server.clone(),
                    transport: over.name(),
                    outcome,
                    detail,
                    records,
                    took_ms: millis(*after),
                }
            }
            Event::Referral { from, to, servers } => Self::Referral {
                from: from.to_string(),
                to: to.to_string(),
                name_servers: servers.names,
                with_address: servers.with_glue,
            },
            Event::Judged { key, verdict } => Self::Judged {
                question: key.to_string(),
                verdict: VERDICTS[verdict.rank()],
                reason: reason(verdict),
            },
        }
    }
}

fn reason(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Secure => None,
        Verdict::Insecure(insecure) => Some(insecure.to_string()),
        Verdict::Indeterminate => Some("no trust anchor is above the name".to_owned()),
        Verdict::Bogus(fault) => Some(fault.to_string()),
    }
}

/// Why an answer is secure: where its chain of trust begins.
fn grounds(trust: &[TrustLink]) -> Option<String> {
    let anchor = trust.iter().rfind(|link| link.is_anchor)?;
    let zone = &anchor.zone;
    Some(format!(
        "signatures lead from it up to the trust anchor at {zone}"
    ))
}

/// Why an answer is worth what its server is.
fn unvalidated(steps: &[Step]) -> Option<String> {
    steps.iter().find_map(|step| match &step.event {
        Event::Route {
            zone,
            validate: false,
            ..
        } => Some(format!(
            "zone {zone} is not validated, as its configuration says"
        )),
        _ => None,
    })
}

const fn is_answer(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn error(answer: &Message) -> Option<ErrorForm> {
    let options = answer.edns.iter().flat_map(|edns| edns.options().as_ref());
    let mut errors = options.filter_map(|(code, option)| match (code, option) {
        (EdnsCode::Unknown(EXTENDED_ERROR), EdnsOption::Unknown(_, bytes)) => {
            let (code, text) = bytes.split_first_chunk()?;
            Some(ErrorForm {
                code: u16::from_be_bytes(*code),
                text: String::from_utf8_lossy(text).into_owned(),
            })
        }
        _ => None,
    });
    errors.next()
}

/// The code as it is written in the registry, in capitals.
fn code(code: ResponseCode) -> String {
    crate::wire::Rcode(code.into()).to_string()
}

fn millis(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// The EDNS option of an extended error.
const EXTENDED_ERROR: u16 = 15;

#[cfg(test)]
mod tests;
