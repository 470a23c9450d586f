//! One direction of a relayed connection: through the one buffer of the worker, and in bulk through a pipe.
//!
//! An idle connection holds no buffer: what there is to read goes into the worker's and out of it before
//! anything else happens. Only what the receiver did not take is kept, at most [`BUFFER_SIZE`] bytes or
//! what is in a pipe, and while something is kept nothing more is read: a slow reader stops its writer.
//!
//! A direction that keeps filling the buffer changes to splice(2), and back when it no longer moves much at
//! a time. A small message is cheaper to copy than to pass through a pipe.

use std::io;

use super::{
    leg::Leg,
    pipes::{PIPE_SIZE, Pipe, Pipes},
};
use crate::handover::record;

/// What a worker moves bytes with.
#[derive(Debug)]
pub(crate) struct Means {
    buffer: Box<[u8]>,
    pub(crate) pipes: Pipes,
}

impl Means {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_SIZE].into(),
            pipes: Pipes::default(),
        }
    }
}

/// What one direction has done, and what it still has to do.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Taken from the source so far.
    pub(super) bytes: u64,
    /// Nothing will flow any more.
    pub(super) is_over: bool,
    /// How sure it is that this is bulk: full buffers in a row, or what is left of that.
    bulk: u8,
    /// Read, and not taken yet.
    rest: Option<Box<Rest>>,
    /// Lent as long as something is in it, and while it is being filled again and again.
    pipe: Option<Box<Pipe>>,
}

#[derive(Debug)]
struct Rest {
    bytes: Box<[u8]>,
    written: usize,
}

/// How far it got.
#[derive(Debug)]
pub(super) enum Flow {
    /// Until the kernel tells of the source or the sink.
    Waits,
    /// It had its share, and others get their turn.
    Busy,
    /// The source will send nothing more, and everything has been written.
    Ended,
    /// The source failed.
    SourceFailed(io::Error),
    /// The sink failed; what it sent before may still wait to be read.
    SinkFailed(io::Error),
}

impl Direction {
    /// Begins with bytes that were taken from the source before.
    pub(super) fn resuming(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.len() as u64,
            rest: (!bytes.is_empty()).then(|| Rest::new(bytes)),
            ..Self::default()
        }
    }

    /// What another process has to know of it.
    pub(super) fn into_record(self) -> record::Direction {
        let mut unsent = self
            .rest
            .map_or_else(Vec::new, |rest| rest.bytes[rest.written..].to_vec());
        if let Some(pipe) = self.pipe {
            pipe.empty_into(&mut unsent);
        }
        record::Direction {
            bytes: self.bytes,
            unsent,
            is_over: self.is_over,
        }
    }

    /// Goes on where another process has left it.
    pub(super) fn from_record(record: record::Direction) -> Self {
        let unsent = record.unsent;
        Self {
            bytes: record.bytes,
            is_over: record.is_over,
            rest: (!unsent.is_empty()).then(|| Rest::new(&unsent)),
            ..Self::default()
        }
    }

    /// Whether something has been read and not taken yet.
    pub(super) fn is_blocked(&self) -> bool {
        self.rest.is_some() || self.pipe.as_ref().is_some_and(|pipe| pipe.filled > 0)
    }

    /// Ends it; what was not taken is lost.
    pub(super) fn give_up(&mut self) {
        self.is_over = true;
        self.rest = None;
        self.pipe = None;
    }

    /// Moves what can be moved now. `watch` sees every byte before it is written, unless there is none: then
    /// the bytes need not pass through our hands.
    pub(super) fn pump(
        &mut self,
        from: &mut Leg,
        to: &mut Leg,
        means: &mut Means,
        mut watch: Option<impl FnMut(&[u8])>,
    ) -> Flow {
        let mut flow = Flow::Busy;
        for _ in 0..BURST {
            let step = match self.write_rest(to) {
                Ok(true) if !from.readable => Some(Flow::Waits),
                Ok(true) if self.bulk >= BULK && watch.is_none() => self.splice(from, means),
                Ok(true) => self.copy(from, to, &mut means.buffer, watch.as_mut()),
                Ok(false) => Some(Flow::Waits),
                Err(error) => Some(Flow::SinkFailed(error)),
            };
            if let Some(step) = step {
                flow = step;
                break;
            }
        }
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.filled == 0) {
            means.pipes.give_back(*pipe);
        }
        flow
    }

    /// One read into the buffer, and one write out of it.
    fn copy(
        &mut self,
        from: &mut Leg,
        to: &mut Leg,
        buffer: &mut [u8],
        watch: Option<&mut impl FnMut(&[u8])>,
    ) -> Option<Flow> {
        let capacity = buffer.len();
        let read = match from.read(buffer) {
            Ok(Some(0)) => return Some(Flow::Ended),
            Ok(Some(bytes)) => &buffer[..bytes],
            Ok(None) => return Some(Flow::Waits),
            Err(error) => return Some(Flow::SourceFailed(error)),
        };
        self.bytes += read.len() as u64;
        self.bulk = if read.len() == capacity {
            (self.bulk + 1).min(BULK)
        } else {
            0
        };
        if let Some(watch) = watch {
            watch(read);
        }
        match to.write(read) {
            Ok(written) if written == read.len() => None,
            Ok(written) => {
                self.rest = Some(Rest::new(&read[written..]));
                None
            }
            Err(error) => Some(Flow::SinkFailed(error)),
        }
    }

    /// Fills an empty pipe; it is emptied before anything else happens. So EAGAIN can only mean that the
    /// source has nothing: with bytes in the pipe it could also mean that the pipe is full.
    fn splice(&mut self, from: &mut Leg, means: &mut Means) -> Option<Flow> {
        let Some(pipe) = self.pipe.take().or_else(|| means.pipes.take()) else {
            // Others have them all: copies for as long as it takes to become bulk again.
            self.bulk = 0;
            return None;
        };
        let pipe = self.pipe.insert(pipe);
        match from.fill(pipe, PIPE_SIZE) {
            Ok(Some(0)) => Some(Flow::Ended),
            Ok(Some(bytes)) => {
                self.bytes += bytes as u64;
                self.bulk = if bytes >= LITTLE { MOST } else { self.bulk - 1 };
                None
            }
            Ok(None) => Some(Flow::Waits),
            Err(error) => Some(Flow::SourceFailed(error)),
        }
    }

    /// Whether nothing is left to be written.
    fn write_rest(&mut self, to: &mut Leg) -> io::Result<bool> {
        if let Some(rest) = &mut self.rest {
            if to.writable {
                rest.written += to.write(&rest.bytes[rest.written..])?;
            }
            if rest.written < rest.bytes.len() {
                return Ok(false);
            }
            self.rest = None;
        }
        if let Some(pipe) = &mut self.pipe {
            while pipe.filled > 0 {
                if !to.writable {
                    return Ok(false);
                }
                to.drain(pipe)?;
            }
        }
        Ok(true)
    }
}

impl Rest {
    fn new(bytes: &[u8]) -> Box<Self> {
        Box::new(Self {
            bytes: bytes.into(),
            written: 0,
        })
    }
}

/// A TLS record has 16 KiB at most; four of them a system call.
const BUFFER_SIZE: usize = 64 * 1024;
/// Reads in a row after which others on this worker get their turn: 1 MiB copied or 4 MiB spliced at most,
/// which is a fraction of a millisecond.
const BURST: u32 = 16;
/// Full buffers in a row that make a direction bulk.
const BULK: u8 = 2;
/// What spliced in one go is little, and how often in a row that may be before it is no longer bulk.
const LITTLE: usize = 16 * 1024;
const MOST: u8 = BULK + 4;
