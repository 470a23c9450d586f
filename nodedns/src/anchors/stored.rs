//! What outlives a restart, as JSON: the keys of each trust point, and the negative
//! anchors that were set by hand. Pure: bytes in, values out; what is written by
//! somebody else, damaged, or larger than it can be is refused whole.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anchors::Trusted;
use crate::anchors::negative::{MAX_ANCHORS, NegativeAnchor, NegativeAnchors};
use crate::anchors::rfc5011::{MAX_KEYS, State, Time, Tracked};
use crate::wire::name::Name;

/// Bytes of the largest file that makes sense.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// One trust point as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptPoint {
    pub(crate) zone: Name,
    /// The anchors that the configuration had for it, in words.
    pub(crate) configured: Vec<String>,
    pub(crate) keys: Vec<Tracked>,
    /// When its keys are to be asked for again.
    pub(crate) next_query: Time,
    /// Of the last answer: with it goes how often to try after a failure.
    pub(crate) original_ttl: u32,
    pub(crate) expires_in: u32,
}

/// Why a file is no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    /// No JSON, or not as nodedns writes it.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// A value that cannot be.
    #[error("it is damaged: {0}")]
    Value(String),
    /// Of another version of nodedns.
    #[error("it has format version {0}; this nodedns knows {VERSION}")]
    Version(u32),
}

/// The content of the file of these trust points.
pub(crate) fn write_points(points: &[KeptPoint]) -> Vec<u8> {
    let zones = points.iter().map(|point| ZoneForm {
        zone: point.zone.to_string(),
        configured: point.configured.clone(),
        keys: point.keys.iter().map(KeyForm::of).collect(),
        next_query: time(point.next_query),
        original_ttl: point.original_ttl,
        expires_in: point.expires_in,
    });
    pretty(&PointsForm {
        version: VERSION,
        zones: zones.collect(),
    })
}

/// The trust points in the content of a file.
///
/// # Errors
/// See [`StoredError`].
pub(crate) fn read_points(content: &[u8]) -> Result<Vec<KeptPoint>, StoredError> {
    let form: PointsForm = serde_json::from_slice(content)?;
    known(form.version)?;
    let points = form.zones.into_iter().map(|zone| {
        if zone.keys.len() > MAX_KEYS {
            let many = zone.keys.len();
            return Err(wrong(format!("{} has {many} keys", zone.zone)));
        }
        let keys: Result<_, _> = zone.keys.into_iter().map(KeyForm::into_key).collect();
        Ok(KeptPoint {
            zone: name(&zone.zone)?,
            configured: zone.configured,
            keys: keys?,
            next_query: seconds(zone.next_query),
            original_ttl: zone.original_ttl,
            expires_in: zone.expires_in,
        })
    });
    points.collect()
}

/// The content of the file of these negative anchors.
pub(crate) fn write_negative(anchors: &NegativeAnchors) -> Vec<u8> {
    let anchors = anchors.all().iter().map(NegativeForm::of);
    pretty(&NegativesForm {
        version: VERSION,
        anchors: anchors.collect(),
    })
}

/// The negative anchors in the content of a file that have not ended at `now`.
///
/// # Errors
/// See [`StoredError`].
pub(crate) fn read_negative(content: &[u8], now: Time) -> Result<NegativeAnchors, StoredError> {
    let form: NegativesForm = serde_json::from_slice(content)?;
    known(form.version)?;
    if form.anchors.len() > MAX_ANCHORS {
        return Err(wrong(format!("it has {} anchors", form.anchors.len())));
    }
    let mut anchors = NegativeAnchors::default();
    for one in form.anchors {
        let anchor = one.into_anchor()?;
        anchors
            .put(anchor, now)
            .map_err(|refusal| wrong(refusal.to_string()))?;
    }
    Ok(anchors)
}

/// An anchor in words, as in a zone file: `DS 20326 8 2 E06D…`, `DNSKEY 257 3 13 mdsswUyr3…`.
pub(crate) fn in_words(trusted: &Trusted) -> String {
    match trusted {
        Trusted::Key(data) => format!("DNSKEY {}", key_text(data)),
        Trusted::Ds {
            tag,
            algorithm,
            digest_type,
            digest,
        } => {
            let digest: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("DS {tag} {algorithm} {digest_type} {digest}")
        }
    }
}

/// A moment as it is written everywhere: RFC 3339, in UTC.
pub(crate) fn time(seconds: Time) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// One negative anchor, in the file and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NegativeForm {
    pub(crate) name: String,
    #[serde(with = "text")]
    pub(crate) until: Timestamp,
    #[serde(with = "text")]
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
}

impl NegativeForm {
    pub(crate) fn of(anchor: &NegativeAnchor) -> Self {
        Self {
            name: anchor.name.to_string(),
            until: time(anchor.until),
            since: time(anchor.since),
            reason: anchor.reason.clone(),
        }
    }

    fn into_anchor(self) -> Result<NegativeAnchor, StoredError> {
        Ok(NegativeAnchor {
            name: name(&self.name)?,
            reason: self.reason,
            since: seconds(self.since),
            until: seconds(self.until),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NegativesForm {
    version: u32,
    anchors: Vec<NegativeForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PointsForm {
    version: u32,
    zones: Vec<ZoneForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneForm {
    zone: String,
    configured: Vec<String>,
    keys: Vec<KeyForm>,
    #[serde(with = "text")]
    next_query: Timestamp,
    original_ttl: u32,
    expires_in: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyForm {
    /// `257 3 8 AwEAA…`
    key: String,
    state: StateForm,
    #[serde(with = "text")]
    since: Timestamp,
    configured: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StateForm {
    Pending {
        #[serde(with = "text")]
        until: Timestamp,
        signed_by: Vec<String>,
    },
    Valid,
    Missing,
    Revoked,
    Removed,
}

impl KeyForm {
    fn of(key: &Tracked) -> Self {
        Self {
            key: key_text(&key.data),
            state: match &key.state {
                State::Pending { until, vouchers } => StateForm::Pending {
                    until: time(*until),
                    signed_by: vouchers.iter().map(|data| key_text(data)).collect(),
                },
                State::Valid => StateForm::Valid,
                State::Missing => StateForm::Missing,
                State::Revoked => StateForm::Revoked,
                State::Removed => StateForm::Removed,
            },
            since: time(key.since),
            configured: key.is_configured,
        }
    }

    fn into_key(self) -> Result<Tracked, StoredError> {
        Ok(Tracked {
            data: key_data(&self.key)?,
            is_configured: self.configured,
            state: match self.state {
                StateForm::Pending { until, signed_by } => State::Pending {
                    until: seconds(until),
                    vouchers: signed_by
                        .iter()
                        .map(|text| key_data(text))
                        .collect::<Result<_, _>>()?,
                },
                StateForm::Valid => State::Valid,
                StateForm::Missing => State::Missing,
                StateForm::Revoked => State::Revoked,
                StateForm::Removed => State::Removed,
            },
            since: seconds(self.since),
        })
    }
}

/// The data of a DNSKEY as in a zone file.
fn key_text(data: &[u8]) -> String {
    match data {
        [high, low, protocol, algorithm, public @ ..] => format!(
            "{} {protocol} {algorithm} {}",
            u16::from_be_bytes([*high, *low]),
            BASE64_STANDARD.encode(public)
        ),
        _ => String::new(),
    }
}

fn key_data(text: &str) -> Result<Vec<u8>, StoredError> {
    let no_key = || wrong(format!("`{text}` is no DNSKEY"));
    let words: Vec<&str> = text.split(' ').collect();
    let [flags, protocol, algorithm, public] = words[..] else {
        return Err(no_key());
    };
    let mut data = Vec::new();
    data.extend_from_slice(&flags.parse::<u16>().map_err(|_| no_key())?.to_be_bytes());
    data.push(protocol.parse().map_err(|_| no_key())?);
    data.push(algorithm.parse().map_err(|_| no_key())?);
    let public = BASE64_STANDARD.decode(public).map_err(|_| no_key())?;
    data.extend_from_slice(&public);
    if public.is_empty() || public.len() > MAX_KEY {
        return Err(no_key());
    }
    Ok(data)
}

fn known(version: u32) -> Result<(), StoredError> {
    if version == VERSION {
        Ok(())
    } else {
        Err(StoredError::Version(version))
    }
}

fn name(text: &str) -> Result<Name, StoredError> {
    Name::from_text(text).map_err(|error| wrong(error.to_string()))
}

fn wrong(what: String) -> StoredError {
    StoredError::Value(what)
}

/// Before 1970 is as good as 1970.
fn seconds(time: Timestamp) -> Time {
    u64::try_from(time.as_second()).unwrap_or(0)
}

fn pretty(form: &impl Serialize) -> Vec<u8> {
    // Text, numbers and lists of them.
    let mut content = serde_json::to_vec_pretty(form).unwrap_or_default();
    content.push(b'\n');
    content
}

/// A time as text.
mod text {
    use super::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const VERSION: u32 = 1;
/// The longest key of any algorithm, an RSA key of 4,096 bits, has 515 bytes.
const MAX_KEY: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Time = 1_800_000_000;

    fn key(last: u8) -> Vec<u8> {
        vec![1, 1, 3, 13, 7, last]
    }

    fn points() -> Vec<KeptPoint> {
        let tracked = |last, state| Tracked {
            data: key(last),
            is_configured: last == 0,
            state,
            since: NOW,
        };
        let pending = State::Pending {
            until: NOW + 9,
            vouchers: vec![key(0), key(1)],
        };
        vec![KeptPoint {
            zone: Name::root(),
            configured: vec!["DS 1 13 2 00FF".to_owned()],
            keys: vec![
                tracked(0, State::Valid),
                tracked(1, State::Missing),
                tracked(2, pending),
                tracked(3, State::Revoked),
                tracked(4, State::Removed),
            ],
            next_query: NOW + 3_600,
            original_ttl: 172_800,
            expires_in: 1_000_000,
        }]
    }

    fn negative() -> NegativeAnchors {
        let mut anchors = NegativeAnchors::default();
        for name in ["a.example", "b.example"] {
            let name = Name::from_text(name).unwrap();
            let reason = "\"quoted\" and ünlike ASCII";
            anchors
                .add(name, std::time::Duration::from_secs(86_400), reason, NOW)
                .unwrap();
        }
        anchors
    }

    #[test]
    fn what_is_written_is_read() {
        let points = points();
        assert_eq!(read_points(&write_points(&points)).unwrap(), points);
        let negative = negative();
        let content = write_negative(&negative);
        assert_eq!(read_negative(&content, NOW).unwrap(), negative);
        let later = read_negative(&content, NOW + 86_400).unwrap();
        assert_eq!(later, NegativeAnchors::default(), "they have ended");
    }

    #[test]
    fn a_person_can_read_it() {
        let text = String::from_utf8(write_points(&points())).unwrap();
        for part in [
            "\"zone\": \".\"",
            "\"key\": \"257 3 13 BwA=\"",
            "\"state\": \"valid\"",
            "\"until\": \"2027-01-15T08:00:09Z\"",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn damage_is_refused_with_the_reason() {
        let said = |content: &str| read_points(content.as_bytes()).unwrap_err().to_string();
        assert!(said("{\"version\": 1, \"zon").starts_with("it is damaged: EOF"));
        assert_eq!(
            said("{\"version\": 2, \"zones\": []}"),
            "it has format version 2; this nodedns knows 1"
        );
        let good = String::from_utf8(write_points(&points())).unwrap();
        assert!(said(&good.replace("257 3 13 BwA=", "257 3 13 B")).contains("is no DNSKEY"));
        assert!(said(&good.replace("\".\"", "\"a..b\"")).contains("is not a domain name"));
        assert!(said(&good.replace("valid", "fine")).contains("unknown variant"));
        let keys = r#"{"key": "257 3 13 BwA=", "state": "valid", "since": "2027-01-15T08:00:00Z", "configured": false}"#;
        let many = good.replacen(
            "\"keys\": [",
            &format!("\"keys\": [{}", format!("{keys},").repeat(MAX_KEYS)),
            1,
        );
        assert_eq!(said(&many), "it is damaged: . has 21 keys");
        let negative = String::from_utf8(write_negative(&negative())).unwrap();
        let root = negative.replace("a.example.", ".");
        let error = read_negative(root.as_bytes(), NOW).unwrap_err();
        assert!(error.to_string().contains("would end all validation"));
    }

    #[test]
    fn anchors_in_words_are_as_in_a_zone_file() {
        let ds = Trusted::Ds {
            tag: 1,
            algorithm: 13,
            digest_type: 2,
            digest: vec![0, 0xff],
        };
        assert_eq!(in_words(&ds), "DS 1 13 2 00FF");
        assert_eq!(in_words(&Trusted::Key(key(0))), "DNSKEY 257 3 13 BwA=");
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content: Vec<u8>) {
            let _ = read_points(&content);
            let _ = read_negative(&content, NOW);
        }

        #[test]
        fn no_damage_to_a_good_file_makes_it_panic(at in 0..10_000_usize, byte: u8) {
            for mut content in [write_points(&points()), write_negative(&negative())] {
                let at = at % content.len();
                content[at] = byte;
                let _ = read_points(&content);
                let _ = read_negative(&content, NOW);
            }
        }
    }
}
