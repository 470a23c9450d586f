//! Which names Kubernetes takes: host and object names (RFC 1123), label keys
//! and values. Each check answers with what is allowed.

/// Checks a DNS subdomain of RFC 1123, the form of Node names and of the
/// cluster domain: lower-case letters, digits, `-` and `.`, at most 253 bytes.
pub(super) fn check_subdomain(name: &str) -> Result<(), &'static str> {
    let ok = name.len() <= 253 && name.split('.').all(is_label);
    if ok { Ok(()) } else { Err(SUBDOMAIN) }
}

/// Checks one DNS label of RFC 1123, the form of namespaces and Services.
pub(super) fn check_label(name: &str) -> Result<(), &'static str> {
    if is_label(name) { Ok(()) } else { Err(LABEL) }
}

/// Checks the key of a label, annotation or taint: `[prefix/]name`.
pub(super) fn check_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let ok = prefix.is_none_or(|prefix| check_subdomain(prefix).is_ok()) && is_qualified(name);
    if ok { Ok(()) } else { Err(KEY) }
}

/// Checks the value of a label or taint; empty is fine.
pub(super) fn check_value(value: &str) -> Result<(), &'static str> {
    if value.is_empty() || is_qualified(value) {
        Ok(())
    } else {
        Err(VALUE)
    }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    label.len() <= 63
        && label.starts_with(alphanumeric)
        && label.ends_with(alphanumeric)
        && label.chars().all(|c| alphanumeric(c) || c == '-')
}

fn is_qualified(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    name.len() <= 63
        && name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name
            .chars()
            .all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}

const SUBDOMAIN: &str = "must be lower-case letters, digits, `-` and `.`, at most 253 bytes, \
    each part at most 63 and beginning and ending with a letter or digit (RFC 1123)";
const LABEL: &str = "must be lower-case letters, digits and `-`, at most 63 bytes, \
    beginning and ending with a letter or digit (RFC 1123)";
const KEY: &str = "must be `name` or `domain/name`, the name at most 63 letters, digits, \
    `-`, `_` and `.`, beginning and ending with a letter or digit";
const VALUE: &str = "must be at most 63 letters, digits, `-`, `_` and `.`, \
    beginning and ending with a letter or digit";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_those_of_rfc_1123() {
        for good in ["a", "node-1", "node-1.rack2.example", "0", &"a".repeat(63)] {
            assert!(check_subdomain(good).is_ok(), "{good}");
        }
        let long = [&"a".repeat(63)[..]; 4].join(".");
        for bad in [
            "",
            "A",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a_b",
            "a b",
            "é",
            &"a".repeat(64),
            &long,
        ] {
            assert!(check_subdomain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_may_have_one_domain_before_the_name() {
        for good in ["a", "a_b.c-D", "example.com/a", "cke.cybozu.com/rack"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "Ex.com/a",
            "-a",
            "a ",
            &"a".repeat(64),
        ] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_may_be_empty_and_have_no_slash() {
        for good in ["", "1", "a.b_C-d"] {
            assert!(check_value(good).is_ok(), "{good}");
        }
        for bad in ["a/b", "a b", "-", &"a".repeat(64)] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
    }
}
