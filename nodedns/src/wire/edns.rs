//! EDNS(0): the OPT record of a query read, the one of an answer written
//! (RFC 6891 §6.1), with the extended error that tells people why (RFC 8914).
//!
//! ```text
//! 0 | type 41 | UDP size | ext. rcode, version, DO | length | code length data …
//! ```

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
}

/// The additional section breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Looks for OPT among the `count` additional records that begin at `at`.
///
/// # Errors
/// A record is cut short, or there are two OPTs, or its name is not the root.
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
            if found.is_some() || owner != 1 || !options_are_whole(options) {
                return Err(Malformed);
            }
            let bits = u32_at(packet, fixed + 4).ok_or(Malformed)?;
            found = Some(ClientEdns {
                udp_size: u16_at(packet, fixed + 2).ok_or(Malformed)?,
                version: (bits >> 16) as u8,
                dnssec_ok: bits & DO != 0,
            });
        }
        at = data + length;
    }
    Ok(found)
}

/// Whether each option has the length that it says.
fn options_are_whole(options: &[u8]) -> bool {
    let mut at = 0;
    while at < options.len() {
        let Some(length) = u16_at(options, at + 2) else {
            return false;
        };
        at += 4 + usize::from(length);
    }
    at == options.len()
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
    pub(crate) const fn wire_len(&self) -> usize {
        6 + self.text.len()
    }
}

/// The OPT of a query of ours: our UDP size, and whether DNSSEC records are
/// wanted.
pub(crate) fn put_query_opt(message: &mut Vec<u8>, dnssec_ok: bool) {
    put_opt(message, Rcode::NOERROR, dnssec_ok, None);
}

/// The OPT of an answer. DO is given back as the client sent it (RFC 3225 §3).
pub(crate) fn put_opt(
    message: &mut Vec<u8>,
    rcode: Rcode,
    dnssec_ok: bool,
    error: Option<&ExtendedError>,
) {
    let extended = u32::from(rcode.0 >> 4) << 24;
    let bits = extended | if dnssec_ok { DO } else { 0 };
    message.push(0);
    message.extend_from_slice(&rtype::OPT.to_be_bytes());
    message.extend_from_slice(&UDP_SIZE.to_be_bytes());
    message.extend_from_slice(&bits.to_be_bytes());
    let options = error.map_or(0, ExtendedError::wire_len) as u16;
    message.extend_from_slice(&options.to_be_bytes());
    if let Some(error) = error {
        message.extend_from_slice(&EDE_OPTION.to_be_bytes());
        message.extend_from_slice(&(2 + error.text.len() as u16).to_be_bytes());
        message.extend_from_slice(&(error.code as u16).to_be_bytes());
        message.extend_from_slice(error.text.as_bytes());
    }
}

const DO: u32 = 0x8000;
const EDE_OPTION: u16 = 15;
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
                dnssec_ok: true
            }
        );
    }

    #[test]
    fn two_opts_or_a_broken_option_are_malformed() {
        let two = [opt(&[]), opt(&[])].concat();
        assert_eq!(of_client(&two, 0, 2), Err(Malformed));
        assert_eq!(of_client(&opt(&[0, 10, 0, 8, 1]), 0, 1), Err(Malformed));
        assert!(of_client(&opt(&[0, 10, 0, 1, 1]), 0, 1).is_ok());
    }

    #[test]
    fn an_opt_of_ours_reads_back() {
        let mut message = Vec::new();
        let error = ExtendedError::new(ErrorCode::Other, "why");
        put_opt(&mut message, Rcode::BADVERS, true, Some(&error));
        assert_eq!(message.len(), OPT_LEN + error.wire_len());
        assert_eq!(message[5], 1, "BADVERS is 16: one in the upper byte");
        assert!(of_client(&message, 0, 1).unwrap().unwrap().dnssec_ok);
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
        }
    }
}
