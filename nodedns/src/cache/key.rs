//! What an answer is kept under, and what a question is on its way to one: the
//! name in lower case, the type, and the two bits that change what is sent, DO
//! and CD. The class is always IN.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::wire::name::{MAX_LEN, Text};
use crate::wire::question::Query;

/// `name | type 2 | bits 1`, on the stack: a look-up allocates nothing.
#[derive(Clone)]
pub(crate) struct Key {
    bytes: [u8; MAX_LEN + TAIL],
    length: usize,
}

impl Key {
    /// The key of `name`, which is in wire form and at most 255 bytes long; what
    /// is beyond that is left out.
    pub(crate) fn new(name: &[u8], rtype: u16, dnssec_ok: bool, checking_disabled: bool) -> Self {
        let name = &name[..name.len().min(MAX_LEN)];
        let mut bytes = [0; MAX_LEN + TAIL];
        let (front, tail) = bytes.split_at_mut(name.len());
        front.copy_from_slice(name);
        front.make_ascii_lowercase();
        tail[..2].copy_from_slice(&rtype.to_be_bytes());
        tail[2] = u8::from(dnssec_ok) | u8::from(checking_disabled) << 1;
        Self {
            bytes,
            length: name.len() + TAIL,
        }
    }

    /// The key of what `query` asks.
    pub(crate) fn of(query: &Query<'_>) -> Self {
        Self::new(
            query.name,
            query.rtype,
            query.dnssec_ok(),
            query.checking_disabled(),
        )
    }

    /// The same question about another name.
    pub(crate) fn about(&self, name: &[u8]) -> Self {
        Self::new(
            name,
            self.rtype(),
            self.dnssec_ok(),
            self.checking_disabled(),
        )
    }

    /// The same question as it is asked to be validated: with all DNSSEC records,
    /// and whatever the server thinks of them.
    pub(crate) fn unvalidated(&self) -> Self {
        Self::new(self.name(), self.rtype(), true, true)
    }

    /// The key with these bytes; `None` when there is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let name = bytes.len().checked_sub(TAIL)?;
        let mut all = [0; MAX_LEN + TAIL];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (name > 0).then_some(Self {
            bytes: all,
            length: bytes.len(),
        })
    }

    /// All of it, to compare and to hash.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The name, in lower case and wire form.
    pub(crate) fn name(&self) -> &[u8] {
        &self.bytes[..self.length - TAIL]
    }

    /// The record type.
    pub(crate) const fn rtype(&self) -> u16 {
        u16::from_be_bytes([self.bytes[self.length - 3], self.bytes[self.length - 2]])
    }

    /// Whether DNSSEC records are wanted.
    pub(crate) const fn dnssec_ok(&self) -> bool {
        self.bytes[self.length - 1] & 1 != 0
    }

    /// Whether unvalidated data is wanted.
    pub(crate) const fn checking_disabled(&self) -> bool {
        self.bytes[self.length - 1] & 2 != 0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// `example.com. A`, for log lines.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rtype = hickory_proto::rr::RecordType::from(self.rtype());
        write!(f, "{} {rtype}", Text(self.name()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{self} do={} cd={}",
            self.dnssec_ok(),
            self.checking_disabled()
        )
    }
}

/// Bytes after the name.
const TAIL: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_does_not_matter() {
        let upper = Key::new(b"\x01A\0", 1, false, false);
        assert_eq!(upper, Key::new(b"\x01a\0", 1, false, false));
        assert_eq!(upper.to_string(), "a. A");
    }

    #[test]
    fn bytes_are_read_back() {
        let key = Key::new(b"\x01a\0", 28, true, false);
        assert_eq!(Key::from_bytes(key.as_bytes()), Some(key));
        for wrong in [&[0; 3][..], &[0; MAX_LEN + TAIL + 1]] {
            assert_eq!(Key::from_bytes(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_the_questions_are(
            one in (prop::collection::vec(b'a'..b'd', 0..4), 0_u16..3, any::<bool>(), any::<bool>()),
            two in (prop::collection::vec(b'a'..b'd', 0..4), 0_u16..3, any::<bool>(), any::<bool>()),
        ) {
            let key = |(label, rtype, dnssec_ok, cd): &(Vec<u8>, u16, bool, bool)| {
                let mut name = vec![label.len() as u8];
                name.extend_from_slice(label);
                if !label.is_empty() {
                    name.push(0);
                }
                Key::new(&name, *rtype, *dnssec_ok, *cd)
            };
            prop_assert_eq!(key(&one) == key(&two), one == two);
            prop_assert_eq!(key(&one).rtype(), one.1);
            prop_assert_eq!(key(&one).dnssec_ok(), one.2);
            prop_assert_eq!(key(&one).checking_disabled(), one.3);
        }
    }
}
