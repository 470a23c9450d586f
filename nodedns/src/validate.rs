//! What a response must pass before it may be kept: is it what the zone's owner
//! signed (RFC 4033 to 4035, 5155, 6840)?
//!
//! Pure: a response and a time go in, and out comes a verdict, or the question
//! that has to be answered first. Whoever calls asks it, hands the answer to
//! [`Validator::learn`], and tries again.
//!
//! ```text
//! response ─► wire::rrset ─► classify ─► chain: the zone of each link ─► signature, denial ─► verdict
//!                                          │  ▲
//!                                     Step::Ask │
//!                                          └► learn ─► zones
//! ```
//!
//! Every link of a chain of aliases is validated under its own name, the denial
//! under the last one; the whole is worth what its worst part is. Work is
//! bounded by [`budget`]; what lies, lies to the cost of one SERVFAIL.

mod aggressive;
pub(crate) mod budget;
mod chain;
mod classify;
mod clock;
mod denial;
mod key;
mod links;
mod nsec;
mod nsec3;
mod proofs;
mod recent;
mod response;
mod signature;
mod trust_point;
mod verdict;
mod zones;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::anchors::Anchors;
use crate::validate::aggressive::Proved;
use crate::validate::budget::Budget;
use crate::validate::chain::{SignedProofs, insecure};
use crate::validate::response::{Examination, Expanded, Halt};
use crate::validate::zones::Zones;
use crate::wire::name::Name;
use crate::wire::put_u32;
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::rtype;
use crate::wire::select::select;

pub(crate) use crate::validate::aggressive::Asked;
pub(crate) use crate::validate::classify::Scope;
pub(crate) use crate::validate::clock::Clock;
pub use crate::validate::key::Policy;
#[cfg(test)]
pub(crate) use crate::validate::links::State;
pub(crate) use crate::validate::links::TrustLink;
use crate::validate::verdict::Unsigned;
pub(crate) use crate::validate::verdict::{Fault, FaultKind, Judged, VERDICTS, Verdict};

/// Judges responses, and remembers what it learned of zones. Shared by all workers.
#[derive(Debug)]
pub(crate) struct Validator {
    /// Held to read while something is learned, so that nothing that was proved
    /// from other anchors is noted after a change.
    anchors: RwLock<Arc<Anchors>>,
    /// Counts the changes.
    epoch: AtomicU64,
    policy: Policy,
    zones: Zones,
    proved: Proved,
}

/// The time, on two clocks: signatures go by the calendar, memory by what passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Seconds since 1970, modulo 2^32 as in signatures.
    pub(crate) wall: u32,
    /// The steady clock.
    pub(crate) instant: Instant,
}

/// A question of the chain of trust: DS or DNSKEY of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) name: Name,
    pub(crate) rtype: u16,
}

/// How far a validation got.
#[derive(Debug)]
pub(crate) enum Step {
    /// This has to be asked, and learned, first.
    Ask(Need),
    /// What the response is worth, and the response with nothing in it that is
    /// not worth as much.
    Done(Verdict, Judged),
}

impl Validator {
    /// One that trusts `anchors`, and knows nothing yet.
    pub(crate) fn new(anchors: Anchors, policy: Policy) -> Self {
        Self {
            anchors: RwLock::new(Arc::new(anchors)),
            epoch: AtomicU64::new(0),
            policy,
            zones: Zones::default(),
            proved: Proved::default(),
        }
    }

    /// Trusts `anchors` from now on, and forgets what it knows of the `changed` names
    /// and all below them.
    pub(crate) fn trust(&self, anchors: Anchors, changed: &[Name]) {
        let mut held = self.anchors.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(anchors);
        self.zones.forget_within(changed);
        self.proved.clear();
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Forgets what it knows of the names `tops` and all below them.
    pub(crate) fn forget_within(&self, tops: &[Name]) {
        self.zones.forget_within(tops);
        self.proved.clear();
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// What counts as signed.
    pub(crate) const fn policy(&self) -> Policy {
        self.policy
    }

    /// Another number after each change of what is trusted or known: what was judged
    /// before may be worth something else.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Judges `response` as far as `scope` says, for a client that wants DNSSEC
    /// records or does not (`dnssec_ok`).
    pub(crate) fn judge(
        &self,
        response: &Response,
        scope: Scope,
        dnssec_ok: bool,
        moment: Moment,
        budget: &mut Budget,
    ) -> Step {
        let (wire, layout) = (response.wire(), response.layout());
        let sets = RrSet::all(response);
        let name = Name::from_wire(layout.name(wire)).unwrap_or_else(Name::root);
        let asked = layout.rtype(wire);
        if asked == rtype::RRSIG {
            let verdict = Verdict::Insecure(insecure(name.as_wire(), Unsigned::Signatures));
            return Step::Done(verdict.clone(), Judged::new(response.clone(), &verdict));
        }
        let mut examination = Examination {
            validator: self,
            sets: &sets,
            rcode: response.rcode(),
            moment,
            budget,
            kept: HashMap::new(),
            proofs: HashMap::new(),
            expanded: Vec::new(),
        };
        let examined = examination.run(&name, asked, scope);
        let Examination {
            kept,
            proofs,
            expanded,
            ..
        } = examination;
        if matches!(examined, Ok(Verdict::Secure)) {
            self.remember(&sets, &kept, &proofs, &expanded, moment.instant);
        }
        let mut verdict = match examined {
            Ok(verdict) => verdict,
            Err(Halt::Bogus(fault)) => Verdict::Bogus(fault),
            Err(Halt::Ask(need)) => match budget.question() {
                Ok(()) => return Step::Ask(need),
                Err(_) => Verdict::Bogus(FaultKind::TooMuchWork.of(&name, asked)),
            },
        };
        let records = belonging(&sets, &kept);
        let wanted = |number: usize| {
            records.contains_key(&number)
                && (dnssec_ok || !is_of_dnssec(layout.records[number].rtype, asked))
        };
        let capped = with_ttls(response.clone(), &records);
        let judged = match select(&capped, wanted) {
            Some(selected) => Judged::new(selected, &verdict),
            None => {
                verdict = Verdict::Bogus(FaultKind::TooMuchWork.of(&name, asked));
                Judged::new(capped, &verdict)
            }
        };
        Step::Done(verdict, judged)
    }
}

impl Validator {
    /// The answer to what is `asked`, if it follows from what was proved before.
    pub(crate) fn answer(&self, asked: &Asked<'_>, now: Instant) -> Option<Judged> {
        let max_iterations = self.policy.nsec3_max_iterations;
        self.proved.answer(asked, max_iterations, now)
    }

    /// Its denial, if that takes next to no time.
    pub(crate) fn deny_at_once(&self, asked: &Asked<'_>, now: Instant) -> Option<Judged> {
        self.proved.deny_at_once(asked, now)
    }

    /// Takes the proofs of a secure response for later questions, and the sets that wildcards
    /// gave.
    fn remember(
        &self,
        sets: &[RrSet],
        kept: &HashMap<usize, Option<u32>>,
        proofs: &HashMap<Name, SignedProofs>,
        expanded: &[Expanded],
        now: Instant,
    ) {
        let ttl_of = |at: &usize| kept.get(at).copied().flatten();
        let soas = (0..sets.len())
            .filter(|at| sets[*at].section == Section::Authority && sets[*at].rtype == rtype::SOA);
        for at in soas {
            if let Some(ttl) = ttl_of(&at) {
                self.proved.learn(&sets[at].owner, &sets[at], ttl, now);
            }
        }
        for (zone, proofs) in proofs {
            let used = proofs.sets.iter().filter(|(at, _)| kept.contains_key(at));
            for (at, ttl) in used {
                self.proved.learn(zone, &sets[*at], *ttl, now);
            }
        }
        for Expanded {
            set,
            zone,
            encloser,
        } in expanded
        {
            if let Some(ttl) = ttl_of(set) {
                self.proved
                    .learn_wildcard(zone, encloser, &sets[*set], ttl, now);
            }
        }
    }
}

/// The records of the sets that were `kept`, signatures included, each with the
/// longest TTL that it may have.
fn belonging(sets: &[RrSet], kept: &HashMap<usize, Option<u32>>) -> HashMap<usize, Option<u32>> {
    let sets = kept.iter().map(|(number, ttl)| (&sets[*number], *ttl));
    sets.flat_map(|(set, ttl)| records_of(set).map(move |record| (record, ttl)))
        .collect()
}

fn records_of(set: &RrSet) -> impl Iterator<Item = usize> {
    let signatures = set.signatures.iter().map(|signature| signature.record);
    set.records.iter().copied().chain(signatures)
}

/// Brings the TTLs of signed records down to what their signatures allow
/// (RFC 4035 §5.3.3).
fn with_ttls(response: Response, most: &HashMap<usize, Option<u32>>) -> Response {
    let layout = response.layout().clone();
    let mut wire = response.into_wire();
    for (number, ttl) in most {
        if let (Some(record), Some(most)) = (layout.records.get(*number), ttl) {
            let ttl = record.ttl(&wire).min(*most);
            put_u32(&mut wire, record.ttl_at, ttl);
        }
    }
    Response::from_parts(wire, layout)
}

/// Whether only clients that set DO get this type (RFC 4035 §3.2.1).
pub(crate) const fn is_of_dnssec(rtype: u16, asked: u16) -> bool {
    matches!(rtype, rtype::RRSIG | rtype::NSEC | rtype::NSEC3) && rtype != asked
}
