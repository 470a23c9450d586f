//! What the fuzz targets (`tests/fuzz`) drive: the parts that read what a network
//! sends, with what must hold whatever that is. Only built for them and for tests,
//! which run the targets' seeds; no program calls it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use crate::anchors::{Anchor, Anchors, Trusted, stored};
use crate::cache::entry::{Entry, Limits};
use crate::cache::key::Key;
use crate::validate::budget::Budget;
use crate::validate::{Judged, Moment, Policy, Scope, Step, VERDICTS, Validator, Verdict};
use crate::wire::cookie::Secret;
use crate::wire::name::Name;
use crate::wire::patch::{self, Transport, Ttls};
use crate::wire::question::Query;
use crate::wire::response::Response;
use crate::wire::rrset::RrSet;
use crate::wire::select::select;

/// A packet of a client: it is read, or refused; whatever is answered is a message.
///
/// # Panics
/// Where nodedns has a fault.
pub fn question(packet: &[u8]) {
    let Ok(mut query) = Query::parse(packet) else {
        return;
    };
    if let Some(cookie) = query.edns.and_then(|edns| edns.cookie) {
        let cookies = Secret::new([7; 16]).answer(&cookie, [192, 0, 2, 1].into(), 1_559_731_985);
        query.options.cookies = Some(cookies);
    }
    let key = Key::of(&query);
    let error = crate::wire::edns::ExtendedError::new(crate::wire::edns::ErrorCode::Other, "x");
    let mut out = Vec::new();
    patch::error(&mut out, &query, crate::wire::Rcode::SERVFAIL, Some(&error));
    assert!(Response::parse(out.clone()).is_some());
    let now = Instant::now();
    let lifetime = std::time::Duration::from_secs(1);
    let entry = Entry::failure(&key, crate::wire::Rcode::SERVFAIL, error, lifetime, now);
    patch::answer(
        &mut out,
        entry.kept(),
        &query,
        Ttls::Aged(0),
        Transport::Udp,
    );
    assert!(Response::parse(out).is_some());
}

/// A message of a server: what is read of it, and what is made of that, is a message
/// again.
///
/// # Panics
/// Where nodedns has a fault.
pub fn response(packet: &[u8]) {
    let Some(response) = Response::parse(packet.to_vec()) else {
        return;
    };
    let sets = RrSet::all(&response);
    assert!(sets.iter().all(|set| !set.data.is_empty()));
    let _ = (response.chain(), response.has_loose_end(), response.soa());
    let count = response.layout().records.len();
    if let Some(selected) = select(&response, |number| number % 2 == 0) {
        assert!(selected.layout().records.len() <= count);
    }
    assert!(Response::parse(response.clone().in_lower_case().into_wire()).is_some());
    let limit = std::time::Duration::from_secs(60);
    let limits = Limits {
        positive: limit,
        least: limit,
        negative: limit,
        stale: limit,
    };
    let now = Instant::now();
    let key = Key::new(response.layout().name(packet), 1, false, false);
    let entry = Entry::of(&key, Judged::unchecked(response), limits, now);
    assert!(Response::parse(entry.aged(now)).is_some());
    let _ = entry.touches(|_| false);
}

/// What is on disk of trust, or a request over the control socket: taken or refused.
pub fn state(content: &[u8]) {
    let _ = stored::read_negative(content, 0);
    if let Ok(points) = stored::read_points(content) {
        let again = stored::read_points(&stored::write_points(&points));
        assert_eq!(again.ok(), Some(points));
    }
    let _ = crate::control_socket::protocol::read_request(content);
}

/// An unbound.conf: what is made of it is a file that nodedns reads.
///
/// # Panics
/// Where nodedns has a fault.
pub fn unbound(content: &[u8]) {
    let text = String::from_utf8_lossy(content);
    let Ok(imported) = crate::config::unbound::import(&text) else {
        return;
    };
    let yaml = daemon::config_file::to_yaml(&imported.file).expect("its keys are words");
    let again = daemon::config_file::parse(Path::new("nodedns.yml"), &yaml);
    assert_eq!(again.as_ref(), Ok(&imported.file), "{yaml}");
}

/// A validation from recorded answers: its verdict, or nothing when `recorded` is no
/// record. It ends, within the budget of one question; see [`Recorded`].
///
/// # Panics
/// Where nodedns has a fault.
#[must_use]
pub fn validation(recorded: &[u8]) -> Option<&'static str> {
    let recorded = Recorded::read(recorded)?;
    let validator = recorded.validator();
    let mut budget = Budget::new();
    for _ in 0..=MOST_QUESTIONS {
        if let Some((verdict, judged)) = recorded.step(&validator, &mut budget) {
            let judged = judged.response().wire().to_vec();
            assert!(Response::parse(judged).is_some());
            return Some(VERDICTS[verdict.rank()]);
        }
    }
    panic!("more questions than one may cost: {:?}", budget.spent());
}

/// Answers, and where trust begins:
///
/// ```text
/// time 4 | length 2 | data of the root's DNSKEY | length 2 | the response | (length 2 | an answer)*
/// ```
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    now: u32,
    anchor: &'a [u8],
    response: Response,
    answers: HashMap<(Name, u16), Response>,
}

impl<'a> Recorded<'a> {
    /// Nothing when it is no record.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (now, rest) = bytes.split_first_chunk()?;
        let mut parts = Parts(rest);
        let anchor = parts.next()?;
        let response = Response::parse(parts.next()?.to_vec())?;
        let answers = parts.filter_map(|part| {
            let answer = Response::parse(part.to_vec())?;
            let (wire, layout) = (answer.wire(), answer.layout());
            let name = Name::from_wire(layout.name(wire))?;
            Some(((name, layout.rtype(wire)), answer))
        });
        Some(Self {
            now: u32::from_be_bytes(*now),
            anchor,
            response,
            answers: answers.collect(),
        })
    }

    /// One that knows nothing but the root's key.
    pub(crate) fn validator(&self) -> Validator {
        let anchor = Anchor {
            zone: Name::root(),
            trusted: Trusted::Key(self.anchor.to_vec()),
        };
        let policy = Policy {
            sha1: false,
            nsec3_max_iterations: 50,
        };
        Validator::new(Anchors::new(&[anchor], []), policy)
    }

    /// Judges the response, or has the validator learn the answer to what it asks.
    pub(crate) fn step(
        &self,
        validator: &Validator,
        budget: &mut Budget,
    ) -> Option<(Verdict, Judged)> {
        let moment = Moment {
            wall: self.now,
            instant: Instant::now(),
        };
        match validator.judge(&self.response, Scope::Whole, true, moment, budget) {
            Step::Done(verdict, judged) => Some((verdict, judged)),
            Step::Ask(need) => {
                let answer = self.answers.get(&(need.name.clone(), need.rtype));
                let answer = answer.unwrap_or(&self.response);
                validator.learn(&need, answer, true, moment, budget);
                None
            }
        }
    }
}

/// Each with its length before it.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (part, rest) = rest.split_at(length);
        self.0 = rest;
        Some(part)
    }
}

/// More than the budget allows, so that it is seen when that does not hold.
const MOST_QUESTIONS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// The inputs of one target, each with its file.
    fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let files = fs::read_dir(folder.join("tests/fuzz/seeds").join(target)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let seeds: Vec<_> = files
            .map(|file| (file.clone(), fs::read(file).unwrap()))
            .collect();
        assert!(!seeds.is_empty());
        seeds
    }

    #[test]
    fn seeds_are_read_without_a_fault() {
        for (_, seed) in seeds("question") {
            question(&seed);
        }
        for (_, seed) in seeds("trust_state") {
            state(&seed);
        }
        for (_, seed) in seeds("unbound") {
            unbound(&seed);
        }
        for (_, seed) in seeds("response") {
            response(&seed);
        }
    }

    #[test]
    fn recorded_answers_are_worth_what_their_names_say() {
        for (file, seed) in seeds("validation") {
            let name = file.file_name().unwrap().to_str().unwrap();
            let expected = name.split('-').next().unwrap();
            assert_eq!(validation(&seed), Some(expected), "{name}");
        }
    }
}
