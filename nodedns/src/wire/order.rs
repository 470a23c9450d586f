//! Names as the tree that they form, in their canonical order (RFC 4034 §6.1).
//! All names here are in wire form and in lower case.

use std::cmp::Ordering;

use crate::wire::name::{MAX_LEN, Name, suffixes};

/// How many labels `name` has, the root not counted.
pub(crate) fn label_count(name: &[u8]) -> usize {
    suffixes(name).count().saturating_sub(1)
}

/// Whether `name` is `top` or below it.
pub(crate) fn is_within(name: &[u8], top: &[u8]) -> bool {
    suffixes(name).any(|suffix| suffix == top)
}

/// Whether `name` is below `top`.
pub(crate) fn is_below(name: &[u8], top: &[u8]) -> bool {
    name.len() > top.len() && is_within(name, top)
}

/// What is left without the first label; nothing for the root.
pub(crate) fn parent(name: &[u8]) -> Option<&[u8]> {
    suffixes(name).nth(1)
}

/// The last `count` labels of `name`; all of it when it has fewer.
pub(crate) fn last_labels(name: &[u8], count: usize) -> &[u8] {
    let skipped = label_count(name).saturating_sub(count);
    suffixes(name).nth(skipped).unwrap_or(name)
}

/// The longest name at or above both.
pub(crate) fn common<'a>(one: &'a [u8], other: &[u8]) -> &'a [u8] {
    suffixes(one)
        .find(|suffix| is_within(other, suffix))
        .unwrap_or(one)
}

/// `*.` in front of `name`; nothing when that is too long to be a name.
pub(crate) fn wildcard(name: &[u8]) -> Option<Name> {
    (name.len() + STAR.len() <= MAX_LEN)
        .then(|| Name::from_wire(&[STAR, name].concat()))
        .flatten()
}

/// Sorts by the last label first, byte by byte; what is above comes before what
/// is below it.
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let (ones, others) = (labels(one), labels(other));
    ones.iter().rev().cmp(others.iter().rev())
}

fn labels(name: &[u8]) -> Vec<&[u8]> {
    suffixes(name)
        .filter_map(|suffix| suffix.get(1..=usize::from(suffix[0])))
        .filter(|label| !label.is_empty())
        .collect()
}

const STAR: &[u8] = b"\x01*";

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        Name::from_text(text).unwrap().as_wire().to_vec()
    }

    #[test]
    fn names_sort_as_in_the_example_of_rfc_4034_6_1() {
        let below_z = |label: u8| [&[1, label], &wire("z.example")[..]].concat();
        let sorted = [
            wire("example"),
            wire("a.example"),
            wire("yljkjljk.a.example"),
            wire("z.a.example"),
            wire("zabc.a.example"),
            wire("z.example"),
            below_z(1),
            below_z(b'*'),
            below_z(200),
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(&pair[1], &pair[0]), Ordering::Greater);
        }
        assert_eq!(compare(&sorted[0], &sorted[0]), Ordering::Equal);
    }

    #[test]
    fn below_and_within_go_by_labels() {
        let (example, www) = (wire("example"), wire("www.example"));
        assert!(is_within(&www, &example) && is_below(&www, &example));
        assert!(is_within(&www, &www) && !is_below(&www, &www));
        assert!(!is_within(&wire("notexample"), &example));
        assert!(is_below(&example, &wire(".")));
    }

    #[test]
    fn parts_of_a_name() {
        let name = wire("a.b.example");
        assert_eq!(label_count(&name), 3);
        assert_eq!(label_count(&wire(".")), 0);
        assert_eq!(parent(&name), Some(&wire("b.example")[..]));
        assert_eq!(parent(&wire(".")), None);
        assert_eq!(last_labels(&name, 2), wire("b.example"));
        assert_eq!(last_labels(&name, 0), wire("."));
        assert_eq!(last_labels(&name, 9), name);
        assert_eq!(common(&name, &wire("c.b.example")), wire("b.example"));
        assert_eq!(common(&name, &wire("other")), wire("."));
        assert_eq!(
            wildcard(&name).unwrap(),
            Name::from_text("*.a.b.example").unwrap()
        );
    }
}
