//! Proofs made by hand, and what they say of other names.

use super::*;
use crate::wire::order::{compare, is_below};
use crate::wire::record::Section;
use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::crypto::Digest;
use hickory_proto::op;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

fn set(owner: &str, rtype: u16, data: Vec<u8>) -> RrSet {
    RrSet {
        section: Section::Authority,
        owner: name(owner),
        rtype,
        ttl: 60,
        data: vec![data],
        records: Vec::new(),
        signatures: Vec::new(),
    }
}

/// The record at `owner`, which has these types below 256.
fn nsec(owner: &str, next: &str, types: &[u8]) -> RrSet {
    let mut bits = [0; 32];
    for rtype in types {
        bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8);
    }
    let data = [name(next).as_wire(), &[0, 32], &bits].concat();
    set(owner, rtype::NSEC, data)
}

const SOA: [u8; 22] = [
    0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 60,
];

struct World {
    proved: Proved,
    now: Instant,
}

impl World {
    /// `example.` with the names a, *.w and z, all of which have an A, and that of *.w.
    fn new() -> Self {
        let (proved, now) = (Proved::default(), Instant::now());
        let zone = name("example");
        let records = [
            set("example", rtype::SOA, SOA.to_vec()),
            nsec("example", "a.example", &[2, 6]),
            nsec("a.example", "sub.example", &[1]),
            nsec("sub.example", "*.w.example", &[2]),
            nsec("*.w.example", "z.example", &[1]),
            nsec("z.example", "example", &[1]),
        ];
        for record in &records {
            proved.learn(&zone, record, 60, now);
        }
        let given = set("any.w.example", 1, vec![192, 0, 2, 9]);
        proved.learn_wildcard(&zone, &name("w.example"), &given, 30, now);
        Self { proved, now }
    }

    fn ask(&self, text: &str, rtype: u16, within: &str) -> Option<Rcode> {
        let (asked, within) = (name(text), name(within));
        let asked = Asked {
            name: asked.as_wire(),
            rtype,
            dnssec_ok: true,
            within: &within,
        };
        let judged = self.proved.answer(&asked, 50, self.now)?;
        assert!(judged.is_secure());
        Some(judged.response().rcode())
    }
}

#[test]
fn what_was_proved_of_one_name_denies_others() {
    let world = World::new();
    for (name, expected) in [
        ("b.example", Some(Rcode::NXDOMAIN)),
        ("x.y.b.example", Some(Rcode::NXDOMAIN)),
        ("zz.example", Some(Rcode::NXDOMAIN)),
        // It is there, with another type.
        ("a.example", None),
        // There is something below it.
        ("w.example", Some(Rcode::NOERROR)),
        // A wildcard stands for it.
        ("other.w.example", Some(Rcode::NOERROR)),
        // The wildcard itself was not asked for.
        ("*.w.example", None),
        // Delegated: its own servers know.
        ("x.sub.example", None),
        ("sub.example", None),
        // Of another zone.
        ("b.test", None),
    ] {
        assert_eq!(world.ask(name, 1, "."), expected, "{name}");
    }
    assert_eq!(world.ask("a.example", 28, "."), Some(Rcode::NOERROR));
    assert_eq!(world.ask("any.w.example", 28, "."), Some(Rcode::NOERROR));
    assert_eq!(world.ask("any.w.example", 16, "."), Some(Rcode::NOERROR));
    assert_eq!(world.ask("b.example", rtype::DS, "."), None);
}

#[test]
fn a_zone_above_the_one_that_is_asked_says_nothing() {
    let world = World::new();
    assert_eq!(world.ask("x.b.example", 1, "b.example"), None);
    assert_eq!(
        world.ask("x.b.example", 1, "example"),
        Some(Rcode::NXDOMAIN)
    );
}

#[test]
fn proofs_run_out_and_can_be_forgotten() {
    let mut world = World::new();
    world.now += Duration::from_secs(59);
    assert!(world.ask("b.example", 1, ".").is_some());
    world.now += Duration::from_secs(1);
    assert!(world.ask("b.example", 1, ".").is_none());
    let world = World::new();
    world.proved.clear();
    assert!(world.ask("b.example", 1, ".").is_none());
}

#[test]
fn a_zone_without_end_takes_its_own_room_only() {
    let world = World::new();
    let zone = name("flood");
    for number in 0..20_000 {
        let (owner, next) = (format!("n{number}.flood"), format!("n{number}a.flood"));
        world
            .proved
            .learn(&zone, &nsec(&owner, &next, &[1]), 60, world.now);
    }
    assert!(world.proved.lock().bytes <= MOST_BYTES);
    assert_eq!(world.ask("b.example", 1, "."), Some(Rcode::NXDOMAIN));
}

#[test]
fn what_a_wildcard_gave_to_one_name_it_gives_to_others_with_its_proof() {
    let mut world = World::new();
    world.now += Duration::from_secs(10);
    let asked = name("x.other.w.example");
    let answer = |dnssec_ok| {
        let asked = Asked {
            name: asked.as_wire(),
            rtype: 1,
            dnssec_ok,
            within: &Name::root(),
        };
        let judged = world.proved.answer(&asked, 50, world.now).unwrap();
        op::Message::from_vec(judged.response().wire()).unwrap()
    };
    let message = answer(false);
    assert_eq!(message.answers.len(), 1);
    assert_eq!(message.answers[0].name.to_ascii(), "x.other.w.example.");
    // Of thirty seconds.
    assert_eq!(message.answers[0].ttl, 20);
    assert!(message.authorities.is_empty());
    let message = answer(true);
    let owners: Vec<String> = message
        .authorities
        .iter()
        .map(|record| record.name.to_ascii())
        .collect();
    assert_eq!(owners, ["*.w.example."]);
    world.now += Duration::from_secs(20);
    assert_eq!(world.ask("x.other.w.example", 1, "."), None, "it is over");
}

#[test]
fn a_proof_lives_no_longer_than_its_soa_says() {
    let mut world = World::new();
    let zone = name("example");
    let proof = nsec("a.example", "sub.example", &[1]);
    world.proved.learn(&zone, &proof, 3_000, world.now);
    world.now += Duration::from_secs(59);
    let soa = set("example", rtype::SOA, SOA.to_vec());
    world.proved.learn(&zone, &soa, 3_000, world.now);
    assert_eq!(world.ask("a.example", 28, "."), Some(Rcode::NOERROR));
    world.now += Duration::from_secs(1);
    assert_eq!(world.ask("a.example", 28, "."), None);
}

#[test]
fn what_nsec_denies_is_denied_at_once_unless_somebody_else_looks() {
    let (world, root) = (World::new(), Name::root());
    let wire = |judged: Judged| judged.response().wire().to_vec();
    for (text, rtype, is_denied) in [
        ("b.example", rtype::A, true),
        ("a.example", rtype::TXT, true),
        ("any.w.example", rtype::TXT, true),
        ("any.w.example", rtype::A, false),
        ("a.example", rtype::A, false),
        ("b.example", rtype::DS, false),
    ] {
        let asked_name = name(text);
        let asked = Asked {
            name: asked_name.as_wire(),
            rtype,
            dnssec_ok: true,
            within: &root,
        };
        let at_once = world.proved.deny_at_once(&asked, world.now).map(wire);
        assert_eq!(at_once.is_some(), is_denied, "{text}");
        if is_denied {
            let answer = world.proved.answer(&asked, 50, world.now).map(wire);
            assert_eq!(at_once, answer, "{text}");
        }
        let _busy = world.proved.lock();
        assert!(world.proved.deny_at_once(&asked, world.now).is_none());
    }
}

#[test]
fn nothing_is_hashed_at_once() {
    let (owned, now) = (Owned::new(Vec::new()), Instant::now());
    let (asked_name, root) = (name("b.z"), Name::root());
    let asked = Asked {
        name: asked_name.as_wire(),
        rtype: rtype::A,
        dnssec_ok: false,
        within: &root,
    };
    for by_hash in [false, true] {
        let proved = owned.shown(by_hash, &[true], now);
        assert!(proved.answer(&asked, 50, now).is_some());
        let at_once = proved.deny_at_once(&asked, now);
        assert_eq!(at_once.is_none(), by_hash);
    }
}

/// What a zone has at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Text,
    Delegation,
}

/// What is true of a name and the type A.
#[derive(Debug, PartialEq, Eq)]
enum Truth {
    /// The zone says nothing of it, or has it.
    NotDenied,
    NoData,
    NoName,
    /// That of the wildcard with this number.
    Wildcard(u8),
}

/// A zone as its owner knows it: names below `z.`, none of them below a delegation.
#[derive(Debug)]
struct Owned(Vec<(Name, Kind)>);

impl Owned {
    fn new(names: Vec<(Vec<usize>, Kind)>) -> Self {
        let mut names: Vec<(Name, Kind)> = names
            .into_iter()
            .map(|(labels, kind)| (below_z(&labels), kind))
            // A wildcard that is delegated has no meaning (RFC 4592 §4.2).
            .filter(|(name, kind)| *kind != Kind::Delegation || name.as_wire()[1] != b'*')
            .collect();
        names.sort_by(|(one, _), (other, _)| compare(one.as_wire(), other.as_wire()));
        names.dedup_by(|(one, _), (other, _)| one == other);
        let delegations: Vec<Name> = names
            .iter()
            .filter(|(_, kind)| *kind == Kind::Delegation)
            .map(|(name, _)| name.clone())
            .collect();
        let is_below_one = |name: &Name| {
            let mut above = delegations.iter();
            above.any(|top| is_below(name.as_wire(), top.as_wire()))
        };
        names.retain(|(name, _)| !is_below_one(name));
        Self(names)
    }

    /// RFC 1034 §4.3.2, RFC 4592.
    fn truth(&self, name: &[u8]) -> Truth {
        let at = |name: &[u8]| {
            let found = self.0.iter().position(|(one, _)| one.as_wire() == name);
            found.map(|at| (at, self.0[at].1))
        };
        let above =
            |kind| suffixes(name).any(|one| at(one).is_some_and(|(_, found)| found == kind));
        let exists = |name: &[u8]| {
            name == &b"\x01z\0"[..] || self.0.iter().any(|(one, _)| is_within(one.as_wire(), name))
        };
        if above(Kind::Delegation) {
            return Truth::NotDenied;
        }
        if exists(name) {
            return match at(name) {
                Some((_, Kind::Address)) => Truth::NotDenied,
                _ => Truth::NoData,
            };
        }
        let encloser = suffixes(name).find(|one| exists(one)).unwrap();
        let star = wildcard(encloser).unwrap();
        match at(star.as_wire()) {
            Some((at, Kind::Address)) => Truth::Wildcard(at as u8),
            Some(_) => Truth::NoData,
            None if exists(star.as_wire()) => Truth::NoData,
            None => Truth::NoName,
        }
    }

    /// Those of its records that `shown` picks, by NSEC or by NSEC3, and all its wildcards.
    fn shown(&self, by_hash: bool, shown: &[bool], now: Instant) -> Proved {
        let zone = name("z");
        let proved = Proved::default();
        proved.learn(&zone, &set("z", rtype::SOA, SOA.to_vec()), 60, now);
        let chain = if by_hash { self.nsec3() } else { self.nsec() };
        let picked = chain.iter().zip(shown.iter().cycle());
        for (record, _) in picked.filter(|(_, shown)| **shown) {
            proved.learn(&zone, record, 60, now);
        }
        for (at, (owner, kind)) in self.0.iter().enumerate() {
            let encloser = &owner.as_wire()[2..];
            if owner.as_wire()[..2] == *b"\x01*" && *kind == Kind::Address {
                let given = set("any.z", rtype::A, vec![192, 0, 2, at as u8]);
                proved.learn_wildcard(&zone, &Name::from_wire(encloser).unwrap(), &given, 60, now);
            }
        }
        proved
    }

    fn types(kind: Kind) -> &'static [u8] {
        match kind {
            Kind::Address => &[1],
            Kind::Text => &[16],
            Kind::Delegation => &[2],
        }
    }

    fn nsec(&self) -> Vec<RrSet> {
        let owners: Vec<String> = self.0.iter().map(|(name, _)| name.to_string()).collect();
        let types = self.0.iter().map(|(_, kind)| Self::types(*kind));
        let owners = [vec!["z".to_owned()], owners].concat();
        let nexts = owners.iter().cycle().skip(1);
        let types = [&[2, 6][..]].into_iter().chain(types);
        owners
            .iter()
            .zip(nexts)
            .zip(types)
            .map(|((owner, next), types)| nsec(owner, next, types))
            .collect()
    }

    fn nsec3(&self) -> Vec<RrSet> {
        // Empty non-terminals have a record as well.
        let mut types: BTreeMap<Vec<u8>, &[u8]> = BTreeMap::new();
        for (name, _) in &self.0 {
            for one in suffixes(name.as_wire()).filter(|one| is_within(one, b"\x01z\0")) {
                types.entry(one.to_vec()).or_insert(&[]);
            }
        }
        types.insert(b"\x01z\0".to_vec(), &[2, 6]);
        for (name, kind) in &self.0 {
            types.insert(name.as_wire().to_vec(), Self::types(*kind));
        }
        let hash = |name: &[u8]| Digest::iterated(&[], name, DigestType::SHA1, 0).unwrap();
        let hashed: BTreeMap<Vec<u8>, &[u8]> = types
            .into_iter()
            .map(|(name, types)| (hash(&name).as_ref().to_vec(), types))
            .collect();
        let nexts = hashed.keys().cycle().skip(1);
        hashed
            .iter()
            .zip(nexts)
            .map(|((hash, types), next)| {
                let mut bits = [0; 32];
                for rtype in *types {
                    bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8);
                }
                let data = [&[1, 0, 0, 0, 0, 20], &next[..], &[0, 32], &bits].concat();
                set(&format!("{}.z", base32hex(hash)), rtype::NSEC3, data)
            })
            .collect()
    }
}

/// RFC 4648 §7; a hash has 20 bytes, which are 32 letters.
fn base32hex(hash: &[u8]) -> String {
    let bit = |at: usize| hash[at / 8] >> (7 - at % 8) & 1;
    (0..hash.len() * 8 / 5)
        .map(|letter| (0..5).fold(0, |value, at| value << 1 | bit(5 * letter + at)))
        .map(|value| char::from(b"0123456789abcdefghijklmnopqrstuv"[usize::from(value)]))
        .collect()
}

fn below_z(labels: &[usize]) -> Name {
    let labels = labels.iter().map(|label| ["*", "a", "b", "c"][*label]);
    name(&labels.chain(["z"]).collect::<Vec<_>>().join("."))
}

proptest! {
    #[test]
    fn what_is_said_is_what_the_zone_would_say(
        names in prop::collection::vec((prop::collection::vec(0_usize..3, 1..4), 0_u8..5), 0..10),
        shown in prop::collection::vec(any::<bool>(), 1..12),
        all: bool,
        by_hash: bool,
        asked in prop::collection::vec(prop::collection::vec(0_usize..4, 1..5), 1..30),
    ) {
        let kinds = [Kind::Address, Kind::Address, Kind::Address, Kind::Text, Kind::Delegation];
        let names = names.into_iter().map(|(labels, kind)| (labels, kinds[usize::from(kind)]));
        let zone = Owned::new(names.collect());
        let now = Instant::now();
        let shown = if all { vec![true] } else { shown };
        let proved = zone.shown(by_hash, &shown, now);
        for labels in asked {
            let name = below_z(&labels);
            let within = Name::root();
            let asked = Asked { name: name.as_wire(), rtype: 1, dnssec_ok: true, within: &within };
            let truth = zone.truth(name.as_wire());
            let Some(judged) = proved.answer(&asked, 50, now) else {
                // All that there is to know is known.
                prop_assert!(!all || truth == Truth::NotDenied, "{}: {:?}", name, truth);
                continue;
            };
            let response = judged.response();
            let record = response.layout().section(Section::Answer).next();
            let said = match (response.rcode(), record) {
                (Rcode::NXDOMAIN, None) => Truth::NoName,
                (Rcode::NOERROR, None) => Truth::NoData,
                (_, record) => Truth::Wildcard(response.wire()[record.unwrap().end - 1]),
            };
            prop_assert_eq!(said, truth, "{}", name);
        }
    }

    #[test]
    fn places_sort_as_names_do(
        one in prop::collection::vec(prop::collection::vec(0_u8..4, 1..4), 0..5),
        other in prop::collection::vec(prop::collection::vec(0_u8..4, 1..4), 0..5),
    ) {
        let wire = |labels: &[Vec<u8>]| {
            let mut wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
            wire.push(0);
            wire
        };
        let (one, other) = (wire(&one), wire(&other));
        prop_assert_eq!(place(&one).cmp(&place(&other)), compare(&one, &other));
    }
}
