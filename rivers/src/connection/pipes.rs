//! Pipes, through which splice(2) moves bytes from socket to socket without copying them.
//!
//! A worker has a few and lends them: a direction takes one when it is bulk and has something to move, and
//! gives it back as soon as it is empty, so that no idle connection holds one. Who gets none copies.
//! (An unprivileged user has 16,384 pages of pipes in all; beyond, the kernel gives pipes of two pages.)

use std::{cell::Cell, os::fd::OwnedFd, rc::Rc};

use rustix::{
    io::{Errno, read},
    pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with},
};

/// The pipes of one worker.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    idle: Vec<Pipe>,
    /// How many there are, lent ones included.
    alive: Rc<Cell<usize>>,
    /// Until the next beat: there were none to be had.
    is_dry: bool,
}

/// A pipe that is lent to a direction. Dropping it with bytes in it loses them.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) reader: OwnedFd,
    pub(super) writer: OwnedFd,
    /// Bytes in it.
    pub(super) filled: usize,
    alive: Rc<Cell<usize>>,
}

impl Pipe {
    /// Takes out what is in it.
    pub(super) fn empty_into(mut self, bytes: &mut Vec<u8>) {
        let mut rest = vec![0; self.filled];
        while self.filled > 0 {
            match read(&self.reader, &mut rest[..self.filled]) {
                Ok(count) if count > 0 => {
                    bytes.extend_from_slice(&rest[..count]);
                    self.filled -= count;
                }
                Err(Errno::INTR) => {}
                // The kernel has all that was put in.
                _ => break,
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.alive.update(|alive| alive - 1);
    }
}

impl Pipes {
    /// An empty pipe, if there is one to be had.
    pub(super) fn take(&mut self) -> Option<Box<Pipe>> {
        if let Some(pipe) = self.idle.pop() {
            return Some(Box::new(pipe));
        }
        if self.is_dry || self.alive.get() >= MAX_PIPES {
            return None;
        }
        let made = self.make().map(Box::new);
        self.is_dry = made.is_none();
        made
    }

    /// Takes one back that is empty.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        debug_assert_eq!(pipe.filled, 0);
        self.idle.push(pipe);
    }

    /// Called once a second: lets go of one that nobody wanted.
    pub(crate) fn beat(&mut self) {
        self.is_dry = false;
        self.idle.pop();
    }

    fn make(&self) -> Option<Pipe> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
        // If the kernel refuses, it stays as large as it is.
        let _ = fcntl_setpipe_size(&writer, PIPE_SIZE);
        let size = fcntl_getpipe_size(&writer).ok()?;
        if size < MIN_PIPE_SIZE {
            return None;
        }
        self.alive.update(|alive| alive + 1);
        Some(Pipe {
            reader,
            writer,
            filled: 0,
            alive: Rc::clone(&self.alive),
        })
    }
}

/// The size that is asked for.
pub(super) const PIPE_SIZE: usize = 256 * 1024;
/// A smaller one is worse than a copy.
const MIN_PIPE_SIZE: usize = 64 * 1024;
/// 2,048 pages a worker at most: four workers have half of what an unprivileged user has.
const MAX_PIPES: usize = 32;

#[cfg(test)]
mod tests {
    use rustix::io::write;

    use super::*;

    #[test]
    fn a_pipe_is_used_again_and_only_so_many_are_lent() {
        let mut pipes = Pipes::default();
        let lent: Vec<_> = (0..MAX_PIPES).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        lent.into_iter().for_each(|pipe| pipes.give_back(*pipe));
        assert_eq!(pipes.idle.len(), MAX_PIPES);
        drop(pipes.take().unwrap());
        assert_eq!(pipes.alive.get(), MAX_PIPES - 1);
    }

    #[test]
    fn what_is_in_a_pipe_can_be_had_as_bytes() {
        let mut pipe = Pipes::default().take().unwrap();
        let sent: Vec<u8> = (0..PIPE_SIZE).map(|at| (at % 251) as u8).collect();
        pipe.filled = write(&pipe.writer, &sent).unwrap();
        assert!(pipe.filled >= MIN_PIPE_SIZE);
        let (filled, mut bytes) = (pipe.filled, b"before".to_vec());
        pipe.empty_into(&mut bytes);
        assert_eq!(bytes, [b"before", &sent[..filled]].concat());
    }
}
