//! Zones of which one record, or the proof of one absence, is spoiled after the signing; and beside
//! each an honest one from the same text, of which nothing is.

mod table;

use tests::signed::{Denial, Time, is};

use super::case::{Case, bogus};
use super::hierarchy::{APEX, Hierarchy, unsigned};
use table::{DENIAL_FAULTS, DENIALS, FAULTS, Fault, text};

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
