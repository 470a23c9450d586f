//! Beliefs follow the facts within a bounded time.

use std::time::Duration;

use rivers::decide::{SILENCE, State, UNSAID};

use super::{
    server::{Behaviour, Server},
    world::{LISTENER, World, index},
};

impl World {
    pub(crate) fn check_beliefs(&self) {
        for choice in self.snapshot.choices(LISTENER) {
            let server = &self.servers[index(&choice.address)];
            match server.behaviour {
                Behaviour::Accepts if self.is_quiet(server) => {
                    assert_eq!(choice.state, State::Up, "a healthy server is in exile");
                    assert!(choice.is_dialable(), "a healthy server may not be dialled");
                }
                Behaviour::Drains if self.is_quiet(server) => {
                    assert_eq!(choice.state, State::Draining);
                }
                Behaviour::Denies if self.is_quiet(server) => {
                    let is_used = choice.state == State::Up;
                    assert!(is_used || choice.state == State::Draining);
                    assert!(is_used || !self.is_used_to(server), "it is in exile");
                }
                behaviour if behaviour.is_dead() && self.is_settled(server) => {
                    assert_eq!(choice.state, State::Down, "a dead server is believed in");
                }
                _ => {}
            }
        }
        self.check_connections();
    }

    /// Nobody stays with a dead server while another one is well.
    fn check_connections(&self) {
        let for_long = |server: &Server| {
            let since = server.settled_since();
            since.is_some_and(|since| self.now - since > self.time_to_close())
        };
        let mut servers = self.servers.iter();
        if !servers.any(|server| server.behaviour == Behaviour::Accepts && for_long(server)) {
            return;
        }
        for server in self.servers.iter().filter(|server| for_long(server)) {
            let is_dead = matches!(server.behaviour, Behaviour::Hangs | Behaviour::BlackHole);
            let connections = server.member.iter().flat_map(|member| &member.connections);
            for (_, _, opened) in connections.filter(|_| is_dead) {
                let age = self.now - *opened;
                assert!(age <= self.time_to_close(), "it stayed for {age:?}");
            }
        }
    }

    /// It has been as it is for so long that beliefs have to follow.
    pub(crate) fn is_settled(&self, server: &Server) -> bool {
        let since = server.settled_since();
        since.is_some_and(|since| self.now - since > self.time_to_notice())
    }

    /// And nothing has spoken against it for as long.
    pub(crate) fn is_quiet(&self, server: &Server) -> bool {
        let Some(since) = self.now.checked_sub(self.time_to_notice()) else {
            return false;
        };
        self.is_settled(server) && !server.is_spoken_against_since(since)
    }

    /// It has been as it is for so long that even a server that only starts would not be.
    fn is_used_to(&self, server: &Server) -> bool {
        let since = server.settled_since();
        since.is_some_and(|since| self.now - since > UNSAID + self.time_to_notice())
    }

    fn time_to_close(&self) -> Duration {
        self.time_to_notice() + SILENCE + Duration::from_secs(1)
    }

    /// The longest that beliefs may be behind: a probe under way to its end, then as many as it takes,
    /// each as long as it may last, with the pauses between.
    fn time_to_notice(&self) -> Duration {
        let probe =
            self.health.timeout + Duration::from_secs(1) + self.health.interval.mul_f64(1.1);
        // A word about readiness is asked for again that much later.
        probe * (1 + self.health.rise.max(self.health.fall)) + self.health.readyz_interval
    }
}
