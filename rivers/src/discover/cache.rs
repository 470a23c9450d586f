//! The last good set of discovered upstreams, on disk, for a start while every seed is dead.
//!
//! A hint and no more: what is read is added to the seeds, and verified and probed as they are. So a file
//! that is damaged, too large or of another user is ignored, with one line in the log.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use daemon::state_file::{self, StateError};
use serde::{Deserialize, Serialize};

use super::slice::{self, MAX_UPSTREAMS};
use crate::config::{address::Address, listen::ListenAddress};

/// The cache of one listener.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    path: PathBuf,
}

/// Why a file is no use.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be read, or nobody who may would have written it so.
    #[error(transparent)]
    Unusable(#[from] StateError),
    /// No JSON, or not as rivers writes it.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Of another version of rivers.
    #[error("it has format version {0}; this rivers knows {VERSION}")]
    Version(u32),
    /// More upstreams than any cluster has.
    #[error("it names {0} upstreams; more than {MAX_UPSTREAMS} are not taken")]
    TooMany(usize),
    /// An address that no API server can be at.
    #[error("it names {0}, which cannot be the address of an API server")]
    NoServer(SocketAddr),
}

impl Cache {
    /// The cache of the listener at this address, in this folder. Nothing is read or made yet.
    pub(crate) fn new(folder: &Path, listen: ListenAddress) -> Self {
        Self {
            path: folder.join(file_name(listen)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept; `None` when there is no file.
    ///
    /// # Errors
    /// The file is to be ignored.
    pub(crate) fn read(&self) -> Result<Option<Vec<Address>>, CacheError> {
        let content = state_file::read(&self.path, MAX_BYTES)?;
        content.map(|content| parse(&content)).transpose()
    }

    /// Keeps these: whole or not at all, also when the power fails.
    ///
    /// # Errors
    /// The folder cannot be made, or nothing can be written there.
    pub(crate) fn write(&self, upstreams: &[Address]) -> io::Result<()> {
        let upstreams = upstreams.iter().map(ToString::to_string).collect();
        let content = serde_json::to_vec_pretty(&Content {
            version: VERSION,
            upstreams,
        })?;
        state_file::write(&self.path, &content)
    }
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    #[serde(default)]
    upstreams: Vec<String>,
}

/// The upstreams that the content of a file names. Fields that are not known are skipped.
///
/// # Errors
/// See [`CacheError`].
pub fn parse(content: &[u8]) -> Result<Vec<Address>, CacheError> {
    if content.len() as u64 > MAX_BYTES {
        return Err(StateError::TooLarge(MAX_BYTES).into());
    }
    let Content { version, upstreams } = serde_json::from_slice(content)?;
    if version != VERSION {
        return Err(CacheError::Version(version));
    }
    if upstreams.len() > MAX_UPSTREAMS {
        return Err(CacheError::TooMany(upstreams.len()));
    }
    upstreams.into_iter().map(usable).collect()
}

fn usable(text: String) -> Result<Address, CacheError> {
    let socket: SocketAddr = text
        .parse()
        .map_err(|_| serde::de::Error::custom(format_args!("`{text}` is no IP:PORT")))
        .map_err(CacheError::Damaged)?;
    match slice::usable(socket.ip()) {
        Ok(ip) if socket.port() != 0 => Ok(SocketAddr::new(ip, socket.port()).into()),
        _ => Err(CacheError::NoServer(socket)),
    }
}

/// `127.0.0.1_16443.json`, `--1_16443.json`, `any_16443.json`.
fn file_name(listen: ListenAddress) -> String {
    match listen {
        ListenAddress::Any { port } => format!("any_{port}.json"),
        ListenAddress::At(address) => {
            let ip = address.ip().to_string().replace(':', "-");
            format!("{ip}_{}.json", address.port())
        }
    }
}

const VERSION: u32 = 1;
/// Many times what 64 upstreams need.
const MAX_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn cache(folder: &Path) -> Cache {
        Cache::new(folder, "127.0.0.1:16443".parse().unwrap())
    }

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// What is said of a file with this content.
    fn said(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        fs::write(cache.path(), content).unwrap();
        cache.read().unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(&folder.path().join("made/on/demand"));
        assert_eq!(cache.read().unwrap(), None);
        for upstreams in [
            addresses(&["10.9.0.2:6443", "[fd00::3]:6443"]),
            addresses(&["10.9.0.4:6443"]),
        ] {
            cache.write(&upstreams).unwrap();
            assert_eq!(cache.read().unwrap(), Some(upstreams));
        }
        let left = fs::read_dir(cache.path().parent().unwrap()).unwrap();
        assert_eq!(left.count(), 1, "only the file itself");
    }

    #[test]
    fn each_listener_has_a_file_of_its_own() {
        let name = |listen: &str| file_name(listen.parse().unwrap());
        assert_eq!(name("127.0.0.1:16443"), "127.0.0.1_16443.json");
        assert_eq!(name("[::1]:16443"), "--1_16443.json");
        assert_eq!(name(":16443"), "any_16443.json");
        assert_eq!(name("[::]:16443"), "--_16443.json");
    }

    #[test]
    fn a_damaged_file_is_refused_with_the_reason() {
        assert_eq!(
            said(b"{\"version\": 1, \"upstreams\": [\"10.9.0"),
            "it is damaged: EOF while parsing a string at line 1 column 36"
        );
        assert_eq!(
            said(b"\xff\xfe\0garbage"),
            "it is damaged: expected value at line 1 column 1"
        );
        assert_eq!(
            said(b"{\"version\": 2}"),
            "it has format version 2; this rivers knows 1"
        );
        assert_eq!(
            said(b"{\"version\": 1, \"upstreams\": [\"api.example:6443\"]}"),
            "it is damaged: `api.example:6443` is no IP:PORT"
        );
        assert_eq!(
            said(b"{\"version\": 1, \"upstreams\": [\"127.0.0.1:6443\"]}"),
            "it names 127.0.0.1:6443, which cannot be the address of an API server"
        );
        assert_eq!(said(&vec![b' '; 1 << 20]), "it is larger than 65536 bytes");
        let many: Vec<String> = (1..=65).map(|n| format!("\"10.9.1.{n}:1\"")).collect();
        let many = format!("{{\"version\": 1, \"upstreams\": [{}]}}", many.join(","));
        assert_eq!(
            said(many.as_bytes()),
            "it names 65 upstreams; more than 64 are not taken"
        );
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content: Vec<u8>) {
            let _ = parse(&content);
        }

        #[test]
        fn no_damage_to_a_good_file_makes_it_panic_or_gives_an_unusable_address(
            at in 0..100_usize,
            byte: u8,
        ) {
            let mut content = br#"{"version": 1, "upstreams": ["10.9.0.2:6443", "[fd00::3]:6443"]}"#.to_vec();
            let at = at % content.len();
            content[at] = byte;
            if let Ok(upstreams) = parse(&content) {
                for upstream in upstreams {
                    prop_assert!(!upstream.is_loopback() && upstream.port != 0);
                }
            }
        }
    }
}
