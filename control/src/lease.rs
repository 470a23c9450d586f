//! Who writes: one holder of the Lease `kube-system/cke-control` at a time.
//!
//! Pure: the Lease as read and the time go in, what to do comes out. Clocks of other
//! machines are not trusted: a Lease has run out when it has not *changed* for its
//! duration, by our own clock.
//!
//! ```text
//!   nobody's ────────────► take ──► ours ──renewed every RENEW──┐
//!   another's, unchanged for LASTS ─► take       ▲               │
//!   another's, changed ─────────────► wait       └───────────────┘
//! ```

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::Key;

/// One candidate's view of the Lease.
#[derive(Debug)]
pub(crate) struct Election {
    me: String,
    /// The version that was seen last, and since when it has been the same.
    seen: Option<(String, Instant)>,
}

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Create it.
    Create(Value),
    /// Replace it; the resourceVersion in it makes this fail if somebody is faster.
    Replace(Value),
    /// Another one holds it.
    Wait {
        /// Who.
        holder: String,
    },
}

impl Election {
    /// A candidate with a name that no other has.
    pub(crate) fn new(me: &str) -> Self {
        Self {
            me: me.to_owned(),
            seen: None,
        }
    }

    /// What to do, the Lease being `live`; `stamp` is the time of the wall clock in
    /// RFC 3339, for people.
    pub(crate) fn step(&mut self, live: Option<&Value>, now: Instant, stamp: &str) -> Step {
        let Some(live) = live else {
            self.seen = None;
            return Step::Create(self.lease(&json!({}), stamp, 0));
        };
        let spec = &live["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        let version = live["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if seen == version => *since,
            _ => now,
        };
        self.seen = Some((version.to_owned(), since));
        let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0);
        if holder == self.me {
            let mut lease = self.lease(&live["metadata"], stamp, transitions);
            lease["spec"]["acquireTime"] = spec["acquireTime"].clone();
            return Step::Replace(lease);
        }
        if holder.is_empty() || now.duration_since(since) >= LASTS {
            return Step::Replace(self.lease(
                &live["metadata"],
                stamp,
                transitions.saturating_add(1),
            ));
        }
        Step::Wait {
            holder: holder.to_owned(),
        }
    }

    /// The Lease given back, for the next one to take at once; None when it is not ours.
    pub(crate) fn release(&self, live: &Value) -> Option<Value> {
        let mut lease = live.clone();
        if lease["spec"]["holderIdentity"] != self.me.as_str() {
            return None;
        }
        lease["spec"]["holderIdentity"] = json!("");
        Some(lease)
    }

    fn lease(&self, metadata: &Value, stamp: &str, transitions: i64) -> Value {
        let key = key();
        json!({
            "apiVersion": key.api_version,
            "kind": key.kind,
            "metadata": {
                "namespace": key.namespace, "name": key.name,
                "resourceVersion": metadata["resourceVersion"],
            },
            "spec": {
                "holderIdentity": self.me,
                "leaseDurationSeconds": LASTS.as_secs(),
                "acquireTime": stamp,
                "renewTime": stamp,
                "leaseTransitions": transitions,
            },
        })
    }
}

/// Who holds the Lease now, by the clocks of both machines: good enough to ask a person to
/// think again, not to write.
pub(crate) fn holder(live: &Value, now: Timestamp) -> Option<String> {
    let spec = &live["spec"];
    let holder = spec["holderIdentity"]
        .as_str()
        .filter(|holder| !holder.is_empty())?;
    let renewed: Timestamp = spec["renewTime"].as_str()?.parse().ok()?;
    let age = now.as_second().saturating_sub(renewed.as_second());
    let lasts = i64::try_from(LASTS.as_secs()).unwrap_or(i64::MAX);
    (age < lasts).then(|| holder.to_owned())
}

/// The Lease.
pub(crate) fn key() -> Key {
    Key {
        api_version: "coordination.k8s.io/v1".to_owned(),
        ..Key::core("Lease", "kube-system", "cke-control")
    }
}

/// Another one takes over after this time without a renewal; together with [`RENEW`] and
/// a slow request less than 15 s.
pub(crate) const LASTS: Duration = Duration::from_secs(10);
/// How long after a renewal the holder may begin a write: less than [`LASTS`], so that a
/// write that it has begun has ended, or failed, before another one begins.
pub(crate) const WRITES: Duration = Duration::from_secs(6);
/// Time between two looks at it.
pub(crate) const RENEW: Duration = Duration::from_secs(2);
/// The same for one who does not wait for it.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str, version: &str) -> Value {
        json!({
            "metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": holder, "leaseTransitions": 3, "acquireTime": "then"},
        })
    }

    fn body(step: Step) -> Value {
        match step {
            Step::Create(body) | Step::Replace(body) => body,
            Step::Wait { holder } => panic!("waits for {holder}"),
        }
    }

    #[test]
    fn nobodys_lease_is_taken() {
        let mut a = Election::new("a");
        let now = Instant::now();
        assert!(matches!(a.step(None, now, "t"), Step::Create(_)));
        let taken = body(a.step(Some(&held("", "1")), now, "t"));
        assert_eq!(taken["spec"]["holderIdentity"], "a");
        assert_eq!(taken["spec"]["leaseTransitions"], 4);
        assert_eq!(taken["metadata"]["resourceVersion"], "1");
    }

    #[test]
    fn ones_own_is_renewed_and_keeps_when_it_was_acquired() {
        let renewed = body(Election::new("a").step(Some(&held("a", "1")), Instant::now(), "t"));
        assert_eq!(renewed["spec"]["acquireTime"], "then");
        assert_eq!(renewed["spec"]["renewTime"], "t");
        assert_eq!(renewed["spec"]["leaseTransitions"], 3);
    }

    #[test]
    fn anothers_is_taken_only_when_it_has_not_changed_for_its_duration() {
        let mut a = Election::new("a");
        let start = Instant::now();
        let wait = Step::Wait {
            holder: "b".to_owned(),
        };
        assert_eq!(a.step(Some(&held("b", "1")), start, "t"), wait);
        let almost = start + LASTS - Duration::from_millis(1);
        assert_eq!(a.step(Some(&held("b", "1")), almost, "t"), wait);
        assert_eq!(
            a.step(Some(&held("b", "2")), start + LASTS, "t"),
            wait,
            "renewed"
        );
        assert_eq!(
            body(a.step(Some(&held("b", "2")), start + LASTS * 2, "t"))["spec"]["holderIdentity"],
            "a"
        );
    }

    #[test]
    fn only_ones_own_is_given_back() {
        let a = Election::new("a");
        assert_eq!(
            a.release(&held("a", "1")).unwrap()["spec"]["holderIdentity"],
            ""
        );
        assert_eq!(a.release(&held("b", "1")), None);
    }

    #[test]
    fn a_holder_stops_writing_before_another_one_may_begin() {
        assert!(WRITES + RENEW < LASTS);
    }

    #[test]
    fn a_holder_counts_until_its_time_has_run_out() {
        let live = |renewed: &str| json!({"spec": {"holderIdentity": "b", "renewTime": renewed}});
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let of = |renewed| holder(&live(renewed), now);
        assert_eq!(of("2026-01-02T03:03:56.000001Z"), Some("b".to_owned()));
        assert_eq!(of("2026-01-02T03:03:55.000000Z"), None);
        assert_eq!(of("then"), None);
        assert_eq!(holder(&json!({"spec": {"holderIdentity": ""}}), now), None);
    }

    #[test]
    fn a_hostile_lease_stops_nothing() {
        let mut a = Election::new("a");
        for live in [
            json!(7),
            json!({"spec": 7}),
            json!({"spec": {"leaseTransitions": "x"}}),
        ] {
            assert!(matches!(
                a.step(Some(&live), Instant::now(), "t"),
                Step::Replace(_)
            ));
        }
    }
}
