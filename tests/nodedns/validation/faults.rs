//! Zones of which one record, or the proof of one absence, is spoiled after the signing; and beside
//! each an honest one from the same text, of which nothing is.

use tests::dns::RecordType::{self, A, AAAA, DS, MX, TXT};
use tests::signed::{Denial, Time, is};

use super::case::{Case, Expected, INSECURE, SECURE, SECURE_NX, bogus};
use super::hierarchy::{APEX, Hierarchy, unsigned};

/// Puts the zones into the tree.
pub(crate) fn zones(tree: &mut Hierarchy) {
    let text = format!("{APEX}{}", text());
    pair(
        tree,
        "faults",
        "honest",
        &text,
        Denial::Nsec,
        |zone, lines, other| {
            for fault in FAULTS {
                let owner = format!("{}{zone}", fault.owner);
                spoil(lines, &owner, fault.spoil, other);
            }
        },
    );
    for zone in ["open.faults.tld.", "open.honest.tld.", "cut.honest.tld."] {
        tree.serve(zone, &unsigned(zone, "www A 192.0.2.7"));
    }
    let nsec3 = Denial::Nsec3 {
        iterations: 0,
        salt: "-",
        opt_out: false,
    };
    for (name, kind, spoiling, _) in DENIAL_FAULTS {
        let denial = if kind == "NSEC3" { nsec3 } else { Denial::Nsec };
        let honest = format!("{name}-ok");
        let text = format!("{APEX}www A 192.0.2.1\n*.w A 192.0.2.2\n");
        pair(tree, name, &honest, &text, denial, |_, lines, other| {
            let owners: Vec<String> = lines
                .iter()
                .filter_map(|line| line.split(' ').next().map(str::to_owned))
                .collect();
            for owner in owners {
                spoil(lines, &owner, spoiling, other);
            }
        });
    }
}

/// What they are asked: every fault, and its twin.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for Fault {
        name,
        kind,
        twin,
        error,
        rfc,
        ..
    } in FAULTS
    {
        cases.push(Case::new(
            format!("{name}faults.tld."),
            *kind,
            bogus(*error),
            rfc,
        ));
        cases.push(Case::new(format!("{name}honest.tld."), *kind, *twin, rfc));
    }
    for (zone, _, _, error) in DENIAL_FAULTS {
        for (name, kind, twin, rfc) in DENIALS {
            cases.push(Case::new(
                format!("{name}{zone}.tld."),
                kind,
                bogus(error),
                rfc,
            ));
            cases.push(Case::new(format!("{name}{zone}-ok.tld."), kind, twin, rfc));
        }
    }
    cases
}

/// Two zones of one text, the first spoiled by `change`, which gets the lines of the same zone with
/// signatures of another time.
fn pair(
    tree: &mut Hierarchy,
    spoiled: &str,
    honest: &str,
    text: &str,
    denial: Denial,
    change: impl Fn(&str, &mut Vec<String>, &Others),
) {
    for (name, is_spoiled) in [(spoiled, true), (honest, false)] {
        let zone = format!("{name}.tld.");
        let key = tree.signer.key(&zone, "ECDSAP256SHA256");
        let sign = |time| tree.sign(&zone, text, &key, denial, time);
        let mut lines = sign(Time::Now);
        if is_spoiled {
            let others = Others {
                past: sign(Time::Past),
                future: sign(Time::Future),
            };
            change(&zone, &mut lines, &others);
        }
        let ds = tree.signer.ds(&key, "SHA-256");
        tree.delegated(&zone, &[ds], &lines);
    }
}

/// The same zone, signed for other times.
struct Others {
    past: Vec<String>,
    future: Vec<String>,
}

/// What is done to a record of a signed zone.
#[derive(Debug, Clone, Copy)]
enum Spoil {
    /// It goes.
    Drop(&'static [&'static str]),
    /// A part of its text becomes another.
    Replace(&'static str, &'static str, &'static str),
    /// A field of the signature over this type becomes another: 0 type covered, 1 algorithm, 2 labels,
    /// 3 original TTL, 4 expiration, 5 inception, 6 tag, 7 signer, 8 signature.
    Field(&'static str, usize, &'static str),
    /// The signature over this type is the one of January 2020.
    Past(&'static str),
    /// The signature over this type is the one of January 2037.
    Future(&'static str),
    /// Another record, its type and data.
    Add(&'static str),
}

fn spoil(lines: &mut Vec<String>, owner: &str, spoil: Spoil, others: &Others) {
    match spoil {
        Spoil::Drop(kinds) => lines.retain(|line| !kinds.iter().any(|kind| is(line, owner, kind))),
        Spoil::Replace(kind, from, to) => {
            for line in lines.iter_mut().filter(|line| is(line, owner, kind)) {
                *line = line.replace(from, to);
            }
        }
        Spoil::Field(covered, field, value) => {
            let kind = format!("RRSIG:{covered}");
            for line in lines.iter_mut().filter(|line| is(line, owner, &kind)) {
                let mut words: Vec<&str> = line.split(' ').collect();
                words[4 + field] = value;
                *line = words.join(" ");
            }
        }
        Spoil::Past(covered) => replace(lines, owner, covered, &others.past),
        Spoil::Future(covered) => replace(lines, owner, covered, &others.future),
        Spoil::Add(record) => lines.push(format!("{owner} 300 IN {record}")),
    }
}

/// Puts the signature of another signing in the place of this one's.
fn replace(lines: &mut Vec<String>, owner: &str, covered: &str, other: &[String]) {
    let kind = format!("RRSIG:{covered}");
    let is_it = |line: &String| is(line, owner, &kind);
    lines.retain(|line| !is_it(line));
    lines.extend(other.iter().filter(|line| is_it(line)).cloned());
}

/// One spoiled record.
struct Fault {
    /// What is asked for, in front of the zone's name.
    name: &'static str,
    kind: RecordType,
    /// Whose record is spoiled.
    owner: &'static str,
    spoil: Spoil,
    /// The extended error.
    error: u16,
    /// What the honest zone answers.
    twin: Expected,
    rfc: &'static str,
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

const FAULTS: &[Fault] = &[
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
fn text() -> String {
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
const DENIAL_FAULTS: [(&str, &str, Spoil, u16); 7] = [
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

const DENIALS: [(&str, RecordType, Expected, &str); 3] = [
    ("www.", MX, SECURE, "4035 5.4"),
    ("nx.", A, SECURE_NX, "4035 5.4"),
    ("x.w.", MX, SECURE, "4035 5.4"),
];
