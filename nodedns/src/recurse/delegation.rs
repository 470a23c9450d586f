//! A zone and the servers to which it is delegated, as its parent says. What the
//! zone says of itself is not heard: so a zone that its parent has taken back is
//! gone when the parent's word expires.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use tokio::time::{Instant, timeout_at};

use crate::cache::key::Key;
use crate::coalesce::{Flights, Seat};
use crate::errand::Errand;
use crate::upstream::failure::{Failure, Lost};
use crate::upstream::pool::{Network, Server};
use crate::upstream::{Answer, Role, Upstream};
use crate::wire::name::Name;

/// A zone, and whom to ask.
#[derive(Debug)]
pub(super) struct Delegation {
    pub(super) zone: Name,
    learned: Instant,
    network: Arc<Network>,
    questions: Flights<Result<Answer, Failure>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    until: Instant,
    servers: Vec<Arc<Server>>,
    /// How those are asked; none: there are none yet.
    upstream: Option<Arc<Upstream>>,
    /// Name servers whose addresses are not known.
    open: Vec<Open>,
    denied: Option<IpAddr>,
}

#[derive(Debug)]
struct Open {
    name: Name,
    /// It was looked for in vain; not again before.
    not_before: Instant,
}

impl Delegation {
    /// The delegation of `zone` to `servers`, and to name servers with these
    /// names, for `seconds` from `now`.
    pub(super) fn new(
        zone: Name,
        servers: Vec<Arc<Server>>,
        names: Vec<Name>,
        denied: Option<IpAddr>,
        seconds: u32,
        now: Instant,
        network: &Arc<Network>,
    ) -> Self {
        let open = names.into_iter().map(|name| Open {
            name,
            not_before: now,
        });
        let mut state = State {
            until: now + lifetime(seconds),
            servers,
            upstream: None,
            open: open.collect(),
            denied,
        };
        state.renew(&zone, network);
        Self {
            zone,
            learned: now,
            network: Arc::clone(network),
            questions: Flights::default(),
            state: Mutex::new(state),
        }
    }

    /// Whether the parent's word holds at `now`.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now < self.lock().until
    }

    /// Whether it is old enough to be asked for anew when its servers fail.
    pub(super) fn is_worth_renewal(&self, now: Instant) -> bool {
        now >= self.learned + RENEWAL
    }

    /// Whether somebody can be asked.
    pub(super) fn has_servers(&self) -> bool {
        self.lock().upstream.is_some()
    }

    /// A name server, any one, whose address may be looked for.
    pub(super) fn open_name(&self, now: Instant) -> Option<Name> {
        let state = self.lock();
        let due: Vec<&Name> = state
            .open
            .iter()
            .filter(|open| open.not_before <= now)
            .map(|open| &open.name)
            .collect();
        due.choose(&mut rand::rng()).copied().cloned()
    }

    /// The name server `name` is at `servers`, for `seconds`.
    pub(super) fn add(&self, name: &Name, servers: Vec<Arc<Server>>, seconds: u32, now: Instant) {
        let mut state = self.lock();
        state.open.retain(|open| open.name != *name);
        for server in servers {
            if !state.servers.iter().any(|one| Arc::ptr_eq(one, &server)) {
                state.servers.push(server);
            }
        }
        state.until = state.until.min(now + lifetime(seconds));
        state.renew(&self.zone, &self.network);
    }

    /// The name server `name` cannot be found, perhaps because it is at an
    /// address where nobody may be asked.
    pub(super) fn not_found(&self, name: &Name, denied: Option<IpAddr>, now: Instant) {
        let mut state = self.lock();
        state.denied = state.denied.or(denied);
        let mut names = state.open.iter_mut();
        if let Some(open) = names.find(|open| open.name == *name) {
            open.not_before = now + NOT_AGAIN;
        }
    }

    /// What is said when nobody can be asked.
    pub(super) fn lost(&self, why: Option<Lost>) -> Failure {
        let denied = self.lock().denied.map(Lost::Denied);
        Failure::Lost {
            zone: self.zone.clone(),
            why: denied.or(why).unwrap_or(Lost::NoAddress),
        }
    }

    /// Asks the servers, or waits for whoever asks them the same already.
    pub(super) async fn ask(
        &self,
        key: &Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
        errand: &Errand<'_>,
    ) -> Result<Answer, Failure> {
        let upstream = self.lock().upstream.clone();
        let Some(upstream) = upstream else {
            return Err(self.lost(None));
        };
        if disbelieved.is_some() {
            return upstream.ask(key, deadline, disbelieved, errand).await;
        }
        match self.questions.board(key) {
            Seat::Pilot(flight) => {
                let outcome = Arc::new(upstream.ask(key, deadline, None, errand).await);
                flight.land(&outcome);
                Arc::unwrap_or_clone(outcome)
            }
            Seat::Passenger(flight) => match timeout_at(deadline, flight.landed()).await {
                Ok(Some(outcome)) => Arc::unwrap_or_clone(outcome),
                Ok(None) | Err(_) => Err(Failure::NoAnswer {
                    zone: self.zone.clone(),
                }),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn renew(&mut self, zone: &Name, network: &Arc<Network>) {
        self.upstream = (!self.servers.is_empty()).then(|| {
            Arc::new(Upstream::new(
                zone.clone(),
                self.servers.clone(),
                Role::Delegate(zone.clone()),
                Arc::clone(network),
            ))
        });
    }
}

fn lifetime(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).clamp(SHORTEST, LONGEST)
}

/// What was asked for must be there when it is used, even with a TTL of zero.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// A name server that was not found is looked for again after that.
const NOT_AGAIN: Duration = Duration::from_secs(30);
/// A delegation whose servers fail is asked for anew when it is so old.
const RENEWAL: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::upstream::tls::Authorities;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn server(network: &Arc<Network>) -> Arc<Server> {
        Arc::new(Server::new("192.0.2.1".parse().unwrap(), network))
    }

    /// A delegation of `zone` for `seconds`, to one name server whose address is
    /// not known.
    pub(in crate::recurse) fn delegation(zone: &str, seconds: u32, now: Instant) -> Delegation {
        let network = Network::new(Authorities::none());
        let names = vec![name("ns.elsewhere.")];
        Delegation::new(name(zone), Vec::new(), names, None, seconds, now, &network)
    }

    #[tokio::test]
    async fn it_holds_as_long_as_the_shortest_of_what_it_is_made_from() {
        let now = Instant::now();
        let delegation = delegation("example.", 3_600, now);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(delegation.is_fresh(at(3_599)) && !delegation.is_fresh(at(3_600)));
        let found = vec![server(&delegation.network)];
        delegation.add(&name("ns.elsewhere."), found, 60, now);
        assert!(delegation.is_fresh(at(59)) && !delegation.is_fresh(at(60)));
        assert!(delegation.has_servers() && delegation.open_name(now).is_none());
    }

    #[tokio::test]
    async fn a_name_server_that_is_not_found_is_left_alone_for_a_while() {
        let now = Instant::now();
        let delegation = delegation("example.", 3_600, now);
        let ns = delegation.open_name(now).unwrap();
        delegation.not_found(&ns, Some("127.0.0.1".parse().unwrap()), now);
        assert_eq!(delegation.open_name(now), None);
        assert_eq!(delegation.open_name(now + NOT_AGAIN), Some(ns));
        let said = delegation.lost(Some(Lost::NoAddress)).to_string();
        assert!(said.contains("127.0.0.1"), "{said}");
    }
}
