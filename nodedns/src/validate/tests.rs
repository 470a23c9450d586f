//! Responses and what they are worth, without a network.

mod recorded;
mod trust_point;
mod world;

use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use proptest::prelude::*;

use crate::validate::budget::Budget;
use crate::validate::{Clock, Fault, FaultKind, Need, Verdict};
use crate::wire::name::Name;
use crate::wire::record::tests::{a, cname};
use world::{NOW, TTL, World, Zone, answer, denial, name};

use crate::validate::verdict::Unsigned;

fn www(zone: &Zone) -> Message {
    let records = zone.signed(vec![a("www.example.", TTL, 1), a("www.example.", TTL, 2)]);
    answer("www.example.", RecordType::A, records)
}

/// Any point of the steady clock.
fn some_time() -> Instant {
    Instant::now()
}

#[track_caller]
fn assert_bogus(verdict: &Verdict, kind: FaultKind) {
    match verdict {
        Verdict::Bogus(Fault { kind: found, .. }) => assert_eq!(*found, kind, "{verdict:?}"),
        _ => panic!("{verdict:?} instead of {kind:?}"),
    }
}

#[track_caller]
fn assert_insecure(verdict: &Verdict, why: Unsigned) {
    match verdict {
        Verdict::Insecure(found) => assert_eq!(found.why, why, "{verdict:?}"),
        _ => panic!("{verdict:?} instead of insecure: {why:?}"),
    }
}

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
fn altered_data_is_bogus_rfc_4035_5_3_3() {
    let (mut world, root, example) = World::with_example();
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    let mut message = www(&example);
    message.answers[0].data = a("www.example.", TTL, 66).data;
    assert_bogus(&world.judge(&message), FaultKind::Signature);
    let mut message = www(&example);
    message.answers.push(a("www.example.", TTL, 66));
    assert_bogus(&world.judge(&message), FaultKind::Signature);
    let other = Zone::new("example.");
    assert_bogus(&world.judge(&www(&other)), FaultKind::KeyUnknown);
    let by_root = root.signed(vec![a("www.example.", TTL, 1)]);
    let by_root = answer("www.example.", RecordType::A, by_root);
    assert_eq!(
        world.judge(&by_root),
        Verdict::Secure,
        "who signs the DS may sign for all below it"
    );
}

#[test]
fn stripped_signatures_are_bogus_rfc_4035_5_2() {
    let (mut world, _, example) = World::with_example();
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    let message = answer(
        "www.example.",
        RecordType::A,
        vec![a("www.example.", TTL, 1)],
    );
    assert_bogus(&world.judge(&message), FaultKind::SignatureMissing);
}

#[test]
fn signatures_have_a_time_rfc_4034_3_1_5() {
    let (mut world, _, example) = World::with_example();
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    let mut at = |inception: u32, expiration: u32| {
        let records = example.signed_with(vec![a("www.example.", TTL, 1)], &|input| {
            input.sig_inception = inception.into();
            input.sig_expiration = expiration.into();
        });
        world.judge(&answer("www.example.", RecordType::A, records))
    };
    assert_eq!(at(NOW, NOW), Verdict::Secure);
    assert_bogus(&at(NOW - 9, NOW - 1), FaultKind::SignatureExpired);
    assert_bogus(&at(NOW + 1, NOW + 9), FaultKind::SignatureNotYetValid);
    let wrapped = at(NOW - 9, NOW.wrapping_add(i32::MAX as u32));
    assert_eq!(
        wrapped,
        Verdict::Secure,
        "68 years, over the end of the counter"
    );
}

#[test]
fn a_clock_that_is_off_makes_everything_bogus() {
    let (mut world, _, example) = World::with_example();
    world.wall = 86_400;
    assert_bogus(&world.judge(&www(&example)), FaultKind::SignatureExpired);
}

/// What the keys of a zone, signed by `signer`, say of the clock at that time.
fn clock(world: &World, zone: &Zone, signer: &Zone, at: u32) -> Option<Clock> {
    let owner = zone.anchor().zone;
    let records = signer.signed(vec![zone.key_record()]);
    let message = answer(&owner.to_string(), RecordType::DNSKEY, records);
    let need = Need {
        name: owner,
        rtype: crate::wire::rtype::DNSKEY,
    };
    let response = world::parse(&message);
    let mut budget = Budget::new();
    world.validator().clock(&need, &response, at, &mut budget)
}

#[test]
fn only_keys_of_an_anchor_that_are_signed_rightly_tell_of_the_clock() {
    let (world, root, example) = World::with_example();
    let (from, until) = (NOW - 3_600, NOW + 3_600);
    let off = Some(Clock::Off { from, until });
    assert_eq!(clock(&world, &root, &root, NOW), Some(Clock::Fits));
    assert_eq!(clock(&world, &root, &root, until + 1), off);
    assert_eq!(clock(&world, &root, &root, from - 1), off);
    assert_eq!(clock(&world, &root, &example, until + 1), None, "a forger");
    assert_eq!(clock(&world, &example, &example, until + 1), None);
}

#[test]
fn more_labels_than_the_name_has_are_bogus_rfc_4035_5_3_1() {
    let (mut world, _, example) = World::with_example();
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    let records = example.signed_with(vec![a("www.example.", TTL, 1)], &|input| {
        input.num_labels = 3;
    });
    let verdict = world.judge(&answer("www.example.", RecordType::A, records));
    assert_bogus(&verdict, FaultKind::Labels);
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
fn ttls_are_no_longer_than_what_was_signed_rfc_4035_5_3_3() {
    let (mut world, _, example) = World::with_example();
    let validator = world.validator();
    let mut ttl = |original: u32, ends_in: u32| {
        let records = example.signed_with(vec![a("www.example.", TTL, 1)], &|input| {
            input.original_ttl = original;
            input.sig_expiration = (NOW + ends_in).into();
        });
        let message = answer("www.example.", RecordType::A, records);
        let (verdict, judged) = world.judge_with(&validator, &message, true);
        assert_eq!(verdict, Verdict::Secure);
        let message = Message::from_vec(judged.response().wire()).unwrap();
        assert_eq!(message.answers[0].ttl, message.answers[1].ttl);
        message.answers[0].ttl
    };
    assert_eq!(ttl(3_600, 3_600), TTL);
    assert_eq!(ttl(60, 3_600), 60);
    assert_eq!(ttl(3_600, 20), 20);
}

#[test]
fn what_nobody_signed_is_left_out_of_a_secure_answer() {
    let (mut world, _, example) = World::with_example();
    let mut message = www(&example);
    message.answers.push(a("evil.example.", TTL, 66));
    message.additionals.push(a("www.example.", TTL, 66));
    let validator = world.validator();
    for (dnssec_ok, answers) in [(true, 3), (false, 2)] {
        let (verdict, judged) = world.judge_with(&validator, &message, dnssec_ok);
        assert_eq!(verdict, Verdict::Secure);
        let message = Message::from_vec(judged.response().wire()).unwrap();
        assert_eq!(message.answers.len(), answers, "DO {dnssec_ok}");
        assert!(message.additionals.is_empty());
    }
}

#[test]
fn a_denial_must_be_proved_rfc_4035_5_4() {
    let (mut world, _, example) = World::with_example();
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    let proof = || {
        let nsec = example.nsec("www.example.", "example.", &[RecordType::A]);
        [example.soa(), nsec].concat()
    };
    let star = || {
        example.nsec(
            "example.",
            "www.example.",
            &[RecordType::SOA, RecordType::NS],
        )
    };
    let (no_data, no_name) = (ResponseCode::NoError, ResponseCode::NXDomain);
    let mut judge = |owner, code, proof| {
        world.says(denial(
            owner,
            RecordType::DS,
            ResponseCode::NXDomain,
            proof_of_nothing(&example),
        ));
        world.judge(&denial(owner, RecordType::AAAA, code, proof))
    };
    assert_eq!(judge("www.example.", no_data, proof()), Verdict::Secure);
    assert_bogus(&judge("www.example.", no_name, proof()), FaultKind::Code);
    let whole = [proof(), star()].concat();
    assert_eq!(
        judge("xyz.example.", no_name, whole.clone()),
        Verdict::Secure
    );
    assert_bogus(&judge("xyz.example.", no_data, whole), FaultKind::Code);
    assert_bogus(
        &judge("xyz.example.", no_name, proof()),
        FaultKind::DenialMissing,
    );
    assert_bogus(
        &judge("www.example.", no_data, example.soa()),
        FaultKind::DenialMissing,
    );
    assert_bogus(
        &judge("xyz.example.", no_name, Vec::new()),
        FaultKind::DenialMissing,
    );
}

fn proof_of_nothing(example: &Zone) -> Vec<Record> {
    [
        example.nsec("www.example.", "example.", &[RecordType::A]),
        example.nsec(
            "example.",
            "www.example.",
            &[RecordType::SOA, RecordType::NS],
        ),
    ]
    .concat()
}

#[test]
fn an_answer_from_a_wildcard_needs_a_denial_of_the_name_rfc_4035_5_3_4() {
    let (mut world, _, example) = World::with_example();
    let expanded = example.signed_with(vec![a("x.y.example.", TTL, 1)], &|input| {
        input.num_labels = 1;
    });
    let mut message = answer("x.y.example.", RecordType::A, expanded);
    assert_bogus(&world.judge(&message), FaultKind::DenialMissing);
    message.authorities = example.nsec("*.example.", "example.", &[RecordType::A]);
    assert_eq!(world.judge(&message), Verdict::Secure);
    message.authorities = example.nsec("a.y.example.", "example.", &[RecordType::A]);
    assert_bogus(&world.judge(&message), FaultKind::DenialMissing);
}

#[test]
fn a_chain_is_worth_as_much_as_its_worst_link() {
    let (mut world, root, example) = World::with_example();
    world.no_ds(&root, "open.", &[RecordType::NS]);
    world.no_ds(&example, "b.example.", &[RecordType::A]);
    let alias = |target| example.signed(vec![cname("www.example.", TTL, target)]);
    let mut judge = |target, rest: Vec<Record>| {
        let records = [alias(target), rest].concat();
        world.judge(&answer("www.example.", RecordType::A, records))
    };
    let signed = example.signed(vec![a("b.example.", TTL, 1)]);
    assert_eq!(judge("b.example.", signed), Verdict::Secure);
    let unsigned = vec![a("www.open.", TTL, 1)];
    assert_insecure(&judge("www.open.", unsigned), Unsigned::Delegation);
    let stripped = vec![a("b.example.", TTL, 1)];
    assert_bogus(&judge("b.example.", stripped), FaultKind::SignatureMissing);
}

#[test]
fn an_insecure_alias_does_not_excuse_a_bogus_target() {
    let (mut world, root, example) = World::with_example();
    world.no_ds(&root, "open.", &[RecordType::NS]);
    world.no_ds(&example, "b.example.", &[RecordType::A]);
    let records = vec![
        cname("www.open.", TTL, "b.example."),
        a("b.example.", TTL, 1),
    ];
    let verdict = world.judge(&answer("www.open.", RecordType::A, records));
    assert_bogus(&verdict, FaultKind::SignatureMissing);
}

#[test]
fn many_keys_and_signatures_with_one_tag_cost_little() {
    let (mut world, _, example) = World::with_example();
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    let good = example.signed(vec![a("www.example.", TTL, 1)]);
    let mut records = vec![good[0].clone()];
    let forged = example.signed(vec![a("www.example.", TTL, 2)])[1].clone();
    records.extend(std::iter::repeat_n(forged, 60));
    records.push(good[1].clone());
    let verdict = world.judge(&answer("www.example.", RecordType::A, records));
    assert_bogus(&verdict, FaultKind::Signature);
}

#[test]
fn many_keys_with_one_tag_cost_little() {
    let (mut world, root, _) = World::with_example();
    let trap = Zone::with_a_late_key("trap.");
    world.delegate(&root, &trap);
    // They are no points of the curve, but have to be tried.
    let twins = trap.keys_with_the_same_tag(200);
    let keys = [twins, vec![trap.key_record()]].concat();
    world.says(answer("trap.", RecordType::DNSKEY, trap.signed(keys)));
    let records = trap.signed(vec![a("www.trap.", TTL, 1)]);
    let verdict = world.judge(&answer("www.trap.", RecordType::A, records));
    assert!(matches!(verdict, Verdict::Bogus(_)), "{verdict:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_change_of_any_byte_gets_false_data_in(at in 0_usize..600, bits in 1_u8..) {
        let (mut world, _, example) = World::with_example();
        world.no_ds(&example, "www.example.", &[RecordType::A]);
        let mut wire = www(&example).to_vec().unwrap();
        let at = at % wire.len();
        wire[at] ^= bits;
        // What asks is compared with what was asked before it comes here.
        let question = 12..12 + 17;
        if let Ok(message) = Message::from_vec(&wire) && !question.contains(&at) {
            let validator = world.validator();
            let (verdict, judged) = world.judge_with(&validator, &message, false);
            if verdict == Verdict::Secure {
                let kept = Message::from_vec(judged.response().wire()).unwrap();
                let data: Vec<_> = kept.answers.iter().map(|one| one.data.to_string()).collect();
                prop_assert_eq!(data, ["192.0.2.1", "192.0.2.2"]);
            }
        }
    }
}

#[test]
fn signatures_themselves_cannot_be_validated() {
    let (mut world, _, example) = World::with_example();
    let records = www(&example).answers.split_off(2);
    let verdict = world.judge(&answer("www.example.", RecordType::RRSIG, records));
    assert_insecure(&verdict, Unsigned::Signatures);
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
