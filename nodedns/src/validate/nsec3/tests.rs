//! The zone of RFC 5155, appendix A, and the responses of its appendix B.

use super::*;

/// Hash, next hash, types; all with opt-out, 12 iterations and the salt aabbccdd.
const ZONE: [(&str, &str, &[u8]); 12] = [
    (
        "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
        &[2, 6, 15, 46, 48, 51],
    ),
    (
        "2t7b4g4vsa5smi47k61mv5bv1a22bojr",
        "2vptu5timamqttgl4luu9kg21e0aor3s",
        &[1, 46],
    ),
    (
        "2vptu5timamqttgl4luu9kg21e0aor3s",
        "35mthgpgcu1qg68fab165klnsnk3dpvl",
        &[15, 46],
    ),
    (
        "35mthgpgcu1qg68fab165klnsnk3dpvl",
        "b4um86eghhds6nea196smvmlo4ors995",
        &[2, 43, 46],
    ),
    (
        "b4um86eghhds6nea196smvmlo4ors995",
        "gjeqe526plbf1g8mklp59enfd789njgi",
        &[15, 46],
    ),
    (
        "gjeqe526plbf1g8mklp59enfd789njgi",
        "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
        &[1, 13, 28, 46],
    ),
    (
        "ji6neoaepv8b5o6k4ev33abha8ht9fgc",
        "k8udemvp1j2f7eg6jebps17vp3n8i58h",
        &[],
    ),
    (
        "k8udemvp1j2f7eg6jebps17vp3n8i58h",
        "kohar7mbb8dc2ce8a9qvl8hon4k53uhi",
        &[],
    ),
    (
        "kohar7mbb8dc2ce8a9qvl8hon4k53uhi",
        "q04jkcevqvmu85r014c7dkba38o0ji5r",
        &[1, 46],
    ),
    (
        "q04jkcevqvmu85r014c7dkba38o0ji5r",
        "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
        &[1, 46],
    ),
    (
        "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
        "t644ebqk9bibcna874givr6joj62mlhv",
        &[15, 46],
    ),
    (
        "t644ebqk9bibcna874givr6joj62mlhv",
        "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom",
        &[1, 13, 28, 46],
    ),
];

const A: u16 = 1;
const MX: u16 = 15;
const AAAA: u16 = 28;
const DS: u16 = 43;

/// The records whose hashes begin so; of all of them without any beginning.
fn records(beginnings: &[&str]) -> Vec<Nsec3> {
    ZONE.iter()
        .filter(|(hash, ..)| {
            beginnings.is_empty() || beginnings.iter().any(|begin| hash.starts_with(begin))
        })
        .map(|(hash, next, types)| {
            let mut bits = [0; 7];
            for rtype in *types {
                bits[usize::from(rtype / 8)] |= 0x80 >> (rtype % 8);
            }
            let next = from_base32hex(next.as_bytes()).unwrap();
            let data = [
                &[1, 1, 0, 12, 4, 0xaa, 0xbb, 0xcc, 0xdd, 20],
                &next[..],
                &[0, 7],
                &bits,
            ]
            .concat();
            Nsec3::read(from_base32hex(hash.as_bytes()).unwrap(), &data).unwrap()
        })
        .collect()
}

fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

fn deny(beginnings: &[&str], of: &str, rtype: u16) -> Result<Denial, Gap> {
    let (records, zone) = (records(beginnings), name("example"));
    Chain::new(&records, &zone, 50)?.deny(name(of).as_wire(), rtype, &mut Budget::new())
}

fn opted_out(what: What) -> Result<Denial, Gap> {
    Ok(Denial {
        what,
        opt_out: true,
    })
}

const EXISTS: Result<Denial, Gap> = Ok(Denial {
    what: What::Type { delegation: false },
    opt_out: false,
});

#[test]
fn b1_a_name_error() {
    let found = deny(&["0p9m", "b4um", "35mt"], "a.c.x.w.example", A);
    assert_eq!(found, opted_out(What::Name));
    for missing in [["b4um", "35mt"], ["0p9m", "35mt"], ["0p9m", "b4um"]] {
        // Opt-out covers for the wildcard's record, to less: the name may be delegated.
        let found = deny(&missing, "a.c.x.w.example", A);
        assert_ne!(found, opted_out(What::Name), "{missing:?}");
    }
}

#[test]
fn b2_no_data() {
    assert_eq!(deny(&["2t7b"], "ns1.example", MX), EXISTS);
    assert_eq!(deny(&["2t7b"], "ns1.example", A), Err(MISSING), "it has A");
}

#[test]
fn b2_1_an_empty_non_terminal() {
    assert_eq!(deny(&["ji6n"], "y.w.example", A), EXISTS);
}

#[test]
fn b3_a_delegation_that_is_opted_out() {
    let found = deny(&["35mt", "0p9m"], "c.example", DS).unwrap();
    assert!(found.opt_out);
    assert_eq!(
        deny(&["35mt"], "c.example", DS),
        Err(MISSING),
        "no encloser"
    );
}

#[test]
fn b4_an_answer_from_a_wildcard() {
    let closer = |beginnings: &[&str], of: &str, encloser: &str| {
        let (records, zone) = (records(beginnings), name("example"));
        Chain::new(&records, &zone, 50)?.deny_closer(
            name(of).as_wire(),
            name(encloser).as_wire(),
            &mut Budget::new(),
        )
    };
    assert_eq!(closer(&["q04j"], "a.z.w.example", "w.example"), Ok(true));
    assert_eq!(
        closer(&["r53b"], "a.z.w.example", "w.example"),
        Err(MISSING)
    );
    assert_eq!(
        closer(&[], "x.w.example", "w.example"),
        Err(MISSING),
        "it exists"
    );
}

#[test]
fn b5_a_wildcard_without_the_type() {
    let found = deny(&["k8ud", "q04j", "r53b"], "a.z.w.example", AAAA);
    assert_eq!(found, opted_out(What::Wildcard));
    let found = deny(&["k8ud", "q04j", "r53b"], "a.z.w.example", MX);
    assert_eq!(found, Err(MISSING), "it has MX");
}

#[test]
fn b6_the_zone_itself_says_nothing_of_its_ds() {
    assert_eq!(deny(&["0p9m"], "example", DS), Err(MISSING));
}

#[test]
fn at_a_delegation_only_ds_is_denied() {
    // a.example has NS and DS; its parent knows of nothing else.
    assert_eq!(deny(&["35mt"], "a.example", A), Err(MISSING));
    assert_eq!(deny(&["35mt"], "a.example", DS), Err(MISSING), "it has DS");
    assert_eq!(deny(&[], "x.a.example", A), Err(MISSING), "below it");
}

#[test]
fn too_many_iterations_are_told_apart() {
    let (records, zone) = (records(&[]), name("example"));
    assert_eq!(
        Chain::new(&records, &zone, 11).unwrap_err(),
        Gap::Iterations
    );
    assert!(Chain::new(&records, &zone, 12).is_ok());
}

#[test]
fn unknown_hashes_and_flags_do_not_count() {
    let hash = vec![0; 20];
    let data = |algorithm, flags| {
        let mut data = vec![algorithm, flags, 0, 0, 0, 20];
        data.extend_from_slice(&[1; 20]);
        data
    };
    assert!(Nsec3::read(hash.clone(), &data(1, 1)).is_some());
    assert!(Nsec3::read(hash.clone(), &data(2, 0)).is_none());
    assert!(Nsec3::read(hash.clone(), &data(1, 2)).is_none());
    assert!(Nsec3::read(hash, &data(1, 0)[..10]).is_none());
}

#[test]
fn hashing_is_bounded() {
    let deep = format!("{}example", "a.".repeat(120));
    let (records, zone) = (records(&["0p9m"]), name("example"));
    let chain = Chain::new(&records, &zone, 50).unwrap();
    let mut budget = Budget::new();
    let _ = chain.deny(name(&deep).as_wire(), A, &mut budget);
    assert_eq!(
        chain.deny(name(&deep).as_wire(), A, &mut budget),
        Err(Gap::Fault(FaultKind::TooMuchWork))
    );
}

#[test]
fn records_that_hash_otherwise_cost_nothing() {
    // A zone may sign any number of them, each with a salt of its own (CVE-2023-50868).
    let (plain, zone) = (records(&[]), name("example"));
    let others = (0..200).flat_map(|salt| {
        records(&[]).into_iter().map(move |record| Nsec3 {
            salt: vec![salt],
            ..record
        })
    });
    let mixed: Vec<Nsec3> = plain.iter().cloned().chain(others).collect();
    let of = |records: &[Nsec3]| {
        let mut budget = Budget::new();
        let chain = Chain::new(records, &zone, 50).unwrap();
        let denial = chain.deny(name("a.c.x.w.example").as_wire(), A, &mut budget);
        (denial, budget.spent().hashes)
    };
    assert!(of(&plain).0.is_ok() && of(&plain).1 > 0);
    assert_eq!(of(&mixed), of(&plain));
}
