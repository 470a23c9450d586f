//! One answer as it is kept: the message without OPT, where its TTLs are, and
//! how long it may be used.

use std::time::{Duration, Instant};

use crate::cache::key::Key;
use crate::validate::Judged;
use crate::wire::edns::ExtendedError;
use crate::wire::name::{self, Expanded};
use crate::wire::patch::{Kept, age_ttls};
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::truncate::Cuts;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, header_rcode, put_u32};

/// The longest that answers may be used, whatever their TTLs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Answers with data.
    pub(crate) positive: Duration,
    /// Answers that say that there is none.
    pub(crate) negative: Duration,
}

/// An answer, kept. There are hundreds of thousands of them: each field is as small as
/// it can be.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The message, then the places of its TTLs, two bytes each.
    bytes: Box<[u8]>,
    wire_len: u16,
    question_end: u16,
    additional_at: u16,
    is_secure: bool,
    /// In milliseconds.
    lifetime: u32,
    stored: Instant,
    error: Option<Box<ExtendedError>>,
}

impl Entry {
    /// The answer that a server gave, every TTL in it brought within `limits`.
    pub(crate) fn of(judged: Judged, limits: Limits, now: Instant) -> Self {
        let is_secure = judged.is_secure();
        let (response, note) = judged.into_parts();
        let response = response.without_opt();
        let denial = denial_ttl(&response, limits);
        let layout = response.layout().clone();
        let soa_at = response.soa().map(|soa| soa.at);
        let mut wire = response.into_wire();
        let mut lifetime = denial.unwrap_or(u32::MAX);
        for record in &layout.records {
            let mut most = seconds(limits.positive);
            if let Some(denial) = denial
                && soa_at == Some(record.at)
            {
                most = denial;
            }
            let ttl = record.ttl(&wire).min(most);
            put_u32(&mut wire, record.ttl_at, ttl);
            lifetime = lifetime.min(ttl);
        }
        let additional_at = layout
            .section(Section::Additional)
            .next()
            .map_or(wire.len(), |record| record.at);
        let ttls = layout.records.iter().map(|record| record.ttl_at);
        Self {
            is_secure,
            error: note.map(Box::new),
            ..Self::new(
                wire,
                ttls,
                [layout.question_end, additional_at],
                Duration::from_secs(lifetime.into()),
                now,
            )
        }
    }

    /// Not validated, without a reason. A message is at most 65,535 bytes long, and so
    /// are the places in it.
    fn new(
        mut bytes: Vec<u8>,
        ttls: impl Iterator<Item = usize>,
        [question_end, additional_at]: [usize; 2],
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        let wire_len = bytes.len() as u16;
        for at in ttls {
            bytes.extend_from_slice(&(at as u16).to_ne_bytes());
        }
        Self {
            bytes: bytes.into(),
            wire_len,
            question_end: question_end as u16,
            additional_at: additional_at as u16,
            is_secure: false,
            lifetime: u32::try_from(lifetime.as_millis()).unwrap_or(u32::MAX),
            stored: now,
            error: None,
        }
    }

    /// The answer when there is none: a code and the reason, used for `lifetime`
    /// (RFC 9520 §3.2 asks for at least a second, so that a broken name costs its
    /// servers no more).
    pub(crate) fn failure(
        key: &Key,
        rcode: Rcode,
        error: ExtendedError,
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        let mut wire = Vec::with_capacity(16 + key.name().len());
        wire.extend_from_slice(&[0, 0]);
        wire.extend_from_slice(&(flag::QR | rcode.0 & flag::RCODE).to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        wire.extend_from_slice(key.name());
        wire.extend_from_slice(&key.rtype().to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        let end = wire.len();
        Self {
            error: Some(Box::new(error)),
            ..Self::new(wire, std::iter::empty(), [end, end], lifetime, now)
        }
    }

    /// Whether it may be used at `now`.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        !self.left(now).is_zero()
    }

    /// For how long it may still be used.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        Duration::from_millis(self.lifetime.into())
            .saturating_sub(now.saturating_duration_since(self.stored))
    }

    /// Whole seconds since it was stored.
    pub(crate) fn age(&self, now: Instant) -> u32 {
        seconds(now.saturating_duration_since(self.stored))
    }

    /// Lends it to be copied into an answer.
    pub(crate) fn kept(&self) -> Kept<'_> {
        let (wire, ttls) = self.parts();
        Kept {
            wire,
            ttls,
            cuts: Cuts {
                question_end: self.question_end.into(),
                additional_at: self.additional_at.into(),
            },
            error: self.error.as_deref(),
            is_secure: self.is_secure,
        }
    }

    /// Its response code.
    pub(crate) fn rcode(&self) -> Rcode {
        header_rcode(self.parts().0)
    }

    /// The name that it is about, in lower case and wire form as all that is kept.
    pub(crate) fn name(&self) -> &[u8] {
        &self.bytes[QUESTION_AT..usize::from(self.question_end) - 4]
    }

    /// Whether it was validated from a trust anchor down.
    pub(crate) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Why there is no answer, or what else is to be said about it.
    pub(crate) fn error(&self) -> Option<&ExtendedError> {
        self.error.as_deref()
    }

    /// Whether its question, or any of its records, is about a name that `picks`,
    /// which sees each in lower case.
    pub(crate) fn touches(&self, picks: impl Fn(&[u8]) -> bool) -> bool {
        let Some(response) = Response::parse(self.parts().0.to_vec()) else {
            return false;
        };
        let (wire, layout) = (response.wire(), response.layout());
        let mut expanded = Expanded::new();
        let mut owner_touches = |at| {
            name::expand(wire, at, &mut expanded)
                .is_some_and(|_| picks(&expanded.as_wire().to_ascii_lowercase()))
        };
        picks(&layout.name(wire).to_ascii_lowercase())
            || layout.records.iter().any(|record| owner_touches(record.at))
            || response.chain().iter().any(|name| picks(name))
    }

    /// The message, its TTLs aged, to be made part of another answer.
    pub(crate) fn aged(&self, now: Instant) -> Vec<u8> {
        let age = self.age(now);
        let (wire, ttls) = self.parts();
        let mut wire = wire.to_vec();
        age_ttls(&mut wire, ttls, age);
        wire
    }

    /// The bytes that it takes, its own bookkeeping included.
    pub(crate) fn bytes(&self) -> usize {
        let error = self
            .error
            .as_ref()
            .map_or(0, |error| size_of::<ExtendedError>() + error.text.len());
        size_of::<Self>() + self.bytes.len() + error
    }

    /// The message, and where its TTLs are.
    fn parts(&self) -> (&[u8], &[[u8; 2]]) {
        let (wire, ttls) = self.bytes.split_at(self.wire_len.into());
        (wire, ttls.as_chunks().0)
    }
}

/// For how many seconds a denial may be used (RFC 2308 §5): the lesser of the
/// SOA's TTL and its MINIMUM; not at all without an SOA. `None` when `response`
/// denies nothing.
fn denial_ttl(response: &Response, limits: Limits) -> Option<u32> {
    if response.rcode() == Rcode::NOERROR && response.answers_its_type() {
        return None;
    }
    let Some(soa) = response.soa() else {
        return Some(0);
    };
    let ttl = soa.ttl(response.wire());
    Some(
        ttl.min(response.soa_minimum(soa))
            .min(seconds(limits.negative)),
    )
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::wire::edns::ErrorCode;
    use crate::wire::record::tests::{a, cname, response, soa};
    use hickory_proto::op::{Edns, Message, ResponseCode};
    use std::sync::Arc;

    const LIMITS: Limits = Limits {
        positive: Duration::from_secs(1_000),
        negative: Duration::from_secs(100),
    };

    pub(crate) fn failure(key: &Key, rcode: Rcode, seconds: u64, now: Instant) -> Arc<Entry> {
        let error = ExtendedError::new(ErrorCode::Other, "test");
        Arc::new(Entry::failure(
            key,
            rcode,
            error,
            Duration::from_secs(seconds),
            now,
        ))
    }

    fn entry(now: Instant, change: impl FnOnce(&mut Message)) -> Entry {
        let response = Response::parse(response(change)).unwrap();
        Entry::of(Judged::unchecked(response), LIMITS, now)
    }

    /// Seconds for which it stays fresh.
    fn lifetime(entry: &Entry, now: Instant) -> u64 {
        (0..5_000)
            .find(|second| !entry.is_fresh(now + Duration::from_secs(*second)))
            .unwrap()
    }

    #[test]
    fn an_answer_lives_as_long_as_its_shortest_ttl() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.add_answer(cname("www.example.", 40, "b.example."));
            message.add_answer(a("b.example.", 30, 1));
            message.add_authority(soa("example.", 50, 5));
        });
        assert_eq!(lifetime(&entry, now), 30);
    }

    #[test]
    fn ttls_are_brought_within_the_limit() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.add_answer(a("www.example.", 100_000, 1));
        });
        assert_eq!(lifetime(&entry, now), 1_000);
        let message = Message::from_vec(&entry.aged(now)).unwrap();
        assert_eq!(message.answers[0].ttl, 1_000);
        let message = Message::from_vec(&entry.aged(now + Duration::from_secs(10))).unwrap();
        assert_eq!(message.answers[0].ttl, 990);
    }

    #[test]
    fn a_denial_lives_as_long_as_the_soa_says_and_says_so() {
        let now = Instant::now();
        for (ttl, minimum, expected) in [(60, 5, 5), (5, 60, 5), (500, 500, 100), (60, 0, 0)] {
            for rcode in [ResponseCode::NoError, ResponseCode::NXDomain] {
                let entry = entry(now, |message| {
                    message.metadata.response_code = rcode;
                    message.add_authority(soa("example.", ttl, minimum));
                });
                assert_eq!(lifetime(&entry, now), expected);
                let message = Message::from_vec(&entry.aged(now)).unwrap();
                assert_eq!(u64::from(message.authorities[0].ttl), expected);
            }
        }
    }

    #[test]
    fn a_denial_at_the_end_of_a_chain_lives_no_longer_than_the_chain() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_answer(cname("www.example.", 3, "b.example."));
            message.add_authority(soa("example.", 60, 60));
        });
        assert_eq!(lifetime(&entry, now), 3);
    }

    #[test]
    fn a_denial_without_soa_is_not_kept() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.metadata.response_code = ResponseCode::NXDomain;
        });
        assert!(!entry.is_fresh(now));
    }

    #[test]
    fn options_of_the_hop_are_not_kept() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.add_answer(a("www.example.", 60, 1));
            message.set_edns(Edns::new());
        });
        assert!(Message::from_vec(&entry.aged(now)).unwrap().edns.is_none());
        assert_eq!(entry.kept().ttls.len(), 1);
    }

    #[test]
    fn a_failure_is_a_whole_message() {
        let now = Instant::now();
        let key = Key::new(b"\x01a\0", 1, false, false);
        let entry = failure(&key, Rcode::SERVFAIL, 1, now);
        let message = Message::from_vec(&entry.aged(now)).unwrap();
        assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
        assert_eq!(message.queries.len(), 1);
    }
}
