//! One proof as it is kept, and the response that is made of some.

use std::time::{Duration, Instant};

use crate::validate::aggressive::{Asked, LONGEST};
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::{CLASS_IN, QUESTION_AT, Rcode, flag, put_u16, rtype};

/// A set of records with its signatures, for as long as it may be used.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    set: RrSet,
    until: Instant,
}

impl Proof {
    /// One that may be used for `ttl` seconds.
    pub(super) fn new(set: RrSet, ttl: u32, now: Instant) -> Self {
        let lifetime = Duration::from_secs(ttl.into()).min(LONGEST);
        Self {
            set,
            until: now + lifetime,
        }
    }

    pub(super) const fn set(&self) -> &RrSet {
        &self.set
    }

    /// From then on it counts for nothing.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// What the SOA says for how long a denial may be used.
    fn minimum(&self) -> Option<Duration> {
        let seconds = self.set.data.first()?.last_chunk()?;
        Some(Duration::from_secs(u32::from_be_bytes(*seconds).into()))
    }

    /// Takes care that it is used for no longer than `soa` says (RFC 9077 §3.3).
    pub(super) fn limit(&mut self, soa: &Self, now: Instant) {
        if let Some(minimum) = soa.minimum() {
            self.until = self.until.min(now + minimum);
        }
    }

    /// The bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        let data: usize = self.set.data.iter().map(Vec::len).sum();
        let signatures = self.set.signatures.iter();
        let signed: usize = signatures
            .map(|one| one.signed_fields.len() + one.signature.len() + size_of_val(one))
            .sum();
        size_of::<Self>() + OVERHEAD + 3 * self.set.owner.as_wire().len() + data + signed
    }
}

/// A response while it is written, section after section.
pub(super) struct Message {
    wire: Vec<u8>,
    dnssec_ok: bool,
    answers: u16,
    authorities: u16,
    now: Instant,
}

impl Message {
    /// One without records, in answer to what is `asked`.
    pub(super) fn new(asked: &Asked<'_>, rcode: Rcode, now: Instant) -> Self {
        let mut wire = Vec::with_capacity(1_024);
        wire.extend_from_slice(&[0, 0]);
        wire.extend_from_slice(&(flag::QR | rcode.0).to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        wire.extend_from_slice(asked.name);
        wire.extend_from_slice(&asked.rtype.to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        Self {
            wire,
            dnssec_ok: asked.dnssec_ok,
            answers: 0,
            authorities: 0,
            now,
        }
    }

    /// Answers with the set, under the name that is asked for, until then at most.
    pub(super) fn answer(&mut self, source: &Proof, until: Instant) {
        let owner = (0xc000 | QUESTION_AT as u16).to_be_bytes();
        self.answers += self.put(source, &owner, source.until.min(until));
    }

    /// Says so in the authority section.
    pub(super) fn authority(&mut self, proof: &Proof) {
        self.authorities += self.put(proof, proof.set.owner.as_wire(), proof.until);
    }

    /// Proves it, to who wants to see that.
    pub(super) fn proofs(&mut self, proofs: &[&Proof]) {
        if self.dnssec_ok {
            proofs.iter().for_each(|proof| self.authority(proof));
        }
    }

    /// All of it; nothing when it is longer than messages may be.
    pub(super) fn response(mut self) -> Option<Response> {
        put_u16(&mut self.wire, 6, self.answers);
        put_u16(&mut self.wire, 8, self.authorities);
        let fits = self.wire.len() <= usize::from(u16::MAX);
        fits.then(|| Response::parse(self.wire)).flatten()
    }

    /// Writes the records of `proof`, its signatures for who wants DNSSEC, with the time that
    /// is left as their TTL; gives how many there are.
    fn put(&mut self, proof: &Proof, owner: &[u8], until: Instant) -> u16 {
        let left = until.saturating_duration_since(self.now).as_secs();
        let ttl = u32::try_from(left).unwrap_or(u32::MAX);
        let wire = &mut self.wire;
        let mut count = 0;
        let mut put = |rtype: u16, data: &[&[u8]]| {
            let length: usize = data.iter().map(|part| part.len()).sum();
            wire.extend_from_slice(owner);
            wire.extend_from_slice(&rtype.to_be_bytes());
            wire.extend_from_slice(&CLASS_IN.to_be_bytes());
            wire.extend_from_slice(&ttl.to_be_bytes());
            wire.extend_from_slice(&(length as u16).to_be_bytes());
            for part in data {
                wire.extend_from_slice(part);
            }
            count += 1;
        };
        for data in &proof.set.data {
            put(proof.set.rtype, &[data]);
        }
        for signature in proof.set.signatures.iter().filter(|_| self.dnssec_ok) {
            put(
                rtype::RRSIG,
                &[&signature.signed_fields, &signature.signature],
            );
        }
        count
    }
}

/// Nodes of the trees, and what each vector has of its own.
const OVERHEAD: usize = 160;
