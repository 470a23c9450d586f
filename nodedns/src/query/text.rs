//! The report of one question for people.

use std::io::{self, Write};

use crate::query::report::{RecordForm, Report, StepForm, What};

/// Prints it; the way only if that is wanted.
pub(super) fn print(report: &Report, trace: bool, out: &mut impl Write) -> io::Result<()> {
    let Report {
        name,
        rtype,
        rcode,
        verdict,
        ..
    } = report;
    writeln!(out, "{name} {rtype}: {rcode}, {verdict}")?;
    if let Some(reason) = &report.reason {
        writeln!(out, "  because {reason}")?;
    }
    if let Some(error) = &report.error {
        writeln!(
            out,
            "  clients are told: EDE {}, {}",
            error.code, error.text
        )?;
    }
    for record in report.answer.iter().chain(&report.authority) {
        let RecordForm {
            name,
            ttl,
            rtype,
            data,
        } = record;
        writeln!(out, "  {name} {ttl} {rtype} {data}")?;
    }
    if !trace {
        return Ok(());
    }
    writeln!(out, "\nthe way, in milliseconds:")?;
    if report.steps.is_empty() {
        let why = match rcode.as_str() {
            "REFUSED" => {
                "no zone of the configuration has this name: one called `.` has all that no other has"
            }
            _ => "answered here: nobody is asked for this name",
        };
        writeln!(out, "  {why}")?;
    }
    for step in &report.steps {
        let StepForm { at_ms, what } = step;
        writeln!(out, "{at_ms:>8.1}  {}", sentence(what))?;
    }
    if !report.trust.is_empty() {
        writeln!(out, "\nthe chain of trust:")?;
    }
    for link in &report.trust {
        let anchor = if link.anchor { " (trust anchor)" } else { "" };
        let (zone, state, reason) = (&link.zone, link.state, &link.reason);
        writeln!(out, "  {zone}  {state}{anchor}: {reason}")?;
    }
    Ok(())
}

fn sentence(what: &What) -> String {
    match what {
        What::Route {
            question,
            zone,
            recursion,
            validate,
        } => {
            let how = if *recursion {
                "from the root down"
            } else {
                "to its servers"
            };
            let validated = if *validate {
                "validated"
            } else {
                "not validated"
            };
            format!(
                "{question} is in zone {zone}, the longest that is configured: {how}, {validated}"
            )
        }
        What::Asked {
            question,
            zone,
            server,
            transport,
            outcome,
            detail,
            records,
            took_ms,
        } => {
            let records = records.map_or_else(String::new, |records| match records {
                1 => ", 1 record".to_owned(),
                records => format!(", {records} records"),
            });
            format!(
                "{server} of {zone}, over {transport}: {question}: {outcome} after {took_ms} ms, {detail}{records}"
            )
        }
        What::Referral {
            from,
            to,
            name_servers,
            with_address,
        } => {
            let servers = match name_servers {
                1 => "1 name server".to_owned(),
                servers => format!("{servers} name servers"),
            };
            format!("{from} refers to {to}: {servers}, the addresses of {with_address} known")
        }
        What::Judged {
            question,
            verdict,
            reason,
        } => match reason {
            Some(reason) => format!("{question} is {verdict}: {reason}"),
            None => format!("{question} is {verdict}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::report::{ErrorForm, LinkForm};

    /// A name on the way down, whose second server answers, and whose signature is altered.
    fn bogus() -> Report {
        let asked = |server: &str, outcome, detail: &str, records| What::Asked {
            question: "www.example. A".to_owned(),
            zone: "example.".to_owned(),
            server: server.to_owned(),
            transport: "udp",
            outcome,
            detail: detail.to_owned(),
            records,
            took_ms: 1.3,
        };
        let steps = [
            What::Route {
                question: "www.example. A".to_owned(),
                zone: ".".to_owned(),
                recursion: true,
                validate: true,
            },
            What::Referral {
                from: ".".to_owned(),
                to: "example.".to_owned(),
                name_servers: 2,
                with_address: 1,
            },
            asked("udp://192.0.2.1:53", "failed", "answers REFUSED", None),
            asked("udp://192.0.2.2:53", "answered", "NOERROR", Some(2)),
            What::Judged {
                question: "www.example. A".to_owned(),
                verdict: "bogus",
                reason: Some("www.example. A has a signature that does not match".to_owned()),
            },
        ];
        let link = |zone: &str, reason: &str, anchor| LinkForm {
            zone: zone.to_owned(),
            state: "secure",
            reason: reason.to_owned(),
            anchor,
        };
        Report {
            name: "www.example.".to_owned(),
            rtype: "A".to_owned(),
            rcode: "SERVFAIL".to_owned(),
            verdict: "bogus",
            reason: Some("www.example. A has a signature that does not match".to_owned()),
            authentic: false,
            error: Some(ErrorForm {
                code: 6,
                text: "www.example. A has a signature that does not match".to_owned(),
            }),
            answer: Vec::new(),
            authority: Vec::new(),
            steps: (1..)
                .zip(steps)
                .map(|(at, what)| StepForm {
                    at_ms: 1.5 * f64::from(at),
                    what,
                })
                .collect(),
            trust: vec![link(".", "2 keys", true), link("example.", "1 key", false)],
        }
    }

    /// A name that is answered without anybody being asked.
    fn local() -> Report {
        Report {
            name: "localhost.".to_owned(),
            rcode: "NOERROR".to_owned(),
            verdict: "unchecked",
            reason: None,
            error: None,
            answer: vec![RecordForm {
                name: "localhost.".to_owned(),
                ttl: 3_600,
                rtype: "A".to_owned(),
                data: "127.0.0.1".to_owned(),
            }],
            steps: Vec::new(),
            trust: Vec::new(),
            ..bogus()
        }
    }

    fn printed(report: &Report, trace: bool) -> String {
        let mut out = Vec::new();
        print(report, trace, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_trace_is_read_from_the_verdict_to_its_grounds() {
        insta::assert_snapshot!("bogus_traced", printed(&bogus(), true));
    }

    #[test]
    fn without_trace_the_answer_and_its_worth_are_all() {
        insta::assert_snapshot!("bogus", printed(&bogus(), false));
    }

    #[test]
    fn what_nobody_was_asked_is_said_to_be_so() {
        insta::assert_snapshot!("local_traced", printed(&local(), true));
        let refused = Report {
            name: "www.example.".to_owned(),
            rcode: "REFUSED".to_owned(),
            answer: Vec::new(),
            ..local()
        };
        insta::assert_snapshot!("refused_traced", printed(&refused, true));
    }
}
