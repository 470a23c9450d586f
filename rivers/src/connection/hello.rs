//! Recognises a lone TLS ClientHello in the first bytes of a client. Pure.
//!
//! Only such bytes may be sent twice: a ClientHello asks for nothing, so a server that took it and went away
//! has done nothing. What comes after it is another matter: early data (0-RTT, RFC 8446 §2.3) may be a
//! request, and anything that is not TLS may be one from its first byte.
//!
//! ```text
//! record:    type 22 │ version 3.x │ length (2) │ fragment      RFC 8446 §5.1
//! fragments: type 1  │ length (3)  │ body                       RFC 8446 §4
//! ```

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// The beginning of a ClientHello, or nothing yet.
    Beginning,
    /// A ClientHello, and not a byte more.
    Whole,
    /// Something else, or more than that.
    Other,
}

/// Judges all bytes that a client has sent so far. Looks at record headers only, not into the hello.
pub(crate) fn judge(bytes: &[u8]) -> Hello {
    let mut rest = bytes;
    // Of the handshake message: its first four bytes, and how much of it was there.
    let mut header = Vec::with_capacity(HANDSHAKE_HEADER);
    let mut seen = 0;
    while !rest.is_empty() {
        if whole(&header).is_some_and(|length| seen >= length) {
            return Hello::Other;
        }
        if !rest.iter().zip(RECORD).all(|(byte, right)| *byte == right) {
            return Hello::Other;
        }
        let Some((head, after)) = rest.split_at_checked(RECORD_HEADER) else {
            return Hello::Beginning;
        };
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if !(1..=MAX_FRAGMENT).contains(&length) {
            return Hello::Other;
        }
        let fragment = &after[..after.len().min(length)];
        let missing = HANDSHAKE_HEADER - header.len();
        header.extend(fragment.iter().take(missing));
        if header.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Hello::Other;
        }
        seen += fragment.len();
        // Another message begins in the same record: more than a hello is promised.
        let promised = seen - fragment.len() + length;
        if whole(&header).is_some_and(|whole| promised > whole) {
            return Hello::Other;
        }
        rest = &after[fragment.len()..];
    }
    match whole(&header) {
        Some(length) if seen == length => Hello::Whole,
        _ => Hello::Beginning,
    }
}

/// The length of the handshake message, header included, once that has been seen.
fn whole(header: &[u8]) -> Option<usize> {
    let &[_, high, middle, low] = header else {
        return None;
    };
    let body = u32::from_be_bytes([0, high, middle, low]);
    Some(HANDSHAKE_HEADER + body as usize)
}

/// A handshake record of any TLS version: clients write 3.1 or 3.3, and servers ignore the last byte.
const RECORD: [u8; 2] = [22, 3];
const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// Longer records of plaintext do not exist (RFC 8446 §5.1).
const MAX_FRAGMENT: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[kind, 3, 1], &length[..], fragment].concat()
    }

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        let mut message = vec![kind, high, middle, low];
        message.resize(HANDSHAKE_HEADER + length, 7);
        message
    }

    fn hello() -> Vec<u8> {
        record(22, &message(1, 300))
    }

    #[test]
    fn every_beginning_of_a_hello_is_one_and_the_whole_is_whole() {
        let hello = hello();
        for length in 0..hello.len() {
            assert_eq!(judge(&hello[..length]), Hello::Beginning, "{length}");
        }
        assert_eq!(judge(&hello), Hello::Whole);
    }

    #[test]
    fn a_hello_may_come_in_several_records() {
        let message = message(1, 300);
        for cut in 1..message.len() {
            let records = [record(22, &message[..cut]), record(22, &message[cut..])].concat();
            assert_eq!(judge(&records), Hello::Whole, "{cut}");
            assert_eq!(judge(&records[..records.len() - 1]), Hello::Beginning);
        }
    }

    #[test]
    fn early_data_after_the_hello_makes_it_something_else() {
        for (kind, after) in [(20, &[1][..]), (23, &[9; 40][..]), (22, &[1, 0, 0, 0][..])] {
            let bytes = [hello(), record(kind, after)].concat();
            for length in hello().len() + 1..=bytes.len() {
                assert_eq!(judge(&bytes[..length]), Hello::Other, "{kind} {length}");
            }
        }
    }

    #[test]
    fn a_second_message_in_the_same_record_makes_it_something_else() {
        let bytes = record(22, &[message(1, 300), vec![1]].concat());
        assert_eq!(judge(&bytes), Hello::Other);
        assert_eq!(judge(&bytes[..40]), Hello::Other);
    }

    #[test]
    fn what_is_not_tls_is_something_else_from_the_first_byte() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n",
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x40, 1],
            &[21, 3, 1, 0, 2],
            &record(22, &message(2, 8)),
        ] {
            assert_eq!(judge(bytes), Hello::Other, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn once_something_else_always_something_else(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            like_tls: bool,
        ) {
            let bytes = if like_tls { [vec![22, 3, 1, 0], bytes].concat() } else { bytes };
            let mut other = false;
            for length in 0..=bytes.len() {
                let now = judge(&bytes[..length]) == Hello::Other;
                prop_assert!(now || !other);
                other = now;
            }
        }
    }
}
