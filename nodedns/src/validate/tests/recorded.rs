//! Writes the seeds of the fuzz targets: answers of signed zones, with all that their
//! validation asks for.

use std::fs;
use std::path::Path;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;

use super::world::{NOW, TTL, World, Zone, answer, denial};
use super::{proof_of_nothing, www};
use crate::anchors::Trusted;
use crate::wire::record::tests::{a, cname};

/// As [`fuzzing`](crate::fuzzing) reads it.
fn recorded(world: &World, root: &Zone, response: &Message) -> Vec<u8> {
    let Trusted::Key(anchor) = root.anchor().trusted else {
        panic!("a key")
    };
    let mut bytes = NOW.to_be_bytes().to_vec();
    let answers = world.answers().map(|message| message.to_vec().unwrap());
    for part in [anchor, response.to_vec().unwrap()]
        .into_iter()
        .chain(answers)
    {
        bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&part);
    }
    bytes
}

#[test]
#[ignore = "writes tests/fuzz/seeds anew, with other keys; `cargo test --workspace --lib -- --ignored seeds_are_written`"]
fn seeds_are_written() {
    let (mut world, root, example) = World::with_example();
    world.no_ds(&root, "open.", &[RecordType::NS]);
    world.no_ds(&example, "www.example.", &[RecordType::A]);
    world.no_ds(&example, "b.example.", &[RecordType::A]);
    world.says(denial(
        "nx.example.",
        RecordType::DS,
        ResponseCode::NXDomain,
        proof_of_nothing(&example),
    ));
    let nothing = [example.soa(), proof_of_nothing(&example)].concat();
    let star = example.signed_with(vec![a("x.y.example.", TTL, 1)], &|input| {
        input.num_labels = 1;
    });
    let mut wildcard = answer("x.y.example.", RecordType::A, star);
    wildcard.authorities = example.nsec("*.example.", "example.", &[RecordType::A]);
    let mut altered = www(&example);
    altered.answers[0].data = a("www.example.", TTL, 66).data;
    let chain = [
        example.signed(vec![cname("www.example.", TTL, "b.example.")]),
        example.signed(vec![a("b.example.", TTL, 1)]),
    ];
    let messages = [
        ("secure-data", www(&example)),
        (
            "secure-name-error",
            denial(
                "nx.example.",
                RecordType::A,
                ResponseCode::NXDomain,
                nothing,
            ),
        ),
        ("secure-wildcard", wildcard),
        (
            "secure-chain",
            answer("www.example.", RecordType::A, chain.concat()),
        ),
        (
            "insecure-delegation",
            answer("www.open.", RecordType::A, vec![a("www.open.", TTL, 1)]),
        ),
        ("bogus-altered", altered),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = folder.join("tests/fuzz/seeds");
    for target in ["validation", "response", "question"] {
        fs::create_dir_all(folder.join(target)).unwrap();
    }
    for (name, message) in &messages {
        let bytes = recorded(&world, &root, message);
        fs::write(folder.join("validation").join(name), bytes).unwrap();
        let packet = message.to_vec().unwrap();
        fs::write(folder.join("response").join(name), packet).unwrap();
        let mut question = message.clone();
        question.answers.clear();
        question.authorities.clear();
        question.metadata.message_type = hickory_proto::op::MessageType::Query;
        question.metadata.recursion_desired = true;
        question.set_edns(hickory_proto::op::Edns::new());
        let packet = question.to_vec().unwrap();
        fs::write(folder.join("question").join(name), packet).unwrap();
    }
}
