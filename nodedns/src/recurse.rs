//! Recursion: from the root's servers down, from zone to zone, each time to the
//! servers that the zone above names (RFC 1034 §5.3.3).
//!
//! ```text
//! ask ─► cuts: the closest zone whose servers are known ─► course: what of the name is shown
//!          ▲                                                  │
//!          └── referral: the servers of a zone below ◄── upstream: the question, to one of them
//!                 └ without addresses: ask for them, from the top
//! answer ─► scrub ─► out
//! ```
//!
//! Nothing here is believed for long or far: a server counts for its zone only,
//! and whether the answer is true is [`validate`](crate::validate)'s to say. The
//! way ends: each referral leads further down, each question is counted, and who
//! looks for servers that only themselves know gives up.

mod course;
mod cuts;
mod delegation;
mod referral;
mod scrub;
mod servers;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::key::Key;
use crate::config::Recursion;
use crate::errand::{Errand, Spent};
use crate::explain::{self, Event};
use crate::recurse::course::Course;
use crate::recurse::cuts::Cuts;
use crate::recurse::delegation::Delegation;
use crate::recurse::referral::{Referral, addresses};
use crate::recurse::scrub::scrubbed;
use crate::recurse::servers::Servers;
use crate::upstream::Answer;
use crate::upstream::authority::{Bearing, bearing};
use crate::upstream::failure::{Failure, Lost, Trouble};
use crate::upstream::pool::{Network, Server};
use crate::wire::name::Name;
use crate::wire::order::parent;
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::rtype;

/// Finds answers from the root down. Shared by all workers.
#[derive(Debug)]
pub(crate) struct Recursor {
    hints: Arc<Delegation>,
    servers: Servers,
    cuts: Cuts,
    network: Arc<Network>,
}

/// An answer, and in which zone it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) response: Response,
    /// Whose it is.
    pub(crate) server: Arc<Server>,
    /// The zone as whose server that one spoke.
    pub(crate) zone: Name,
}

impl Recursor {
    /// One that knows the root's servers, as far as `recursion` names them.
    pub(crate) fn new(recursion: &Recursion, network: &Arc<Network>) -> Self {
        let servers = Servers::new(Arc::clone(network), recursion.deny.clone());
        let hints = Delegation::new(
            Name::root(),
            servers.at_any(&recursion.root_hints),
            Vec::new(),
            None,
            u32::MAX,
            Instant::now(),
            network,
        );
        Self {
            hints: Arc::new(hints),
            servers,
            cuts: Cuts::default(),
            network: Arc::clone(network),
        }
    }

    /// The answer of a server that has the name. The server that is
    /// `disbelieved` is not asked; the closest zone's servers are then asked for
    /// anew, for who named them may have lied. Cancel safe.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn ask(
        &self,
        key: &Key,
        deadline: Instant,
        disbelieved: Option<&Arc<Server>>,
        errand: &mut Errand<'_>,
    ) -> Result<Found, Failure> {
        if disbelieved.is_some()
            && let Some(cut) = self.cuts.closest(holder(key), Instant::now())
        {
            self.cuts.forget(&cut);
        }
        let quest = Quest {
            deadline,
            disbelieved,
            path: None,
        };
        self.walk(key, quest, errand).await
    }

    /// Goes down to a server that answers. Boxed, for on the way there may be
    /// name servers that have to be found in the same way.
    fn walk<'a>(
        &'a self,
        key: &'a Key,
        quest: Quest<'a>,
        errand: &'a mut Errand<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<Found, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let name = Name::from_wire(key.name()).unwrap_or_else(Name::root);
            let mut cut = self.closest(key, quest.deadline, errand).await?;
            let mut course = Course::new(&name, key.rtype(), cut.zone.as_wire());
            loop {
                let part = course
                    .part()
                    .map(|part| Key::new(part, rtype::A, false, false));
                let outcome = self
                    .ask_cut(&cut, part.as_ref().unwrap_or(key), &quest, errand)
                    .await;
                let answer = match (outcome, &part) {
                    (Ok(answer), _) => answer,
                    (Err(Failure::Server { .. }), Some(_)) => {
                        course.give_up();
                        continue;
                    }
                    (Err(failure), _) => {
                        if cut.is_worth_renewal(Instant::now()) {
                            self.cuts.forget(&cut);
                        }
                        return Err(failure);
                    }
                };
                match bearing(&answer.response, cut.zone.as_wire()) {
                    Ok(Bearing::Referral(zone)) => {
                        cut = self.descend(&cut, zone, &answer.response, errand);
                        course.descend(&cut.zone);
                    }
                    Ok(Bearing::Answer) if part.is_some() => {
                        course.answered(answer.response.rcode());
                    }
                    Ok(Bearing::Answer) => return found(&cut, answer),
                    Err(what) => return Err(useless(&cut, &answer, what)),
                }
            }
        })
    }

    /// The closest zone above the answer to `key` whose servers are known.
    async fn closest(
        &self,
        key: &Key,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<Arc<Delegation>, Failure> {
        match self.cuts.closest(holder(key), Instant::now()) {
            Some(cut) => Ok(cut),
            None => self.prime(deadline, errand).await,
        }
    }

    /// Asks the servers of the hints who the root's servers are (RFC 8109).
    async fn prime(
        &self,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Result<Arc<Delegation>, Failure> {
        count(errand, &self.hints)?;
        let key = Key::new(Name::root().as_wire(), rtype::NS, false, false);
        let answer = self.hints.ask(&key, deadline, None, errand).await?;
        let root = Name::root();
        let said = Referral::read(&answer.response, Section::Answer, &root, root.as_wire());
        let root = self.delegation(root, said, Instant::now());
        // They may be named without addresses, or at such that are denied.
        if !root.has_servers() {
            return Ok(Arc::clone(&self.hints));
        }
        self.cuts.insert(Arc::clone(&root), Instant::now());
        Ok(root)
    }

    /// The zone to whose servers those of `cut` refer.
    fn descend(
        &self,
        cut: &Delegation,
        zone: Name,
        response: &Response,
        errand: &Errand<'_>,
    ) -> Arc<Delegation> {
        let referral = Referral::read(response, Section::Authority, &zone, cut.zone.as_wire());
        let is_glued = |server: &&referral::NameServer| !server.addresses.is_empty();
        errand.note(|| Event::Referral {
            from: cut.zone.clone(),
            to: zone.clone(),
            servers: explain::Servers {
                names: referral.names.len(),
                with_glue: referral.names.iter().filter(is_glued).count(),
            },
        });
        let now = Instant::now();
        let below = self.delegation(zone, referral, now);
        self.cuts.insert(Arc::clone(&below), now);
        below
    }

    fn delegation(&self, zone: Name, referral: Referral, now: Instant) -> Arc<Delegation> {
        let (known, open): (Vec<_>, Vec<_>) = referral
            .names
            .into_iter()
            .partition(|server| !server.addresses.is_empty());
        let addresses: Vec<_> = known
            .into_iter()
            .flat_map(|server| server.addresses)
            .collect();
        let found = self.servers.at(&addresses);
        Arc::new(Delegation::new(
            zone,
            found.servers,
            open.into_iter().map(|server| server.name).collect(),
            found.denied,
            referral.ttl,
            now,
            &self.network,
        ))
    }

    /// Asks the servers of `cut`; where those that are known fail, others that it
    /// names.
    async fn ask_cut(
        &self,
        cut: &Arc<Delegation>,
        key: &Key,
        quest: &Quest<'_>,
        errand: &mut Errand<'_>,
    ) -> Result<Answer, Failure> {
        let mut failure = None;
        let mut names = MAX_NAMES;
        loop {
            if cut.has_servers() {
                count(errand, cut)?;
                let now = Instant::now();
                let has_others = names > 0 && cut.open_name(now).is_some();
                let until = if has_others {
                    quest.deadline.min(now + HASTE)
                } else {
                    quest.deadline
                };
                match cut.ask(key, until, quest.disbelieved, errand).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failure = Some(failed),
                }
            }
            if let Err(why) = self.seek(cut, &mut names, quest, errand).await {
                return Err(failure.unwrap_or_else(|| cut.lost(why)));
            }
        }
    }

    /// Finds one more name server of `cut` that can be asked, and tries so many
    /// `names` at most.
    ///
    /// # Errors
    /// There is none, perhaps for a reason that says more.
    async fn seek(
        &self,
        cut: &Arc<Delegation>,
        names: &mut usize,
        quest: &Quest<'_>,
        errand: &mut Errand<'_>,
    ) -> Result<(), Option<Lost>> {
        let path = Path {
            zone: &cut.zone,
            up: quest.path,
        };
        if path.is_circle() {
            return Err(Some(Lost::Circle));
        }
        if path.depth() > MAX_DEPTH {
            return Err(Some(Lost::TooFar));
        }
        let mut why = None;
        while *names > 0
            && let Some(name) = cut.open_name(Instant::now())
        {
            *names -= 1;
            let mut denied = None;
            for rtype in [rtype::A, rtype::AAAA] {
                let key = Key::new(name.as_wire(), rtype, false, false);
                let quest = Quest {
                    deadline: quest.deadline,
                    disbelieved: None,
                    path: Some(&path),
                };
                let (said, ttl) = match self.walk(&key, quest, errand).await {
                    Ok(found) => addresses(&found.response),
                    Err(Failure::Lost { why: lost, .. }) => {
                        why = Some(lost);
                        break;
                    }
                    Err(_) => break,
                };
                let found = self.servers.at(&said);
                denied = denied.or(found.denied);
                if !found.servers.is_empty() {
                    cut.add(&name, found.servers, ttl, Instant::now());
                    return Ok(());
                }
            }
            cut.not_found(&name, denied, Instant::now());
        }
        Err(why)
    }
}

/// What is the same all along a walk.
#[derive(Debug, Clone, Copy)]
struct Quest<'a> {
    deadline: Instant,
    disbelieved: Option<&'a Arc<Server>>,
    /// For whose name servers' sake.
    path: Option<&'a Path<'a>>,
}

/// The zones whose name servers are being looked for, the last first.
#[derive(Debug)]
struct Path<'a> {
    zone: &'a Name,
    up: Option<&'a Self>,
}

impl Path<'_> {
    fn zones(&self) -> impl Iterator<Item = &Name> {
        std::iter::successors(Some(self), |path| path.up).map(|path| path.zone)
    }

    /// Whether the last was being looked for already.
    fn is_circle(&self) -> bool {
        self.zones().skip(1).any(|zone| zone == self.zone)
    }

    fn depth(&self) -> usize {
        self.zones().count()
    }
}

/// The name in whose zone the answer to `key` is: a zone's DS is in the zone
/// above it (RFC 4035 §2.4).
fn holder(key: &Key) -> &[u8] {
    match parent(key.name()) {
        Some(above) if key.rtype() == rtype::DS => above,
        _ => key.name(),
    }
}

fn count(errand: &mut Errand<'_>, cut: &Delegation) -> Result<(), Failure> {
    errand.question().map_err(|Spent| Failure::Lost {
        zone: cut.zone.clone(),
        why: Lost::TooFar,
    })
}

fn found(cut: &Delegation, answer: Answer) -> Result<Found, Failure> {
    let Some(response) = scrubbed(&answer.response, cut.zone.as_wire()) else {
        return Err(useless(cut, &answer, "answers what cannot be read"));
    };
    Ok(Found {
        response,
        server: answer.server,
        zone: cut.zone.clone(),
    })
}

fn useless(cut: &Delegation, answer: &Answer, what: &'static str) -> Failure {
    Failure::Server {
        zone: cut.zone.clone(),
        server: answer.server.to_string(),
        trouble: Trouble::Useless(what),
    }
}

/// Name servers of one zone that one question looks for (NXNSAttack,
/// CVE-2020-12662: a referral may name any number, in anybody's zone).
const MAX_NAMES: usize = 3;
/// Zones whose name servers are looked for within each other.
const MAX_DEPTH: usize = 4;
/// How long the servers with addresses have, when there are others whose
/// addresses could be found.
const HASTE: Duration = Duration::from_millis(1_200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_for_what_he_looks_for_goes_in_a_circle() {
        let [one, other] = ["a.test.", "b.test."].map(|text| Name::from_text(text).unwrap());
        let first = Path {
            zone: &one,
            up: None,
        };
        let second = Path {
            zone: &other,
            up: Some(&first),
        };
        let third = Path {
            zone: &one,
            up: Some(&second),
        };
        assert!(!first.is_circle() && !second.is_circle() && third.is_circle());
        assert_eq!(third.depth(), 3);
    }

    #[test]
    fn a_ds_is_asked_for_above_its_zone() {
        let key = |rtype| Key::new(b"\x01a\x04test\0", rtype, true, true);
        assert_eq!(holder(&key(rtype::DS)), b"\x04test\0");
        assert_eq!(holder(&key(rtype::DNSKEY)), b"\x01a\x04test\0");
        assert_eq!(holder(&Key::new(b"\0", rtype::DS, true, true)), b"\0");
    }
}
