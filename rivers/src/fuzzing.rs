//! What fuzz targets reach of the parts that read what others wrote and that are otherwise nobody's business.
//! Each function asserts what has to hold whatever it is given.

use crate::{
    connection::hello::{Hello, judge},
    handover,
};

/// The first bytes of a client. How much of a stream is a lone ClientHello does not depend on how it comes: its
/// beginnings are beginnings, one of them is the whole, and everything longer is something else.
pub fn client_hello(bytes: &[u8]) {
    let mut before = Hello::Beginning;
    for length in 0..=bytes.len().min(MOST) {
        let now = judge(&bytes[..length]);
        let follows = match before {
            Hello::Beginning => true,
            Hello::Whole | Hello::Other => now == Hello::Other,
        };
        assert!(follows, "{before:?} became {now:?} at {length} bytes");
        before = now;
    }
    if judge(bytes) == Hello::Whole {
        assert_eq!(bytes[..2], [22, 3], "no record of a handshake");
    }
}

/// What another process says in a hand-over; the first byte is the number of descriptors that come with each
/// message. Says how many messages made sense.
pub fn hand_over(input: &[u8]) -> usize {
    let Some((&descriptors, said)) = input.split_first() else {
        return 0;
    };
    handover::overhear(said, descriptors.into())
}

/// Every beginning is judged anew.
const MOST: usize = 2 * 1024;
