//! Messages over a UNIX stream socket: two lengths, the text, the payload; the descriptors come with the
//! first byte. Everything is bounded, in size and in time.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use rustix::process::{Pid, Uid};
use tokio::runtime;

use super::message::{Message, Parcel};

/// One side of a hand-over's conversation, which ends at `deadline` whatever happens.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    deadline: Instant,
}

/// Who is on the other side.
#[derive(Debug)]
pub(super) struct Peer {
    /// None where it cannot be seen from here.
    pub(super) pid: Option<Pid>,
    /// Whom it runs as.
    pub(super) user: Uid,
}

/// Why a conversation ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the other process has hung up")]
    HungUp,
    #[error("the other process was silent for too long")]
    TimedOut,
    #[error("the other process does not speak our protocol: {0}")]
    Garbled(String),
    #[error("the socket failed")]
    Socket(#[source] io::Error),
}

impl From<io::Error> for LineError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Self::HungUp,
            _ => Self::Socket(error),
        }
    }
}

impl From<rustix::io::Errno> for LineError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl Line {
    /// A conversation that has this long.
    pub(super) fn new(stream: UnixStream, limit: Duration) -> Self {
        Self {
            stream,
            deadline: Instant::now() + limit,
        }
    }

    /// The other process.
    pub(super) fn peer(&self) -> io::Result<Peer> {
        // By tokio: rustix has no value for a process of another PID namespace, as another pod's is.
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        let copy = self.stream.try_clone()?;
        copy.set_nonblocking(true)?;
        let asked = tokio::net::UnixStream::from_std(copy).and_then(|copy| copy.peer_cred());
        // The two share that.
        self.stream.set_nonblocking(false)?;
        let asked = asked?;
        Ok(Peer {
            pid: asked.pid().and_then(Pid::from_raw),
            user: Uid::from_raw(asked.uid()),
        })
    }

    /// Sends one message; the descriptors are closed here afterwards.
    pub(super) fn send(&self, parcel: &Parcel) -> Result<(), LineError> {
        let text = serde_json::to_vec(&parcel.message)
            .map_err(|error| LineError::Garbled(error.to_string()))?;
        let mut frame = Vec::with_capacity(HEADER + text.len() + parcel.payload.len());
        for part in [&text, &parcel.payload] {
            let length = u32::try_from(part.len())
                .map_err(|_| LineError::Garbled("a message is too long".to_owned()))?;
            frame.extend_from_slice(&length.to_le_bytes());
        }
        frame.extend_from_slice(&text);
        frame.extend_from_slice(&parcel.payload);

        let descriptors: Vec<_> = parcel.descriptors.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors))
        {
            return Err(LineError::Garbled("too many descriptors".to_owned()));
        }
        self.stream.set_write_timeout(Some(self.left()?))?;
        let sent = sendmsg(
            &self.stream,
            &[IoSlice::new(&frame)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok((&self.stream).write_all(&frame[sent..])?)
    }

    /// Waits for one message.
    pub(super) fn receive(&self) -> Result<Parcel, LineError> {
        let mut header = [0; HEADER];
        let descriptors = self.receive_header(&mut header)?;
        let [text, payload] = lengths(header)?;
        let text = self.receive_bytes(text)?;
        let payload = self.receive_bytes(payload)?;
        let message = parse(&text)?;
        Ok(Parcel {
            message,
            payload,
            descriptors,
        })
    }

    /// Closes this side's ear, so that the other one's sending fails from now on, and takes what it had
    /// said before: either both know that something was said, or neither.
    pub(super) fn receive_last(&mut self) -> Result<Parcel, LineError> {
        self.stream.shutdown(Shutdown::Read)?;
        self.deadline = Instant::now() + AT_ONCE;
        self.receive()
    }

    /// Waits until the other side has nothing more to say.
    pub(super) fn wait_for_hang_up(&self) {
        while self.receive().is_ok() {}
    }

    fn receive_header(&self, header: &mut [u8; HEADER]) -> Result<Vec<OwnedFd>, LineError> {
        let mut descriptors = Vec::new();
        let mut filled = 0;
        while filled < HEADER {
            self.stream.set_read_timeout(Some(self.left()?))?;
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(&mut header[filled..])],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    descriptors.extend(passed);
                }
            }
            if received.flags.contains(ReturnFlags::CTRUNC) {
                return Err(LineError::Garbled("descriptors were lost".to_owned()));
            }
            if received.bytes == 0 {
                return Err(LineError::HungUp);
            }
            filled += received.bytes;
        }
        Ok(descriptors)
    }

    fn receive_bytes(&self, count: usize) -> Result<Vec<u8>, LineError> {
        let mut bytes = vec![0; count];
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match (&self.stream).read(rest) {
                Ok(0) => return Err(LineError::HungUp),
                Ok(read) => rest = &mut rest[read..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes)
    }

    /// What is left of the time; a socket's time-out of zero would mean none.
    fn left(&self) -> Result<Duration, LineError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(LineError::TimedOut);
        }
        Ok(left)
    }
}

/// The lengths of text and payload.
fn lengths(header: [u8; HEADER]) -> Result<[usize; 2], LineError> {
    let [a, b, c, d, e, f, g, h] = header;
    let [text, payload] =
        [[a, b, c, d], [e, f, g, h]].map(|length| u32::from_le_bytes(length) as usize);
    if text > MAX_TEXT || payload > MAX_PAYLOAD {
        let message = format!("a message of {text} and {payload} bytes");
        return Err(LineError::Garbled(message));
    }
    Ok([text, payload])
}

fn parse(text: &[u8]) -> Result<Message, LineError> {
    serde_json::from_slice(text).map_err(|error| LineError::Garbled(error.to_string()))
}

const HEADER: usize = 8;
/// For reading what is there already.
const AT_ONCE: Duration = Duration::from_millis(100);
/// A hundred connections, each with a listener's name and addresses, need a third of it.
const MAX_TEXT: usize = 256 * 1024;
/// A full message, and one connection more with all that may be kept of it.
const MAX_PAYLOAD: usize = 4 * 1024 * 1024;
/// For as many descriptors as the kernel passes at a time.
const SPACE: usize = rustix::cmsg_space!(ScmRights(253));

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn lines() -> (Line, Line) {
        let (one, other) = UnixStream::pair().unwrap();
        (Line::new(one, LIMIT), Line::new(other, LIMIT))
    }

    fn garbled(bytes: &[u8]) -> LineError {
        let (one, other) = lines();
        (&one.stream).write_all(bytes).unwrap();
        drop(one);
        other.receive().unwrap_err()
    }

    #[test]
    fn a_message_arrives_with_its_bytes_and_descriptors() {
        let (one, other) = lines();
        let sender = std::thread::spawn(move || {
            let descriptors = (0..200)
                .map(|_| File::open("/dev/null").unwrap().into())
                .collect();
            one.send(&Parcel {
                message: Message::Complete { connections: 7 },
                // More than the socket holds.
                payload: vec![9; 1024 * 1024],
                descriptors,
            })
            .unwrap();
            one.send(&Message::Commit.into()).unwrap();
        });
        let parcel = other.receive().unwrap();
        assert_eq!(parcel.message, Message::Complete { connections: 7 });
        assert_eq!(parcel.payload, vec![9; 1024 * 1024]);
        assert_eq!(parcel.descriptors.len(), 200);
        let parcel = other.receive().unwrap();
        assert_eq!(
            (parcel.message, parcel.descriptors.len()),
            (Message::Commit, 0)
        );
        sender.join().unwrap();
    }

    #[test]
    fn a_hang_up_and_a_silence_are_told_apart() {
        assert!(matches!(garbled(b""), LineError::HungUp));
        assert!(matches!(
            garbled(&[2, 0, 0, 0, 0, 0, 0, 0, b'{']),
            LineError::HungUp
        ));
        let (one, mut other) = lines();
        other.deadline = Instant::now() + Duration::from_millis(10);
        assert!(matches!(other.receive().unwrap_err(), LineError::TimedOut));
        drop(one);
    }

    #[test]
    fn lengths_beyond_the_bounds_and_unknown_messages_are_refused_before_memory_is_taken() {
        for bytes in [
            &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..],
            &[2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'{', b'}'],
            &[2, 0, 0, 0, 0, 0, 0, 0, b'{', b'}'],
        ] {
            assert!(matches!(garbled(bytes), LineError::Garbled(_)), "{bytes:?}");
        }
    }
}
