//! What must hold in a cluster beside what a plan writes, each asked of the cluster itself.

use futures_util::future::join;

use crate::client::Server;
use crate::observed::Observed;
use crate::wish::Wish;

mod access;
mod aggregation;
mod dns;
mod encryption;
mod network;
mod nodedns;
mod wiring;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) subject: &'static str,
    pub(crate) verdict: Verdict,
    /// In a sentence; parts may be the cluster's own words.
    pub(crate) detail: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Bad,
    /// It could not be looked at from here, or nobody asks for it.
    Open,
}

impl Verdict {
    /// The word that stands for it, the same in every version.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Open => "open",
        }
    }
}

type Finding = (Verdict, String);

/// All of them.
pub(crate) async fn all(server: &Server, wish: &Wish, observed: &Observed) -> Vec<Check> {
    let (access, encryption) = join(access::check(server), encryption::check(wish)).await;
    let (dns, aggregation) = join(
        dns::check(server, &wish.cluster, observed),
        aggregation::check(server),
    )
    .await;
    let (nodedns, wiring) = join(
        nodedns::check(server),
        wiring::check(server, &wish.cluster, observed),
    )
    .await;
    let check = |subject, (verdict, detail)| Check {
        subject,
        verdict,
        detail,
    };
    vec![
        check("RBAC", access),
        check("Secrets at rest", encryption),
        check("CoreDNS", dns),
        check("nodedns", nodedns),
        check("aggregation layer", aggregation),
        check("pod network", network::check(observed)),
        check("kubelets' DNS", wiring),
    ]
}

/// The first of many, for a line.
fn few(names: &[&str]) -> String {
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if let Some(more @ 1..) = names.len().checked_sub(SHOWN) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_few() {
        assert_eq!(few(&["a", "b"]), "a, b");
        assert_eq!(few(&["a"; 5]), "a, a, a, a, a");
        assert_eq!(few(&["a"; 7]), "a, a, a, a, a and 2 more");
    }
}
