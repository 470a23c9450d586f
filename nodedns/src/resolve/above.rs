//! Asks about what lies above a name where that may show that the name does not exist
//! ([`tree`](super::tree)), and makes the answer from the denial.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::cache::entry::{Entry, Limits};
use crate::cache::key::Key;
use crate::coalesce::Seat;
use crate::errand::Errand;
use crate::resolve::Resolver;
use crate::resolve::route::Zone;
use crate::resolve::tree::Way;
use crate::validate::Judged;
use crate::wire::canonical::{self, Case};
use crate::wire::name::{self, Expanded, Text};
use crate::wire::order::is_within;
use crate::wire::response::Response;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, rtype};

/// That a name does not exist: the SOA of its zone, and until when that holds.
#[derive(Debug)]
pub(crate) struct Denial {
    owner: Box<[u8]>,
    /// The SOA's data, its names written out.
    data: Box<[u8]>,
    until: Instant,
}

/// What is known once all above a name was asked about.
pub(super) enum Found<'a> {
    /// It does not exist.
    Denied(Entry),
    /// Nothing: it has to be asked about itself. That renews the denial of a name above
    /// it, if there is one.
    Nothing(Option<&'a [u8]>),
}

impl Resolver {
    /// Finds out whether what lies above the name of `key` exists, as far as that says
    /// something of the name. Each question is asked once for all who want to know.
    pub(super) async fn look_above<'a>(
        &self,
        key: &'a Key,
        deadline: Instant,
        errand: &mut Errand<'_>,
    ) -> Found<'a> {
        let Some((zone, tree)) = self.zone_with_tree(key) else {
            return Found::Nothing(None);
        };
        for _ in 0..MOST {
            let above = match tree.way(key.name(), Instant::now().into_std()) {
                Way::Denied(denial) => return Found::Denied(denial.entry(key, Instant::now())),
                Way::Itself(beneath) => return Found::Nothing(beneath),
                Way::Above(above) => Key::new(above, rtype::A, false, false),
            };
            match self.above.board(&above) {
                Seat::Passenger(flight) => {
                    // Whether or not it brought something: it is looked for anew.
                    let _ = timeout_at(deadline, flight.landed()).await;
                }
                Seat::Pilot(_flight) => {
                    let Ok(reply) = zone.source.ask(&above, deadline, None, errand).await else {
                        return Found::Nothing(None);
                    };
                    zone.learn(above.name(), &reply.response, true);
                }
            }
        }
        Found::Nothing(None)
    }

    /// Takes in what was answered about the name of `key` itself, and with it about the
    /// one `beneath` which it lies, if its denial is to be renewed.
    pub(super) fn learn(&self, key: &Key, beneath: Option<&[u8]>, entry: &Entry) {
        let Some((zone, tree)) = self.zone_with_tree(key) else {
            return;
        };
        if entry.rcode() == Rcode::NOERROR || entry.has_answers() {
            tree.saw(key.name(), Instant::now().into_std());
        } else if let Some(beneath) = beneath
            && let Some(response) = Response::parse(entry.aged(Instant::now().into_std()))
        {
            zone.learn(beneath, &response, false);
        }
    }

    fn zone_with_tree(&self, key: &Key) -> Option<(&Zone, &Tree)> {
        // Its DS is in another zone.
        let zone = self.routes.zone_of(key.name())?;
        let tree = zone.tree.as_deref()?;
        (key.rtype() != rtype::DS).then_some((zone, tree))
    }
}

/// What is known of a zone.
pub(crate) type Tree = super::tree::Tree<Denial>;

impl Zone {
    /// The answer to `key` where it is known that its name does not exist for something
    /// above it does not.
    pub(crate) fn denial(&self, key: &Key, now: std::time::Instant) -> Option<Entry> {
        if key.rtype() == rtype::DS {
            return None;
        }
        let denial = self.tree.as_ref()?.denial(key.name(), now)?;
        Some(denial.entry(key, now.into()))
    }

    /// Takes in what the servers say of `name`, when asked about it, or, unless `itself`, about
    /// one below it.
    fn learn(&self, name: &[u8], response: &Response, itself: bool) {
        let Some(tree) = &self.tree else {
            return;
        };
        let now = Instant::now();
        match response.rcode() {
            Rcode::NOERROR => tree.affirmed(name, now.into_std()),
            Rcode::NXDOMAIN => match Denial::of(response, now) {
                Some(denial) => {
                    let until = denial.until.into_std();
                    tree.denied(name, denial, itself, until, now.into_std());
                }
                // It may not be kept, so it spares nothing.
                None => tree.disprove(now.into_std()),
            },
            _ => {}
        }
    }
}

impl Denial {
    /// That of a response which may be kept for a while (RFC 2308 §5).
    fn of(response: &Response, now: Instant) -> Option<Self> {
        let (wire, soa) = (response.wire(), response.soa()?);
        let seconds = soa.ttl(wire).min(response.soa_minimum(soa));
        let lifetime = Duration::from_secs(seconds.into()).min(LONGEST);
        let mut owner = Expanded::new();
        name::expand(wire, soa.at, &mut owner)?;
        (!lifetime.is_zero()).then_some(Self {
            owner: owner.as_wire().to_ascii_lowercase().into(),
            data: canonical::data(wire, soa, Case::AsSent)?.into(),
            until: now + lifetime,
        })
    }

    /// The answer to `key`, whose name is denied by it.
    fn entry(&self, key: &Key, now: Instant) -> Entry {
        let left = self.until.saturating_duration_since(now);
        let ttl = u32::try_from(left.as_secs()).unwrap_or(0);
        let mut wire = Vec::with_capacity(128 + self.data.len());
        wire.extend_from_slice(&[0, 0]);
        wire.extend_from_slice(&(flag::QR | Rcode::NXDOMAIN.0).to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        wire.extend_from_slice(key.name());
        wire.extend_from_slice(&key.rtype().to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        if is_within(key.name(), &self.owner) {
            // The question ends before byte 300: the offset fits a pointer.
            let at = QUESTION_AT + key.name().len() - self.owner.len();
            wire.extend_from_slice(&(0xc000 | at as u16).to_be_bytes());
        } else {
            wire.extend_from_slice(&self.owner);
        }
        wire.extend_from_slice(&rtype::SOA.to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        wire.extend_from_slice(&ttl.to_be_bytes());
        wire.extend_from_slice(&(self.data.len() as u16).to_be_bytes());
        wire.extend_from_slice(&self.data);
        let limits = Limits {
            positive: LONGEST,
            least: Duration::ZERO,
            negative: LONGEST,
            stale: Duration::ZERO,
        };
        let response =
            Response::parse(wire).unwrap_or_else(|| unreachable!("{}", Text(key.name())));
        Entry::of(Judged::unchecked(response), limits, now.into_std())
    }
}

/// How long it is believed that there is nothing: what comes into being is seen as soon.
const LONGEST: Duration = Duration::from_secs(5);
/// Names above one that are asked about for it: what is known does not count.
const MOST: usize = 6;
