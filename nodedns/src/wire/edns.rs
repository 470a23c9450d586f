//! EDNS(0): the OPT record of a query read, the one of an answer written
//! (RFC 6891 §6.1), with the extended error that tells people why (RFC 8914).
//!
//! ```text
//! 0 | type 41 | UDP size | ext. rcode, version, DO | length | code length data …
//! ```

use crate::wire::cookie::{BothCookies, Cookie, Shown};
use crate::wire::{Rcode, name, rtype, u16_at, u32_at};

/// What nodedns says it can receive over UDP, and the most it sends: no path
/// fragments it (RFC 9715).
pub(crate) const UDP_SIZE: u16 = 1232;
/// What a client without EDNS takes over UDP (RFC 1035 §2.3.4).
pub(crate) const PLAIN_UDP_SIZE: u16 = 512;
/// An OPT record without options.
pub(crate) const OPT_LEN: usize = 11;

/// What a client's OPT said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientEdns {
    /// What it can receive over UDP, in bytes.
    pub(crate) udp_size: u16,
    /// Only 0 exists; anything else is answered with BADVERS.
    pub(crate) version: u8,
    /// The DO bit: send DNSSEC records, too.
    pub(crate) dnssec_ok: bool,
    /// What it showed to prove where it is (RFC 7873).
    pub(crate) cookie: Option<Cookie>,
    /// Whether it wants to know how long it may be silent on a connection (RFC 7828).
    pub(crate) keepalive: bool,
}

/// What the OPT of an answer says beside the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// The client's cookie and ours.
    pub(crate) cookies: Option<BothCookies>,
    /// How long the client may be silent on this connection, in tenths of a second.
    pub(crate) keepalive: Option<u16>,
}

/// The additional section breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Looks for OPT among the `count` additional records that begin at `at`.
///
/// # Errors
/// A record is cut short, or there are two OPTs, or its name is not the root, or an option is
/// malformed, or there are more than anybody needs.
pub(crate) fn of_client(
    packet: &[u8],
    at: usize,
    count: u16,
) -> Result<Option<ClientEdns>, Malformed> {
    let mut at = at;
    let mut found = None;
    for _ in 0..count {
        let owner = packet
            .get(at..)
            .and_then(name::plain_len)
            .ok_or(Malformed)?;
        let fixed = at + owner;
        let kind = u16_at(packet, fixed).ok_or(Malformed)?;
        let length = usize::from(u16_at(packet, fixed + 8).ok_or(Malformed)?);
        let data = fixed + 10;
        let options = packet.get(data..data + length).ok_or(Malformed)?;
        if kind == rtype::OPT {
            if found.is_some() || owner != 1 {
                return Err(Malformed);
            }
            let (cookie, keepalive) = read_options(options)?;
            let bits = u32_at(packet, fixed + 4).ok_or(Malformed)?;
            found = Some(ClientEdns {
                udp_size: u16_at(packet, fixed + 2).ok_or(Malformed)?,
                version: (bits >> 16) as u8,
                dnssec_ok: bits & DO != 0,
                cookie,
                keepalive,
            });
        }
        at = data + length;
    }
    Ok(found)
}

/// The cookie among the options, and whether there is a keepalive. The first cookie counts
/// (RFC 7873 §5.2).
fn read_options(options: &[u8]) -> Result<(Option<Cookie>, bool), Malformed> {
    let (mut cookie, mut keepalive) = (None, false);
    for (number, option) in split(options).enumerate() {
        let (code, data) = option?;
        if number == MAX_OPTIONS {
            return Err(Malformed);
        }
        match code {
            COOKIE_OPTION if cookie.is_none() => {
                cookie = Some(Cookie::read(data).ok_or(Malformed)?);
            }
            // A client has no time to tell (RFC 7828 §3.2.1).
            KEEPALIVE_OPTION if !data.is_empty() => return Err(Malformed),
            KEEPALIVE_OPTION => keepalive = true,
            _ => {}
        }
    }
    Ok((cookie, keepalive))
}

/// The data of the first COOKIE among the `options` of a server's OPT.
///
/// # Errors
/// An option is cut short.
pub(crate) fn cookie_of_server(options: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    for option in split(options) {
        if let (COOKIE_OPTION, data) = option? {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The options, code and data; an error in the place of one that is cut short, and then no more.
fn split(options: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut rest = options;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let one = u16_at(rest, 0)
            .zip(u16_at(rest, 2))
            .and_then(|(code, length)| {
                let (data, after) = rest[4..].split_at_checked(length.into())?;
                Some((code, data, after))
            });
        rest = one.map_or(&[], |(_, _, after)| after);
        Some(one.map(|(code, data, _)| (code, data)).ok_or(Malformed))
    })
}

/// Why a name failed, for people (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    /// The registered code.
    pub(crate) code: ErrorCode,
    /// One sentence.
    pub(crate) text: String,
}

/// The codes of RFC 8914 §4 that nodedns uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// Nothing more precise exists.
    Other = 0,
    /// The zone is signed with no algorithm that is accepted here.
    UnsupportedDnskeyAlgorithm = 1,
    /// The zone's DS are of no digest type that is known here.
    UnsupportedDsDigest = 2,
    /// Its time is over, and there is nothing newer.
    StaleAnswer = 3,
    /// It is signed, but not so that it can be believed.
    DnssecBogus = 6,
    /// A signature's time is over.
    SignatureExpired = 7,
    /// A signature's time has not come.
    SignatureNotYetValid = 8,
    /// The zone does not have the key that is meant.
    DnskeyMissing = 9,
    /// It has to be signed, and is not.
    RrsigsMissing = 10,
    /// The key is no zone key.
    NoZoneKeyBitSet = 11,
    /// What is denied is not proved not to exist.
    NsecMissing = 12,
    /// The server is starting or busy.
    NotReady = 14,
    /// The answer is withheld, as the operator says.
    Blocked = 15,
    /// The client may not ask here.
    Prohibited = 18,
    /// The time of this denial is over, and there is nothing newer.
    StaleNxdomainAnswer = 19,
    /// The question is not for this server, which does not recurse.
    NotAuthoritative = 20,
    /// What is asked is not supported.
    NotSupported = 21,
    /// No server answered.
    NoReachableAuthority = 22,
    /// A server could not be reached.
    NetworkError = 23,
    /// The zone's NSEC3 hash too often.
    UnsupportedNsec3Iterations = 27,
}

impl ExtendedError {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > MAX_TEXT {
            let cut = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(cut.unwrap_or(0));
        }
        Self { code, text }
    }

    /// The bytes that it adds to OPT.
    const fn wire_len(&self) -> usize {
        6 + self.text.len()
    }
}

impl Options {
    /// The bytes that they and the error add to OPT.
    fn wire_len(&self, error: Option<&ExtendedError>) -> usize {
        self.cookies.map_or(0, |cookies| 4 + cookies.len())
            + self.keepalive.map_or(0, |_| 6)
            + error.map_or(0, ExtendedError::wire_len)
    }
}

/// The bytes of the OPT of an answer.
pub(crate) fn opt_len(options: &Options, error: Option<&ExtendedError>) -> usize {
    OPT_LEN + options.wire_len(error)
}

/// The OPT of a query of ours: our UDP size, whether DNSSEC records are wanted, and what
/// the server knows us by.
pub(crate) fn put_query_opt(message: &mut Vec<u8>, dnssec_ok: bool, cookie: Option<&Shown>) {
    let length = cookie.map_or(0, |cookie| 4 + cookie.as_bytes().len());
    put_opt_head(message, Rcode::NOERROR, dnssec_ok, length);
    if let Some(cookie) = cookie {
        put_option(message, COOKIE_OPTION, &[cookie.as_bytes()]);
    }
}

/// The OPT of an answer. DO is given back as the client sent it (RFC 3225 §3).
pub(crate) fn put_opt(
    message: &mut Vec<u8>,
    rcode: Rcode,
    dnssec_ok: bool,
    options: &Options,
    error: Option<&ExtendedError>,
) {
    put_opt_head(message, rcode, dnssec_ok, options.wire_len(error));
    if let Some(cookies) = options.cookies {
        put_option(message, COOKIE_OPTION, &[&cookies]);
    }
    if let Some(keepalive) = options.keepalive {
        put_option(message, KEEPALIVE_OPTION, &[&keepalive.to_be_bytes()]);
    }
    if let Some(error) = error {
        let code = (error.code as u16).to_be_bytes();
        put_option(message, EDE_OPTION, &[&code, error.text.as_bytes()]);
    }
}

/// All of an OPT but the options, which take so many bytes.
fn put_opt_head(message: &mut Vec<u8>, rcode: Rcode, dnssec_ok: bool, options: usize) {
    let extended = u32::from(rcode.0 >> 4) << 24;
    let bits = extended | if dnssec_ok { DO } else { 0 };
    message.push(0);
    message.extend_from_slice(&rtype::OPT.to_be_bytes());
    message.extend_from_slice(&UDP_SIZE.to_be_bytes());
    message.extend_from_slice(&bits.to_be_bytes());
    message.extend_from_slice(&(options as u16).to_be_bytes());
}

fn put_option(message: &mut Vec<u8>, code: u16, data: &[&[u8]]) {
    let length: usize = data.iter().map(|part| part.len()).sum();
    message.extend_from_slice(&code.to_be_bytes());
    message.extend_from_slice(&(length as u16).to_be_bytes());
    for part in data {
        message.extend_from_slice(part);
    }
}

const DO: u32 = 0x8000;
const COOKIE_OPTION: u16 = 10;
const KEEPALIVE_OPTION: u16 = 11;
const EDE_OPTION: u16 = 15;
/// In one message: more than there are kinds.
const MAX_OPTIONS: usize = 32;
/// A sentence; with it an error answer to the longest name is far below 512 bytes.
const MAX_TEXT: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opt(options: &[u8]) -> Vec<u8> {
        let mut packet = vec![0, 0, 41, 0x10, 0, 0, 0, 0x80, 0];
        packet.extend_from_slice(&(options.len() as u16).to_be_bytes());
        packet.extend_from_slice(options);
        packet
    }

    #[test]
    fn size_version_and_do_are_read() {
        let edns = of_client(&opt(&[]), 0, 1).unwrap().unwrap();
        assert_eq!(
            edns,
            ClientEdns {
                udp_size: 4096,
                version: 0,
                dnssec_ok: true,
                cookie: None,
                keepalive: false,
            }
        );
    }

    #[test]
    fn two_opts_or_a_broken_option_are_malformed() {
        let two = [opt(&[]), opt(&[])].concat();
        assert_eq!(of_client(&two, 0, 2), Err(Malformed));
        assert_eq!(of_client(&opt(&[0, 12, 0, 8, 1]), 0, 1), Err(Malformed));
        assert!(of_client(&opt(&[0, 12, 0, 1, 1]), 0, 1).is_ok());
    }

    #[test]
    fn the_first_cookie_and_an_empty_keepalive_are_read() {
        let cookie = |byte: u8| [&[0, 10, 0, 8][..], &[byte; 8]].concat();
        let both = [cookie(1), cookie(2), vec![0, 11, 0, 0]].concat();
        let edns = of_client(&opt(&both), 0, 1).unwrap().unwrap();
        assert_eq!(edns.cookie, Cookie::read(&[1; 8]));
        assert!(edns.keepalive);
        for malformed in [&[0, 10, 0, 1, 1][..], &[0, 11, 0, 2, 0, 1]] {
            assert_eq!(of_client(&opt(malformed), 0, 1), Err(Malformed));
        }
    }

    #[test]
    fn more_options_than_there_are_kinds_are_malformed() {
        let option = [0, 12, 0, 0];
        assert!(of_client(&opt(&option.repeat(32)), 0, 1).is_ok());
        assert_eq!(of_client(&opt(&option.repeat(33)), 0, 1), Err(Malformed));
    }

    #[test]
    fn an_opt_of_ours_reads_back() {
        let mut message = Vec::new();
        let error = ExtendedError::new(ErrorCode::Other, "why");
        let options = Options {
            cookies: Some([7; 24]),
            keepalive: Some(100),
        };
        put_opt(&mut message, Rcode::BADVERS, true, &options, Some(&error));
        assert_eq!(message.len(), opt_len(&options, Some(&error)));
        assert_eq!(message[5], 1, "BADVERS is 16: one in the upper byte");
        // All but the keepalive, which a client has empty, reads back.
        let options = Options {
            keepalive: None,
            ..options
        };
        message.clear();
        put_opt(&mut message, Rcode::NOERROR, true, &options, Some(&error));
        let edns = of_client(&message, 0, 1).unwrap().unwrap();
        assert!(edns.dnssec_ok);
        assert_eq!(edns.cookie, Cookie::read(&[7; 24]));
    }

    #[test]
    fn the_cookie_of_a_server_is_found_behind_other_options() {
        let options = [0, 15, 0, 2, 0, 4, 0, 10, 0, 2, 7, 8];
        assert_eq!(cookie_of_server(&options), Ok(Some(&[7, 8][..])));
        assert_eq!(cookie_of_server(&options[..6]), Ok(None));
        assert_eq!(cookie_of_server(&options[..11]), Err(Malformed));
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let error = ExtendedError::new(ErrorCode::Other, "ü".repeat(200));
        assert!(error.text.len() <= MAX_TEXT && error.text.ends_with('ü'));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_u16..4) {
            let _ = of_client(&bytes, 0, count);
            let _ = cookie_of_server(&bytes);
        }
    }
}
