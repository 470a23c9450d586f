//! What the report says of made-up ways to an answer.

use super::*;
use crate::cache::key::Key;
use crate::explain::{Over, Servers};
use crate::validate::{Fault, FaultKind};
use crate::wire::Rcode;
use hickory_proto::rr::RecordType;
use serde_json::json;
use std::time::Duration;

fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

/// What happens to a name whose signature is altered.
fn steps() -> Vec<Step> {
    let key = Key::new(name("www.example.").as_wire(), 1, true, true);
    let fault = Fault {
        name: name("www.example."),
        rtype: 1,
        kind: FaultKind::Signature,
    };
    let asked = |outcome| Event::Asked {
        zone: Name::root(),
        server: "udp://192.0.2.1:53".to_owned(),
        key: key.clone(),
        over: Over::Udp,
        outcome,
        after: Duration::from_micros(1_250),
    };
    let events = [
        Event::Route {
            key: key.clone(),
            zone: Name::root(),
            recursion: true,
            validate: true,
        },
        asked(Outcome::Failed("answers REFUSED".to_owned())),
        asked(Outcome::Answered {
            rcode: Rcode::NOERROR,
            records: 1,
        }),
        Event::Referral {
            from: Name::root(),
            to: name("example."),
            servers: Servers {
                names: 2,
                with_glue: 1,
            },
        },
        Event::Judged {
            key: key.clone(),
            verdict: Verdict::Bogus(fault),
        },
    ];
    let step = |event| Step {
        at: Duration::from_millis(2),
        event,
    };
    events.map(step).into()
}

#[test]
fn every_verdict_has_its_reason() {
    let question = Question {
        name: name("www.example."),
        rtype: RecordType::A,
    };
    let key = Key::new(name("www.example.").as_wire(), 1, true, true);
    let judged = |verdict| Event::Judged {
        key: key.clone(),
        verdict,
    };
    let route = Event::Route {
        key: key.clone(),
        zone: name("example."),
        recursion: false,
        validate: false,
    };
    for (event, verdict, part) in [
        (judged(Verdict::Secure), "secure", "the trust anchor at ."),
        (
            judged(Verdict::Indeterminate),
            "indeterminate",
            "no trust anchor",
        ),
        (route, "unchecked", "zone example. is not validated"),
    ] {
        let step = Step {
            at: Duration::ZERO,
            event,
        };
        let report = Report::new(&question, &Message::query(), &[step], |_| {
            vec![TrustLink {
                zone: Name::root(),
                state: crate::validate::State::Secure(2),
                is_anchor: true,
            }]
        });
        assert_eq!(report.verdict, verdict);
        let reason = report.reason.unwrap();
        assert!(reason.contains(part), "{verdict}: {reason}");
    }
}

#[test]
fn that_a_zone_is_not_validated_is_no_reason_for_a_failure() {
    let question = Question {
        name: name("www.example."),
        rtype: RecordType::A,
    };
    let step = Step {
        at: Duration::ZERO,
        event: Event::Route {
            key: Key::new(name("www.example.").as_wire(), 1, true, true),
            zone: name("example."),
            recursion: false,
            validate: false,
        },
    };
    let reason_of = |code| {
        let mut answer = Message::query();
        answer.metadata.response_code = code;
        Report::new(&question, &answer, std::slice::from_ref(&step), |_| {
            Vec::new()
        })
        .reason
    };
    assert!(reason_of(ResponseCode::NXDomain).is_some());
    assert_eq!(reason_of(ResponseCode::ServFail), None);
}

#[test]
fn the_schema_stays_what_it_is() {
    let question = Question {
        name: name("www.example."),
        rtype: RecordType::A,
    };
    let mut answer = Message::query();
    answer.metadata.response_code = ResponseCode::ServFail;
    let report = Report::new(&question, &answer, &steps(), |_| {
        vec![TrustLink {
            zone: Name::root(),
            state: crate::validate::State::Secure(2),
            is_anchor: true,
        }]
    });
    let expected = json!({
        "name": "www.example.",
        "type": "A",
        "rcode": "SERVFAIL",
        "verdict": "bogus",
        "reason": "www.example. A has a signature that does not match",
        "authentic": false,
        "error": null,
        "answer": [],
        "authority": [],
        "steps": [
            {"at_ms": 2.0, "step": "route", "question": "www.example. A", "zone": ".",
             "recursion": true, "validate": true},
            {"at_ms": 2.0, "step": "asked", "question": "www.example. A", "zone": ".",
             "server": "udp://192.0.2.1:53", "transport": "udp", "outcome": "failed",
             "detail": "answers REFUSED", "records": null, "took_ms": 1.3},
            {"at_ms": 2.0, "step": "asked", "question": "www.example. A", "zone": ".",
             "server": "udp://192.0.2.1:53", "transport": "udp", "outcome": "answered",
             "detail": "NOERROR", "records": 1, "took_ms": 1.3},
            {"at_ms": 2.0, "step": "referral", "from": ".", "to": "example.",
             "name_servers": 2, "with_address": 1},
            {"at_ms": 2.0, "step": "judged", "question": "www.example. A",
             "verdict": "bogus",
             "reason": "www.example. A has a signature that does not match"},
        ],
        "trust": [
            {"zone": ".", "state": "secure", "reason": "2 keys", "anchor": true},
        ],
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    assert!(!report.is_answered());
}
