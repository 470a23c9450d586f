//! DNS cookies (RFC 7873) in the form in which all servers make them (RFC 9018): a client that
//! shows the one that it got is where it says. Pure.
//!
//! ```text
//! client cookie 8 | version 1 | reserved 3 | time 4 | hash 8
//!                 └──────────── server cookie 16 ────────────┘
//! ```

use std::fmt;
use std::hash::Hasher as _;
use std::net::IpAddr;

use crate::wire::u32_at;

/// What a client's COOKIE option said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cookie {
    client: [u8; 8],
    /// The server's, when it can be one of ours.
    server: Option<[u8; 16]>,
}

/// What we show to a server: a cookie of ours, by which we know its replies, and the one that
/// it gave us, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    bytes: [u8; MAX_LEN],
    length: usize,
}

impl Shown {
    /// To a server that has not given any.
    pub(crate) fn new(client: [u8; 8]) -> Self {
        let mut bytes = [0; MAX_LEN];
        bytes[..8].copy_from_slice(&client);
        Self { bytes, length: 8 }
    }

    /// The data of the option.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The part of it that is ours.
    pub(crate) fn client(&self) -> &[u8] {
        &self.bytes[..8]
    }

    /// Whether a part of it is the server's.
    pub(crate) const fn is_given(&self) -> bool {
        self.length > 8
    }

    /// The same without what the server gave.
    pub(crate) fn of_ours_alone(&self) -> Self {
        let mut client = [0; 8];
        client.copy_from_slice(self.client());
        Self::new(client)
    }

    /// What to show next to a server in whose reply the option has this `data`. None when the
    /// reply is not to us, or has no cookie that there may be (RFC 7873 §5.3).
    pub(crate) fn next(&self, data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk::<8>()?;
        if *client != self.bytes[..8] || !(8..=32).contains(&server.len()) {
            return None;
        }
        let mut next = Self::new(*client);
        next.length = data.len();
        next.bytes[..data.len()].copy_from_slice(data);
        Some(next)
    }
}

/// The COOKIE option of an answer.
pub(crate) type BothCookies = [u8; 24];

/// The keys with which server cookies are made: one for each day, all from one secret, so
/// that nobody sees many cookies of the same key.
pub(crate) struct Secret([u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Cookie {
    /// Reads the data of an option; `None` when it has a length that none may have
    /// (RFC 7873 §5.2.2).
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk()?;
        matches!(server.len(), 0 | 8..=32).then(|| Self {
            client: *client,
            server: server.try_into().ok(),
        })
    }
}

impl Secret {
    pub(crate) const fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// The cookies for an answer to the client at `address`, `now` seconds after 1970: the
    /// same server cookie again as long as it is good and not old (RFC 9018 §4.3).
    pub(crate) fn answer(&self, cookie: &Cookie, address: IpAddr, now: u32) -> BothCookies {
        let made_at = match cookie.server {
            Some(server) if self.is_good(cookie, &server, address, now) => time_of(&server),
            _ => now,
        };
        let is_old = now.wrapping_sub(made_at).cast_signed() > RENEWED_AFTER;
        self.make(&cookie.client, address, if is_old { now } else { made_at })
    }

    /// Whether `server` was made by us for that client, lately.
    fn is_good(&self, cookie: &Cookie, server: &[u8; 16], address: IpAddr, now: u32) -> bool {
        let age = now.wrapping_sub(time_of(server)).cast_signed();
        (-AHEAD..=GOOD_FOR).contains(&age)
            && self.make(&cookie.client, address, time_of(server))[8..] == server[..]
    }

    fn make(&self, client: &[u8; 8], address: IpAddr, time: u32) -> BothCookies {
        make(&self.of_day(time / DAY), client, address, time)
    }

    fn of_day(&self, day: u32) -> [u8; 16] {
        let half = |number: u8| siphash(&self.0, &[&day.to_be_bytes()[..], &[number]]);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half(0));
        key[8..].copy_from_slice(&half(1));
        key
    }
}

/// RFC 9018 §4: version 1, and the hash over all that it has to prove.
fn make(key: &[u8; 16], client: &[u8; 8], address: IpAddr, time: u32) -> BothCookies {
    let mut cookies = [0; 24];
    cookies[..8].copy_from_slice(client);
    cookies[8] = 1;
    cookies[12..16].copy_from_slice(&time.to_be_bytes());
    let hash = match address.to_canonical() {
        IpAddr::V4(address) => siphash(key, &[&cookies[..16], &address.octets()]),
        IpAddr::V6(address) => siphash(key, &[&cookies[..16], &address.octets()]),
    };
    cookies[16..].copy_from_slice(&hash);
    cookies
}

fn time_of(server: &[u8; 16]) -> u32 {
    u32_at(server, 4).unwrap_or(0)
}

/// SipHash-2-4, as RFC 9018 has it, of all `parts` in a row.
fn siphash(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 8] {
    let half = |at| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte]));
    #[expect(
        deprecated,
        reason = "the one SipHash-2-4 in std; HashMaps have better ones"
    )]
    let mut hasher = std::hash::SipHasher::new_with_keys(half(0), half(8));
    for part in parts {
        hasher.write(part);
    }
    hasher.finish().to_le_bytes()
}

/// A client's cookie and the longest of a server's (RFC 7873 §4).
const MAX_LEN: usize = 40;
const DAY: u32 = 24 * 3_600;
/// Seconds for which a server cookie counts, those by which clocks may differ, and those
/// after which a client gets a new one (RFC 9018 §4.3).
const GOOD_FOR: i32 = 3_600;
const AHEAD: i32 = 300;
const RENEWED_AFTER: i32 = 1_800;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
    const NOW: u32 = 1_559_731_985;

    fn address() -> IpAddr {
        [198, 51, 100, 100].into()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn cookie(both: &[u8]) -> Cookie {
        Cookie::read(both).unwrap()
    }

    #[test]
    fn cookies_are_those_of_the_standard() {
        // RFC 9018, appendix A.1 and A.4.
        let key = 0xe5e973e5a6b2a43f48e7dc849e37bfcf_u128.to_be_bytes();
        assert_eq!(
            hex(&make(&key, &CLIENT, address(), NOW)),
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480"
        );
        let key = 0x445536bcd2513298075a5d379663c962_u128.to_be_bytes();
        let client = 0x22681ab97d52c298_u64.to_be_bytes();
        let address = "2001:db8:220:1:59de:d0f4:8769:82b8".parse().unwrap();
        assert_eq!(
            hex(&make(&key, &client, address, 1_559_741_961)),
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a"
        );
    }

    #[test]
    fn a_good_cookie_is_given_back_until_it_is_old() {
        let secret = Secret::new([7; 16]);
        let first = secret.answer(&cookie(&CLIENT), address(), NOW);
        let again = |now| secret.answer(&cookie(&first), address(), now);
        assert_eq!(again(NOW + 1_800), first);
        assert_eq!(again(NOW - 300), first);
        assert_ne!(again(NOW + 1_801), first);
        assert!(secret.is_good(
            &cookie(&first),
            &first[8..].try_into().unwrap(),
            address(),
            NOW + 3_600
        ));
    }

    #[test]
    fn one_that_is_forged_foreign_or_out_of_date_is_replaced() {
        let secret = Secret::new([7; 16]);
        let first = secret.answer(&cookie(&CLIENT), address(), NOW);
        let is_good = |both: &BothCookies, from: IpAddr, now| {
            secret.is_good(&cookie(both), &both[8..].try_into().unwrap(), from, now)
        };
        assert!(is_good(&first, address(), NOW));
        for at in 0..24 {
            let mut forged = first;
            forged[at] ^= 1;
            assert!(!is_good(&forged, address(), NOW), "byte {at}");
        }
        assert!(!is_good(&first, [198, 51, 100, 101].into(), NOW));
        assert!(!is_good(&first, address(), NOW + 3_601));
        assert!(!is_good(&first, address(), NOW - 301));
        let other = Secret::new([8; 16]).answer(&cookie(&first), address(), NOW + 1);
        assert_ne!(other, first);
    }

    #[test]
    fn each_day_has_its_key() {
        let secret = Secret::new([7; 16]);
        assert_ne!(secret.of_day(1), secret.of_day(2));
        assert_ne!(secret.of_day(1), Secret::new([8; 16]).of_day(1));
    }

    #[test]
    fn lengths_that_none_has_are_malformed() {
        for length in 0..50 {
            let is_cookie = Cookie::read(&vec![1; length]).is_some();
            assert_eq!(
                is_cookie,
                length == 8 || (16..=40).contains(&length),
                "{length}"
            );
        }
    }

    #[test]
    fn what_a_server_gave_is_shown_to_it_unless_it_was_given_to_another() {
        let shown = Shown::new(CLIENT);
        assert_eq!(shown.as_bytes(), CLIENT);
        let reply = [&CLIENT[..], &[7; 16]].concat();
        let next = shown.next(&reply).unwrap();
        assert_eq!(next.as_bytes(), reply);
        assert_eq!(next.next(&reply), Some(next));
        let mut other = reply.clone();
        other[7] ^= 1;
        for wrong in [
            &other[..],
            &reply[..8],
            &reply[..15],
            &[reply.clone(), vec![0; 17]].concat(),
        ] {
            assert_eq!(shown.next(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_gets_its_own_cookie_back(data in prop::collection::vec(any::<u8>(), 0..45), now: u32, v6: u128) {
            let secret = Secret::new([7; 16]);
            let address = std::net::Ipv6Addr::from(v6).into();
            if let Some(cookie) = Cookie::read(&data) {
                let both = secret.answer(&cookie, address, now);
                prop_assert_eq!(&both[..8], &data[..8]);
                prop_assert!(secret.is_good(&cookie, &both[8..].try_into().unwrap(), address, now));
            }
        }
    }
}
