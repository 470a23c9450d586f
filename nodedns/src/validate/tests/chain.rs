//! The chain of trust: from anchors down, by DS and DNSKEY.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

use super::world::{TTL, World, Zone, answer, denial, name};
use super::{assert_bogus, assert_insecure, proof_of_nothing, www};
use crate::validate::verdict::Unsigned;
use crate::validate::{FaultKind, Verdict};
use crate::wire::name::Name;
use crate::wire::record::tests::a;

#[test]
fn what_is_signed_from_the_anchor_down_is_secure() {
    let (mut world, _, example) = World::with_example();
    assert_eq!(world.judge(&www(&example)), Verdict::Secure);
    assert_eq!(
        world.asked, 3,
        "DNSKEY of the root, DS and DNSKEY of example."
    );
}

#[test]
fn keys_are_asked_for_once() {
    let (mut world, _, example) = World::with_example();
    let validator = world.validator();
    world.judge_with(&validator, &www(&example), true);
    world.judge_with(&validator, &www(&example), true);
    assert_eq!(world.asked, 3);
}

#[test]
fn ed25519_is_known() {
    let (mut world, root, _) = World::with_example();
    let other = Zone::with_ed25519("other.");
    world.delegate(&root, &other);
    let records = other.signed(vec![a("www.other.", TTL, 1)]);
    let verdict = world.judge(&answer("www.other.", RecordType::A, records));
    assert_eq!(verdict, Verdict::Secure);
}

#[test]
fn a_delegation_without_ds_is_insecure_rfc_4035_5_2() {
    let (mut world, root, _) = World::with_example();
    world.no_ds(&root, "open.", &[RecordType::NS]);
    let message = answer("www.open.", RecordType::A, vec![a("www.open.", TTL, 1)]);
    assert_insecure(&world.judge(&message), Unsigned::Delegation);
    // Also when it signs itself: an island.
    let island = Zone::new("open.");
    let records = island.signed(vec![a("www.open.", TTL, 1)]);
    let message = answer("www.open.", RecordType::A, records);
    assert_insecure(&world.judge(&message), Unsigned::Delegation);
}

#[test]
fn an_island_with_an_anchor_of_its_own_is_secure() {
    let (mut world, root, _) = World::with_example();
    world.no_ds(&root, "open.", &[RecordType::NS]);
    let island = Zone::new("open.");
    world.anchor(&island);
    world.keys(&island);
    let records = island.signed(vec![a("www.open.", TTL, 1)]);
    let verdict = world.judge(&answer("www.open.", RecordType::A, records));
    assert_eq!(verdict, Verdict::Secure);
}

#[test]
fn without_an_anchor_nothing_can_be_known() {
    let (_, _, example) = World::with_example();
    let mut world = World::default();
    assert_eq!(world.judge(&www(&example)), Verdict::Indeterminate);
}

#[test]
fn a_negative_anchor_ends_validation() {
    let (mut world, _, _) = World::with_example();
    world.negative.push(Name::from_text("example").unwrap());
    let message = answer(
        "www.example.",
        RecordType::A,
        vec![a("www.example.", TTL, 1)],
    );
    assert_insecure(&world.judge(&message), Unsigned::NegativeAnchor);
    assert_eq!(world.asked, 0);
}

#[test]
fn unknown_algorithms_and_digests_are_insecure_rfc_4035_5_2() {
    let unknown = |change: fn(&mut Vec<u8>)| {
        let (mut world, root, _) = World::with_example();
        let other = Zone::new("other.");
        let mut ds = other.ds();
        let RData::DNSSEC(data) = &ds.data else {
            panic!("a DS")
        };
        let hickory_proto::dnssec::rdata::DNSSECRData::DS(data) = data else {
            panic!("a DS")
        };
        let mut wire = data.key_tag().to_be_bytes().to_vec();
        wire.extend_from_slice(&[data.algorithm().into(), data.digest_type().into()]);
        wire.extend_from_slice(data.digest());
        change(&mut wire);
        let changed = hickory_proto::dnssec::rdata::DS::new(
            data.key_tag(),
            hickory_proto::dnssec::Algorithm::from_u8(wire[2]),
            wire[3].into(),
            wire[4..].to_vec(),
        );
        ds.data = RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::DS(changed));
        world.says(answer("other.", RecordType::DS, root.signed(vec![ds])));
        let message = answer("www.other.", RecordType::A, vec![a("www.other.", TTL, 1)]);
        world.judge(&message)
    };
    assert_insecure(&unknown(|ds| ds[2] = 253), Unsigned::Algorithm);
    assert_insecure(&unknown(|ds| ds[2] = 7), Unsigned::Algorithm);
    assert_insecure(&unknown(|ds| ds[3] = 200), Unsigned::Digest);
    assert_bogus(&unknown(|ds| ds[4] ^= 1), FaultKind::KeyMissing);
}

#[test]
fn keys_must_be_those_that_the_parent_names() {
    let (mut world, _, _) = World::with_example();
    let other = Zone::new("example.");
    world.keys(&other);
    assert_bogus(&world.judge(&www(&other)), FaultKind::KeyMissing);
    // The right key among the wrong ones, which alone sign.
    let (mut world, _, example) = World::with_example();
    let records = other.signed(vec![example.key_record(), other.key_record()]);
    world.says(answer("example.", RecordType::DNSKEY, records));
    assert_bogus(&world.judge(&www(&other)), FaultKind::KeyUnknown);
}

#[test]
fn a_key_without_the_zone_key_bit_signs_nothing_rfc_4034_2_1_1() {
    let (mut world, _, example) = World::with_example();
    let weak = Zone::with_flags("example.", 0);
    let records = example.signed(vec![example.key_record(), weak.key_record()]);
    world.says(answer("example.", RecordType::DNSKEY, records));
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    assert_bogus(&world.judge(&www(&weak)), FaultKind::KeyNotOfZone);
    assert_eq!(world.judge(&www(&example)), Verdict::Secure);
}

#[test]
fn names_below_a_name_that_does_not_exist_are_not_asked_for() {
    let (mut world, _, example) = World::with_example();
    world.says(denial(
        "nx.example.",
        RecordType::DS,
        ResponseCode::NXDomain,
        proof_of_nothing(&example),
    ));
    let deep = "a.b.c.d.e.nx.example.";
    let verdict = world.judge(&answer(deep, RecordType::A, vec![a(deep, TTL, 1)]));
    assert_bogus(&verdict, FaultKind::SignatureMissing);
    assert_eq!(world.asked, 4);
    assert_eq!(name(deep).num_labels(), 7);
}
