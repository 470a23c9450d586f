//! `nodedns health`: whether the very nodedns of this run directory is ready. Over the network
//! the one that a new process is about to replace may answer in its place: so it asks at
//! its own addresses until the answer is its own.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use daemon::exit::Failure;

use crate::control_socket::client::{self, CallError};
use crate::control_socket::protocol::{Health, Reply, Request};

/// Asks it, and says so.
///
/// # Errors
/// It does not run, or is not ready; the sentence says what it waits for.
pub(crate) fn run(run_dir: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    match client::ask(run_dir, &Request::Health {})? {
        Reply::Health(health) => judge(&health).map_err(|why| Failure::failed(anyhow!(why)))?,
        _ => return Err(Failure::failed(CallError::Unexpected)),
    }
    writeln!(out, "ready").map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}

fn judge(health: &Health) -> Result<(), String> {
    let Health {
        pending,
        stuck,
        silent,
    } = health;
    if !stuck.is_empty() {
        let stuck = stuck.join(", ");
        return Err(format!(
            "does not answer: {stuck} is stuck; its log may say why"
        ));
    }
    if !pending.is_empty() {
        return Err(format!("not ready: {}", pending.join(", ")));
    }
    if !silent.is_empty() {
        return Err(format!("does not answer: {}", silent.join("; ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_or_stuck_is_named() {
        let health = |pending: &[&str], stuck: &[&str]| Health {
            silent: Vec::new(),
            pending: pending.iter().map(ToString::to_string).collect(),
            stuck: stuck.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(judge(&health(&[], &[])), Ok(()));
        let error = judge(&health(&["listen"], &[])).unwrap_err();
        assert_eq!(error, "not ready: listen");
        let silent = Health {
            silent: vec!["127.0.0.1:53/udp does not answer".to_owned()],
            ..health(&[], &[])
        };
        let error = judge(&silent).unwrap_err();
        assert!(
            error.ends_with("127.0.0.1:53/udp does not answer"),
            "{error}"
        );
        let error = judge(&health(&["listen"], &["worker 0"])).unwrap_err();
        assert!(error.contains("worker 0 is stuck"), "{error}");
    }
}
