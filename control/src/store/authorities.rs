//! The webhook authorities in the embedded store: one file, so that a step of a
//! replacement happens whole or not at all.

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::local::{Local, LocalError};
use crate::pki::ca::KeyedCertificate;
use crate::pki::certificate::Certificate;
use crate::pki::rotation::{Authorities, Pace, Step};
use crate::secret::{Secret, exposed};

/// What is kept; None when there is no authority yet.
pub(super) fn read(local: &Local) -> Result<Option<Authorities>, StoreError> {
    parse(local, local.read(FILE)?)
}

/// Reads, decides and, if `decide` says so, writes, while nobody else does.
pub(super) fn change<T>(
    local: &Local,
    decide: impl FnOnce(Option<Authorities>) -> Result<(T, Option<Authorities>), StoreError>,
) -> Result<T, StoreError> {
    let locked = local.lock()?;
    let (answer, changed) = decide(parse(local, locked.read(FILE)?)?)?;
    if let Some(authorities) = changed {
        locked.write(FILE, &render(&authorities))?;
    }
    Ok(answer)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: Keyed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    introducing: Option<Introducing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retiring: Option<Retiring>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keyed {
    certificate: String,
    #[serde(serialize_with = "exposed")]
    key: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Introducing {
    next: Keyed,
    pace: Pace,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Retiring {
    certificate: String,
    pace: Pace,
}

fn parse(local: &Local, text: Option<Secret>) -> Result<Option<Authorities>, StoreError> {
    let Some(text) = text else {
        return Ok(None);
    };
    // The parser's own words may quote the text.
    let file: Option<File> = serde_json::from_str(text.expose()).ok();
    let authorities = file
        .and_then(authorities)
        .ok_or_else(|| LocalError::Wrong {
            path: local.directory().join(FILE),
            what: "is damaged; bring back a copy, or remove it to begin with a new authority \
               (calls of webhooks may then fail until their servers have new certificates)",
        })?;
    Ok(Some(authorities))
}

fn authorities(file: File) -> Option<Authorities> {
    let step = match (file.introducing, file.retiring) {
        (None, None) => Step::Settled,
        (Some(Introducing { next, pace }), None) => Step::Introducing {
            next: keyed(next)?,
            pace,
        },
        (None, Some(Retiring { certificate, pace })) => Step::Retiring {
            old: Certificate::first_in(certificate.as_bytes())?,
            pace,
        },
        (Some(_), Some(_)) => return None,
    };
    let issuer = keyed(file.issuer)?;
    Some(Authorities { issuer, step })
}

fn keyed(Keyed { certificate, key }: Keyed) -> Option<KeyedCertificate> {
    let certificate = Certificate::first_in(certificate.as_bytes())?;
    Some(KeyedCertificate { certificate, key })
}

fn render(Authorities { issuer, step }: &Authorities) -> Secret {
    let keyed = |one: &KeyedCertificate| Keyed {
        certificate: one.certificate.pem(),
        key: one.key.clone(),
    };
    let (introducing, retiring) = match step {
        Step::Settled => (None, None),
        Step::Introducing { next, pace } => {
            let (next, pace) = (keyed(next), *pace);
            (Some(Introducing { next, pace }), None)
        }
        Step::Retiring { old, pace } => {
            let (certificate, pace) = (old.pem(), *pace);
            (None, Some(Retiring { certificate, pace }))
        }
    };
    let file = File {
        issuer: keyed(issuer),
        introducing,
        retiring,
    };
    let text = serde_json::to_string_pretty(&file).expect("texts and times are JSON");
    Secret::from(text)
}

const FILE: &str = "webhook-ca.json";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::pki::ca;
    use crate::pki::rotation::Progress;
    use crate::store::Store;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    const DONE: Progress = Progress {
        trusted: true,
        issued: true,
    };

    fn store(folder: &tempfile::TempDir) -> Store {
        let directory = folder.path().join("store");
        Store::open(directory.to_str(), None, "cluster.yml".as_ref()).unwrap()
    }

    /// Each step by a store that was opened anew, as after a kill.
    #[tokio::test]
    async fn a_replacement_goes_on_after_each_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(store(&folder).trust().await.unwrap(), None);
        let first = store(&folder).tend(DONE, at(0)).await.unwrap();
        assert_eq!(store(&folder).tend(DONE, at(1)).await.unwrap(), first);

        let begun = store(&folder)
            .rotate(Duration::from_secs(5), at(2))
            .unwrap();
        assert_eq!(begun.issuer, first.issuer);
        assert_eq!(begun.others.len(), 1);
        assert!(
            store(&folder)
                .rotate(Duration::from_secs(5), at(2))
                .is_err()
        );
        let mut issuers = Vec::new();
        for seconds in [3, 8, 9, 14] {
            store(&folder).tend(DONE, at(seconds)).await.unwrap();
            issuers.push(store(&folder).trust().await.unwrap().unwrap());
        }
        assert_eq!(issuers[0], begun);
        assert_eq!(issuers[1].issuer, begun.others[0]);
        assert_eq!(issuers[1].others, [first.issuer]);
        assert_eq!(issuers[2], issuers[1]);
        assert_eq!(issuers[3].others, []);
    }

    #[tokio::test]
    async fn what_is_damaged_is_named_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        store(&folder).tend(DONE, at(0)).await.unwrap();
        let path = folder.path().join("store").join(FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            "",
            "{\"canary\": 1}",
            &whole.replace("BEGIN CERT", "BEGIN canary"),
            &whole[..whole.len() / 2],
        ] {
            std::fs::write(&path, damaged).unwrap();
            let error = store(&folder).trust().await.unwrap_err().to_string();
            assert!(error.contains("webhook-ca.json: is damaged"), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn keys_are_in_no_debug_text() {
        let authorities = Authorities::new(ca::authority(at(0)).unwrap());
        assert!(!format!("{authorities:?}").contains("PRIVATE KEY"));
        assert!(render(&authorities).expose().contains("PRIVATE KEY"));
    }
}
