//! Domain names in wire form (RFC 1035 §3.1): length byte, label, …, zero byte;
//! at most 255 bytes, labels of at most 63.

use std::fmt;
use std::ops::Range;

use crate::wire::u16_at;

/// The longest name, its final zero byte included.
pub(crate) const MAX_LEN: usize = 255;

/// A whole, uncompressed name in lower case. Case means nothing in names
/// (RFC 4343), so this is the form that is compared, hashed and kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    wire: Box<[u8]>,
}

impl Name {
    /// The root, `.`.
    #[must_use]
    pub fn root() -> Self {
        Self {
            wire: Box::new([0]),
        }
    }

    /// Reads a name as people write it, with or without the final dot; escapes
    /// (`\.`, `\032`: RFC 1035 §5.1) and international names are understood, not both
    /// in one.
    ///
    /// # Errors
    /// A label that is empty or longer than 63 bytes, or a name longer than 255; a space or
    /// a quote that is not escaped.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError(text.to_owned());
        if text == "." {
            return Ok(Self::root());
        }
        if text.is_empty() {
            return Err(malformed());
        }
        if text.is_ascii() {
            let wire = from_ascii(text.as_bytes()).ok_or_else(malformed)?;
            return Self::from_wire(&wire).ok_or_else(malformed);
        }
        let name = hickory_proto::rr::Name::from_utf8(text).map_err(|_| malformed())?;
        let mut wire = Vec::with_capacity(MAX_LEN);
        for label in name.iter() {
            let length = u8::try_from(label.len()).map_err(|_| malformed())?;
            wire.push(length);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        Self::from_wire(&wire).ok_or_else(malformed)
    }

    /// Takes the one name of which `wire` consists.
    pub(crate) fn from_wire(wire: &[u8]) -> Option<Self> {
        (plain_len(wire)? == wire.len()).then(|| Self {
            wire: wire.to_ascii_lowercase().into(),
        })
    }

    /// The wire form, in lower case.
    pub(crate) const fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether this is `.`.
    pub(crate) fn is_root(&self) -> bool {
        self.wire.len() == 1
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Text(&self.wire))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The wire form of a name other than the root's, if each of its labels has a length.
fn from_ascii(text: &[u8]) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(MAX_LEN);
    let mut label = Vec::new();
    let mut rest = text;
    let mut end = |label: &mut Vec<u8>| {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|length| *length > 0)?;
        wire.push(length);
        wire.append(label);
        (wire.len() < MAX_LEN).then_some(())
    };
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'.' => end(&mut label)?,
            b'\\' if after.first()?.is_ascii_digit() => {
                let (digits, after) = after.split_first_chunk::<3>()?;
                label.push(std::str::from_utf8(digits).ok()?.parse().ok()?);
                rest = after;
            }
            b'\\' => {
                label.push(after[0]);
                rest = &after[1..];
            }
            b'"' => return None,
            0x21..=0x7e => label.push(*byte),
            _ => return None,
        }
    }
    if !label.is_empty() {
        end(&mut label)?;
    }
    wire.push(0);
    Some(wire)
}

/// A text that is not a domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a domain name: labels of 1 to 63 bytes between dots, 255 bytes in all, as in `cluster.local.`"
)]
pub struct NameError(String);

/// Shows a name in wire form as people write it (RFC 1035 §5.1), whatever bytes
/// it has: nothing in it can break a log line.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut shown = false;
        for suffix in suffixes(self.0) {
            let (length, rest) = suffix.split_first().unwrap_or((&0, &[]));
            let label = rest.get(..usize::from(*length)).unwrap_or(rest);
            for byte in label {
                match byte {
                    b'.' | b'\\' | b'"' => write!(f, "\\{}", char::from(*byte))?,
                    0x21..=0x7e => f.write_char(char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            if !label.is_empty() {
                f.write_char('.')?;
                shown = true;
            }
        }
        if !shown {
            f.write_char('.')?;
        }
        Ok(())
    }
}

/// The name itself, then what is left after each label, the root last.
pub(crate) fn suffixes(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut next = Some(wire);
    std::iter::from_fn(move || {
        let suffix = next.filter(|suffix| !suffix.is_empty())?;
        let length = usize::from(suffix[0]);
        next = if length == 0 {
            None
        } else {
            suffix.get(length + 1..)
        };
        Some(suffix)
    })
}

/// The length of the uncompressed name at the start of `bytes`; nothing when it
/// is cut short, too long, or has a compression pointer.
pub(crate) fn plain_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length > MAX_LABEL {
            return None;
        }
        at += length + 1;
        if at > MAX_LEN {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// Writes the name at `at`, expanded, into `into` and says where the message
/// goes on after it. Pointers must point backwards (RFC 1035 §4.1.4: "a prior
/// occurrence"), each further back than the last: no loop is possible.
pub(crate) fn expand(message: &[u8], at: usize, into: &mut Expanded) -> Option<usize> {
    into.length = 0;
    let mut at = at;
    let mut bound = at;
    let mut after = None;
    loop {
        let length = usize::from(*message.get(at)?);
        match length & POINTER {
            0 => {
                let label = message.get(at..=at + length)?;
                into.bytes
                    .get_mut(into.length..into.length + label.len())?
                    .copy_from_slice(label);
                into.length += label.len();
                at += label.len();
                if length == 0 {
                    return Some(after.unwrap_or(at));
                }
            }
            POINTER => {
                let target = usize::from(u16_at(message, at)? & 0x3fff);
                if target >= bound {
                    return None;
                }
                after.get_or_insert(at + 2);
                bound = target;
                at = target;
            }
            _ => return None,
        }
    }
}

/// The stretches of `message` that the name at `at`, which [`expand`] has read, is made
/// of: a label or a pointer each.
pub(crate) fn stretches(message: &[u8], at: usize) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(at);
    std::iter::from_fn(move || {
        let at = next?;
        let length = usize::from(*message.get(at)?);
        if length & POINTER == POINTER {
            next = u16_at(message, at).map(|pointer| usize::from(pointer & 0x3fff));
            return Some(at..at + 2);
        }
        let end = at + 1 + length;
        next = (length > 0).then_some(end);
        Some(at..end)
    })
}

/// Room for one expanded name.
pub(crate) struct Expanded {
    bytes: [u8; MAX_LEN],
    length: usize,
}

impl Expanded {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; MAX_LEN],
            length: 0,
        }
    }

    /// The name that was expanded last, in the case in which it was written.
    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

const MAX_LABEL: usize = 63;
/// Both top bits of a length byte: the rest is an offset.
const POINTER: usize = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_and_wire_agree() {
        let name = Name::from_text("Cluster.LOCAL").unwrap();
        assert_eq!(name.as_wire(), b"\x07cluster\x05local\0");
        assert_eq!(name.to_string(), "cluster.local.");
        assert_eq!(Name::from_text("cluster.local.").unwrap(), name);
        assert!(Name::from_text(".").unwrap().is_root());
        assert_eq!(Name::root().to_string(), ".");
    }

    #[test]
    fn text_that_is_no_name_is_refused() {
        let others = [
            "a b", "a\"b", "a\\", "a\\25", "a\\256", "a\\2x5", ".a", "a\nb",
        ];
        let lengths = ["", "a..b", &"x".repeat(64), &"a.".repeat(130)];
        for text in [&others[..], &lengths].concat() {
            assert!(Name::from_text(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn escapes_are_read() {
        let read = |text| Name::from_text(text).unwrap().as_wire().to_vec();
        assert_eq!(read("a\\032b"), b"\x03a b\0");
        assert_eq!(read("a\\.b.C\\\\"), b"\x03a.b\x02c\\\0");
        assert_eq!(read("bücher.example"), b"\x0dxn--bcher-kva\x07example\0");
    }

    #[test]
    fn odd_bytes_cannot_break_a_log_line() {
        let shown = Text(b"\x05a.b\n\"\0").to_string();
        assert_eq!(shown, "a\\.b\\010\\\".");
    }

    #[test]
    fn suffixes_end_with_the_root() {
        let all: Vec<_> = suffixes(b"\x01a\x01b\0").collect();
        assert_eq!(all, [&b"\x01a\x01b\0"[..], b"\x01b\0", b"\0"]);
    }

    #[test]
    fn a_pointer_expands_backwards_only() {
        let message = b"\x01a\0\x01b\xc0\x00\xc0\x07";
        let mut name = Expanded::new();
        assert_eq!(expand(message, 3, &mut name), Some(7));
        assert_eq!(name.as_wire(), b"\x01b\x01a\0");
        assert_eq!(expand(message, 7, &mut name), None, "a pointer to itself");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..4)) {
            let mut wire: Vec<u8> = labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
            wire.push(0);
            let name = Name::from_wire(&wire);
            prop_assume!(name.is_some());
            prop_assert_eq!(Name::from_text(&Text(&wire).to_string()).ok(), name);
        }

        #[test]
        fn any_text_is_survived(text: String) {
            let _ = Name::from_text(&text);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0_usize..700) {
            let mut name = Expanded::new();
            if let Some(after) = expand(&bytes, at, &mut name) {
                prop_assert!(after <= bytes.len());
                prop_assert_eq!(plain_len(name.as_wire()), Some(name.as_wire().len()));
            }
            let _ = plain_len(&bytes);
            let _ = Text(&bytes).to_string();
            prop_assert!(suffixes(&bytes).count() <= bytes.len());
        }
    }
}
