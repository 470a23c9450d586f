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
        writeln!(out, "  answered here: nobody is asked for this name")?;
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
                "{server} of {zone}, over {transport}: {question}: {outcome} after {took_ms}, {detail}{records}"
            )
        }
        What::Referral {
            from,
            to,
            name_servers,
            with_address,
        } => format!(
            "{from} refers to {to}: {name_servers} name servers, the addresses of {with_address} known"
        ),
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
