//! Encryption of Secrets at rest: the keys, and their replacement as a state machine that is
//! pure and resumable at every step.
//!
//! ```text
//!           rotate                every API server           every API server         all Secrets are
//!                                 has loaded it              has loaded it            written anew
//!  Settled ───────► Adding ─────────────────► Promoting ──────────────► Rewriting ───────────────► Dropping
//!  old, identity    old, new, identity        new, old, identity        new, old, identity         new, identity
//!     ▲                                                                                               │
//!     └───────────────────────────── every API server has loaded it ◄─────────────────────────────────┘
//! ```
//!
//! The first key of a configuration writes, all of them read. Whatever an API server writes at
//! any time, every other one can read: a key writes only once all have it, and goes only once
//! nothing is left that it wrote. The first key of a cluster begins behind `identity`, for the
//! same reason. The old keys stay in the store until no API server has them any more: a
//! delivered file with a key that the store does not have is somebody else's, and is never
//! replaced.
//!
//! The step is kept beside the keys, in one write. What has been reached is read from the API
//! servers each time, never remembered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::secret::Secret;

pub mod configuration;
pub mod kept;

/// The keys of a cluster.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// At least one. The first one writes, unless it is [being added](Step::Adding).
    pub keys: Vec<Key>,
    /// Where a rotation stands.
    pub step: Step,
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    /// As in what etcd holds: `k8s:enc:aescbc:v1:NAME:`. CKE's are times in RFC 3339, and so are
    /// ours.
    pub name: String,
    /// Whose key it is.
    pub provider: Provider,
    /// 32 bytes in base64.
    pub secret: Secret,
}

/// Who encrypts, in the API server's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Provider {
    /// AES in CBC mode with PKCS #7 padding, as CKE has it
    Aescbc,
    /// XSalsa20 and Poly1305, which also tells when a ciphertext was tampered with
    Secretbox,
}

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// None is under way.
    Settled,
    /// The new key, the last one, is delivered for reading.
    Adding,
    /// The new key, the first one from now on, is to write.
    Promoting,
    /// All Secrets are written anew.
    Rewriting,
    /// The old keys are taken out of the API servers.
    Dropping,
}

/// A rotation is under way already.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "a rotation of the encryption key is under way ({0}); a second one before its end could leave \
     Secrets that nobody can read, so let `control run`, or `control sync` again and again, finish \
     it first"
)]
pub struct UnderWay(&'static str);

impl Keyring {
    /// The first key of a cluster, being added.
    #[must_use]
    pub fn first(key: Key) -> Self {
        Self {
            keys: vec![key],
            step: Step::Adding,
        }
    }

    /// Begins to replace the key by `new`.
    ///
    /// # Errors
    /// [`UnderWay`].
    pub fn rotate(&mut self, new: Key) -> Result<(), UnderWay> {
        if let Some(step) = self.step.word() {
            return Err(UnderWay(step));
        }
        self.keys.push(new);
        self.step = Step::Adding;
        Ok(())
    }

    /// Goes on to the next step, all of this one being done. When none is under way nothing
    /// changes.
    pub fn advance(&mut self) {
        self.step = match self.step {
            Step::Settled => Step::Settled,
            Step::Adding => {
                self.keys.rotate_right(1);
                Step::Promoting
            }
            Step::Promoting => Step::Rewriting,
            Step::Rewriting => Step::Dropping,
            Step::Dropping => {
                self.keys.truncate(1);
                Step::Settled
            }
        };
    }

    /// The key that a rotation is about, else the one that writes.
    #[must_use]
    pub fn newest(&self) -> &Key {
        let newest = match self.step {
            Step::Adding => self.keys.last(),
            _ => self.keys.first(),
        };
        newest.expect("a keyring has a key")
    }

    /// A name for a new key: the time, which no other of them has.
    #[must_use]
    pub fn new_name(&self, now: Timestamp) -> String {
        let names = (now.as_second()..).map(name);
        let mut free = names.filter(|name| self.keys.iter().all(|key| key.name != *name));
        free.next().expect("a few keys cannot have all names")
    }
}

/// A key's name for a second since 1970.
#[must_use]
pub fn name(second: i64) -> String {
    let time = Timestamp::from_second(second).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Provider {
    /// Its field in an EncryptionConfiguration, and in the store.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aescbc => "aescbc",
            Self::Secretbox => "secretbox",
        }
    }
}

impl Step {
    /// What happens in this step, for people; None when nothing does.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Settled => None,
            Self::Adding => Some("API servers learn to read with the new key"),
            Self::Promoting => Some("API servers begin to write with the new key"),
            Self::Rewriting => Some("all Secrets are written anew"),
            Self::Dropping => Some("the old key is taken out of the API servers"),
        }
    }
}

/// What one reading found of the encryption; no key is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Encryption {
    /// There is no key, or nobody asks to have it delivered.
    #[default]
    None,
    /// What each host shows.
    Known {
        /// Where a rotation stands.
        step: Step,
        /// The name of the key that it is about.
        key: String,
        /// The hosts of API servers.
        hosts: BTreeMap<IpAddr, Host>,
    },
    /// The store could not be asked.
    Unknown {
        /// Why, and how to mend it.
        why: String,
    },
}

/// How far an API server's host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// It has no configuration.
    Missing,
    /// It has another one of ours.
    Stale,
    /// It has one that must not be replaced, or cannot be.
    Refused {
        /// Why, and how to mend it.
        why: String,
    },
    /// It has the right one; whether its API server does was not asked, or it does not.
    Delivered {
        /// What is waited for; None when nothing is.
        waits: Option<String>,
    },
    /// It has the right one, and its API server does not say what it has loaded.
    Silent {
        /// What is to be done.
        why: String,
    },
    /// It has the right one, its API server began before it was there, and an operator has said how
    /// that is restarted.
    Unrestarted,
    /// Its API server has loaded the right one.
    Loaded,
}

impl Encryption {
    /// Whether every API server has proven to be as this step wants it.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.lags(false).is_none()
    }

    /// Whether all API servers write with the new key. Those that say nothing were vouched for
    /// before this step began.
    #[must_use]
    pub fn may_rewrite(&self) -> bool {
        self.lags(true).is_none()
    }

    /// The step that is done if an operator vouches for API servers that say nothing; else who is
    /// not ready for that, and why.
    ///
    /// # Errors
    /// There is nothing to vouch for.
    pub fn vouched_for(&self) -> Result<Step, String> {
        match self {
            Self::Known {
                step: step @ (Step::Adding | Step::Promoting | Step::Dropping),
                ..
            } => self.lags(true).map_or(Ok(*step), Err),
            Self::Known { .. } => Err("no step waits for API servers".to_owned()),
            Self::None => Err("there is no key, or no --hosts".to_owned()),
            Self::Unknown { why } => Err(why.clone()),
        }
    }

    /// A host that is not as this step wants it.
    fn lags(&self, silent_is_fine: bool) -> Option<String> {
        let Self::Known { hosts, .. } = self else {
            return Some("nothing is known of the hosts".to_owned());
        };
        if hosts.is_empty() {
            return Some("there are no hosts".to_owned());
        }
        hosts.iter().find_map(|(address, host)| {
            let why = match host {
                Host::Loaded => return None,
                Host::Silent { .. } if silent_is_fine => return None,
                Host::Missing | Host::Stale => "its file is not delivered yet",
                Host::Unrestarted => "its API server is not restarted yet",
                Host::Refused { why } | Host::Silent { why } => why,
                Host::Delivered { waits } => waits.as_deref().unwrap_or("nothing is waited for"),
            };
            Some(format!("{address}: {why}"))
        })
    }

    /// The step that is done, if the next one only needs to be written down.
    #[must_use]
    pub fn done(&self) -> Option<Step> {
        match self {
            Self::Known {
                step: step @ (Step::Adding | Step::Promoting | Step::Dropping),
                ..
            } if self.is_loaded() => Some(*step),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
