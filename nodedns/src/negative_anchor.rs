//! `nodedns negative-anchor`: names that the running nodedns does not validate for a
//! while (RFC 7646), set, listed and taken away.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use daemon::exit::Failure;
use jiff::Timestamp;

use crate::cli::{Form, NegativeAnchor};
use crate::control_socket::client::{self, CallError};
use crate::control_socket::protocol::{NegativeAnchorsReply, Reply, Request};

/// Has the nodedns that runs do it, and prints what there is then.
///
/// # Errors
/// It does not run, or refuses.
pub(crate) fn run(
    run_dir: &Path,
    what: &NegativeAnchor,
    form: Form,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let request = match what {
        NegativeAnchor::Add {
            name,
            lifetime,
            reason,
        } => Request::AddNegativeAnchor {
            name: name.to_string(),
            seconds: lifetime.as_secs(),
            reason: reason.clone(),
        },
        NegativeAnchor::Remove { name } => Request::RemoveNegativeAnchor {
            name: name.to_string(),
        },
        NegativeAnchor::List => Request::NegativeAnchors {},
    };
    match client::ask(run_dir, &request)? {
        Reply::NegativeAnchors(reply) => {
            if let Some(warning) = &reply.warning {
                eprintln!("nodedns: {warning}");
            }
            print(out, &reply, form, Timestamp::now()).map_err(Failure::failed)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Failure::failed(CallError::Unexpected)),
    }
}

fn print(
    out: &mut impl Write,
    reply: &NegativeAnchorsReply,
    form: Form,
    now: Timestamp,
) -> io::Result<()> {
    if form == Form::Json {
        serde_json::to_writer_pretty(&mut *out, reply)?;
        return writeln!(out);
    }
    if reply.anchors.is_empty() {
        return writeln!(out, "there are no negative trust anchors set by hand");
    }
    for anchor in &reply.anchors {
        let left = anchor.until.as_second().saturating_sub(now.as_second());
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        let left = daemon::duration::format(left);
        writeln!(
            out,
            "{}  until {} (in {left})  {}",
            anchor.name, anchor.until, anchor.reason
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchors::stored::NegativeForm;

    fn printed(anchors: Vec<NegativeForm>, form: Form) -> String {
        let reply = NegativeAnchorsReply {
            anchors,
            warning: None,
        };
        let mut out = Vec::new();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        print(&mut out, &reply, form, now).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn anchor() -> NegativeForm {
        NegativeForm {
            name: "broken.example.".to_owned(),
            until: Timestamp::from_second(1_800_003_660).unwrap(),
            since: Timestamp::from_second(1_799_999_000).unwrap(),
            reason: "ticket 4711".to_owned(),
        }
    }

    #[test]
    fn people_see_a_line_each() {
        assert_eq!(
            printed(vec![anchor()], Form::Text),
            "broken.example.  until 2027-01-15T09:01:00Z (in 1h1m)  ticket 4711\n"
        );
        assert!(printed(Vec::new(), Form::Text).starts_with("there are no"));
    }

    #[test]
    fn programs_see_json() {
        let text = printed(vec![anchor()], Form::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({"anchors": [{
            "name": "broken.example.",
            "until": "2027-01-15T09:01:00Z",
            "since": "2027-01-15T07:43:20Z",
            "reason": "ticket 4711",
        }]});
        assert_eq!(value, expected);
    }
}
