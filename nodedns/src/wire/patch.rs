//! A kept answer copied and made the answer to one query: its ID, its flags, the
//! name in the case in which it was asked, TTLs aged, OPT when it brought one.

use crate::wire::edns::{self, ExtendedError, Options, PLAIN_UDP_SIZE, UDP_SIZE};
use crate::wire::question::Query;
use crate::wire::truncate::{self, Cuts};
use crate::wire::{QUESTION_AT, Rcode, flag, header_rcode, put_u16, put_u32, u16_at, u32_at};

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In one datagram, of the size that the client can receive.
    Udp,
    /// In a stream, two bytes of length in front.
    Tcp,
}

/// A kept answer, as the cache lends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// The message without OPT; the name in its question is as long as the one
    /// in the query.
    pub(crate) wire: &'a [u8],
    /// Where its TTLs are: a `u16` each, as this machine writes it.
    pub(crate) ttls: &'a [[u8; 2]],
    /// Where it may be cut.
    pub(crate) cuts: Cuts,
    /// Said to clients that speak EDNS.
    pub(crate) error: Option<&'a ExtendedError>,
    /// Whether it was validated: then AD is set for those who want to know.
    pub(crate) is_secure: bool,
}

/// What the TTLs of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ttls {
    /// Those that were kept so many seconds ago.
    Aged(u32),
    /// Each this one.
    All(u32),
}

/// Makes `out` the answer to `query` from what was kept. Allocates nothing when `out`
/// has room. Gives true when the answer was cut and TC set.
pub(crate) fn answer(
    out: &mut Vec<u8>,
    kept: Kept<'_>,
    query: &Query<'_>,
    ttls: Ttls,
    transport: Transport,
) -> bool {
    out.clear();
    out.extend_from_slice(kept.wire);
    put_u16(out, 0, query.id);
    let authentic = if kept.is_secure && query.wants_authentic_data() {
        flag::AD
    } else {
        0
    };
    put_u16(
        out,
        2,
        answer_flags(query.flags) | authentic | header_rcode(kept.wire).0,
    );
    if let Some(name) = out.get_mut(QUESTION_AT..QUESTION_AT + query.name.len()) {
        name.copy_from_slice(query.name);
    }
    match ttls {
        Ttls::Aged(age) => age_ttls(out, kept.ttls, age),
        Ttls::All(ttl) => set_ttls(out, kept.ttls, ttl),
    }
    let opt = match query.edns {
        Some(_) => edns::opt_len(&query.options, kept.error),
        None => 0,
    };
    let cut = truncate::fit(out, kept.cuts, size_limit(query, transport) - opt);
    put_opt(out, query, Rcode::NOERROR, kept.error);
    cut
}

/// Takes `age` seconds off the TTLs at these places, down to zero.
pub(crate) fn age_ttls(message: &mut [u8], ttls: &[[u8; 2]], age: u32) {
    for at in ttls {
        let at = usize::from(u16::from_ne_bytes(*at));
        let ttl = u32_at(message, at).unwrap_or(0);
        put_u32(message, at, ttl.saturating_sub(age));
    }
}

fn set_ttls(message: &mut [u8], ttls: &[[u8; 2]], ttl: u32) {
    for at in ttls {
        put_u32(message, u16::from_ne_bytes(*at).into(), ttl);
    }
}

/// Makes `out` an answer to `query` that has no records, only a code and, for
/// those who speak EDNS, the reason.
pub(crate) fn error(
    out: &mut Vec<u8>,
    query: &Query<'_>,
    rcode: Rcode,
    reason: Option<&ExtendedError>,
) {
    bare(out, query.id, query.flags, Rcode(rcode.0 & flag::RCODE));
    put_u16(out, 4, 1);
    out.extend_from_slice(query.name);
    out.extend_from_slice(&query.rtype.to_be_bytes());
    out.extend_from_slice(&query.class.to_be_bytes());
    put_opt(out, query, rcode, reason);
}

/// Makes `out` an answer to `query` that says nothing but to ask again over TCP.
pub(crate) fn truncated(out: &mut Vec<u8>, query: &Query<'_>) {
    error(out, query, Rcode::NOERROR, None);
    let flags = u16_at(out, 2).unwrap_or(0);
    put_u16(out, 2, flags | flag::TC);
}

/// Makes `out` the answer to a packet that has cookies and no question (RFC 7873 §5.4).
pub(crate) fn cookies(out: &mut Vec<u8>, id: u16, flags: u16, options: &Options) {
    bare(out, id, flags, Rcode::NOERROR);
    edns::put_opt(out, Rcode::NOERROR, false, options, None);
    put_u16(out, 10, 1);
}

/// Makes `out` a header alone: the answer to a packet whose question cannot be
/// read.
pub(crate) fn bare(out: &mut Vec<u8>, id: u16, flags: u16, rcode: Rcode) {
    out.clear();
    out.extend_from_slice(&id.to_be_bytes());
    let opcode = flags & flag::OPCODE;
    out.extend_from_slice(&(answer_flags(flags) | opcode | rcode.0).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
}

/// The flags of every answer: RD and CD as asked, RA because we do find answers.
/// AA is never set, for what is cached has no authority.
const fn answer_flags(query: u16) -> u16 {
    flag::QR | flag::RA | query & (flag::RD | flag::CD)
}

fn put_opt(out: &mut Vec<u8>, query: &Query<'_>, rcode: Rcode, error: Option<&ExtendedError>) {
    if let Some(edns) = query.edns {
        edns::put_opt(out, rcode, edns.dnssec_ok, &query.options, error);
        let additionals = u16_at(out, 10).unwrap_or(0);
        put_u16(out, 10, additionals + 1);
    }
}

/// The most bytes that the client of `query` takes.
fn size_limit(query: &Query<'_>, transport: Transport) -> usize {
    let udp = query.edns.map_or(PLAIN_UDP_SIZE, |edns| {
        edns.udp_size.clamp(PLAIN_UDP_SIZE, UDP_SIZE)
    });
    match transport {
        Transport::Udp => usize::from(udp),
        Transport::Tcp => usize::from(u16::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::Layout;
    use crate::wire::record::tests::{a, response};
    use hickory_proto::op::Message;

    const QUERY: Query<'_> = Query {
        id: 99,
        flags: flag::RD | flag::CD,
        name: b"\x03wWw\x07eXample\0",
        rtype: 1,
        class: 1,
        edns: None,
        options: Options {
            cookies: None,
            keepalive: None,
        },
    };
    const EDNS: edns::ClientEdns = edns::ClientEdns {
        udp_size: 4096,
        version: 0,
        dnssec_ok: true,
        cookie: None,
        keepalive: false,
    };

    fn patched(query: &Query<'_>, age: u32, is_secure: bool) -> Message {
        with_ttls(query, Ttls::Aged(age), is_secure)
    }

    fn with_ttls(query: &Query<'_>, ttls: Ttls, is_secure: bool) -> Message {
        let wire = response(|message| {
            message.metadata.authoritative = true;
            message.metadata.authentic_data = true;
            message.add_answer(a("www.example.", 60, 1));
        });
        let layout = Layout::of(&wire).unwrap();
        let kept = Kept {
            wire: &wire,
            ttls: &[u16::try_from(layout.records[0].ttl_at)
                .unwrap()
                .to_ne_bytes()],
            cuts: Cuts {
                question_end: layout.question_end,
                additional_at: wire.len(),
            },
            error: None,
            is_secure,
        };
        let mut out = Vec::new();
        assert!(!answer(&mut out, kept, query, ttls, Transport::Udp));
        Message::from_vec(&out).unwrap()
    }

    #[test]
    fn id_flags_and_case_are_those_of_the_query() {
        let message = patched(&QUERY, 0, false);
        let flags = message.metadata;
        assert_eq!(flags.id, 99);
        assert!(flags.recursion_desired && flags.recursion_available && flags.checking_disabled);
        assert!(!flags.authoritative && !flags.authentic_data);
        assert_eq!(message.queries[0].name().to_ascii(), "wWw.eXample.");
        assert_eq!(message.answers[0].name.to_ascii(), "wWw.eXample.");
    }

    #[test]
    fn ttls_age_and_stop_at_zero() {
        assert_eq!(patched(&QUERY, 25, false).answers[0].ttl, 35);
        assert_eq!(patched(&QUERY, 61, false).answers[0].ttl, 0);
    }

    #[test]
    fn ttls_can_be_what_is_left_of_nothing() {
        let message = with_ttls(&QUERY, Ttls::All(30), false);
        assert_eq!(message.answers[0].ttl, 30);
    }

    #[test]
    fn opt_answers_opt_and_only_opt() {
        assert!(patched(&QUERY, 0, false).edns.is_none());
        let query = Query {
            edns: Some(EDNS),
            ..QUERY
        };
        let edns = patched(&query, 0, false).edns.unwrap();
        assert_eq!(edns.max_payload(), UDP_SIZE);
        assert!(edns.flags().dnssec_ok);
    }

    #[test]
    fn ad_is_set_on_what_is_secure_for_those_who_ask_for_it() {
        let asks = |flags, edns| Query {
            flags,
            edns,
            ..QUERY
        };
        let is_set =
            |query: &Query<'_>, is_secure| patched(query, 0, is_secure).metadata.authentic_data;
        let (plain, ad) = (asks(flag::RD, None), asks(flag::RD | flag::AD, None));
        let dnssec_ok = asks(flag::RD, Some(EDNS));
        assert!(is_set(&ad, true) && is_set(&dnssec_ok, true));
        assert!(!is_set(&plain, true), "RFC 6840 §5.8");
        assert!(!is_set(&ad, false) && !is_set(&dnssec_ok, false));
    }

    #[test]
    fn an_error_carries_its_extended_code() {
        let query = Query {
            edns: Some(EDNS),
            ..QUERY
        };
        let mut out = Vec::new();
        error(&mut out, &query, Rcode::BADVERS, None);
        let message = Message::from_vec(&out).unwrap();
        assert_eq!(u16::from(message.metadata.response_code), Rcode::BADVERS.0);
        assert_eq!(message.queries[0].name().to_ascii(), "wWw.eXample.");
    }
}
