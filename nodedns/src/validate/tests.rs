//! Responses and what they are worth, without a network.

mod chain;
mod denials;
mod recorded;
mod signatures;
mod trust_point;
mod world;

use std::time::Instant;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};

use crate::validate::verdict::Unsigned;
use crate::validate::{Fault, FaultKind, Verdict};
use crate::wire::record::tests::a;
use world::{TTL, Zone, answer};

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
