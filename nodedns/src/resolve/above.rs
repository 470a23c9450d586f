//! Asks about what lies above a name where that may show that the name does not exist
//! ([`tree`](super::tree)).

use tokio::time::{Instant, timeout_at};

use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::coalesce::Seat;
use crate::errand::Errand;
use crate::resolve::Resolver;
use crate::resolve::nothing_below::{Denial, Tree};
use crate::resolve::route::Zone;
use crate::resolve::tree::Way;
use crate::wire::response::Response;
use crate::wire::{Rcode, rtype};

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

/// Names above one that are asked about for it: what is known does not count.
const MOST: usize = 6;
