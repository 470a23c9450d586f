//! Whether Secrets are encrypted where they lie: how what etcd holds begins.

use std::collections::BTreeMap;

use super::{Finding, Verdict};
use crate::etcd::EtcdClient;
use crate::store::Store;
use crate::wish::Wish;

pub(super) async fn check(wish: &Wish) -> Finding {
    let is_wanted = is_wanted(&wish.store).await;
    let Some(client) = &wish.etcd else {
        return not_asked(is_wanted);
    };
    let mut why = String::new();
    for node in wish.cluster.control_plane() {
        match prefixes(client, node.address).await {
            Ok(prefixes) => return found(&prefixes, is_wanted),
            Err(error) => why = format!("{}: {error:#}", node.address),
        }
    }
    (Verdict::Open, format!("etcd could not be asked ({why})"))
}

/// Whether there is a key.
async fn is_wanted(store: &Store) -> bool {
    store.keyring().await.is_ok_and(|keyring| keyring.is_some())
}

fn not_asked(is_wanted: bool) -> Finding {
    let detail = if is_wanted {
        "there is a key; whether all Secrets are written with it is seen in etcd alone: name its \
         certificates with --etcd-ca, --etcd-cert and --etcd-key"
    } else {
        "not encrypted by control; `control encryption-key rotate` begins it"
    };
    (Verdict::Open, detail.to_owned())
}

async fn prefixes(
    client: &EtcdClient,
    member: std::net::IpAddr,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut prefixes = BTreeMap::new();
    let mut from = FIRST.as_bytes().to_vec();
    for _ in 0..PAGES {
        let page = client.range(member, &from, END.as_bytes(), PAGE).await?;
        for (key, value) in &page {
            *prefixes.entry(prefix(value)).or_default() += 1;
            from.clone_from(key);
            // The next one in order.
            from.push(0);
        }
        if page.len() < PAGE {
            break;
        }
    }
    Ok(prefixes)
}

/// Who encrypted a value, as `k8s:enc:aescbc:v1:`.
fn prefix(value: &[u8]) -> String {
    let text: String = value
        .iter()
        .take(LONGEST)
        .map(|&byte| char::from(byte))
        .collect();
    match text.strip_prefix("k8s:enc:") {
        Some(rest) => {
            let provider = rest.split(':').next().unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            provider.chars().filter(|&c| plain(c)).collect()
        }
        None => String::new(),
    }
}

fn found(prefixes: &BTreeMap<String, usize>, is_wanted: bool) -> Finding {
    let all: usize = prefixes.values().sum();
    let plain = prefixes.get("").copied().unwrap_or_default();
    if plain > 0 {
        let verdict = if is_wanted {
            Verdict::Bad
        } else {
            Verdict::Open
        };
        let way = if is_wanted {
            "`control run --hosts` carries a rotation to its end"
        } else {
            "`control encryption-key rotate` begins to encrypt"
        };
        return (
            verdict,
            format!("{plain} of {all} in etcd are not encrypted; {way}"),
        );
    }
    let providers: Vec<_> = prefixes.keys().map(String::as_str).collect();
    if providers.is_empty() {
        return (Verdict::Open, "there is none".to_owned());
    }
    (
        Verdict::Good,
        format!(
            "{all} in etcd looked at, all encrypted ({})",
            providers.join(", ")
        ),
    )
}

const FIRST: &str = "/registry/secrets/";
const END: &str = "/registry/secrets0";
/// A Secret has up to a megabyte.
const PAGE: usize = 10;
/// A thousand Secrets tell enough.
const PAGES: usize = 100;
/// Bytes of a prefix.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_encrypted_a_value_is_told_by_its_beginning() {
        assert_eq!(
            prefix(b"k8s:enc:aescbc:v1:2026-01-01T00:00:00Z:\xff"),
            "aescbc"
        );
        assert_eq!(prefix(b"k8s:enc:\x1b[2J:v1"), "2J");
        for plain in [b"k8s\0\n\x0c".as_slice(), b"", b"{\"kind\""] {
            assert_eq!(prefix(plain), "");
        }
    }

    #[test]
    fn what_is_plain_is_wrong_once_there_is_a_key() {
        let of = |pairs: &[(&str, usize)], is_wanted| {
            let pairs = pairs
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count));
            found(&pairs.collect(), is_wanted)
        };
        assert_eq!(of(&[("", 3)], false).0, Verdict::Open);
        let (verdict, detail) = of(&[("", 3), ("aescbc", 4)], true);
        assert_eq!(verdict, Verdict::Bad);
        assert!(
            detail.starts_with("3 of 7 in etcd are not encrypted"),
            "{detail}"
        );
        assert_eq!(of(&[("aescbc", 4)], true).0, Verdict::Good);
        assert_eq!(of(&[], true).0, Verdict::Open);
    }
}
