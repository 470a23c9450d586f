//! Signatures over data: right, wrong, of another time, and too many.

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::world::{self, NOW, TTL, World, Zone, answer};
use super::{assert_bogus, assert_insecure, www};
use crate::validate::budget::Budget;
use crate::validate::verdict::Unsigned;
use crate::validate::{Clock, FaultKind, Need, Verdict};
use crate::wire::record::tests::a;

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
