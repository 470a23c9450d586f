//! DNS messages in place (RFC 1035 §4): read where they lie, patched where they
//! lie, never turned into a tree of objects. Pure: no I/O, no clock.
//!
//! ```text
//! +--------+----------+--------+-----------+------------+
//! | header | question | answer | authority | additional |
//! | 12     | name 2 2 |        records     | records    |
//! +--------+----------+--------+-----------+------------+
//! ```
//!
//! [`question`] reads what a client sent, [`edns`] its options, [`cookie`] what proves where it is; [`record`] walks
//! what a server sent, [`response`] is the whole of it, [`rrset`] its records by
//! owner and type with their signatures, [`canonical`] and [`order`] the form and
//! the order in which things are signed, [`select`] leaves records out; [`patch`]
//! and [`truncate`] turn a kept answer into the one that a client gets. Every function takes bytes that a stranger wrote:
//! none panics, none allocates more than the message is long.

pub(crate) mod canonical;
pub(crate) mod cookie;
pub(crate) mod edns;
pub(crate) mod name;
pub(crate) mod order;
pub(crate) mod patch;
pub(crate) mod question;
pub(crate) mod record;
pub(crate) mod response;
pub(crate) mod rotate;
pub(crate) mod rrset;
pub(crate) mod select;
pub(crate) mod truncate;

use std::fmt;

/// Bytes in front of the question.
pub(crate) const HEADER_LEN: usize = 12;
/// Where the question's name begins in every message.
pub(crate) const QUESTION_AT: usize = HEADER_LEN;

/// Bits of the header's second pair of bytes (RFC 1035 §4.1.1, RFC 4035 §3).
pub(crate) mod flag {
    /// A response, not a query.
    pub(crate) const QR: u16 = 0x8000;
    /// The kind of query; only 0, QUERY, is served.
    pub(crate) const OPCODE: u16 = 0x7800;
    /// The server has the name itself.
    pub(crate) const AA: u16 = 0x0400;
    /// The message was cut to fit.
    pub(crate) const TC: u16 = 0x0200;
    /// The client asks for recursion.
    pub(crate) const RD: u16 = 0x0100;
    /// The server recurses.
    pub(crate) const RA: u16 = 0x0080;
    /// The answer was validated; in a query: the client wants to know.
    pub(crate) const AD: u16 = 0x0020;
    /// The client takes unvalidated data.
    pub(crate) const CD: u16 = 0x0010;
    /// The low four bits of the response code.
    pub(crate) const RCODE: u16 = 0x000f;
}

/// Record types that nodedns treats in a way of their own.
pub(crate) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const HINFO: u16 = 13;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const DNAME: u16 = 39;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const DS: u16 = 43;
    pub(crate) const RRSIG: u16 = 46;
    pub(crate) const NSEC: u16 = 47;
    pub(crate) const DNSKEY: u16 = 48;
    pub(crate) const NSEC3: u16 = 50;
    pub(crate) const SVCB: u16 = 64;
    pub(crate) const HTTPS: u16 = 65;
    /// Types from here to 255 ask for something other than records (RFC 6895 §3.1).
    pub(crate) const FIRST_META: u16 = 128;
    pub(crate) const ANY: u16 = 255;
}

/// The one class that is served, IN.
pub(crate) const CLASS_IN: u16 = 1;
/// CHAOS, in which servers speak of themselves.
pub(crate) const CLASS_CH: u16 = 3;

/// A response code, the extended part included (RFC 6891 §6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rcode(pub(crate) u16);

impl Rcode {
    pub(crate) const NOERROR: Self = Self(0);
    pub(crate) const FORMERR: Self = Self(1);
    pub(crate) const SERVFAIL: Self = Self(2);
    pub(crate) const NXDOMAIN: Self = Self(3);
    pub(crate) const NOTIMP: Self = Self(4);
    pub(crate) const REFUSED: Self = Self(5);
    pub(crate) const YXDOMAIN: Self = Self(6);
    pub(crate) const BADVERS: Self = Self(16);
    /// The client is to ask again with the cookie that it is given (RFC 7873 §8).
    pub(crate) const BADCOOKIE: Self = Self(23);

    /// The code as metrics and log lines name it. A short closed list, so that
    /// no server can invent label values.
    pub(crate) const fn name(self) -> &'static str {
        match self.0 {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            16 => "BADVERS",
            23 => "BADCOOKIE",
            _ => "other",
        }
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "other" => write!(f, "RCODE{}", self.0),
            name => f.write_str(name),
        }
    }
}

/// The 16 bits at `at`, when the message is that long.
pub(crate) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The 32 bits at `at`, when the message is that long.
pub(crate) fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Overwrites the 16 bits at `at`; a message that is too short stays as it is.
pub(crate) fn put_u16(message: &mut [u8], at: usize, value: u16) {
    if let Some(bytes) = message.get_mut(at..at + 2) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

/// Overwrites the 32 bits at `at`; a message that is too short stays as it is.
pub(crate) fn put_u32(message: &mut [u8], at: usize, value: u32) {
    if let Some(bytes) = message.get_mut(at..at + 4) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

/// The response code in the header, without the part that OPT may add.
pub(crate) fn header_rcode(message: &[u8]) -> Rcode {
    Rcode(u16_at(message, 2).unwrap_or(0) & flag::RCODE)
}
