//! What is asked next on the way down: no more of the name than a server has to
//! see (RFC 9156). Pure.
//!
//! ```text
//! a.b.example.  at .         ask example. A
//!               at example.  ask b.example. A
//!                 a referral: at b.example. │ an answer: still at example.
//!                            ask a.b.example., with the type that is wanted
//! ```

use crate::wire::name::Name;
use crate::wire::order::{label_count, last_labels};
use crate::wire::{Rcode, rtype};

/// The way to one name.
#[derive(Debug)]
pub(super) struct Course {
    name: Name,
    /// So many labels are known to the servers that were asked.
    shown: usize,
    /// Parts of the name that were asked for.
    asked: usize,
    /// What is left to ask is the whole name.
    is_whole: bool,
}

impl Course {
    /// The way to `rtype` at `name` from the servers of `zone`, which is above.
    ///
    /// The chain of trust goes down label by label as it is: to hide the rest of
    /// the names in its questions would hide nothing, and cost as many again.
    pub(super) fn new(name: &Name, rtype: u16, zone: &[u8]) -> Self {
        Self {
            shown: label_count(zone),
            asked: 0,
            is_whole: matches!(rtype, rtype::DS | rtype::DNSKEY),
            name: name.clone(),
        }
    }

    /// The part of the name that is asked for next; none: all of it.
    pub(super) fn part(&self) -> Option<&[u8]> {
        let all = label_count(self.name.as_wire());
        let mut labels = self.shown + self.stride(all);
        // RFC 9156 §2.3: below such a label there is hardly a zone.
        while labels < all && self.starts_with_underscore(labels) {
            labels += 1;
        }
        (!self.is_whole && labels < all).then(|| last_labels(self.name.as_wire(), labels))
    }

    /// The servers of `zone` are asked from now on.
    pub(super) fn descend(&mut self, zone: &Name) {
        self.asked += 1;
        self.shown = label_count(zone.as_wire());
    }

    /// The part was answered. "No such name" is not believed of it: there are
    /// servers that say so of a name that has only names below it (RFC 9156
    /// §2.3, RFC 8020 §2).
    pub(super) fn answered(&mut self, rcode: Rcode) {
        if rcode != Rcode::NOERROR {
            return self.give_up();
        }
        if let Some(part) = self.part() {
            self.shown = label_count(part);
        }
        self.asked += 1;
    }

    /// Nobody answers for the part: there are servers that refuse what they do
    /// not expect.
    pub(super) const fn give_up(&mut self) {
        self.is_whole = true;
    }

    /// How many labels more are shown next: one at first, then as many as bring
    /// all of a long name across in time.
    fn stride(&self, all: usize) -> usize {
        match MAX_PARTS.checked_sub(self.asked) {
            None | Some(0) => all,
            Some(_) if self.asked < ONE_BY_ONE => 1,
            Some(left) => all.saturating_sub(self.shown).div_ceil(left).max(1),
        }
    }

    fn starts_with_underscore(&self, labels: usize) -> bool {
        last_labels(self.name.as_wire(), labels).get(1) == Some(&b'_')
    }
}

/// MAX_MINIMISE_COUNT and MINIMISE_ONE_LAB of RFC 9156 §2.3.
const MAX_PARTS: usize = 10;
const ONE_BY_ONE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Text;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).unwrap()
    }

    /// What is asked when nobody refers anywhere.
    fn parts(text: &str, rtype: u16) -> Vec<String> {
        let mut course = Course::new(&name(text), rtype, b"\0");
        let mut parts = Vec::new();
        while let Some(part) = course.part() {
            parts.push(Text(part).to_string());
            course.answered(Rcode::NOERROR);
        }
        parts
    }

    #[test]
    fn a_server_sees_one_label_more_than_it_has() {
        assert_eq!(
            parts("www.a.example.", rtype::A),
            ["example.", "a.example."]
        );
        assert!(parts("example.", rtype::A).is_empty());
        assert!(parts(".", rtype::A).is_empty());
    }

    #[test]
    fn a_referral_may_skip_labels() {
        let mut course = Course::new(&name("a.b.c.d.example."), rtype::A, b"\0");
        course.descend(&name("c.d.example."));
        assert_eq!(course.part(), Some(name("b.c.d.example.").as_wire()));
        course.descend(&name("b.c.d.example."));
        assert_eq!(course.part(), None);
    }

    #[test]
    fn long_names_take_ten_questions_at_most() {
        let long = format!("{}ip6.arpa.", "0.".repeat(32));
        let parts = parts(&long, rtype::A);
        assert!(parts.len() <= 10, "{parts:?}");
        assert_eq!(
            parts[..4],
            ["arpa.", "ip6.arpa.", "0.ip6.arpa.", "0.0.ip6.arpa."]
        );
        assert!(parts.windows(2).all(|pair| pair[1].ends_with(&pair[0])));
    }

    #[test]
    fn labels_with_an_underscore_go_together() {
        assert_eq!(
            parts("_25._tcp.mail.example.", rtype::A),
            ["example.", "mail.example."]
        );
        assert_eq!(
            parts("a.x._tcp.mail.example.", rtype::A),
            ["example.", "mail.example.", "x._tcp.mail.example."]
        );
    }

    #[test]
    fn who_denies_or_refuses_a_part_is_asked_for_the_whole() {
        let mut course = Course::new(&name("a.b.example."), rtype::A, b"\0");
        course.answered(Rcode::NXDOMAIN);
        assert_eq!(course.part(), None);
        let mut course = Course::new(&name("a.b.example."), rtype::A, b"\0");
        course.give_up();
        course.descend(&name("example."));
        assert_eq!(course.part(), None);
    }

    #[test]
    fn questions_of_the_chain_of_trust_are_asked_whole() {
        assert!(parts("www.a.example.", rtype::DS).is_empty());
        assert!(parts("www.a.example.", rtype::DNSKEY).is_empty());
    }

    proptest! {
        #[test]
        fn every_way_ends(labels in 0_usize..120, referrals in prop::collection::vec(any::<bool>(), 0..20)) {
            let name = name(&format!("{}.", vec!["a"; labels].join(".")).replace("..", "."));
            let mut course = Course::new(&name, rtype::A, b"\0");
            let mut questions = 0;
            while let Some(part) = course.part().and_then(Name::from_wire) {
                prop_assert!(label_count(part.as_wire()) < labels);
                if referrals.get(questions) == Some(&true) {
                    course.descend(&part);
                } else {
                    course.answered(Rcode::NOERROR);
                }
                questions += 1;
            }
            prop_assert!(questions <= MAX_PARTS);
        }
    }
}
