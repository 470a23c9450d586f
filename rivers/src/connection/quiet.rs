//! Whether a connection may be closed in the hope that nobody misses it.

use std::time::Duration;

use super::{Connection, Here, Leg, Served, Stage};
use crate::decide::{Id, ListenerId};

impl Here {
    /// Since the worker began; in a `u32`, of which each connection keeps one.
    pub(super) fn seconds(&self) -> u32 {
        let seconds = self.now.saturating_duration_since(self.start).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

impl Connection {
    /// Whether it has this upstream, and nothing is on its way in either direction. A client that waits for
    /// an answer looks the same after [`QUIET`].
    pub(crate) fn is_quiet(&self, listener: ListenerId, upstream: Id, here: &Here) -> bool {
        let Stage::Served(served) = &self.stage else {
            return false;
        };
        self.serving.id == listener
            && served.choice.id == upstream
            && served.is_quiet(&self.client, here)
    }
}

impl Served {
    fn is_quiet(&self, client: &Leg, here: &Here) -> bool {
        let legs = [client, &self.upstream];
        let directions = [&self.up, &self.down];
        let silence = here.seconds().saturating_sub(self.last_byte);
        // Of whole seconds the first may have been a short one.
        u64::from(silence) > QUIET.as_secs()
            && self.opening.is_none()
            && self.torn.is_none()
            && directions.iter().all(|it| !it.is_over && !it.is_blocked())
            && legs.iter().all(|leg| !leg.ended && !leg.failed)
            && !legs.iter().any(|leg| leg.has_unread())
    }
}

/// The silence that is taken for a quiet moment.
pub(super) const QUIET: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        rc::Rc,
        sync::Arc,
        time::Instant,
    };

    use rand::{SeedableRng as _, rngs::SmallRng};
    use rustix::event::epoll::{self, CreateFlags, EventFlags};
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        close::{CloseReason, Side},
        connection::{Direction, Means},
        connections::{Connections, Source},
        decide::{Choice, Core},
        metrics::{Active, UpstreamMeter},
        recent::Recent,
        worker::timers::Timers,
    };

    /// A connection on which nothing has happened for a while, and the ends that its peers hold.
    struct Case {
        here: Here,
        client: Leg,
        served: Served,
        far_client: TcpStream,
        far_upstream: TcpStream,
    }

    impl Case {
        fn new() -> Self {
            let start = Instant::now();
            let here = Here {
                epoll: epoll::create(CreateFlags::CLOEXEC).unwrap(),
                start,
                now: start + QUIET + Duration::from_secs(1),
                timers: Timers::default(),
                means: Means::new(),
                snapshot: Core::new(1).snapshot().into(),
                events: mpsc::channel(1).0,
                rng: SmallRng::seed_from_u64(1),
                recent: Recent::default(),
                is_called: false,
            };
            let (client, far_client) = leg(&here);
            let (upstream, far_upstream) = leg(&here);
            let address = "10.0.0.1:6443".parse().unwrap();
            let meter = UpstreamMeter::new("test", &address);
            let choice = Arc::new(Choice::departed(address, start));
            let served = Served {
                upstream,
                number: 1,
                since: Some(start),
                _entered: choice.traffic.enter(),
                choice,
                _active: Active::new(Rc::new(meter)),
                up: Direction::default(),
                down: Direction::default(),
                opening: None,
                torn: None,
                last_byte: 0,
            };
            Self {
                here,
                client,
                served,
                far_client,
                far_upstream,
            }
        }

        fn is_quiet(&self) -> bool {
            self.served.is_quiet(&self.client, &self.here)
        }
    }

    /// One of rivers' sockets, and who is at the other end.
    fn leg(here: &Here) -> (Leg, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        let key = Connections::<()>::new().next_key().unwrap();
        let source = Source::Socket(key, 0);
        (
            Leg::register(near.into(), source, &here.epoll).unwrap(),
            far,
        )
    }

    /// Waits until the kernel of this leg has what its peer sent.
    fn wait_for(leg: &Leg) {
        while !leg.has_unread() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_silence_of_whole_seconds_is_quiet_and_a_shorter_one_is_not() {
        let mut case = Case::new();
        assert!(case.is_quiet());
        case.served.last_byte = 1;
        assert!(!case.is_quiet());
        case.here.now += Duration::from_secs(1);
        assert!(case.is_quiet());
    }

    #[test]
    fn bytes_that_nobody_has_read_yet_are_not_quiet_whoever_sent_them() {
        let mut case = Case::new();
        case.far_client.write_all(b"request").unwrap();
        wait_for(&case.client);
        assert!(!case.is_quiet());
        case.client.read(&mut [0; 64]).unwrap();
        assert!(case.is_quiet());

        case.far_upstream.write_all(b"event").unwrap();
        wait_for(&case.served.upstream);
        assert!(!case.is_quiet());
    }

    #[test]
    fn bytes_that_were_not_taken_yet_are_not_quiet_in_either_direction() {
        let mut case = Case::new();
        case.served.up = Direction::resuming(b"rest");
        assert!(!case.is_quiet());
        case.served.up = Direction::default();
        assert!(case.is_quiet());
        case.served.down = Direction::resuming(b"rest");
        assert!(!case.is_quiet());
    }

    #[test]
    fn a_side_that_has_finished_or_failed_is_not_quiet() {
        let change: [fn(&mut Case); 7] = [
            |case| case.served.up.is_over = true,
            |case| case.served.down.is_over = true,
            |case| case.client.note(EventFlags::RDHUP),
            |case| case.served.upstream.note(EventFlags::RDHUP),
            |case| case.client.note(EventFlags::ERR),
            |case| case.served.upstream.note(EventFlags::ERR),
            |case| case.served.torn = Some((Side::Client, CloseReason::ClientLeft)),
        ];
        for (number, change) in change.into_iter().enumerate() {
            let mut case = Case::new();
            assert!(case.is_quiet());
            change(&mut case);
            assert!(!case.is_quiet(), "change {number}");
        }
    }
}
