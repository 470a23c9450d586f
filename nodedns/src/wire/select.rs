//! A response with some of its records only, written anew: taking records out of
//! a message would break the names that point into them.

use std::collections::HashMap;

use crate::wire::canonical::{self, Case};
use crate::wire::name::{self, Expanded, suffixes};
use crate::wire::put_u16;
use crate::wire::record::{Record, Section};
use crate::wire::response::Response;

/// `response` with those of its records for which `keep` says so, by their number
/// in the layout, in the same order. Owners are compressed, names in data are
/// not. Nothing when that is too long for a message, or a record is malformed.
pub(crate) fn select(response: &Response, keep: impl Fn(usize) -> bool) -> Option<Response> {
    let (old, layout) = (response.wire(), response.layout());
    let mut wire = old.get(..layout.question_end)?.to_vec();
    let mut counts = [0_u16; 3];
    let mut seen = Seen::default();
    seen.note(layout.name(old), 12);
    for (number, record) in layout.records.iter().enumerate() {
        if keep(number) {
            put_record(&mut wire, &mut seen, old, record)?;
            counts[match record.section {
                Section::Answer => 0,
                Section::Authority => 1,
                Section::Additional => 2,
            }] += 1;
        }
    }
    for (count, at) in counts.into_iter().zip([6, 8, 10]) {
        put_u16(&mut wire, at, count);
    }
    if wire.len() > usize::from(u16::MAX) {
        return None;
    }
    Response::parse(wire)
}

fn put_record(wire: &mut Vec<u8>, seen: &mut Seen, old: &[u8], record: &Record) -> Option<()> {
    let mut owner = Expanded::new();
    let fixed = name::expand(old, record.at, &mut owner)?;
    seen.put(wire, owner.as_wire());
    wire.extend_from_slice(old.get(fixed..fixed + 8)?);
    let data = canonical::data(old, record, Case::AsSent)?;
    wire.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
    wire.extend_from_slice(&data);
    Some(())
}

/// Where names were written, so that the next one can point there. Case counts:
/// a name comes back as it was sent.
#[derive(Default)]
struct Seen(HashMap<Box<[u8]>, u16>);

impl Seen {
    fn put(&mut self, wire: &mut Vec<u8>, name: &[u8]) {
        let at = wire.len();
        let known = suffixes(name)
            .filter(|suffix| suffix.len() > 1)
            .find_map(|suffix| Some((suffix.len(), *self.0.get(suffix)?)));
        match known {
            Some((length, to)) => {
                wire.extend_from_slice(&name[..name.len() - length]);
                wire.extend_from_slice(&(0xc000 | to).to_be_bytes());
            }
            None => wire.extend_from_slice(name),
        }
        self.note(name, at);
    }

    /// Remembers each suffix of a `name` that was written at `at`.
    fn note(&mut self, name: &[u8], at: usize) {
        for suffix in suffixes(name).filter(|suffix| suffix.len() > 1) {
            let place = at + name.len() - suffix.len();
            // A pointer has 14 bits. A suffix that is known already was written
            // further up, where this name points to.
            if place < 0x4000 && !self.0.contains_key(suffix) {
                self.0.insert(suffix.into(), place as u16);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, response, soa};
    use hickory_proto::op::Message;
    use proptest::prelude::*;

    fn whole() -> Response {
        Response::parse(response(|message| {
            message.add_answer(cname("www.example.", 60, "Host.example."));
            message.add_answer(a("stray.other.", 60, 1));
            message.add_answer(a("Host.example.", 30, 2));
            message.add_authority(soa("example.", 90, 5));
            message.add_additional(a("ns.example.", 30, 3));
        }))
        .unwrap()
    }

    #[test]
    fn what_is_kept_reads_as_before() {
        let (all, none) = (whole(), select(&whole(), |_| false).unwrap());
        let part = select(&all, |number| number != 1 && number != 4).unwrap();
        let (before, after) = (
            Message::from_vec(all.wire()).unwrap(),
            Message::from_vec(part.wire()).unwrap(),
        );
        assert_eq!(after.answers[0], before.answers[0]);
        assert_eq!(after.answers[1], before.answers[2]);
        assert_eq!(after.answers[1].name.to_ascii(), "Host.example.");
        assert_eq!(after.authorities, before.authorities);
        assert_eq!((after.answers.len(), after.additionals.len()), (2, 0));
        assert_eq!(after.queries, before.queries);
        assert!(none.layout().records.is_empty());
    }

    #[test]
    fn owners_are_compressed() {
        let all = Response::parse(response(|message| {
            for last in 0..100 {
                message.add_answer(a("www.example.", 60, last));
            }
        }))
        .unwrap();
        let same = select(&all, |_| true).unwrap();
        assert_eq!(same.wire().len(), all.wire().len());
    }

    proptest! {
        #[test]
        fn any_change_to_a_response_is_survived(at in 0_usize..200, value: u8) {
            let mut wire = whole().wire().to_vec();
            let at = at % wire.len();
            wire[at] = value;
            if let Some(changed) = Response::parse(wire) {
                let _ = select(&changed, |number| number % 2 == 0);
            }
        }
    }
}
