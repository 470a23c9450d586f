//! What is not there, what a wildcard stands for, and aliases.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};

use super::world::{TTL, World, answer, denial};
use super::{assert_bogus, assert_insecure, proof_of_nothing};
use crate::validate::verdict::Unsigned;
use crate::validate::{FaultKind, Verdict};
use crate::wire::record::tests::{a, cname};

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
