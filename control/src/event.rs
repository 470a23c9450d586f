//! What was done, told: in the log, and as Kubernetes Events beside the objects that it was done to.

use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::apply::{End, Outcome, Report};
use crate::client::Server;
use crate::object::Key;
use crate::record;

/// Says what became of each operation, in the log.
pub(crate) fn log(report: &Report) {
    for outcome in &report.outcomes {
        let key = &outcome.key;
        match &outcome.end {
            End::Failed(why) => error!(object = %key, error = why, "could not be written"),
            End::Skipped(needed) => warn!(object = %key, %needed, "skipped: what it needs failed"),
            end => info!(object = %key, "{end}"),
        }
        for warning in &outcome.warnings {
            warn!(object = %key, warning, "the API server warns");
        }
    }
}

/// Writes an Event for each outcome, the first [`AT_MOST`] of them.
pub(crate) async fn write(server: &Server, report: &Report, me: &str) {
    for (number, outcome) in report.outcomes.iter().take(AT_MOST).enumerate() {
        let Some(event) = event(outcome, me, number, Timestamp::now()) else {
            continue;
        };
        let key = Key::core(
            "Event",
            event["metadata"]["namespace"].as_str().unwrap_or_default(),
            event["metadata"]["name"].as_str().unwrap_or_default(),
        );
        if let Err(error) = server.create(&key, "events", None, &event).await {
            warn!(%error, "an Event could not be written");
            return;
        }
    }
}

fn event(outcome: &Outcome, me: &str, number: usize, now: Timestamp) -> Option<Value> {
    let (kind, reason, message) = match &outcome.end {
        End::Created => ("Normal", "Created", "created as wanted".to_owned()),
        End::Updated => ("Normal", "Updated", "made as wanted".to_owned()),
        End::Deleted => (
            "Normal",
            "Deleted",
            "deleted, being wanted no longer".to_owned(),
        ),
        End::Failed(why) => ("Warning", "Failed", why.chars().take(MESSAGE).collect()),
        End::Skipped(needed) => (
            "Warning",
            "Skipped",
            format!("needs {needed}, which failed"),
        ),
        End::Unneeded => return None,
    };
    let Key {
        kind: object_kind,
        api_version,
        namespace,
        name,
    } = &outcome.key;
    // Events about objects of the whole cluster stand in `default`.
    let event_namespace = namespace.as_deref().unwrap_or("default");
    // Rounds may be less than a second apart.
    let id = now.as_nanosecond();
    let stamp = record::stamp(now);
    Some(json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": event_namespace, "name": format!("cke-control.{id:x}.{number}")},
        "involvedObject": {
            "apiVersion": api_version, "kind": object_kind, "namespace": namespace, "name": name,
        },
        "type": kind, "reason": reason, "message": message,
        "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1,
        "source": {"component": "cke-control"},
        "reportingComponent": "cke-control", "reportingInstance": me,
    }))
}

/// A first sync writes hundreds of objects; the records have them all.
const AT_MOST: usize = 20;
/// The API server takes 1024 bytes; a character has at most 4.
const MESSAGE: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_object_and_what_became_of_it() {
        let outcome = Outcome {
            key: Key {
                namespace: None,
                ..Key::core("ClusterRole", "", "system:a")
            },
            end: End::Failed("é".repeat(2000)),
            warnings: Vec::new(),
        };
        let now: Timestamp = "2026-01-02T03:04:05.000000006Z".parse().unwrap();
        let event = event(&outcome, "me", 3, now).unwrap();
        assert_eq!(event["firstTimestamp"], "2026-01-02T03:04:05Z");
        let name = format!("cke-control.{:x}.3", now.as_nanosecond());
        assert_eq!(event["metadata"]["name"], name);
        assert_eq!(event["metadata"]["namespace"], "default");
        assert_eq!(event["involvedObject"]["name"], "system:a");
        assert_eq!(
            (&event["type"], &event["reason"]),
            (&json!("Warning"), &json!("Failed"))
        );
        assert!(event["message"].as_str().unwrap().len() <= 1024);
    }

    #[test]
    fn what_was_not_needed_is_no_event() {
        let outcome = Outcome {
            key: Key::node("a"),
            end: End::Unneeded,
            warnings: Vec::new(),
        };
        assert_eq!(event(&outcome, "me", 0, Timestamp::UNIX_EPOCH), None);
    }
}
