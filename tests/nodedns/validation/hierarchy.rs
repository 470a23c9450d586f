//! The tree of signed zones: a root of its own, `tld.` below it, and every other zone below that.

use std::fmt::Write as _;

use tests::authoritative::Zone;
use tests::place::Place;
use tests::signed::{Denial, Key, Recipe, Signer, Time};

/// The tree while it grows.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) signer: Signer,
    zones: Vec<Zone>,
    /// What `tld.` says of the zones below it.
    delegations: String,
}

/// The tree, ready to be served.
#[derive(Debug)]
pub(crate) struct Grown {
    pub(crate) zones: Vec<Zone>,
    /// The root's DS record, the only trust anchor.
    pub(crate) anchor: String,
}

impl Hierarchy {
    /// An empty tree; `None` without the tools.
    pub(crate) fn new(place: &Place) -> Option<Self> {
        Some(Self {
            signer: Signer::find(place)?,
            zones: Vec::new(),
            delegations: String::new(),
        })
    }

    /// A zone below `tld.` as it should be: signed with one key, named by one DS.
    pub(crate) fn signed(&mut self, zone: &str, text: &str, algorithm: &str, denial: Denial) {
        let key = self.signer.key(zone, algorithm);
        let lines = self.sign(zone, text, &key, denial, Time::Now);
        let ds = self.signer.ds(&key, "SHA-256");
        self.delegated(zone, &[ds], &lines);
    }

    /// The lines of a zone that one key signs.
    pub(crate) fn sign(
        &self,
        zone: &str,
        text: &str,
        key: &Key,
        denial: Denial,
        time: Time,
    ) -> Vec<String> {
        let keys = std::slice::from_ref(key);
        self.signer.sign(&Recipe {
            zone,
            text,
            shown: keys,
            signing: keys,
            denial,
            time,
        })
    }

    /// A zone of these lines below `tld.`, with these DS there.
    pub(crate) fn delegated(&mut self, zone: &str, ds: &[String], lines: &[String]) {
        let text = &mut self.delegations;
        writeln!(text, "{zone} NS ns.{zone}\nns.{zone} A {SERVER}").expect("a String takes it");
        for ds in ds {
            writeln!(text, "{ds}").expect("a String takes it");
        }
        self.serve(zone, lines);
    }

    /// A zone of these lines that another zone delegates.
    pub(crate) fn serve(&mut self, zone: &str, lines: &[String]) {
        self.zones.push(self.signer.write(zone, lines));
    }

    /// Signs `tld.` and the root.
    pub(crate) fn grow(mut self) -> Grown {
        let key = self.signer.key("tld.", "ECDSAP256SHA256");
        let apex = |server| APEX.replace(SERVER, server);
        let text = format!("{}\n{}", apex(TLD_SERVER), self.delegations);
        let lines = self.sign("tld.", &text, &key, Denial::Nsec, Time::Now);
        self.serve("tld.", &lines);
        let ds = self.signer.ds(&key, "SHA-256");
        let root = self.signer.key(".", "RSASHA256");
        let text = format!(
            "{}\ntld. NS ns.tld.\nns.tld. A {TLD_SERVER}\n{ds}",
            apex(ROOT_SERVER)
        );
        let lines = self.sign(".", &text, &root, Denial::Nsec, Time::Now);
        self.serve(".", &lines);
        Grown {
            anchor: self.signer.ds(&root, "SHA-256"),
            zones: self.zones,
        }
    }
}

/// Lines of a zone that nobody signs.
pub(crate) fn unsigned(zone: &str, text: &str) -> Vec<String> {
    [&format!("$ORIGIN {zone}\n$TTL 300"), APEX, text]
        .iter()
        .flat_map(|part| part.lines())
        .map(str::to_owned)
        .collect()
}

/// Where the root's server is, for those who go down from there.
pub(crate) const ROOT_SERVER: &str = "192.0.2.51";
/// Where that of `tld.` is.
pub(crate) const TLD_SERVER: &str = "192.0.2.52";
/// Where that of all other zones is.
pub(crate) const SERVER: &str = "192.0.2.53";

/// What every zone begins with. Denials may be kept for a minute.
pub(crate) const APEX: &str = "@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n";
