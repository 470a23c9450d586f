//! A worker on the thread of a test, which sees each turn of its loop.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{Command, Shared, event_loop::EventLoop};
use crate::{
    close::CloseReason, config::Listener, decide::ListenerId, published::Bell, vanished::Vanished,
};

/// The worker, with one listener.
pub(crate) struct Alone {
    pub(crate) address: SocketAddr,
    event_loop: EventLoop,
    commands: mpsc::Sender<Command>,
    bell: Bell,
}

impl Alone {
    pub(crate) fn new(shared: &Shared, id: ListenerId, listener: &Listener) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (commands, told) = mpsc::channel(16);
        let bell = Bell::new().unwrap();
        shared.published.subscribe(bell.clone());
        let alone = Self {
            address: socket.local_addr().unwrap(),
            event_loop: EventLoop::new(
                EventLoop::epoll(&bell).unwrap(),
                shared,
                bell.clone(),
                told,
            ),
            commands,
            bell,
        };
        alone.tell(Command::Listen {
            id,
            listener: Arc::new(listener.clone()),
            socket,
        });
        alone
    }

    /// Turns the loop until a connection has ended, and says why that did.
    pub(crate) fn until_a_connection_ends(
        &mut self,
        limit: Duration,
        mut meanwhile: impl FnMut(&mut Self),
    ) -> CloseReason {
        let deadline = Instant::now() + limit;
        loop {
            assert!(Instant::now() < deadline, "the connection does not end");
            self.turn();
            if let Some(reason) = self.event_loop.last_end() {
                return reason;
            }
            meanwhile(self);
        }
    }

    /// Turns the loop until so many connections live.
    pub(crate) fn until_alive(&mut self, count: usize, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.event_loop.alive() != count {
            assert!(Instant::now() < deadline, "{}", self.event_loop.alive());
            self.turn();
        }
    }

    /// Turns the loop once.
    pub(crate) fn turn(&mut self) {
        let soon = Instant::now() + Duration::from_millis(20);
        self.event_loop.turn(soon).unwrap();
    }

    /// These peers have vanished.
    pub(crate) fn bury(&self, vanished: Vanished) {
        self.tell(Command::Bury(Arc::new(vanished)));
    }

    /// Every connection that lives meets a fault in rivers.
    pub(crate) fn break_all(&mut self) {
        self.event_loop.break_all();
    }

    pub(crate) fn close(&self) {
        self.tell(Command::Close);
    }

    fn tell(&self, command: Command) {
        self.commands.try_send(command).unwrap();
        self.bell.ring();
    }
}
