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
        tail[2] = (DO * u8::from(dnssec_ok)) | (CD * u8::from(checking_disabled));
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
        self.bits() & DO != 0
    }

    /// Whether unvalidated data is wanted.
    pub(crate) const fn checking_disabled(&self) -> bool {
        self.bits() & CD != 0
    }

    pub(super) const fn bits(&self) -> u8 {
        self.bytes[self.length - 1]
    }

    /// All of it, to compare and to hash.
    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            name: self.name(),
            rtype: self.rtype(),
            bits: self.bits(),
        }
    }
}

/// What a key consists of, wherever that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parts<'a> {
    /// In lower case and wire form.
    pub(super) name: &'a [u8],
    pub(super) rtype: u16,
    /// DO and CD, as in [`Key`].
    pub(super) bits: u8,
}

impl Hash for Parts<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Names say how long they are.
        state.write(self.name);
        state.write_u32((u32::from(self.rtype) << 8) | u32::from(self.bits));
    }
}

impl From<Parts<'_>> for Key {
    fn from(parts: Parts<'_>) -> Self {
        let [dnssec_ok, checking_disabled] = [DO, CD].map(|bit| parts.bits & bit != 0);
        Self::new(parts.name, parts.rtype, dnssec_ok, checking_disabled)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
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
const DO: u8 = 1;
const CD: u8 = 2;

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
            prop_assert_eq!(Key::from(key(&one).parts()), key(&one));
        }
    }
}
