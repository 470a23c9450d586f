//! What a person wants of the cache: how full it is, what is in it, and that some of
//! it be forgotten.

use std::time::Instant;

use crate::cache::Cache;
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::control_socket::protocol::{
    CacheDump, CacheFlushed, CacheStats, KeptAnswer, MAX_REPLY, Reply,
};
use crate::wire::name::{Name, Text};
use crate::wire::u16_at;

/// How full it is.
pub(super) fn stats(cache: &Cache) -> Reply {
    let usage = cache.usage();
    Reply::CacheStats(CacheStats {
        answers: usage.entries,
        bytes: usage.bytes,
        capacity: cache.capacity(),
        evicted: usage.evicted,
    })
}

/// Forgets all that has to do with names at and below `top`. Looks at every answer.
pub(super) fn flush(cache: &Cache, top: Name) -> Reply {
    let answers = cache.forget_within(&[top]);
    Reply::CacheFlushed(CacheFlushed { answers })
}

/// What may be used of names at and below `top`, as far as a reply has room.
pub(super) fn dump(cache: &Cache, top: &Name, now: Instant) -> Reply {
    let all = cache.list(top, now);
    let mut room = MAX_REPLY - ROOM_FOR_THE_REST;
    let mut answers = Vec::new();
    for entry in &all {
        let answer = kept(entry, now);
        let size = serde_json::to_vec(&answer).map_or(usize::MAX, |json| json.len() + 1);
        let Some(left) = room.checked_sub(size) else {
            break;
        };
        room = left;
        answers.push(answer);
    }
    let more = all.len() - answers.len();
    Reply::CacheDump(CacheDump { answers, more })
}

fn kept(entry: &Entry, now: Instant) -> KeptAnswer {
    let key = Key::from(entry.key());
    let records = u16_at(entry.kept().wire, 6).unwrap_or(0);
    KeptAnswer {
        name: Text(key.name()).to_string(),
        rtype: hickory_proto::rr::RecordType::from(key.rtype()).to_string(),
        dnssec_ok: key.dnssec_ok(),
        checking_disabled: key.checking_disabled(),
        rcode: entry.rcode().to_string(),
        records: records.into(),
        secure: entry.is_secure(),
        seconds_left: entry.left(now).as_secs(),
        note: entry.error().map(|error| error.text.clone()),
    }
}

/// For what is around the answers.
const ROOM_FOR_THE_REST: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Share;
    use crate::cache::entry::tests::failure;
    use crate::cache::tests::capacity;
    use crate::wire::Rcode;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn filled(count: usize, now: Instant) -> Cache {
        let cache = Cache::new(capacity(64 << 20));
        for number in 0..count {
            let key = Key::new(
                name(&format!("n{number:05}.example")).as_wire(),
                1,
                true,
                false,
            );
            cache.insert(failure(&key, Rcode::SERVFAIL, 60, now), Share::Outer, now);
        }
        cache
    }

    #[test]
    fn a_dump_has_names_in_order_and_what_each_is_worth() {
        let now = Instant::now();
        let Reply::CacheDump(CacheDump { answers, more }) =
            dump(&filled(3, now), &name("example"), now)
        else {
            panic!()
        };
        let names: Vec<&str> = answers.iter().map(|answer| &*answer.name).collect();
        assert_eq!(
            names,
            ["n00000.example.", "n00001.example.", "n00002.example."]
        );
        assert_eq!(more, 0);
        let one = &answers[0];
        assert_eq!(
            (&*one.rtype, &*one.rcode, one.seconds_left),
            ("A", "SERVFAIL", 60)
        );
        assert!(one.dnssec_ok && !one.secure && one.note.is_some());
    }

    #[test]
    fn a_dump_too_long_for_a_reply_says_how_much_is_missing() {
        let now = Instant::now();
        let reply = dump(&filled(20_000, now), &name("."), now);
        assert!(serde_json::to_vec(&reply).unwrap().len() < MAX_REPLY);
        let Reply::CacheDump(CacheDump { answers, more }) = reply else {
            panic!()
        };
        assert!(answers.len() > 1_000);
        assert_eq!(answers.len() + more, 20_000);
    }

    #[test]
    fn a_flush_says_how_many_went() {
        let now = Instant::now();
        let cache = filled(10, now);
        let flushed = |answers| Reply::CacheFlushed(CacheFlushed { answers });
        assert_eq!(flush(&cache, name("n00003.example")), flushed(1));
        assert_eq!(flush(&cache, name(".")), flushed(9));
        let Reply::CacheStats(stats) = stats(&cache) else {
            panic!()
        };
        assert_eq!(
            (stats.answers, stats.bytes, stats.capacity),
            (0, 0, 64 << 20)
        );
    }
}
