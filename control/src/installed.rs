//! What a node is to have of rivers, and what it has: pure, so that it can be told apart
//! without a host.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// What one node is to have.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) binary: Arc<Part>,
    pub(crate) unit: Arc<Part>,
    pub(crate) config: Part,
    /// Where the node reaches the API servers.
    pub(crate) api_server: SocketAddr,
    /// Where rivers says how it is, if anywhere.
    pub(crate) admin: Option<SocketAddr>,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) content: Vec<u8>,
    /// SHA-256 in hexadecimal digits.
    pub(crate) sum: String,
}

impl Part {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self {
            sum: sum(&content),
            content,
        }
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sum(content: &[u8]) -> String {
    let sum = digest(&SHA256, content);
    let digits = sum.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// What one node has, as `rivers-look.sh` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) binary: String,
    unit: String,
    pub(crate) config: String,
    /// The binary of a version to come.
    pub(crate) staged: String,
    /// The binary that runs.
    pub(crate) running: String,
    active: String,
    enabled: String,
    /// An update has begun there and nobody knows yet whether it works.
    pub(crate) is_unverified: bool,
}

impl Found {
    /// From lines as `binary=SUM`; what is missing is not there.
    pub(crate) fn parse(said: &str) -> Self {
        let mut found = Self::default();
        for (fact, value) in said.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim().to_owned();
            match fact {
                "binary" => found.binary = value,
                "unit" => found.unit = value,
                "config" => found.config = value,
                "staged" => found.staged = value,
                "running" => found.running = value,
                "active" => found.active = value,
                "enabled" => found.enabled = value,
                "unverified" => found.is_unverified = true,
                _ => {}
            }
        }
        found
    }

    /// What is not as it is to be, in words; nothing when all is.
    pub(crate) fn differs(&self, parcel: &Parcel) -> Vec<&'static str> {
        let mut differs = Vec::new();
        let mut compare = |what, is_right: bool| {
            if !is_right {
                differs.push(what);
            }
        };
        compare("binary", self.binary == parcel.binary.sum);
        compare("unit", self.unit == parcel.unit.sum);
        compare("configuration", self.config == parcel.config.sum);
        compare("not enabled", self.enabled == "enabled");
        if self.active != "active" {
            compare("not running", false);
        } else if self.binary == parcel.binary.sum {
            compare("another version runs", self.running == parcel.binary.sum);
        }
        differs
    }

    /// Whether there is no rivers of ours at all.
    pub(crate) const fn is_nothing(&self) -> bool {
        self.binary.is_empty() && self.unit.is_empty() && self.config.is_empty()
    }

    /// Whether what is installed is what runs.
    pub(crate) fn is_steady(&self) -> bool {
        self.active == "active" && self.running == self.binary
    }

    /// Whether the wanted binary runs.
    pub(crate) fn runs(&self, parcel: &Parcel) -> bool {
        self.active == "active" && self.running == parcel.binary.sum
    }
}

/// What runs on a node, as far as nodes are told apart by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Build<'a> {
    /// The sum of the binary that runs; empty where none does.
    pub(crate) running: &'a str,
    pub(crate) is_configured: bool,
}

impl fmt::Display for Build<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.running {
            "" => f.write_str("no rivers that runs")?,
            running => write!(f, "rivers {}", short(running))?,
        }
        if self.is_configured || self.running.is_empty() {
            return Ok(());
        }
        f.write_str(", configured otherwise,")
    }
}

/// The names of nodes by what runs there. Each comes with the sum of the configuration that it is
/// to have.
pub(crate) fn builds<'a>(
    nodes: impl IntoIterator<Item = (&'a str, &'a Found, &'a str)>,
) -> BTreeMap<Build<'a>, Vec<&'a str>> {
    let mut builds: BTreeMap<Build<'_>, Vec<&str>> = BTreeMap::new();
    for (name, found, config) in nodes {
        let build = Build {
            running: &found.running,
            is_configured: found.config == config,
        };
        builds.entry(build).or_default().push(name);
    }
    builds
}

/// Enough of a sum to tell versions apart.
pub(crate) fn short(sum: &str) -> &str {
    sum.get(..12).unwrap_or(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel() -> Parcel {
        let part = |text: &str| Part::new(text.as_bytes().to_vec());
        Parcel {
            binary: part("binary").into(),
            unit: part("unit").into(),
            config: part("config"),
            api_server: "127.0.0.1:16443".parse().unwrap(),
            admin: None,
        }
    }

    fn said(parcel: &Parcel) -> String {
        format!(
            "binary={0}\nunit={1}\nconfig={2}\nstaged=\nactive=active\nenabled=enabled\nrunning={0}\n",
            parcel.binary.sum, parcel.unit.sum, parcel.config.sum
        )
    }

    #[test]
    fn a_sum_is_sha_256() {
        assert_eq!(
            Part::new(Vec::new()).sum,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn nodes_are_grouped_by_what_runs_there() {
        let found = |running: &str, config: &str| {
            Found::parse(&format!("running={running}\nconfig={config}"))
        };
        let nodes = [
            ("a", found("0123456789abcdef", "x")),
            ("b", found("", "x")),
            ("c", found("0123456789abcdef", "x")),
            ("d", found("0123456789abcdef", "y")),
        ];
        let builds = builds(nodes.iter().map(|(name, found)| (*name, found, "x")));
        let lines: Vec<String> = builds
            .iter()
            .map(|(build, names)| format!("{build} on {}", names.join(" ")))
            .collect();
        assert_eq!(
            lines,
            [
                "no rivers that runs on b",
                "rivers 0123456789ab, configured otherwise, on d",
                "rivers 0123456789ab on a c",
            ]
        );
    }

    #[test]
    fn each_difference_is_named() {
        let parcel = parcel();
        let right = said(&parcel);
        let differs = |text: &str| Found::parse(text).differs(&parcel).join(", ");
        assert_eq!(differs(&right), "");
        assert!(Found::parse(&right).runs(&parcel));
        let other = "0".repeat(64);
        for (right_line, line, expected) in [
            (
                format!("unit={}", parcel.unit.sum),
                format!("unit={other}"),
                "unit",
            ),
            (
                format!("config={}", parcel.config.sum),
                "config=".to_owned(),
                "configuration",
            ),
            (
                "enabled=enabled".to_owned(),
                "enabled=disabled".to_owned(),
                "not enabled",
            ),
            (
                "active=active".to_owned(),
                "active=failed".to_owned(),
                "not running",
            ),
            (
                format!("running={}", parcel.binary.sum),
                format!("running={other}"),
                "another version runs",
            ),
        ] {
            assert_eq!(differs(&right.replace(&right_line, &line)), expected);
        }
        assert_eq!(
            differs(""),
            "binary, unit, configuration, not enabled, not running"
        );
        assert!(Found::parse("").is_nothing());
        assert!(Found::parse("unverified=yes\nbinary=a").is_unverified);
    }
}
