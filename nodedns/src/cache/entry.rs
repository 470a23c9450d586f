//! One answer as it is kept: the message without OPT, where its TTLs are, and
//! how long it may be used.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::cache::key::{Key, Parts};
use crate::validate::Judged;
use crate::wire::edns::ExtendedError;
use crate::wire::name::{self, Expanded};
use crate::wire::patch::{Kept, age_ttls};
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::truncate::Cuts;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, header_rcode, put_u32, u16_at};

/// The longest that answers may be used, whatever their TTLs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Answers with data.
    pub(crate) positive: Duration,
    /// The shortest, for those that nobody signed.
    pub(crate) least: Duration,
    /// Answers that say that there is none.
    pub(crate) negative: Duration,
    /// Either, after their time, while there is nothing newer.
    pub(crate) stale: Duration,
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
    /// Those of its key.
    bits: u8,
    is_secure: bool,
    /// Whether asking for a newer one has.
    has_failed: AtomicBool,
    /// In milliseconds.
    lifetime: u32,
    /// In seconds, after the lifetime.
    stale: u32,
    /// Milliseconds after it was stored; until then nobody need ask anew. 0: somebody has to.
    put_off: AtomicU32,
    stored: Instant,
    error: Option<Box<ExtendedError>>,
}

impl Entry {
    /// The answer to `key` that a server gave, every TTL in it brought within `limits`.
    pub(crate) fn of(key: &Key, judged: Judged, limits: Limits, now: Instant) -> Self {
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
            let least = match denial {
                None if !is_secure => seconds(limits.least),
                _ => 0,
            };
            if let Some(denial) = denial
                && soa_at == Some(record.at)
            {
                most = denial;
            }
            let ttl = record.ttl(&wire).min(most).max(least);
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
            stale: seconds(limits.stale),
            error: note.map(Box::new),
            ..Self::new(
                key,
                &wire,
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
        key: &Key,
        wire: &[u8],
        ttls: impl ExactSizeIterator<Item = usize>,
        [question_end, additional_at]: [usize; 2],
        lifetime: Duration,
        now: Instant,
    ) -> Self {
        // To the byte: an allocator that is asked to take back half of a block keeps it.
        let mut bytes = Vec::with_capacity(wire.len() + 2 * ttls.len());
        bytes.extend_from_slice(wire);
        for at in ttls {
            bytes.extend_from_slice(&(at as u16).to_ne_bytes());
        }
        Self {
            bytes: bytes.into(),
            wire_len: wire.len() as u16,
            question_end: question_end as u16,
            additional_at: additional_at as u16,
            bits: key.bits(),
            is_secure: false,
            has_failed: AtomicBool::new(false),
            lifetime: milliseconds(lifetime),
            stale: 0,
            put_off: AtomicU32::new(0),
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
            ..Self::new(key, &wire, std::iter::empty(), [end, end], lifetime, now)
        }
    }

    /// Whether it may be used at `now`.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.stored) < Duration::from_millis(self.lifetime.into())
    }

    /// For how long it may still be used.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        Duration::from_millis(self.lifetime.into())
            .saturating_sub(now.saturating_duration_since(self.stored))
    }

    /// Whether it may be used at `now` if there is nothing newer.
    pub(crate) fn is_of_use(&self, now: Instant) -> bool {
        let most = u64::from(self.lifetime) + 1_000 * u64::from(self.stale);
        // What may not be kept is not kept for later either.
        self.lifetime > 0
            && now.saturating_duration_since(self.stored) < Duration::from_millis(most)
    }

    /// Whether its time will soon be over, or is: of ten parts less than one is left.
    pub(crate) fn is_almost_over(&self, now: Instant) -> bool {
        let most = self.lifetime - self.lifetime / 10;
        now.saturating_duration_since(self.stored) > Duration::from_millis(most.into())
    }

    /// Whether whoever calls is to ask for a newer one, which nobody else is then for so
    /// long.
    pub(crate) fn take_turn(&self, now: Instant, pause: Duration) -> bool {
        let age = now.saturating_duration_since(self.stored);
        let before = self.put_off.load(Ordering::Relaxed);
        before <= milliseconds(age)
            && self
                .put_off
                .compare_exchange(
                    before,
                    milliseconds(age + pause),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Asking for a newer one has failed, or takes long: nobody is to for so long.
    pub(crate) fn put_off(&self, now: Instant, pause: Duration) {
        let until = now.saturating_duration_since(self.stored) + pause;
        self.put_off.store(milliseconds(until), Ordering::Relaxed);
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// Whether asking for a newer one has failed, so lately that it would again as far
    /// as anybody knows.
    pub(crate) fn has_failed_lately(&self, now: Instant) -> bool {
        let age = milliseconds(now.saturating_duration_since(self.stored));
        let until = self.put_off.load(Ordering::Relaxed);
        self.has_failed.load(Ordering::Relaxed) && age.saturating_sub(until) < milliseconds(LATELY)
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

    /// What it is the answer to.
    pub(crate) fn key(&self) -> Parts<'_> {
        let name = self.name();
        Parts {
            name,
            rtype: u16_at(&self.bytes, QUESTION_AT + name.len()).unwrap_or_default(),
            bits: self.bits,
        }
    }

    /// Whether it was validated from a trust anchor down.
    pub(crate) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Whether it has records in its answer section.
    pub(crate) fn has_answers(&self) -> bool {
        u16_at(self.parts().0, 6).is_some_and(|count| count > 0)
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

    /// The bytes that it takes behind an `Arc`, as the allocator rounds them.
    pub(crate) fn bytes(&self) -> usize {
        let error = self.error.as_ref().map_or(0, |error| {
            block(size_of::<ExtendedError>()) + block(error.text.len())
        });
        block(COUNTERS + size_of::<Self>()) + block(self.bytes.len()) + error
    }

    /// The message, and where its TTLs are.
    fn parts(&self) -> (&[u8], &[[u8; 2]]) {
        let (wire, ttls) = self.bytes.split_at(self.wire_len.into());
        (wire, ttls.as_chunks().0)
    }
}

/// What so many bytes take of the allocator: it has blocks of 16, 32, … 128 bytes, then four
/// sizes to a doubling, as mimalloc has, and other allocators about.
pub(super) const fn block(bytes: usize) -> usize {
    let step = if bytes <= 128 {
        16
    } else {
        1 << ((bytes - 1).ilog2() - 2)
    };
    bytes.next_multiple_of(step)
}

/// Those of an `Arc`.
pub(super) const COUNTERS: usize = 2 * size_of::<usize>();

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

/// How long a failure says something of how it is now.
const LATELY: Duration = Duration::from_secs(30);

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
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
        least: Duration::from_secs(2),
        negative: Duration::from_secs(100),
        stale: Duration::from_secs(10),
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

    fn key() -> Key {
        Key::new(b"\x03www\x07example\0", 1, true, false)
    }

    fn entry(now: Instant, change: impl FnOnce(&mut Message)) -> Entry {
        let response = Response::parse(response(change)).unwrap();
        Entry::of(&key(), Judged::unchecked(response), LIMITS, now)
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
    fn answers_with_data_that_nobody_signed_live_for_a_while_at_least() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.add_answer(a("www.example.", 1, 1));
        });
        assert_eq!(lifetime(&entry, now), 2);
        let signed = response(|message| {
            message.add_answer(a("www.example.", 1, 1));
        });
        let signed = Judged::kept(Response::parse(signed).unwrap(), true);
        assert_eq!(lifetime(&Entry::of(&key(), signed, LIMITS, now), now), 1);
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
    fn after_its_time_it_is_of_use_for_a_while() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.add_answer(a("www.example.", 60, 1));
        });
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(entry.is_fresh(at(59)) && !entry.is_fresh(at(60)));
        assert!(entry.is_of_use(at(69)) && !entry.is_of_use(at(70)));
        assert!(!entry.is_almost_over(at(54)) && entry.is_almost_over(at(55)));
        let failure = failure(
            &Key::new(b"\x01a\0", 1, false, false),
            Rcode::SERVFAIL,
            1,
            now,
        );
        assert!(!failure.is_of_use(at(1)));
    }

    #[test]
    fn what_may_not_be_kept_is_of_no_use_later() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa("example.", 60, 0));
        });
        assert!(!entry.is_of_use(now));
    }

    #[test]
    fn one_asks_anew_at_a_time() {
        let now = Instant::now();
        let entry = entry(now, |message| {
            message.add_answer(a("www.example.", 60, 1));
        });
        let (at, pause) = (
            |seconds| now + Duration::from_secs(seconds),
            Duration::from_secs(5),
        );
        assert!(entry.take_turn(at(60), pause) && !entry.take_turn(at(64), pause));
        assert!(entry.take_turn(at(65), pause));
        assert!(!entry.has_failed_lately(at(65)), "nobody knows yet");
        entry.put_off(at(66), pause);
        assert!(!entry.take_turn(at(70), pause));
        assert!(entry.has_failed_lately(at(66)) && entry.has_failed_lately(at(100)));
        assert!(!entry.has_failed_lately(at(101)));
        assert!(entry.take_turn(at(101), pause));
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
