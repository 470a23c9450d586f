//! The world's DNS as a test's node sees it: a signed root with one name in it, `www.example`.

use std::net::SocketAddr;

use crate::authoritative::Authoritative;
use crate::place::Place;
use crate::signed::{Denial, Key, Recipe, Signer, Time};

/// A server of that root.
#[derive(Debug)]
pub struct Root {
    server: Authoritative,
    signer: Signer,
    keys: Vec<Key>,
}

impl Root {
    /// Starts it, signed with one new key, and waits until it answers.
    ///
    /// `None` when a program is missing on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(place: &Place, address: SocketAddr) -> Option<Self> {
        let signer = Signer::find(place)?;
        let keys = vec![signer.key(".", ALGORITHM)];
        let zone = signer.write(".", &sign(&signer, &keys));
        let server = Authoritative::start(place, address, &[zone]).await?;
        Some(Self {
            server,
            signer,
            keys,
        })
    }

    /// Where it listens, on UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The DS record of the first key, a line for a file of trust anchors.
    #[must_use]
    pub fn ds(&self) -> String {
        self.signer.ds(&self.keys[0], "SHA-256")
    }

    /// The data of the first key's DNSKEY record, in four words.
    ///
    /// # Panics
    ///
    /// When the tool wrote no such record.
    #[must_use]
    pub fn dnskey(&self) -> String {
        // `. 300 IN DNSKEY 257 3 13 KEY`, the key in as many words as it likes.
        let data = self.keys[0].record.split(" DNSKEY ").nth(1);
        let mut words = data.expect("a DNSKEY record").split_whitespace();
        let numbers: Vec<&str> = words.by_ref().take(3).collect();
        format!("{} {}", numbers.join(" "), words.collect::<String>())
    }

    /// Signs it anew, with one new key beside those that it has, as at the begin of a rollover.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn begin_rollover(&mut self) {
        self.keys.push(self.signer.key(".", ALGORITHM));
        let _file_is_the_same = self.signer.write(".", &sign(&self.signer, &self.keys));
        self.server.peer.restart();
    }
}

fn sign(signer: &Signer, keys: &[Key]) -> Vec<String> {
    signer.sign(&Recipe {
        zone: ".",
        text: "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nwww.example A 192.0.2.80",
        shown: keys,
        signing: keys,
        denial: Denial::Nsec,
        time: Time::Now,
    })
}

const ALGORITHM: &str = "ECDSAP256SHA256";
