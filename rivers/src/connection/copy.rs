//! One direction of a relayed connection, through the one buffer of the worker.
//!
//! An idle connection holds no buffer: it waits until there is something to read, borrows the worker's
//! for one read and one write, and gives it back before it waits again. Only what the receiver did not
//! take is kept, at most [`BUFFER_SIZE`] bytes, and while something is kept nothing more is read: a slow
//! reader stops its writer.

use std::{
    cell::{Cell, RefCell},
    io,
    net::Shutdown,
    time::Instant,
};

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, task::yield_now};

use crate::decide::Traffic;

/// The copy buffer that all connections of one worker share.
#[derive(Debug)]
pub(crate) struct Buffer(RefCell<Box<[u8]>>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(vec![0; BUFFER_SIZE].into()))
    }
}

/// Counts the bytes of one direction: for the connection's own line, and for its listener's metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count<'a> {
    pub(crate) connection: &'a Cell<u64>,
    pub(crate) listener: &'a Cell<u64>,
    /// The upstream's record, in the direction that reads from it.
    pub(crate) heard: Option<&'a Traffic>,
}

impl Count<'_> {
    fn add(self, bytes: usize) {
        let bytes = bytes as u64;
        self.connection.set(self.connection.get() + bytes);
        self.listener.set(self.listener.get() + bytes);
        if let Some(traffic) = self.heard {
            traffic.hear(Instant::now());
        }
    }
}

/// Why no more bytes flow in this direction.
#[derive(Debug)]
pub(super) enum End {
    /// The source said that it was done, and the sink has been told.
    Finished,
    /// The source failed.
    Source(io::Error),
    /// The sink failed; what it sent before may still wait to be read.
    Sink(io::Error),
}

/// Copies from `from` to `to` until one of them is done. Once `torn` is true the source is known to have
/// failed: its last bytes are still delivered, but its end is not taken for a FIN.
///
/// Cancel safe, but what was read and not yet taken is lost.
pub(super) async fn copy(
    from: &TcpStream,
    to: &TcpStream,
    buffer: &Buffer,
    count: Count<'_>,
    torn: &Cell<bool>,
) -> End {
    let mut in_a_row = 0;
    loop {
        match pass(from, to, buffer, count) {
            // The kernel tells an error once and then an end like any other.
            Pass::Finished if torn.get() => {
                return End::Source(io::ErrorKind::ConnectionReset.into());
            }
            Pass::Finished => return finish(to),
            Pass::All if in_a_row < BURST => in_a_row += 1,
            // A sender that is never out of bytes must not keep the worker to itself.
            Pass::All => {
                in_a_row = 0;
                yield_now().await;
            }
            Pass::Some(rest) => {
                in_a_row = 0;
                if let Err(end) = write_all(from, to, &rest).await {
                    return end;
                }
            }
            Pass::Nothing => {
                in_a_row = 0;
                tokio::select! {
                    biased;
                    ready = from.readable() => if let Err(error) = ready {
                        return End::Source(error);
                    },
                    // Without asking for the error: the direction that reads from there is to see it.
                    () = broken(to) => return End::Sink(io::ErrorKind::ConnectionReset.into()),
                }
            }
            Pass::End(end) => return end,
        }
    }
}

/// What became of one read and one write.
enum Pass {
    /// Everything that was read was written.
    All,
    /// This much was read and not taken.
    Some(Box<[u8]>),
    /// There was nothing to read.
    Nothing,
    /// There will be nothing more to read.
    Finished,
    /// No more bytes will flow.
    End(End),
}

/// One read into the worker's buffer and one write out of it. Does not wait, so that the buffer is free
/// again when it returns.
fn pass(from: &TcpStream, to: &TcpStream, buffer: &Buffer, count: Count<'_>) -> Pass {
    let mut buffer = buffer.0.borrow_mut();
    let read = match read(from, &mut buffer) {
        Ok(0) => return Pass::Finished,
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Pass::Nothing,
        Err(error) => return Pass::End(End::Source(error)),
    };
    count.add(read);
    match to.try_write(&buffer[..read]) {
        Ok(written) if written == read => Pass::All,
        Ok(written) => Pass::Some(buffer[written..read].into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Pass::Some(buffer[..read].into())
        }
        Err(error) => Pass::End(End::Sink(error)),
    }
}

/// Reads what is there. A read that does not fill the buffer has emptied the socket (epoll(7) says so of
/// streams), and the next byte or FIN is a new edge; so readiness is cleared at once, which saves the
/// read that would only say EAGAIN.
fn read(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut emptied = None;
    let outcome = from.try_io(Interest::READABLE, || {
        let capacity = buffer.len();
        let (_, read) = recv(from, &mut *buffer, RecvFlags::empty())?;
        if read == 0 || read == capacity {
            return Ok(read);
        }
        emptied = Some(read);
        Err(io::ErrorKind::WouldBlock.into())
    });
    emptied.map_or(outcome, Ok)
}

/// Passes a FIN on.
fn finish(to: &TcpStream) -> End {
    match SockRef::from(to).shutdown(Shutdown::Write) {
        Ok(()) => End::Finished,
        Err(error) => End::Sink(error),
    }
}

/// Writes the rest of a read, however long the sink takes. Nobody reads from the source meanwhile, so
/// that its failure has to be looked for.
async fn write_all(from: &TcpStream, to: &TcpStream, mut rest: &[u8]) -> Result<(), End> {
    while !rest.is_empty() {
        tokio::select! {
            biased;
            ready = to.writable() => ready.map_err(End::Sink)?,
            () = broken(from) => {
                let told = from.take_error().ok().flatten();
                return Err(End::Source(told.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())));
            }
        }
        match to.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(End::Sink(error)),
        }
    }
    Ok(())
}

/// Waits until the connection has failed, without reading from it.
pub(super) async fn broken(stream: &TcpStream) {
    // An error means that the runtime is gone, and the connection with it.
    let _ = stream.ready(Interest::ERROR).await;
}

/// A TLS record has 16 KiB at most; four of them a system call.
const BUFFER_SIZE: usize = 64 * 1024;
/// Reads in a row after which others on this worker get their turn: 1 MiB at most, which is a fraction of
/// a millisecond.
const BURST: u32 = 16;
