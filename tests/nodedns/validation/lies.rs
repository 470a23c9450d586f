//! The lies that the adversary tells.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// True answers, to be told to the wrong questions.
pub(crate) struct Truths {
    pub(crate) no_such_name: Message,
    pub(crate) no_such_type: Message,
    pub(crate) other_zone: Message,
    pub(crate) same_zone: Message,
    pub(crate) other_keys: Message,
    pub(crate) other_ds: Message,
    pub(crate) no_ds: Message,
    pub(crate) opted_out: Message,
}

/// One lie.
#[derive(Clone, Copy)]
pub(crate) enum Lie {
    /// Another message.
    Content(fn(&mut Message, &Truths)),
    /// Other packets than the honest one, or more.
    Packets(fn(Vec<u8>) -> Vec<Vec<u8>>),
}

use Lie::{Content, Packets};

/// All of them, each with its name.
pub(crate) const LIES: [(&str, Lie); 44] = [
    (
        "signatures stripped from answers",
        Content(|m, _| drop_type(&mut m.answers, RecordType::RRSIG)),
    ),
    (
        "signatures stripped from denials",
        Content(|m, _| drop_type(&mut m.authorities, RecordType::RRSIG)),
    ),
    ("all signatures stripped", Content(|m, _| strip(m))),
    (
        "all DNSSEC records stripped",
        Content(|m, _| {
            strip(m);
            m.answers.retain(|one| !is_key(one));
            m.authorities.clear();
        }),
    ),
    ("addresses altered", Content(|m, _| alter(m))),
    (
        "addresses altered, signatures stripped",
        Content(|m, _| {
            alter(m);
            strip(m);
        }),
    ),
    (
        "an address added",
        Content(|m, _| {
            let owner = asked(m);
            m.answers.push(evil(&owner));
        }),
    ),
    (
        "an address put first, at a name above",
        Content(|m, _| m.answers.insert(0, evil(&name("tld.")))),
    ),
    ("addresses alone, unsigned", Content(|m, _| forge(m))),
    (
        "addresses alone, AD set",
        Content(|m, _| {
            forge(m);
            m.metadata.authentic_data = true;
            m.metadata.authoritative = true;
        }),
    ),
    (
        "the answer of another zone, renamed",
        Content(|m, t| rename(m, &t.other_zone)),
    ),
    (
        "the answer of another name, renamed",
        Content(|m, t| rename(m, &t.same_zone)),
    ),
    (
        "the answer of another name as it is",
        Content(|m, t| m.answers = t.same_zone.answers.clone()),
    ),
    (
        "an alias to another zone, unsigned",
        Content(|m, t| alias(m, "www.a15.tld.", &t.other_zone)),
    ),
    (
        "an alias to an insecure zone, unsigned",
        Content(|m, _| {
            let to = "www.plain.tld.";
            alias(m, to, &Message::query());
            m.answers.push(evil(&name(to)));
        }),
    ),
    (
        "an alias to itself",
        Content(|m, _| {
            let own = asked(m).to_ascii();
            alias(m, &own, &Message::query());
        }),
    ),
    (
        "no such name, without a proof",
        Content(|m, _| deny(m, ResponseCode::NXDomain, Vec::new())),
    ),
    (
        "no such name, with the proof of another",
        Content(|m, t| {
            deny(
                m,
                ResponseCode::NXDomain,
                t.no_such_name.authorities.clone(),
            )
        }),
    ),
    (
        "no such name, with the proof of another zone",
        Content(|m, t| deny(m, ResponseCode::NXDomain, t.opted_out.authorities.clone())),
    ),
    (
        "no such name, with the proof of a type",
        Content(|m, t| {
            deny(
                m,
                ResponseCode::NXDomain,
                t.no_such_type.authorities.clone(),
            )
        }),
    ),
    (
        "no such type, without a proof",
        Content(|m, _| deny(m, ResponseCode::NoError, Vec::new())),
    ),
    (
        "no such type, with the proof of another name",
        Content(|m, t| deny(m, ResponseCode::NoError, t.no_such_type.authorities.clone())),
    ),
    (
        "no such type, with the proof of no name",
        Content(|m, t| deny(m, ResponseCode::NoError, t.no_such_name.authorities.clone())),
    ),
    (
        "no such type, with the proof of no DS",
        Content(|m, t| deny(m, ResponseCode::NoError, t.no_ds.authorities.clone())),
    ),
    (
        "no such name, the data beside it",
        Content(|m, _| m.metadata.response_code = ResponseCode::NXDomain),
    ),
    (
        "a referral to a liar",
        Content(|m, _| {
            deny(m, ResponseCode::NoError, Vec::new());
            m.authorities.push(liar());
        }),
    ),
    (
        "name servers and glue added",
        Content(|m, _| {
            m.authorities.push(liar());
            m.additionals.push(evil(&name("ns.evil.")));
        }),
    ),
    (
        "no DS, unsigned",
        Content(|m, _| {
            when(m, RecordType::DS, |m| {
                deny(m, ResponseCode::NoError, Vec::new())
            })
        }),
    ),
    (
        "no DS, no such name",
        Content(|m, _| {
            when(m, RecordType::DS, |m| {
                deny(m, ResponseCode::NXDomain, Vec::new())
            })
        }),
    ),
    (
        "no DS, with the proof of another zone",
        Content(|m, t| {
            when(m, RecordType::DS, |m| {
                deny(m, ResponseCode::NoError, t.no_ds.authorities.clone())
            })
        }),
    ),
    (
        "no DS, with an opt-out of another zone",
        Content(|m, t| {
            when(m, RecordType::DS, |m| {
                deny(m, ResponseCode::NoError, t.opted_out.authorities.clone())
            })
        }),
    ),
    (
        "the DS of another zone",
        Content(|m, t| when(m, RecordType::DS, |m| rename(m, &t.other_ds))),
    ),
    (
        "an alias in the place of DS",
        Content(|m, t| {
            when(m, RecordType::DS, |m| {
                alias(m, "www.a15.tld.", &t.other_zone)
            })
        }),
    ),
    (
        "the keys of another zone",
        Content(|m, t| when(m, RecordType::DNSKEY, |m| rename(m, &t.other_keys))),
    ),
    (
        "a key of another zone added",
        Content(|m, t| {
            when(m, RecordType::DNSKEY, |m| {
                let mut all = m.answers.clone();
                rename(m, &t.other_keys);
                all.append(&mut m.answers);
                m.answers = all;
            })
        }),
    ),
    (
        "no keys",
        Content(|m, _| {
            when(m, RecordType::DNSKEY, |m| {
                deny(m, ResponseCode::NoError, Vec::new())
            })
        }),
    ),
    (
        "the longest TTLs",
        Content(|m, _| {
            for record in m.answers.iter_mut().chain(&mut m.authorities) {
                record.ttl = i32::MAX as u32;
            }
        }),
    ),
    (
        "a wrong ID before the right one",
        Packets(|honest| vec![changed(&honest, 0), honest]),
    ),
    (
        "another question before the right one",
        Packets(|honest| vec![changed(&honest, 14), honest]),
    ),
    (
        "a query before the reply",
        Packets(|honest| vec![changed_by(&honest, 2, 0x80), honest]),
    ),
    (
        "half a reply before the whole",
        Packets(|honest| vec![honest[..honest.len() / 2].to_vec(), honest]),
    ),
    (
        "noise before the reply",
        Packets(|honest| vec![vec![0xff; 600], Vec::new(), honest]),
    ),
    (
        "more records promised than there are",
        Packets(|honest| vec![changed_by(&honest, 7, 0x40), honest]),
    ),
    (
        "the name in lower case",
        Packets(|mut honest| {
            honest[12..]
                .iter_mut()
                .take(20)
                .for_each(|byte| byte.make_ascii_lowercase());
            vec![honest]
        }),
    ),
];

fn asked(message: &Message) -> Name {
    message.queries[0].name().clone()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn evil(owner: &Name) -> Record {
    Record::from_rdata(owner.clone(), 300, RData::A(A::new(192, 0, 2, 66)))
}

fn liar() -> Record {
    Record::from_rdata(name("a13.tld."), 300, RData::NS(NS(name("ns.evil."))))
}

fn is_key(record: &Record) -> bool {
    matches!(record.record_type(), RecordType::DS | RecordType::DNSKEY)
}

fn drop_type(records: &mut Vec<Record>, kind: RecordType) {
    records.retain(|record| record.record_type() != kind);
}

fn strip(message: &mut Message) {
    drop_type(&mut message.answers, RecordType::RRSIG);
    drop_type(&mut message.authorities, RecordType::RRSIG);
}

fn alter(message: &mut Message) {
    for record in &mut message.answers {
        if record.record_type() == RecordType::A {
            record.data = RData::A(A::new(192, 0, 2, 66));
        }
    }
}

fn forge(message: &mut Message) {
    if message.queries[0].query_type() == RecordType::A {
        message.metadata.response_code = ResponseCode::NoError;
        message.answers = vec![evil(&asked(message))];
        message.authorities.clear();
    }
}

/// The records of `other`, at the name that was asked for.
fn rename(message: &mut Message, other: &Message) {
    let owner = asked(message);
    message.metadata.response_code = ResponseCode::NoError;
    message.answers = other.answers.clone();
    for record in &mut message.answers {
        record.name = owner.clone();
    }
}

fn alias(message: &mut Message, target: &str, rest: &Message) {
    let owner = asked(message);
    if matches!(
        message.queries[0].query_type(),
        RecordType::A | RecordType::DS
    ) {
        let cname = Record::from_rdata(owner, 300, RData::CNAME(CNAME(name(target))));
        message.metadata.response_code = ResponseCode::NoError;
        message.answers = vec![cname];
        message.answers.extend(rest.answers.iter().cloned());
        message.authorities.clear();
    }
}

/// Says of what is no part of the chain of trust that it is not there.
fn deny(message: &mut Message, code: ResponseCode, proof: Vec<Record>) {
    message.metadata.response_code = code;
    message.answers.clear();
    message.authorities = proof;
}

fn when(message: &mut Message, kind: RecordType, lie: impl FnOnce(&mut Message)) {
    if message.queries[0].query_type() == kind {
        lie(message);
    }
}

fn changed(packet: &[u8], at: usize) -> Vec<u8> {
    changed_by(packet, at, 1)
}

fn changed_by(packet: &[u8], at: usize, bits: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at] ^= bits;
    packet
}
