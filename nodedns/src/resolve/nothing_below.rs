//! The denial of a name, as it is kept in a zone's [`tree`], and the answers made from it.

use std::time::Duration;

use tokio::time::Instant;

use crate::cache::entry::{Entry, Limits};
use crate::cache::key::Key;
use crate::resolve::tree;
use crate::validate::Judged;
use crate::wire::canonical::{self, Case};
use crate::wire::name::{self, Expanded, Text};
use crate::wire::order::is_within;
use crate::wire::response::Response;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, rtype};

/// What is known of a zone.
pub(crate) type Tree = tree::Tree<Denial>;

/// That a name does not exist: the SOA of its zone, and until when that holds.
#[derive(Debug)]
pub(crate) struct Denial {
    owner: Box<[u8]>,
    /// The SOA's data, its names written out.
    data: Box<[u8]>,
    pub(super) until: Instant,
}

impl Denial {
    /// That of a response which may be kept for a while (RFC 2308 §5).
    pub(super) fn of(response: &Response, now: Instant) -> Option<Self> {
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
    pub(super) fn entry(&self, key: &Key, now: Instant) -> Entry {
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
        Entry::of(key, Judged::unchecked(response), limits, now.into_std())
    }
}

/// How long it is believed that there is nothing: what comes into being is seen as soon.
const LONGEST: Duration = Duration::from_secs(5);
