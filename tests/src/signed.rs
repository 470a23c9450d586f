//! Zones signed with BIND's tools, in any way that a test wants, and then spoiled: what is wrong with
//! a zone is one change to what the signer wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::authoritative::Zone;
use crate::binaries;
use crate::place::Place;

/// The tools, where they are.
#[derive(Debug, Clone)]
pub struct Signer {
    folder: PathBuf,
    keygen: PathBuf,
    signzone: PathBuf,
    dsfromkey: PathBuf,
    revoke: PathBuf,
    ldns_signzone: PathBuf,
}

/// A key pair of a zone, in files.
#[derive(Debug, Clone)]
pub struct Key {
    /// `Kexample.+013+12345`.
    pub name: String,
    /// Its DNSKEY record, a line.
    pub record: String,
}

/// How a zone is signed.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    /// The zone, absolute.
    pub zone: &'a str,
    /// Its zone file, in which `@` is its name; without keys.
    pub text: &'a str,
    /// The keys that it shows.
    pub shown: &'a [Key],
    /// Those of them that sign everything.
    pub signing: &'a [Key],
    /// How it denies.
    pub denial: Denial,
    /// When its signatures are valid.
    pub time: Time,
}

/// How a zone denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// By names.
    Nsec,
    /// By hashes.
    Nsec3 {
        /// Beyond the first hash.
        iterations: u16,
        /// In hexadecimal, `-` for none.
        salt: &'static str,
        /// Whether delegations without DS are left out.
        opt_out: bool,
    },
}

/// When signatures are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// From an hour ago for four weeks.
    Now,
    /// For January 2020.
    Past,
    /// For January 2037.
    Future,
}

impl Signer {
    /// Finds the tools; they work in the place's folder.
    ///
    /// `None` when one is missing; the skip has then been reported.
    #[must_use]
    pub fn find(place: &Place) -> Option<Self> {
        Some(Self {
            folder: place.folder().to_owned(),
            keygen: binaries::packaged("dnssec-keygen")?,
            signzone: binaries::packaged("dnssec-signzone")?,
            dsfromkey: binaries::packaged("dnssec-dsfromkey")?,
            revoke: binaries::packaged("dnssec-revoke")?,
            ldns_signzone: binaries::packaged("ldns-signzone")?,
        })
    }

    /// Makes a key that signs everything in `zone`.
    ///
    /// # Panics
    ///
    /// When the tool fails.
    #[must_use]
    pub fn key(&self, zone: &str, algorithm: &str) -> Key {
        let bits: &[&str] = if algorithm.starts_with("RSA") {
            &["-b", "2048"]
        } else {
            &[]
        };
        let name = self.run(
            Command::new(&self.keygen)
                .args(["-q", "-f", "KSK", "-a", algorithm])
                .args(bits)
                .arg(zone),
        );
        self.read_key(&name)
    }

    fn read_key(&self, name: &str) -> Key {
        let text = self.read(&format!("{name}.key"));
        let record = text.lines().find(|line| !line.starts_with(';'));
        Key {
            record: record.expect("a key file has a record").to_owned(),
            name: name.to_owned(),
        }
    }

    /// The same key, revoked by its owner (RFC 5011 §2.1).
    ///
    /// # Panics
    ///
    /// When the tool fails.
    #[must_use]
    pub fn revoked(&self, key: &Key) -> Key {
        let path = self.run(Command::new(&self.revoke).args(["-f", &key.name]));
        let name = path.rsplit('/').next().expect("a text has a last part");
        self.read_key(name)
    }

    /// The DS record of a key, with this digest (`SHA-256`), as a line for the parent's zone file.
    ///
    /// # Panics
    ///
    /// When the tool fails.
    #[must_use]
    pub fn ds(&self, key: &Key, digest: &str) -> String {
        self.run(Command::new(&self.dsfromkey).args(["-a", digest, &key.name]))
    }

    /// Signs, and gives the lines of the signed zone, a record each: owner, TTL, class, type, data.
    ///
    /// # Panics
    ///
    /// When the zone is wrong.
    #[must_use]
    pub fn sign(&self, recipe: &Recipe<'_>) -> Vec<String> {
        let Recipe { zone, text, .. } = recipe;
        let keys: String = recipe
            .shown
            .iter()
            .map(|key| format!("{}\n", key.record))
            .collect();
        let file = format!("{zone}unsigned");
        let whole = format!("$ORIGIN {zone}\n$TTL 300\n{text}\n{keys}");
        fs::write(self.folder.join(&file), whole).expect("a test can write to its folder");
        let out = format!("{zone}signed");
        let signing = recipe.signing.iter().map(|key| &key.name);
        match recipe.denial {
            // BIND's signer takes no more.
            Denial::Nsec3 { iterations, .. } if iterations > 150 => {
                let iterations = iterations.to_string();
                let mut sign = Command::new(&self.ldns_signzone);
                sign.args(["-n", "-t", &iterations, "-o", zone, "-f", &out, &file]);
                self.run(sign.args(signing));
            }
            denial => {
                let mut sign = Command::new(&self.signzone);
                sign.args(["-q", "-P", "-z", "-O", "full", "-o", zone, "-f", &out]);
                if let Denial::Nsec3 {
                    iterations,
                    salt,
                    opt_out,
                } = denial
                {
                    sign.args(["-3", salt, "-H", &iterations.to_string()]);
                    if opt_out {
                        sign.arg("-A");
                    }
                }
                if let Some([start, end]) = recipe.time.bounds() {
                    sign.args(["-s", start, "-e", end]);
                }
                self.run(sign.arg(&file).args(signing));
            }
        }
        self.read(&out)
            .lines()
            .filter(|line| !line.starts_with(';') && !line.trim().is_empty())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// Writes the lines of a zone to a file of their own.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    #[must_use]
    pub fn write(&self, zone: &str, lines: &[String]) -> Zone {
        let file = self.folder.join(format!("{zone}zone"));
        fs::write(&file, lines.join("\n") + "\n").expect("a test can write to its folder");
        Zone::of_file(zone, file)
    }

    fn read(&self, file: &str) -> String {
        let path: &Path = file.as_ref();
        fs::read_to_string(self.folder.join(path)).expect("the tool has just written it")
    }

    fn run(&self, command: &mut Command) -> String {
        let output = command
            .current_dir(&self.folder)
            .output()
            .expect("found when it was looked for");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Time {
    fn bounds(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Now => None,
            Self::Past => Some(["20200101000000", "20200201000000"]),
            Self::Future => Some(["20370101000000", "20370201000000"]),
        }
    }
}

/// Whether `line` is the record of `kind` at `owner`; with `RRSIG:A` the signature over A.
#[must_use]
pub fn is(line: &str, owner: &str, kind: &str) -> bool {
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [own, _ttl, _class, its, first, ..] = words[..] else {
        return false;
    };
    let (kind, covered) = match kind.split_once(':') {
        Some((kind, covered)) => (kind, Some(covered)),
        None => (kind, None),
    };
    own.eq_ignore_ascii_case(owner) && its == kind && covered.is_none_or(|it| it == first)
}
