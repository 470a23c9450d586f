//! All that a process makes of what another one says in a hand-over, with nobody served and nothing kept: for
//! fuzz targets.

use std::{
    collections::VecDeque, fs::File, io::Write as _, os::fd::OwnedFd, os::unix::net::UnixStream,
};

use super::{
    LIMIT,
    frame::Line,
    message::{self, Message, Parcel},
    record::Handed,
};

/// Hears this; each of its messages comes with so many descriptors. How many messages made sense.
///
/// # Panics
/// What was understood is not what is said when it is handed on.
pub(crate) fn overhear(said: &[u8], descriptors: usize) -> usize {
    let Ok((ours, mut theirs)) = UnixStream::pair() else {
        return 0;
    };
    // No more than a socket holds: nobody reads yet.
    if theirs.write_all(&said[..said.len().min(MOST)]).is_err() {
        return 0;
    }
    drop(theirs);
    let line = Line::new(ours, LIMIT);
    let mut understood = 0;
    while let Ok(parcel) = line.receive() {
        let made_sense = match parcel.message {
            Message::Listeners { addresses } => {
                message::unpack_listeners(addresses, some(descriptors)).is_ok()
            }
            Message::Connections { connections } => {
                let handed = message::unpack(connections, &parcel.payload, some(descriptors));
                handed.map(is_handed_on_as_it_is).is_ok()
            }
            _ => true,
        };
        understood += usize::from(made_sense);
    }
    understood
}

fn is_handed_on_as_it_is(handed: Vec<Handed>) {
    let once = said_of(handed);
    let again = once.iter().flat_map(|(text, payload, descriptors)| {
        let Ok(Message::Connections { connections }) = serde_json::from_slice(text) else {
            panic!("{} are not connections", String::from_utf8_lossy(text));
        };
        message::unpack(connections, payload, some(*descriptors)).expect("packed by ourselves")
    });
    assert_eq!(said_of(again.collect()), once);
}

/// Text, payload and number of descriptors of the messages about these.
fn said_of(handed: Vec<Handed>) -> Vec<(Vec<u8>, Vec<u8>, usize)> {
    let mut waiting = VecDeque::from(handed);
    let mut said = Vec::new();
    while !waiting.is_empty() {
        let Parcel {
            message,
            payload,
            descriptors,
        } = message::pack(&mut waiting);
        let text = serde_json::to_vec(&message).expect("a message is JSON");
        said.push((text, payload, descriptors.len()));
    }
    said
}

fn some(descriptors: usize) -> Vec<OwnedFd> {
    let files = (0..descriptors).filter_map(|_| File::open("/dev/null").ok());
    files.map(OwnedFd::from).collect()
}

const MOST: usize = 64 * 1024;
