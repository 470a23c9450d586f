//! The socket addresses behind one upstream, and when its name is looked up next. Pure: the lookup itself
//! is somebody else's.
//!
//! A lookup that fails never empties what was known: a name server that is away must not take the
//! API servers along.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::config::address::{Address, Host};

/// What is known of an address, and what is being found out.
#[derive(Clone, Debug)]
pub(super) struct Resolution {
    sockets: Arc<[SocketAddr]>,
    lookup: Lookup,
    /// Lookups that failed in a row.
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum Lookup {
    /// An IP address needs none.
    Needless,
    /// `last` is when the one before began.
    Due { at: Instant, last: Option<Instant> },
    /// Given out; if no result has come by then, that is a failure.
    Running {
        since: Instant,
        overdue: Instant,
        first: bool,
    },
}

impl Resolution {
    /// Known at once, or to be looked up at once.
    pub(super) fn new(address: &Address, now: Instant) -> Self {
        let (sockets, lookup) = match &address.host {
            Host::Ip(ip) => (
                [SocketAddr::new(*ip, address.port)].into(),
                Lookup::Needless,
            ),
            Host::Name(_) => (
                [].into(),
                Lookup::Due {
                    at: now,
                    last: None,
                },
            ),
        };
        Self {
            sockets,
            lookup,
            failures: 0,
        }
    }

    /// Where to dial; empty until a name has been found.
    pub(super) const fn sockets(&self) -> &Arc<[SocketAddr]> {
        &self.sockets
    }

    /// Whether there has been an answer, good or bad: before it there is nobody to probe.
    pub(super) const fn is_settled(&self) -> bool {
        !matches!(
            self.lookup,
            Lookup::Due { last: None, .. } | Lookup::Running { first: true, .. }
        )
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) const fn wake(&self) -> Option<Instant> {
        match self.lookup {
            Lookup::Needless => None,
            Lookup::Due { at, .. } => Some(at),
            Lookup::Running { overdue, .. } => Some(overdue),
        }
    }

    /// Whether a lookup is to be started now.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if let Lookup::Running { overdue, .. } = self.lookup
            && now >= overdue
        {
            self.ended(now, None);
        }
        match self.lookup {
            Lookup::Due { at, last } if now >= at => {
                self.lookup = Lookup::Running {
                    since: now,
                    overdue: now + LOST_AFTER,
                    first: last.is_none(),
                };
                true
            }
            _ => false,
        }
    }

    /// Takes the result of a lookup, `None` or nothing in it being a failure, and says whether the
    /// addresses are others now.
    pub(super) fn ended(&mut self, now: Instant, found: Option<Arc<[SocketAddr]>>) -> bool {
        let Lookup::Running { since, .. } = self.lookup else {
            return false;
        };
        let found = found.filter(|found| !found.is_empty());
        let pause = if found.is_some() {
            self.failures = 0;
            AGAIN
        } else {
            self.failures = self.failures.saturating_add(1);
            let doubled = 1 << (self.failures - 1).min(5);
            (QUICK * doubled).min(AGAIN)
        };
        self.lookup = Lookup::Due {
            at: (since + pause).max(now),
            last: Some(since),
        };
        // Name servers turn the order; that is no news.
        match found {
            Some(found) if !same(&found, &self.sockets) => {
                self.sockets = found;
                true
            }
            _ => false,
        }
    }

    /// The upstream was not reached: it may have moved.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.failures == 0
            && let Lookup::Due {
                at,
                last: Some(last),
            } = &mut self.lookup
        {
            *at = (*at).min((*last + DOUBTED).max(now));
        }
    }
}

fn same(one: &[SocketAddr], other: &[SocketAddr]) -> bool {
    let other: HashSet<_> = other.iter().collect();
    one.len() == other.len() && one.iter().all(|socket| other.contains(socket))
}

/// From lookup to lookup while all is well.
const AGAIN: Duration = Duration::from_secs(30);
/// The first pause after a failed lookup; doubled up to [`AGAIN`].
const QUICK: Duration = Duration::from_secs(1);
/// From lookup to lookup while the upstream is not reached.
const DOUBTED: Duration = Duration::from_secs(5);
/// Longer than any lookup is waited for.
const LOST_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(texts: &[&str]) -> Arc<[SocketAddr]> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A name that has been found once, with the time of that.
    fn found() -> (Resolution, Instant) {
        let now = Instant::now();
        let mut name = Resolution::new(&"api.example:6443".parse().unwrap(), now);
        assert!(name.tick(now));
        assert!(name.ended(now, Some(sockets(&["10.9.0.2:6443", "10.9.0.3:6443"]))));
        (name, now)
    }

    #[test]
    fn an_ip_address_is_known_at_once_and_never_looked_up() {
        let ip = Resolution::new(&"[fd00::2]:6443".parse().unwrap(), Instant::now());
        assert_eq!(**ip.sockets(), *sockets(&["[fd00::2]:6443"]));
        assert!(ip.is_settled());
        assert_eq!(ip.wake(), None);
    }

    #[test]
    fn a_name_is_looked_up_at_once_and_then_every_thirty_seconds() {
        let now = Instant::now();
        let mut name = Resolution::new(&"api.example:6443".parse().unwrap(), now);
        assert!(!name.is_settled() && name.sockets().is_empty());
        assert_eq!(name.wake(), Some(now));
        assert!(name.tick(now) && !name.tick(now));
        assert!(name.ended(now, Some(sockets(&["10.9.0.2:6443"]))));
        assert!(name.is_settled());
        assert_eq!(name.wake(), Some(now + AGAIN));
    }

    #[test]
    fn a_failed_lookup_keeps_what_was_known_and_is_tried_again_ever_more_rarely() {
        let (mut name, mut now) = found();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            now = name.wake().unwrap();
            assert!(name.tick(now));
            assert!(!name.ended(now, None));
            pauses.push((name.wake().unwrap() - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(name.sockets().len(), 2);
        assert!(name.tick(now + AGAIN));
        assert!(!name.ended(now + AGAIN, Some([].into())), "nothing found");
        assert_eq!(name.sockets().len(), 2);
    }

    #[test]
    fn another_order_is_no_news_and_another_address_is() {
        let (mut name, now) = found();
        for (found, news) in [
            (["10.9.0.3:6443", "10.9.0.2:6443"], false),
            (["10.9.0.3:6443", "10.9.0.4:6443"], true),
        ] {
            let now = name.wake().unwrap().max(now);
            assert!(name.tick(now));
            assert_eq!(name.ended(now, Some(sockets(&found))), news);
        }
        assert_eq!(name.sockets()[1].to_string(), "10.9.0.4:6443");
    }

    #[test]
    fn an_upstream_out_of_reach_is_looked_up_sooner_but_not_each_time() {
        let (mut name, now) = found();
        for _ in 0..100 {
            name.doubt(now);
        }
        assert_eq!(name.wake(), Some(now + DOUBTED));
        let later = now + 2 * DOUBTED;
        name.doubt(later);
        assert!(name.tick(later));
    }

    #[test]
    fn a_lookup_that_never_ends_counts_as_failed() {
        let (mut name, now) = found();
        assert!(name.tick(now + AGAIN));
        assert!(!name.tick(now + AGAIN + LOST_AFTER - QUICK));
        assert!(name.tick(now + AGAIN + LOST_AFTER));
    }
}
