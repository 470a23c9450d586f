//! The link between a zone and its parent: DS and DNSKEY, right and wrong, unknown, or rolled over.

use tests::dns::RecordType::{A, DNSKEY, DS, TXT};
use tests::signed::{Denial, Key, Recipe, Time, is};

use super::case::{Case, Expected, INSECURE, SECURE, SECURE_NX, bogus};
use super::hierarchy::{APEX, Hierarchy, unsigned};

const TEXT: &str = "www A 192.0.2.1\n";
const P256: &str = "ECDSAP256SHA256";

/// Puts the zones into the tree.
pub(crate) fn zones(tree: &mut Hierarchy) {
    for build in [wrong, unknown, digests, rollovers, large] {
        build(tree);
    }
}

/// What they are asked.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (zone, expected, rfc) in ZONES {
        let name = |prefix: &str| format!("{prefix}{zone}.tld.");
        let nx = match expected {
            Expected {
                code: hickory_proto::op::ResponseCode::NoError,
                ..
            } => Expected {
                code: SECURE_NX.code,
                ..*expected
            },
            _ => *expected,
        };
        cases.push(Case::new(name("www."), A, *expected, rfc));
        cases.push(Case::new(name("nx."), A, nx, rfc));
        // Whatever is wrong with the zone, its parent speaks the truth about it.
        cases.push(Case::new(name(""), DS, SECURE, "4035 3.1.4.1"));
    }
    cases.push(Case::new("large.tld.", TXT, SECURE, "4035 3"));
    cases.push(Case::new("large.tld.", DNSKEY, SECURE, "4035 5.3"));
    cases.push(Case::new("www.long-ttl.tld.", A, SECURE, "4035 5.3.3"));
    cases.push(Case::new("www.plain.tld.", A, INSECURE, "4035 5.2"));
    cases.push(Case::new("www.plain.tld.", DS, INSECURE, "4035 5.2"));
    cases
}

/// Each bogus zone stands before its honest twin.
const ZONES: &[(&str, Expected, &str)] = &[
    ("ds-wrong", bogus(9), "4035 5.2"),
    ("ds-right", SECURE, "4035 5.2"),
    ("ds-other-key", bogus(9), "4035 5.2"),
    ("ds-own-key", SECURE, "4035 5.2"),
    ("keys-unsigned", bogus(10), "4035 5.2"),
    ("keys-signed", SECURE, "4035 5.2"),
    ("keys-expired", bogus(7), "4035 5.2"),
    ("keys-early", bogus(8), "4035 5.2"),
    ("keys-none", bogus(9), "4035 5.2"),
    ("ds-sha1-good-sha2-bad", bogus(9), "4509 3"),
    ("ds-sha1-bad-sha2-good", SECURE, "4509 3"),
    ("ds-sha1", SECURE, "8624 3.3"),
    ("ds-sha384", SECURE, "6605 2"),
    ("ds-unknown-algorithm", INSECURE.with_error(1), "4035 5.2"),
    ("ds-unknown-digest", INSECURE.with_error(2), "6840 5.2"),
    ("ds-unknown-and-known", SECURE, "6840 5.2"),
    ("island", INSECURE, "4035 5.2"),
    ("roll-zsk", SECURE, "6781 4.1.1.1"),
    ("roll-ksk-double-ds", SECURE, "6781 4.1.2"),
    ("roll-ksk-double-key", SECURE, "6781 4.1.2"),
    ("roll-algorithm", SECURE, "6781 4.1.4"),
    ("roll-algorithm-late", SECURE, "6840 5.11"),
];

fn wrong(tree: &mut Hierarchy) {
    let text = format!("{APEX}{TEXT}");
    let mut zone =
        |name: &str, time, change: &dyn Fn(&mut Vec<String>, &mut String, &Hierarchy)| {
            let zone = format!("{name}.tld.");
            let key = tree.signer.key(&zone, P256);
            let mut lines = tree.sign(&zone, &text, &key, Denial::Nsec, time);
            let mut ds = tree.signer.ds(&key, "SHA-256");
            change(&mut lines, &mut ds, tree);
            let ds: Vec<String> = ds.lines().map(str::to_owned).collect();
            tree.delegated(&zone, &ds, &lines);
        };
    zone("ds-wrong", Time::Now, &|_, ds, _| *ds = altered(ds));
    zone("ds-right", Time::Now, &|_, _, _| ());
    zone("ds-other-key", Time::Now, &|_, ds, tree| {
        let other = tree.signer.key("ds-other-key.tld.", P256);
        *ds = tree.signer.ds(&other, "SHA-256");
    });
    zone("ds-own-key", Time::Now, &|_, _, _| ());
    zone("keys-unsigned", Time::Now, &|lines, _, _| {
        lines.retain(|line| !is(line, "keys-unsigned.tld.", "RRSIG:DNSKEY"));
    });
    zone("keys-signed", Time::Now, &|_, _, _| ());
    zone("keys-expired", Time::Past, &|_, _, _| ());
    zone("keys-early", Time::Future, &|_, _, _| ());
    zone("keys-none", Time::Now, &|lines, _, _| {
        *lines = unsigned("keys-none.tld.", TEXT)
    });
    zone("long-ttl", Time::Now, &|lines, _, _| {
        for line in lines
            .iter_mut()
            .filter(|line| is(line, "www.long-ttl.tld.", "A"))
        {
            *line = line.replace(" 300 IN A ", " 86400 IN A ");
        }
    });
    tree.delegated("plain.tld.", &[], &unsigned("plain.tld.", TEXT));
}

/// DS records that say something else than what the key's own DS does.
fn unknown(tree: &mut Hierarchy) {
    let text = format!("{APEX}{TEXT}");
    let mut zone = |name: &str, ds: &dyn Fn(&str) -> Vec<String>| {
        let zone = format!("{name}.tld.");
        let key = tree.signer.key(&zone, P256);
        let lines = tree.sign(&zone, &text, &key, Denial::Nsec, Time::Now);
        let ds = ds(&tree.signer.ds(&key, "SHA-256"));
        tree.delegated(&zone, &ds, &lines);
    };
    let other_algorithm = |ds: &str| ds.replace(" 13 2 ", " 253 2 ");
    let other_digest = |ds: &str| ds.replace(" 13 2 ", " 13 200 ");
    zone("ds-unknown-algorithm", &|ds| vec![other_algorithm(ds)]);
    zone("ds-unknown-digest", &|ds| vec![other_digest(ds)]);
    zone("ds-unknown-and-known", &|ds| {
        vec![other_algorithm(ds), other_digest(ds), ds.to_owned()]
    });
    zone("island", &|_| Vec::new());
}

/// DS of several digests, good and altered ones.
fn digests(tree: &mut Hierarchy) {
    const GOOD: bool = true;
    let text = format!("{APEX}{TEXT}");
    let mut zone = |name: &str, digests: &[(&str, bool)]| {
        let zone = format!("{name}.tld.");
        let key = tree.signer.key(&zone, P256);
        let lines = tree.sign(&zone, &text, &key, Denial::Nsec, Time::Now);
        let ds: Vec<String> = digests
            .iter()
            .map(|(digest, is_good)| match tree.signer.ds(&key, digest) {
                ds if *is_good => ds,
                ds => altered(&ds),
            })
            .collect();
        tree.delegated(&zone, &ds, &lines);
    };
    zone("ds-sha1", &[("SHA-1", GOOD)]);
    zone("ds-sha384", &[("SHA-384", GOOD)]);
    zone(
        "ds-sha1-good-sha2-bad",
        &[("SHA-1", GOOD), ("SHA-256", !GOOD)],
    );
    zone(
        "ds-sha1-bad-sha2-good",
        &[("SHA-1", !GOOD), ("SHA-256", GOOD)],
    );
}

/// Zones in the middle of a rollover.
fn rollovers(tree: &mut Hierarchy) {
    let mut zone = |name: &str, algorithms: [&str; 2], signing: &[usize], ds: &[usize]| {
        let zone = format!("{name}.tld.");
        let keys: Vec<Key> = algorithms
            .iter()
            .map(|algorithm| tree.signer.key(&zone, algorithm))
            .collect();
        let signing: Vec<Key> = signing.iter().map(|at| keys[*at].clone()).collect();
        let lines = tree.signer.sign(&Recipe {
            zone: &zone,
            text: &format!("{APEX}{TEXT}"),
            shown: &keys,
            signing: &signing,
            denial: Denial::Nsec,
            time: Time::Now,
        });
        let ds: Vec<String> = ds
            .iter()
            .map(|at| tree.signer.ds(&keys[*at], "SHA-256"))
            .collect();
        tree.delegated(&zone, &ds, &lines);
    };
    zone("roll-zsk", [P256, P256], &[0], &[0]);
    zone("roll-ksk-double-ds", [P256, P256], &[1], &[0, 1]);
    zone("roll-ksk-double-key", [P256, P256], &[0, 1], &[1]);
    zone("roll-algorithm", ["RSASHA256", P256], &[0, 1], &[0]);
    zone("roll-algorithm-late", ["RSASHA256", P256], &[0, 1], &[0, 1]);
}

/// Answers that need TCP.
fn large(tree: &mut Hierarchy) {
    let line = "x".repeat(200);
    let text: String = (0..60)
        .map(|number| format!("@ TXT \"{number}{line}\"\n"))
        .collect();
    tree.signed(
        "large.tld.",
        &format!("{APEX}{TEXT}{text}"),
        "RSASHA512",
        Denial::Nsec,
    );
}

/// Another digest of the same length.
fn altered(ds: &str) -> String {
    let (rest, last) = ds.split_at(ds.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
