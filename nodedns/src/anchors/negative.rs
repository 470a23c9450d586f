//! Names below which nothing is validated for a while, because a person said so:
//! a zone whose owner broke its signatures must not be out of reach until he has
//! mended them (RFC 7646). Each has a reason and an end. Pure: the time is an
//! argument.

use std::time::Duration;

use crate::anchors::rfc5011::Time;
use crate::wire::name::Name;

/// One negative trust anchor that was set by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NegativeAnchor {
    pub(crate) name: Name,
    /// Why, in the words of whoever set it.
    pub(crate) reason: String,
    /// When it was set.
    pub(crate) since: Time,
    /// When it ends.
    pub(crate) until: Time,
}

/// All that are in force, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NegativeAnchors {
    all: Vec<NegativeAnchor>,
}

/// Why a negative anchor cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It would never end, or outlive the reason for it.
    #[error(
        "a negative trust anchor lasts from 1m to 168h (RFC 7646 §2); say `--for 1d`, and set it again if need be"
    )]
    Lifetime,
    /// Nobody would know later why it is there.
    #[error(
        "a negative trust anchor needs a reason of 1 to {MAX_REASON} characters in one line, for those who find it later"
    )]
    Reason,
    /// It would end all validation.
    #[error(
        "a negative trust anchor at `.` would end all validation; say `validation: log` in the configuration if that is what you want"
    )]
    Root,
    /// Whoever needs so many has another problem.
    #[error("there are {MAX_ANCHORS} negative trust anchors already; remove one first")]
    TooMany,
}

impl NegativeAnchors {
    /// All, by name.
    pub(crate) fn all(&self) -> &[NegativeAnchor] {
        &self.all
    }

    /// Sets one at `name` from `now` on, in place of one that was there.
    ///
    /// # Errors
    /// It may not be set so.
    pub(crate) fn add(
        &mut self,
        name: Name,
        lifetime: Duration,
        reason: &str,
        now: Time,
    ) -> Result<(), Refusal> {
        if !LIFETIMES.contains(&lifetime) {
            return Err(Refusal::Lifetime);
        }
        self.put(
            NegativeAnchor {
                name,
                reason: reason.trim().to_owned(),
                since: now,
                until: now.saturating_add(lifetime.as_secs()),
            },
            now,
        )
    }

    /// Takes one that was kept, whatever is in it: one that ends too late ends as
    /// late as it may, one whose end has come is left out.
    ///
    /// # Errors
    /// It may not be set so.
    pub(crate) fn put(&mut self, mut anchor: NegativeAnchor, now: Time) -> Result<(), Refusal> {
        let letters = anchor.reason.chars().count();
        if !(1..=MAX_REASON).contains(&letters) || anchor.reason.contains(char::is_control) {
            return Err(Refusal::Reason);
        }
        if anchor.name.is_root() {
            return Err(Refusal::Root);
        }
        anchor.until = anchor
            .until
            .min(now.saturating_add(LIFETIMES.end().as_secs()));
        if anchor.until <= now {
            return Ok(());
        }
        match self.place_of(&anchor.name) {
            Ok(place) => self.all[place] = anchor,
            Err(_) if self.all.len() >= MAX_ANCHORS => return Err(Refusal::TooMany),
            Err(place) => self.all.insert(place, anchor),
        }
        Ok(())
    }

    /// Takes the one at `name` away; none if there is none.
    pub(crate) fn remove(&mut self, name: &Name) -> Option<NegativeAnchor> {
        let place = self.place_of(name).ok()?;
        Some(self.all.remove(place))
    }

    /// Takes away those that have ended at `now`.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<NegativeAnchor> {
        self.all.extract_if(.., |one| one.until <= now).collect()
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.all.iter().map(|one| one.until).min()
    }

    fn place_of(&self, name: &Name) -> Result<usize, usize> {
        self.all
            .binary_search_by(|one| one.name.as_wire().cmp(name.as_wire()))
    }
}

/// RFC 7646 §2: "no more than a week".
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);
const MAX_REASON: usize = 200;
pub(crate) const MAX_ANCHORS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    fn names(anchors: &NegativeAnchors) -> Vec<String> {
        let all = anchors.all().iter();
        all.map(|one| one.name.to_string()).collect()
    }

    #[test]
    fn it_ends_by_itself() {
        let mut anchors = NegativeAnchors::default();
        anchors.add(name("a.example"), DAY, "a", NOW).unwrap();
        anchors.add(name("b.example"), 2 * DAY, "b", NOW).unwrap();
        assert_eq!(anchors.next_end(), Some(NOW + 86_400));
        assert_eq!(anchors.expire(NOW + 86_399), []);
        assert_eq!(anchors.expire(NOW + 86_400)[0].name, name("a.example"));
        assert_eq!(names(&anchors), ["b.example."]);
    }

    #[test]
    fn the_last_word_at_a_name_counts() {
        let mut anchors = NegativeAnchors::default();
        anchors.add(name("a.example"), DAY, "first", NOW).unwrap();
        anchors
            .add(name("A.example."), 2 * DAY, "second", NOW)
            .unwrap();
        let [only] = anchors.all() else {
            panic!("{anchors:?}")
        };
        assert_eq!(
            (only.reason.as_str(), only.until),
            ("second", NOW + 172_800)
        );
        assert!(anchors.remove(&name("a.example")).is_some());
        assert_eq!(anchors.remove(&name("a.example")), None);
    }

    #[test]
    fn an_end_and_a_reason_are_musts_rfc_7646_2() {
        let mut anchors = NegativeAnchors::default();
        let long = "x".repeat(201);
        let mut add = |text, lifetime, reason| anchors.add(name(text), lifetime, reason, NOW);
        assert_eq!(add("a", 8 * DAY, "why"), Err(Refusal::Lifetime));
        assert_eq!(add("a", Duration::ZERO, "why"), Err(Refusal::Lifetime));
        assert_eq!(add("a", DAY, " "), Err(Refusal::Reason));
        assert_eq!(add("a", DAY, "two\nlines"), Err(Refusal::Reason));
        assert_eq!(add("a", DAY, &long), Err(Refusal::Reason));
        assert_eq!(add(".", DAY, "why"), Err(Refusal::Root));
        assert_eq!(add("a", 7 * DAY, "why"), Ok(()));
    }

    #[test]
    fn what_was_kept_lasts_no_longer_than_it_may_either() {
        let mut anchors = NegativeAnchors::default();
        let mut put = |text, until| {
            let anchor = NegativeAnchor {
                name: name(text),
                reason: "kept".to_owned(),
                since: NOW,
                until,
            };
            anchors.put(anchor, NOW).unwrap();
        };
        put("long.example", Time::MAX);
        put("over.example", NOW);
        assert_eq!(names(&anchors), ["long.example."]);
        assert_eq!(anchors.next_end(), Some(NOW + 7 * 86_400));
    }

    #[test]
    fn so_many_and_no_more() {
        let mut anchors = NegativeAnchors::default();
        for number in 0..MAX_ANCHORS {
            anchors
                .add(name(&format!("n{number}")), DAY, "why", NOW)
                .unwrap();
        }
        assert_eq!(
            anchors.add(name("more"), DAY, "why", NOW),
            Err(Refusal::TooMany)
        );
        assert_eq!(anchors.add(name("n7"), DAY, "again", NOW), Ok(()));
    }
}
