//! Where secrets live: a directory of this machine, or Vault (OpenBao).
//!
//! The directory needs no server and is the default. There control keeps a webhook
//! authority of its own; with Vault the authority is Vault's, and its key never leaves it.
//! No error and no log line of this module holds a secret.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use thiserror::Error;

use crate::encryption::{self, Keyring, Provider, Step};
use crate::pki::Trust;
use crate::pki::ca::{self, IssueError, KeyedCertificate};
use crate::pki::rotation::{Authorities, Progress};
use crate::secret::Secret;
use crate::ssh::Keys;
use local::{Local, LocalError};
use vault::{Vault, VaultError};

mod authorities;
mod keys;
mod local;
mod ssh_keys;
mod vault;

/// A place for secrets; opening it neither reads nor writes.
#[derive(Debug)]
pub(crate) enum Store {
    /// A directory.
    Local(Local),
    /// A server that speaks Vault's API.
    Vault(Box<Vault>),
}

/// Why a secret could not be read, kept or made.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("there is no webhook authority yet; `control sync` makes one when it is needed")]
    NoAuthority,
    #[error(transparent)]
    UnderWay(#[from] crate::pki::rotation::UnderWay),
    #[error(transparent)]
    KeyUnderWay(#[from] encryption::UnderWay),
    #[error(
        "store {store}: the encryption keys (`k8s`) are damaged, or somebody else changed them; \
         bring back a copy: without its keys no Secret can be read once the API servers have \
         lost theirs"
    )]
    DamagedKeys { store: String },
    #[error("no key could be drawn: the system gives no random bytes")]
    NoRandom,
    #[error(
        "the webhook authority is Vault's ({url}, cke/ca-kubernetes-webhook), and control \
         replaces only one of the embedded store"
    )]
    NotOurs { url: String },
}

impl Store {
    /// The directory at `at`, else the one beside cluster.yml; or the server at `at`, if that is
    /// a URL.
    ///
    /// # Errors
    /// What is said of Vault cannot be used.
    pub(crate) fn open(
        at: Option<&str>,
        vault_config: Option<&Path>,
        cluster: &Path,
    ) -> Result<Self, StoreError> {
        match at {
            Some(url) if url.contains("://") => {
                Ok(Self::Vault(Box::new(Vault::open(url, vault_config)?)))
            }
            Some(directory) => Ok(Self::Local(Local::new(PathBuf::from(directory)))),
            None => Ok(Self::Local(Local::new(cluster.with_file_name(DEFAULT)))),
        }
    }

    /// Whom API servers trust for webhooks; None when there is no authority yet.
    pub(crate) async fn trust(&self) -> Result<Option<Trust>, StoreError> {
        match self {
            Self::Local(local) => {
                let kept = authorities::read(local)?;
                Ok(kept.map(|authorities| authorities.trust()))
            }
            Self::Vault(vault) => Ok(Some(vault.trust().await?)),
        }
    }

    /// Makes an authority where there is none, and lets a replacement of one go on. Gives
    /// what is to be trusted from now on.
    pub(crate) async fn tend(
        &self,
        progress: Progress,
        now: Timestamp,
    ) -> Result<Trust, StoreError> {
        let local = match self {
            Self::Local(local) => local,
            Self::Vault(vault) => return Ok(vault.trust().await?),
        };
        authorities::change(local, |kept| match kept {
            None => {
                let made = Authorities::new(ca::authority(now)?);
                Ok((made.trust(), Some(made)))
            }
            Some(mut authorities) => {
                let has_changed = authorities.advance(progress, now);
                Ok((authorities.trust(), has_changed.then_some(authorities)))
            }
        })
    }

    /// Begins to replace the authority.
    pub(crate) fn rotate(
        &self,
        overlap: std::time::Duration,
        now: Timestamp,
    ) -> Result<Trust, StoreError> {
        let local = match self {
            Self::Local(local) => local,
            Self::Vault(vault) => {
                let url = vault.url().to_owned();
                return Err(StoreError::NotOurs { url });
            }
        };
        authorities::change(local, |kept| {
            let mut authorities = kept.ok_or(StoreError::NoAuthority)?;
            authorities.rotate(ca::authority(now)?, overlap)?;
            Ok((authorities.trust(), Some(authorities)))
        })
    }

    /// A certificate for a server with these names.
    pub(crate) async fn issue(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<KeyedCertificate, StoreError> {
        match self {
            Self::Local(local) => {
                let authorities = authorities::read(local)?.ok_or(StoreError::NoAuthority)?;
                Ok(ca::issue(&authorities.issuer, names, now)?)
            }
            Self::Vault(vault) => Ok(vault.issue(names).await?),
        }
    }

    /// The private keys with which control logs in on hosts.
    pub(crate) async fn ssh_keys(&self) -> Result<Keys, StoreError> {
        ssh_keys::read(self).await
    }

    /// The keys that encrypt Secrets at rest; None when there are none yet.
    pub(crate) async fn keyring(&self) -> Result<Option<Keyring>, StoreError> {
        keys::read(self).await
    }

    /// Begins to replace the encryption key by a new one, or makes the first one. Gives what is
    /// kept then.
    pub(crate) async fn rotate_key(
        &self,
        provider: Provider,
        now: Timestamp,
    ) -> Result<Keyring, StoreError> {
        let mut secret = zeroize::Zeroizing::new([0; KEY_LENGTH]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| StoreError::NoRandom)?;
        let secret = Secret::from(STANDARD.encode(secret.as_slice()));
        let new = |name| encryption::Key {
            name,
            provider,
            secret,
        };
        let mut rotated = None;
        keys::change(self, |kept| {
            let keyring = match kept {
                None => Keyring::first(new(encryption::name(now.as_second()))),
                Some(mut keyring) => {
                    let name = keyring.new_name(now);
                    keyring.rotate(new(name))?;
                    keyring
                }
            };
            Ok(Some(rotated.insert(keyring).clone()))
        })
        .await?;
        Ok(rotated.expect("what was written was kept for us"))
    }

    /// Writes down that `step` of a rotation is done; nothing when it stands elsewhere.
    pub(crate) async fn advance_key(&self, step: Step) -> Result<(), StoreError> {
        keys::change(self, |kept| {
            let mut keyring = kept.filter(|kept| kept.step == step && step != Step::Settled);
            if let Some(keyring) = &mut keyring {
                keyring.advance();
            }
            Ok(keyring)
        })
        .await
    }
}

/// Displays where it is.
impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(local) => write!(f, "{}", local.directory().display()),
            Self::Vault(vault) => f.write_str(vault.url()),
        }
    }
}

/// Bytes: AES-256, and the only length that secretbox takes.
const KEY_LENGTH: usize = 32;
const DEFAULT: &str = "control-store";
