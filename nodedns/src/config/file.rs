//! What `nodedns.yml` may say. `control` writes it with these very types.
//!
//! A field of a feature that does not exist is refused like any unknown field:
//! nothing that a person wrote is silently without effect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use daemon::config_file::{ConfigError, Document, text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::anchors;
use crate::config::{
    self, Anchor, Config, Forward, Mode, Name, Policy, Protocol, private, trust_anchor,
};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Addresses on which clients ask, over UDP and TCP. Default: port 53 on
    /// every address of the machine, IPv4 and IPv6. On a node where something
    /// else holds port 53 of one address, name the others.
    #[serde(default = "default_listen")]
    pub listen: Vec<SocketAddr>,
    /// The address for `/metrics`, `/healthz` and `/readyz`. Default:
    /// `0.0.0.0:9253`, so that Prometheus reaches it; it shows counters only.
    #[serde(default = "default_admin")]
    pub admin: SocketAddr,
    /// Threads that answer, 1 to 64. Default: 1, which answers more than a
    /// node's pods ask; each takes a share of the queries by the kernel's choice.
    #[serde(default = "default_workers")]
    pub workers: usize,
    /// The zones; the longest name wins. Names in none of them are refused, for
    /// nodedns does not recurse yet: a zone `.` takes them all.
    pub zones: Vec<Zone>,
    /// PEM file of the authorities that vouch for `tls://` servers. Default: the
    /// system's. Servers with a pinned key need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The cache.
    #[serde(default)]
    pub cache: Cache,
    /// What becomes of an answer that must be signed and is not rightly so:
    /// `enforce` (default) refuses it with SERVFAIL, `log` passes it on, which
    /// shows what enforcing would break before it does.
    #[serde(default)]
    pub validation: Mode,
    /// The keys from which everything else is proved.
    #[serde(default)]
    pub trust_anchors: TrustAnchors,
    /// The most iterations of NSEC3, 0 to 500, that are worth the work; zones
    /// with more are taken as unsigned. Default: 50 (RFC 9276).
    #[serde(default = "default_iterations")]
    pub nsec3_max_iterations: u16,
    /// Whether signatures of algorithms 5 and 7 count, whose SHA-1 is broken.
    /// Default: `false`; zones that have no others are taken as unsigned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sha1_signatures: bool,
}

/// What is trusted without a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustAnchors {
    /// Files of DS and DNSKEY records. Where the anchors of two zones nest, the
    /// closest to a name governs. Default, and when empty: the root's keys of
    /// 2017 and 2024, which are built in.
    pub files: Vec<PathBuf>,
    /// Whether the keys of these zones are followed as their owners replace them
    /// (RFC 5011), as unbound does with `auto-trust-anchor-file`: a new key is
    /// trusted once a trusted one has signed it for 30 days, a revoked one never
    /// again. Default: `true`, for files as for what is built in: a file on a node
    /// is forgotten, and a key that is replaced elsewhere would take the names of
    /// its zone along. With `false` exactly the keys named here are trusted, as with
    /// unbound's `trust-anchor-file`. Files are never written; what is learned is
    /// kept in the state directory.
    #[serde(skip_serializing_if = "is_true")]
    pub follow_rollovers: bool,
    /// Names at and below which nothing is validated: zones whose signatures are
    /// broken, and private zones that the world does not know.
    #[serde(deserialize_with = "names", serialize_with = "as_texts")]
    pub negative: Vec<Name>,
}

/// A name, all names below it, and the servers that know about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The zone's name, as in `cluster.local.`; the final dot may be left out.
    #[serde(deserialize_with = "name_from_text", serialize_with = "as_text")]
    pub name: Name,
    /// Servers that resolve for us, as in `tcp://10.96.0.10`: `udp://` (default),
    /// `tcp://` or `tls://`, an IP address, and a port (default 53, `tls://` 853).
    /// After `tls://` follows what the server proves: `#dns.example`, the name in
    /// its certificate (default: its address), or `#sha256:BASE64`, the digest of
    /// its public key. The fastest that answers is preferred, the others are there
    /// when it does not.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "forwards",
        serialize_with = "as_texts"
    )]
    pub forward: Vec<Forward>,
    /// Instead of `forward`: servers that have the zone themselves, and are asked
    /// without recursion. Names that the zone delegates to others fail.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "forwards",
        serialize_with = "as_texts"
    )]
    pub authoritative: Vec<Forward>,
    /// Ask `udp://` servers over TCP too: for paths that lose large datagrams.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_tcp: bool,
    /// Ask the plaintext servers of a zone that has `tls://` servers. Otherwise
    /// they are never asked, be all others dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// Whether signatures must be right where a trust anchor says that there are
    /// some. Default: `true`, but `false` for reverse zones of private addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<bool>,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Memory for answers, 1MiB to 64GiB. Default: `64MiB`, some 200,000 names.
    /// Too little costs hits, never correctness.
    pub size: Size,
    /// The longest that an answer is used, whatever its TTL says, 1s to 168h.
    /// Default: `24h`.
    #[serde(with = "daemon::duration::serde")]
    pub max_ttl: Duration,
    /// The longest that "no such name" is used, 1s to 24h. Default: `1h`. In
    /// every zone but `.` it is 4 s at most: a Service that is made a moment
    /// after somebody asked for it must be seen.
    #[serde(with = "daemon::duration::serde")]
    pub max_negative_ttl: Duration,
}

/// A number of bytes, written `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

impl File {
    /// The configuration that `document` describes.
    ///
    /// # Errors
    /// Something in it is wrong; the error names the line.
    pub fn check(document: &Document) -> Result<Config, ConfigError> {
        document
            .parse::<Self>()?
            .into_config(|field, message| document.error_at(field, message))
    }

    /// The one conversion; `error` makes an error about a field.
    fn into_config<E>(self, error: impl Fn(&str, String) -> E) -> Result<Config, E> {
        let error = |(field, message): Mistake| error(&field, message);
        let workers = self.check_workers().map_err(error)?;
        self.check_listen().map_err(error)?;
        self.check_zones().map_err(error)?;
        self.cache.check().map_err(error)?;
        if self.nsec3_max_iterations > MAX_ITERATIONS {
            let message = format!("must be from 0 to {MAX_ITERATIONS}");
            return Err(error(mistake("nsec3_max_iterations", message)));
        }
        let anchors = self.trust_anchors.anchors().map_err(error)?;
        Ok(Config {
            listen: self.listen,
            admin: self.admin,
            workers,
            zones: self.zones.into_iter().map(Zone::into_config).collect(),
            ca_file: self.ca_file,
            cache: config::Cache {
                size: self.cache.size.0,
                max_ttl: self.cache.max_ttl,
                max_negative_ttl: self.cache.max_negative_ttl,
            },
            validation: config::Validation {
                mode: self.validation,
                anchors,
                follow_rollovers: self.trust_anchors.follow_rollovers,
                negative: self.trust_anchors.negative,
                policy: Policy {
                    sha1: self.sha1_signatures,
                    nsec3_max_iterations: self.nsec3_max_iterations,
                },
            },
        })
    }

    fn check_workers(&self) -> Result<NonZeroUsize, Mistake> {
        NonZeroUsize::new(self.workers)
            .filter(|workers| workers.get() <= 64)
            .ok_or_else(|| mistake("workers", "must be from 1 to 64"))
    }

    fn check_listen(&self) -> Result<(), Mistake> {
        if self.listen.is_empty() {
            return Err(mistake("listen", "name at least one address"));
        }
        for (at, address) in self.listen.iter().enumerate() {
            if self.listen[..at].contains(address) {
                let message = format!("{address} is there twice");
                return Err(mistake(format!("listen[{at}]"), message));
            }
        }
        Ok(())
    }

    fn check_zones(&self) -> Result<(), Mistake> {
        if self.zones.is_empty() {
            let message = "name at least one zone; `.` takes all names";
            return Err(mistake("zones", message));
        }
        for (at, zone) in self.zones.iter().enumerate() {
            if self.zones[..at].iter().any(|other| other.name == zone.name) {
                let message = format!("zone {} is there twice", zone.name);
                return Err(mistake(format!("zones[{at}].name"), message));
            }
            zone.check(&self.listen)
                .map_err(|(field, message)| (format!("zones[{at}].{field}"), message))?;
        }
        Ok(())
    }
}

impl Zone {
    /// A zone for which these servers resolve; all else is the default.
    #[must_use]
    pub const fn forwarded(name: Name, forward: Vec<Forward>) -> Self {
        Self {
            name,
            forward,
            authoritative: Vec::new(),
            force_tcp: false,
            mixed: false,
            validate: None,
        }
    }

    fn check(&self, listen: &[SocketAddr]) -> Result<(), Mistake> {
        let servers = match (self.forward.as_slice(), self.authoritative.as_slice()) {
            ([], []) => {
                let message = "name at least one server, for nodedns does not recurse yet";
                return Err(mistake("forward", message));
            }
            (forward, []) => Servers("forward", forward),
            ([], authoritative) => Servers("authoritative", authoritative),
            _ => {
                let message = "a zone has servers that resolve for us (`forward`) or its own (`authoritative`), not both";
                return Err(mistake("authoritative", message));
            }
        };
        servers.check(listen)
    }

    fn into_config(self) -> config::Zone {
        let recursion = self.authoritative.is_empty();
        let mut servers = if recursion {
            self.forward
        } else {
            self.authoritative
        };
        if self.force_tcp {
            let over_udp = |server: &&mut Forward| server.protocol == Protocol::Udp;
            for server in servers.iter_mut().filter(over_udp) {
                server.protocol = Protocol::Tcp;
            }
        }
        let encrypts = servers.iter().any(|server| server.protocol.is_encrypted());
        let (servers, unasked) = servers
            .into_iter()
            .partition(|server| self.mixed || !encrypts || server.protocol.is_encrypted());
        config::Zone {
            validate: self
                .validate
                .unwrap_or_else(|| !private::is_reverse_of_private(&self.name)),
            name: self.name,
            servers,
            recursion,
            unasked,
        }
    }
}

/// The servers of a zone, and the field that names them.
struct Servers<'a>(&'static str, &'a [Forward]);

impl Servers<'_> {
    fn check(&self, listen: &[SocketAddr]) -> Result<(), Mistake> {
        let Self(name, servers) = self;
        for (at, server) in servers.iter().enumerate() {
            let field = format!("{name}[{at}]");
            if servers[..at].contains(server) {
                return Err(mistake(field, format!("{server} is there twice")));
            }
            if listen.iter().any(|own| reaches(*own, server.address)) {
                let message =
                    format!("{server} is nodedns itself, which would ask itself for ever");
                return Err(mistake(field, message));
            }
        }
        Ok(())
    }
}

impl Default for TrustAnchors {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            follow_rollovers: true,
            negative: Vec::new(),
        }
    }
}

impl TrustAnchors {
    /// What the files say, or what is built in.
    fn anchors(&self) -> Result<Vec<Anchor>, Mistake> {
        if self.files.is_empty() {
            return Ok(anchors::root());
        }
        let mut all = Vec::new();
        for (at, path) in self.files.iter().enumerate() {
            let read = trust_anchor::read(path)
                .map_err(|message| mistake(format!("trust_anchors.files[{at}]"), message))?;
            all.extend(read);
        }
        Ok(all)
    }
}

impl Cache {
    fn check(&self) -> Result<(), Mistake> {
        for (field, value, most) in [
            ("cache.max_ttl", self.max_ttl, WEEK),
            ("cache.max_negative_ttl", self.max_negative_ttl, DAY),
        ] {
            if !(Duration::from_secs(1)..=most).contains(&value) {
                let most = daemon::duration::format(most);
                return Err(mistake(field, format!("must be from 1s to {most}")));
            }
        }
        if !(Size(1 << 20)..=Size(64 << 30)).contains(&self.size) {
            return Err(mistake("cache.size", "must be from 1MiB to 64GiB"));
        }
        Ok(())
    }
}

/// A field, and what is wrong with it.
type Mistake = (String, String);

fn mistake(field: impl Into<String>, message: impl Into<String>) -> Mistake {
    (field.into(), message.into())
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            size: Size(64 << 20),
            max_ttl: DAY,
            max_negative_ttl: Duration::from_secs(3_600),
        }
    }
}

/// Whether a packet to `server` surely arrives at our own socket `own`.
fn reaches(own: SocketAddr, server: SocketAddr) -> bool {
    let same = own.ip() == server.ip();
    let wildcard =
        own.ip().is_unspecified() && own.is_ipv4() == server.is_ipv4() && server.ip().is_loopback();
    own.port() == server.port() && (same || wildcard)
}

/// The largest binary unit that divides it: `64MiB`, `1000B`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = UNITS
            .into_iter()
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let (_, bytes) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(error)?;
        number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_mul(bytes))
            .map(Self)
            .ok_or_else(error)
    }
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; write a number and one of B, KiB, MiB, GiB, as in `64MiB`")]
pub struct SizeError(String);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, str::parse)
    }
}

fn name_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    text(deserializer, Name::from_text)
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn forwards<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Forward>, D::Error> {
    struct Text(Forward);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer, str::parse).map(Self)
        }
    }

    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Name>, D::Error> {
    struct Text(Name);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer, Name::from_text).map(Self)
        }
    }

    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

fn as_texts<S: Serializer>(values: &[impl fmt::Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

fn default_listen() -> Vec<SocketAddr> {
    vec![
        SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 53),
        SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 53),
    ]
}

fn default_admin() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9253)
}

const fn default_workers() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_true(value: &bool) -> bool {
    *value
}

const fn default_iterations() -> u16 {
    50
}

/// What was usual before RFC 9276, and takes half a millisecond a denial.
const MAX_ITERATIONS: u16 = 500;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const UNITS: [(&str, usize); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const WHOLE: &str = r#"
listen: ["0.0.0.0:53", "[::]:53"]
admin: "0.0.0.0:9253"
workers: 2
zones:
- {name: cluster.local., forward: ["tcp://10.96.0.10"], validate: false}
- {name: ., forward: ["192.0.2.53", "tcp://[2001:db8::53]:5353"]}
cache: {size: 64MiB, max_ttl: 24h}
"#;

    fn check(yaml: &str) -> Result<Config, String> {
        File::check(&Document::new(Path::new("nodedns.yml"), yaml))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = check(WHOLE).unwrap();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.workers.get(), 2);
        assert_eq!(config.zones[0].name.to_string(), "cluster.local.");
        assert!(config.zones[1].is_root());
        assert_eq!(config.cache.size, 64 << 20);
    }

    #[test]
    fn zones_alone_are_enough() {
        let config = check("zones: [{name: ., forward: [192.0.2.53]}]").unwrap();
        assert_eq!(config.listen, default_listen());
        assert_eq!(config.admin, default_admin());
        assert_eq!(config.workers.get(), 1);
    }

    /// The one zone of a file, its servers and those that are not asked.
    fn zone(yaml: &str) -> (config::Zone, Vec<String>, Vec<String>) {
        let zone = check(&format!("zones: [{{name: a, {yaml}}}]"))
            .unwrap()
            .zones
            .remove(0);
        let texts = |servers: &[Forward]| servers.iter().map(ToString::to_string).collect();
        let (asked, unasked) = (texts(&zone.servers), texts(&zone.unasked));
        (zone, asked, unasked)
    }

    #[test]
    fn authoritative_servers_are_asked_without_recursion() {
        let (own, asked, _) = zone("authoritative: [192.0.2.53]");
        assert!(!own.recursion && asked == ["udp://192.0.2.53:53"]);
        assert!(zone("forward: [192.0.2.53]").0.recursion);
    }

    #[test]
    fn force_tcp_leaves_no_server_to_be_asked_over_udp() {
        let (_, asked, _) =
            zone("forward: [192.0.2.53, \"tls://192.0.2.54\"], force_tcp: true, mixed: true");
        assert_eq!(asked, ["tcp://192.0.2.53:53", "tls://192.0.2.54:853"]);
    }

    #[test]
    fn beside_encrypted_servers_plaintext_ones_are_asked_only_when_mixed() {
        let servers = "forward: [\"tls://192.0.2.53\", 192.0.2.54, \"tcp://192.0.2.55\"]";
        let (_, asked, unasked) = zone(servers);
        assert_eq!(asked, ["tls://192.0.2.53:853"]);
        assert_eq!(unasked, ["udp://192.0.2.54:53", "tcp://192.0.2.55:53"]);
        let (_, asked, unasked) = zone(&format!("{servers}, mixed: true"));
        assert_eq!((asked.len(), unasked.len()), (3, 0));
    }

    #[test]
    fn all_zones_are_validated_but_private_reverse_ones_and_those_that_say_no() {
        let config = check(
            "zones:\n- {name: ., forward: [192.0.2.53]}\n- {name: 10.in-addr.arpa, forward: [192.0.2.53]}\n\
             - {name: 168.192.in-addr.arpa, forward: [192.0.2.53], validate: true}\n\
             - {name: cluster.local, forward: [192.0.2.53], validate: false}\n",
        )
        .unwrap();
        let validated: Vec<_> = config.zones.iter().map(|zone| zone.validate).collect();
        assert_eq!(validated, [true, false, true, false]);
        assert_eq!(config.validation.mode, Mode::Enforce);
        assert_eq!(config.validation.anchors, anchors::root());
        assert_eq!(config.validation.policy.nsec3_max_iterations, 50);
    }

    #[test]
    fn anchors_of_a_file_take_the_place_of_those_that_are_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("corp.ds");
        std::fs::write(&file, "corp.example. IN DS 1 13 2 00ff\n").unwrap();
        let config = check(&format!(
            "zones: [{{name: ., forward: [192.0.2.53]}}]\nvalidation: log\n\
             trust_anchors: {{files: [{}], negative: [broken.example]}}",
            file.display()
        ))
        .unwrap();
        assert_eq!(config.validation.anchors.len(), 1);
        assert_eq!(
            config.validation.anchors[0].zone.to_string(),
            "corp.example."
        );
        assert_eq!(config.validation.negative[0].to_string(), "broken.example.");
        assert_eq!(config.validation.mode, Mode::Log);
        assert!(config.validation.follow_rollovers);
    }

    #[test]
    fn rollovers_are_followed_unless_the_file_says_no() {
        let follows = |yaml: &str| {
            let zones = "zones: [{name: ., forward: [192.0.2.53]}]";
            let config = check(&format!("{zones}\n{yaml}")).unwrap();
            config.validation.follow_rollovers
        };
        assert!(follows(""));
        assert!(!follows("trust_anchors: {follow_rollovers: false}"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let document = Document::new(Path::new("f"), WHOLE);
        let file: File = document.parse().unwrap();
        let yaml = daemon::config_file::to_yaml(&file).unwrap();
        let again: File = Document::new(Path::new("f"), &yaml).parse().unwrap();
        assert_eq!(again, file);
    }

    #[test]
    fn mistakes_are_named_with_line_and_way_out() {
        let zone = "zones: [{name: ., forward: [192.0.2.53]}]\n";
        for (yaml, part) in [
            ("zones: []", "name at least one zone"),
            ("{}", "missing field `zones`"),
            ("zones: [{name: ., forward: []}]", "does not recurse yet"),
            ("zones: [{name: .}]", "does not recurse yet"),
            (
                "zones:\n- name: .\n  forward: [\"tls://192.0.2.53#a b\"]",
                "nodedns.yml:3:13: zones[0].forward[0]: `#a b` is nothing that a server can prove",
            ),
            (
                "zones:\n- name: .\n  forward: [192.0.2.53]\n  authoritative: [192.0.2.53]",
                "zones[0].authoritative: a zone has servers that resolve for us",
            ),
            (
                "zones: [{name: ., authoritative: [127.0.0.1]}]",
                "is nodedns itself",
            ),
            (
                "zones: [{name: a, forward: [192.0.2.53]}, {name: A., forward: [192.0.2.53]}]",
                "zone a. is there twice",
            ),
            (
                "zones: [{name: a..b, forward: [192.0.2.53]}]",
                "is not a domain name",
            ),
            (
                "zones: [{name: ., forward: [192.0.2.53, \"udp://192.0.2.53:53\"]}]",
                "is there twice",
            ),
            (
                "zones: [{name: ., forward: [127.0.0.1]}]",
                "is nodedns itself",
            ),
            (&format!("{zone}validation: maybe"), "validation"),
            (
                &format!("{zone}nsec3_max_iterations: 501"),
                "must be from 0 to 500",
            ),
            (
                &format!("{zone}trust_anchors: {{files: [none.ds]}}"),
                "nodedns.yml:2:25: trust_anchors.files[0]: cannot read none.ds",
            ),
            (
                &format!("{zone}trust_anchors: {{negative: [a..b]}}"),
                "is not a domain name",
            ),
            (&format!("{zone}workers: 0"), "must be from 1 to 64"),
            (&format!("{zone}listen: []"), "name at least one address"),
            (&format!("{zone}listen: [eth0]"), "listen[0]"),
            (&format!("{zone}cache: {{size: 64}}"), "size"),
            (&format!("{zone}cache: {{size: 64MB}}"), "is not a size"),
            (&format!("{zone}cache: {{size: 1KiB}}"), "from 1MiB"),
            (&format!("{zone}cache: {{max_ttl: 0s}}"), "from 1s to"),
        ] {
            let error = check(yaml).unwrap_err();
            assert!(error.contains(part), "{yaml}\n{error}");
        }
    }

    #[test]
    fn sizes_read_back() {
        for text in ["64MiB", "1GiB", "1000B", "3KiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["", "64", "MiB", "-1B", "99999999999999999999B"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
