//! What goes over the control socket: a request and a reply, one line of JSON each.
//! Pure.

use serde::{Deserialize, Serialize};

use crate::anchors::stored::NegativeForm;
use crate::status::Status;

/// What a person wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Validate nothing at and below `name` for so many seconds.
    AddNegativeAnchor {
        name: String,
        seconds: u64,
        reason: String,
    },
    /// Validate there again.
    RemoveNegativeAnchor { name: String },
    /// Show where nothing is validated.
    NegativeAnchors {},
    /// Say how full the cache is.
    CacheStats {},
    /// Forget all answers that have to do with names at and below `name`.
    CacheFlush { name: String },
    /// Show what is kept of names at and below `name`.
    CacheDump { name: String },
    /// Say whether this process is ready.
    Health {},
    /// Say what it does, and for whom.
    Status {},
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Nothing; the sentence says how to mend that.
    Error(String),
    /// The negative anchors as they are now.
    NegativeAnchors(NegativeAnchorsReply),
    /// How full the cache is.
    CacheStats(CacheStats),
    /// What is not kept any more.
    CacheFlushed(CacheFlushed),
    /// What is kept.
    CacheDump(CacheDump),
    /// How this process is.
    Health(Health),
    /// What it does, and for whom.
    Status(Box<Status>),
}

/// How a process is: ready when all are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// What has not happened yet, or that it is draining.
    pub(crate) pending: Vec<String>,
    /// Event loops that do not turn.
    pub(crate) stuck: Vec<String>,
    /// Addresses at which it does not answer, and who does.
    pub(crate) silent: Vec<String>,
}

/// How full the cache is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheStats {
    pub(crate) answers: usize,
    pub(crate) bytes: usize,
    /// Bytes that it may have.
    pub(crate) capacity: usize,
    /// Answers that had to go before their time, since the start.
    pub(crate) evicted: u64,
}

/// What came of a flush.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheFlushed {
    /// Answers forgotten.
    pub(crate) answers: usize,
}

/// Some of what is kept, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheDump {
    pub(crate) answers: Vec<KeptAnswer>,
    /// How many more there are, for which a reply has no room.
    pub(crate) more: usize,
}

/// One answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptAnswer {
    pub(crate) name: String,
    /// The record type, as in `AAAA`.
    #[serde(rename = "type")]
    pub(crate) rtype: String,
    /// Whether it is for those who ask for signatures (DO).
    pub(crate) dnssec_ok: bool,
    /// Whether it is for those who validate for themselves (CD).
    pub(crate) checking_disabled: bool,
    pub(crate) rcode: String,
    /// Records in the answer section.
    pub(crate) records: usize,
    /// Whether it was validated from a trust anchor down.
    pub(crate) secure: bool,
    /// Seconds for which it may still be used.
    pub(crate) seconds_left: u64,
    /// Why there is no answer, or what else is said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// The negative anchors that were set by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NegativeAnchorsReply {
    pub(crate) anchors: Vec<NegativeForm>,
    /// What a person should know although it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warning: Option<String>,
}

/// Reads the line of a request.
///
/// # Errors
/// It is none; the reply says so.
pub(crate) fn read_request(line: &[u8]) -> Result<Request, Reply> {
    serde_json::from_slice(line)
        .map_err(|error| Reply::Error(format!("this is no request that is known here: {error}")))
}

/// Bytes of the longest request: a name of 255 bytes, each escaped, and a reason.
pub(crate) const MAX_REQUEST: usize = 8 << 10;
/// Bytes of the longest reply: all negative anchors that there can be, or as much of the cache.
pub(crate) const MAX_REPLY: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anchors::negative::{MAX_ANCHORS, NegativeAnchor};
    use crate::wire::name::Name;
    use proptest::prelude::*;

    #[test]
    fn requests_read_back() {
        for request in [
            Request::AddNegativeAnchor {
                name: "a.example.".to_owned(),
                seconds: 3_600,
                reason: "\"why\"".to_owned(),
            },
            Request::RemoveNegativeAnchor {
                name: "a.example.".to_owned(),
            },
            Request::NegativeAnchors {},
            Request::CacheStats {},
            Request::CacheFlush {
                name: "example.".to_owned(),
            },
            Request::CacheDump {
                name: ".".to_owned(),
            },
            Request::Health {},
            Request::Status {},
        ] {
            let line = serde_json::to_vec(&request).unwrap();
            assert_eq!(read_request(&line), Ok(request));
        }
    }

    #[test]
    fn the_longest_reply_fits() {
        let label = [&[63][..], &[b'\\'; 63]].concat();
        let wire = [&label[..], &label, &label, &[61], &[b'.'; 61], &[0]].concat();
        let anchor = NegativeAnchor {
            name: Name::from_wire(&wire).unwrap(),
            reason: "\u{10ffff}".repeat(200),
            since: 0,
            until: u64::MAX,
        };
        let reply = Reply::NegativeAnchors(NegativeAnchorsReply {
            anchors: vec![NegativeForm::of(&anchor); MAX_ANCHORS],
            warning: Some("x".repeat(1_000)),
        });
        assert!(serde_json::to_vec(&reply).unwrap().len() < MAX_REPLY);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line: Vec<u8>) {
            let _ = read_request(&line);
        }
    }
}
