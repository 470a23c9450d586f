//! Which records are spoiled, how, and what has to come of it.

use tests::dns::RecordType::{self, A, AAAA, DS, MX, TXT};

use super::Spoil;
use crate::validation::case::{Expected, INSECURE, SECURE, SECURE_NX};

/// One spoiled record.
pub(super) struct Fault {
    /// What is asked for, in front of the zone's name.
    pub(super) name: &'static str,
    pub(super) kind: RecordType,
    /// Whose record is spoiled.
    pub(super) owner: &'static str,
    pub(super) spoil: Spoil,
    /// The extended error.
    pub(super) error: u16,
    /// What the honest zone answers.
    pub(super) twin: Expected,
    pub(super) rfc: &'static str,
}

const fn data(name: &'static str, spoil: Spoil, error: u16, rfc: &'static str) -> Fault {
    Fault {
        name,
        kind: A,
        owner: name,
        spoil,
        error,
        twin: SECURE,
        rfc,
    }
}

const fn at(
    name: &'static str,
    owner: &'static str,
    spoil: Spoil,
    error: u16,
    rfc: &'static str,
) -> Fault {
    Fault {
        name,
        kind: A,
        owner,
        spoil,
        error,
        twin: SECURE,
        rfc,
    }
}

const fn no_data(name: &'static str, spoil: Spoil, error: u16) -> Fault {
    Fault {
        name,
        kind: AAAA,
        owner: name,
        spoil,
        error,
        twin: SECURE,
        rfc: "4035 5.4",
    }
}

const MISSING: u16 = 10;
const WRONG: u16 = 6;
const EXPIRED: u16 = 7;
const EARLY: u16 = 8;
const KEY: u16 = 9;
const DENIAL: u16 = 12;

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    data("missing.", Spoil::Drop(&["RRSIG:A"]), MISSING, "4035 5.2"),
    data(
        "altered.",
        Spoil::Replace("A", "192.0.2.1", "192.0.2.66"),
        WRONG,
        "4035 5.3.3",
    ),
    data("expired.", Spoil::Past("A"), EXPIRED, "4034 3.1.5"),
    data("early.", Spoil::Future("A"), EARLY, "4034 3.1.5"),
    data(
        "signer.",
        Spoil::Field("A", 7, "other.tld."),
        WRONG,
        "4035 5.3.1",
    ),
    data(
        "signer-above.",
        Spoil::Field("A", 7, "tld."),
        KEY,
        "4035 5.3.1",
    ),
    data(
        "labels-more.",
        Spoil::Field("A", 2, "9"),
        WRONG,
        "4035 5.3.1",
    ),
    data(
        "labels-less.",
        Spoil::Field("A", 2, "2"),
        WRONG,
        "4035 5.3.2",
    ),
    data("tag.", Spoil::Field("A", 6, "1"), KEY, "4035 5.3.1"),
    data("algorithm.", Spoil::Field("A", 1, "8"), KEY, "4035 5.3.1"),
    data(
        "original-ttl.",
        Spoil::Field("A", 3, "299"),
        WRONG,
        "4035 5.3.2",
    ),
    data(
        "covered.",
        Spoil::Field("A", 0, "AAAA"),
        MISSING,
        "4035 5.3.1",
    ),
    data(
        "lifetime.",
        Spoil::Field("A", 4, "20361231000000"),
        WRONG,
        "4035 5.3.2",
    ),
    data(
        "signature.",
        Spoil::Field("A", 8, "AAAA"),
        WRONG,
        "4035 5.3.3",
    ),
    data("added.", Spoil::Add("A 192.0.2.66"), WRONG, "4035 5.3.2"),
    data(
        "removed.",
        Spoil::Replace("A", "192.0.2.2", "192.0.2.1"),
        WRONG,
        "4035 5.3.2",
    ),
    Fault {
        kind: TXT,
        ..data(
            "text.",
            Spoil::Replace("TXT", "yes", "no"),
            WRONG,
            "4035 5.3.3",
        )
    },
    Fault {
        kind: MX,
        ..data("mail.", Spoil::Drop(&["RRSIG:MX"]), MISSING, "4035 5.2")
    },
    data("alias.", Spoil::Drop(&["RRSIG:CNAME"]), MISSING, "4035 5.2"),
    data(
        "alias-altered.",
        Spoil::Replace("CNAME", "target", "missing"),
        WRONG,
        "4035 5.3.3",
    ),
    data(
        "alias-expired.",
        Spoil::Past("CNAME"),
        EXPIRED,
        "4034 3.1.5",
    ),
    at(
        "www.dn.",
        "dn.",
        Spoil::Drop(&["RRSIG:DNAME"]),
        MISSING,
        "6672 5.3.1",
    ),
    at(
        "www.dn-altered.",
        "dn-altered.",
        Spoil::Replace("DNAME", "to.", "ot."),
        WRONG,
        "6672 5.3.1",
    ),
    at(
        "www.dn-early.",
        "dn-early.",
        Spoil::Future("DNAME"),
        EARLY,
        "6672 5.3.1",
    ),
    at(
        "x.wild.",
        "*.wild.",
        Spoil::Drop(&["RRSIG:A"]),
        MISSING,
        "4035 5.2",
    ),
    at(
        "x.wild-altered.",
        "*.wild-altered.",
        Spoil::Replace("A", "192.0.2.1", "192.0.2.66"),
        WRONG,
        "4035 5.3.3",
    ),
    at(
        "x.wild-expired.",
        "*.wild-expired.",
        Spoil::Past("A"),
        EXPIRED,
        "4034 3.1.5",
    ),
    at(
        "x.wild-proof.",
        "*.wild-proof.",
        Spoil::Drop(&["NSEC", "RRSIG:NSEC"]),
        DENIAL,
        "4035 5.3.4",
    ),
    no_data("proofless.", Spoil::Drop(&["NSEC", "RRSIG:NSEC"]), DENIAL),
    no_data("no-signature.", Spoil::Drop(&["RRSIG:NSEC"]), MISSING),
    no_data("no-time.", Spoil::Past("NSEC"), EXPIRED),
    no_data(
        "no-altered.",
        Spoil::Replace("NSEC", " A ", " A MX "),
        WRONG,
    ),
    Fault {
        twin: SECURE_NX,
        ..at(
            "span-0.",
            "span.",
            Spoil::Drop(&["RRSIG:NSEC"]),
            MISSING,
            "4035 5.4",
        )
    },
    Fault {
        twin: SECURE_NX,
        ..at("spam-0.", "spam.", Spoil::Future("NSEC"), EARLY, "4035 5.4")
    },
    Fault {
        kind: DS,
        ..data("cut.", Spoil::Drop(&["RRSIG:DS"]), MISSING, "4035 5.2")
    },
    Fault {
        twin: INSECURE,
        ..at(
            "www.open.",
            "open.",
            Spoil::Drop(&["RRSIG:NSEC"]),
            MISSING,
            "4035 5.2",
        )
    },
];

/// The text of both zones, which has a record for every fault.
pub(super) fn text() -> String {
    let mut text = String::from(
        "target A 192.0.2.9\nwww.to A 192.0.2.9\ntext TXT yes\nmail MX 10 target\nspan A 192.0.2.1\n\
         spam A 192.0.2.1\nopen NS ns.open\nns.open A 192.0.2.53\ncut NS ns.cut\nns.cut A 192.0.2.53\n\
         cut DS 1 13 2 00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff\n",
    );
    for Fault { owner, kind, .. } in FAULTS {
        let owner = owner.trim_end_matches('.');
        if owner.starts_with("alias") {
            text += &format!("{owner} CNAME target\n");
        } else if owner.starts_with("dn") {
            text += &format!("{owner} DNAME to\n");
        } else if matches!(kind, A | AAAA) && !["span", "spam", "open"].contains(&owner) {
            text += &format!("{owner} A 192.0.2.1\n{owner} A 192.0.2.2\n");
        }
    }
    text
}

/// Zones all of whose denials are spoiled: name, type of the record, how, extended error.
pub(super) const DENIAL_FAULTS: [(&str, &str, Spoil, u16); 7] = [
    ("d-unsigned", "NSEC", Spoil::Drop(&["RRSIG:NSEC"]), MISSING),
    ("d-altered", "NSEC", Spoil::Field("NSEC", 8, "AAAA"), WRONG),
    ("d-soa", "NSEC", Spoil::Field("SOA", 8, "AAAA"), WRONG),
    (
        "h-unsigned",
        "NSEC3",
        Spoil::Drop(&["RRSIG:NSEC3"]),
        MISSING,
    ),
    (
        "h-altered",
        "NSEC3",
        Spoil::Field("NSEC3", 8, "AAAA"),
        WRONG,
    ),
    ("h-expired", "NSEC3", Spoil::Past("NSEC3"), EXPIRED),
    ("h-early", "NSEC3", Spoil::Future("NSEC3"), EARLY),
];

/// What is asked of each of those.
pub(super) const DENIALS: [(&str, RecordType, Expected, &str); 3] = [
    ("www.", MX, SECURE, "4035 5.4"),
    ("nx.", A, SECURE_NX, "4035 5.4"),
    ("x.w.", MX, SECURE, "4035 5.4"),
];
