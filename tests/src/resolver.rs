//! Resolvers of other people: unbound as the plain resolver that nodedns asks, unbound and BIND as
//! judges that validate the same zones.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::authoritative::Zone;
use crate::binaries;
use crate::bind;
use crate::dns::{Question, RecordType};
use crate::launch::Launch;
use crate::peer::Peer;
use crate::place::Place;

/// A running resolver.
#[derive(Debug)]
pub struct Resolver {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
}

impl Resolver {
    /// An unbound that validates nothing: it asks `authoritative` for these zones, which are all
    /// there are, and follows aliases.
    ///
    /// `None` when there is none on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn plain(
        place: &Place,
        address: SocketAddr,
        authoritative: SocketAddr,
        zones: &[Zone],
    ) -> Option<Self> {
        let zones = zones.iter().map(|zone| {
            format!(
                "stub-zone:\n  name: \"{}\"\n  stub-addr: {}\n  stub-prime: no\n",
                zone.name(),
                at(authoritative)
            )
        });
        let zones: String = zones.collect();
        unbound(place, address, "module-config: \"iterator\"", &zones).await
    }

    /// An unbound that validates what `upstream` says, from the anchors in a file, with as many
    /// iterations of NSEC3 as nodedns takes.
    ///
    /// `None` when there is none on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn validating_unbound(
        place: &Place,
        address: SocketAddr,
        upstream: SocketAddr,
        anchors: &Path,
    ) -> Option<Self> {
        let options = format!(
            "module-config: \"validator iterator\"\n  trust-anchor-file: \"{}\"\n  ede: yes\n  \
             val-nsec3-keysize-iterations: \"1024 50 2048 50 4096 50\"\n  val-log-level: 2\n  \
             aggressive-nsec: no",
            anchors.display()
        );
        let zones = format!(
            "forward-zone:\n  name: \".\"\n  forward-addr: {}\n",
            at(upstream)
        );
        unbound(place, address, &options, &zones).await
    }

    /// A BIND that validates what `upstream` says, from `anchor`, the root's DS in a line. It listens
    /// only on an address that an interface has: the first of a place with a namespace.
    ///
    /// `None` when there is none on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn validating_bind(
        place: &Place,
        address: SocketAddr,
        upstream: SocketAddr,
        anchor: &str,
    ) -> Option<Self> {
        let words: Vec<&str> = anchor.split_whitespace().skip(3).collect();
        let [tag, algorithm, kind, digest @ ..] = &words[..] else {
            panic!("{anchor} is no DS record")
        };
        let digest = digest.concat();
        let options = format!(
            "  forwarders {{ {} port {}; }};\n  forward only;\n  recursion yes;\n  dnssec-validation yes;\n  \
             synth-from-dnssec no;\n  max-cache-ttl 1;\n  max-ncache-ttl 1;\n",
            upstream.ip(),
            upstream.port(),
        );
        let anchors =
            format!("trust-anchors {{ . static-ds {tag} {algorithm} {kind} \"{digest}\"; }};\n");
        let peer = bind::start(place, address, &options, &anchors).await?;
        Some(Self { peer, address })
    }

    /// Where it listens, on UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn start(launch: Launch, address: SocketAddr) -> Self {
        let mut peer = launch.start();
        let question = Question::new(".", RecordType::NS);
        peer.ready(START_DEADLINE, async || question.ask(address).await)
            .await;
        Self { peer, address }
    }
}

async fn unbound(
    place: &Place,
    address: SocketAddr,
    options: &str,
    zones: &str,
) -> Option<Resolver> {
    let program = binaries::packaged("unbound")?;
    let folder = place.folder_of("unbound", address);
    let text = format!(
        r#"server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  interface: {address}
  do-ip6: no
  access-control: 0.0.0.0/0 allow
  do-not-query-localhost: no
  num-threads: 1
  qname-minimisation: no
  cache-max-ttl: 1
  cache-max-negative-ttl: 1
  {options}
remote-control:
  control-enable: no
{zones}"#,
        address = at(address),
    );
    let file = format!("{folder}/unbound.conf");
    fs::write(&file, text).expect("a test can write to its folder");
    let name = format!("unbound-{}", address.ip());
    let launch = Launch::new(place, &name, &program).args(["-d", "-p", "-c", &file]);
    Some(Resolver::start(launch, address).await)
}

/// As unbound writes addresses.
fn at(address: SocketAddr) -> String {
    format!("{}@{}", address.ip(), address.port())
}

const START_DEADLINE: Duration = Duration::from_secs(20);
