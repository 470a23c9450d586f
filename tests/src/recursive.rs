//! Recursive resolvers that others use: unbound and BIND, over UDP, TCP and TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::binaries;
use crate::dns::{Question, RecordType};
use crate::launch::Launch;
use crate::peer::Peer;
use crate::pki::Issued;
use crate::place::Place;

/// A running one.
#[derive(Debug)]
pub struct Recursive {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
}

/// What a resolver is to do.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The zone whose names it resolves, absolute.
    pub zone: &'a str,
    /// The server that has the zone.
    pub server: SocketAddr,
    /// The zone's DS record, to validate against; none: it does not validate.
    pub trust_anchor: Option<&'a str>,
    /// The certificate with which it speaks TLS, on port 8853; none: it does not.
    pub certificate: Option<&'a Issued>,
}

impl Recursive {
    /// Starts unbound, and waits until it answers.
    ///
    /// `None` when it is not on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn unbound(place: &Place, address: SocketAddr, task: Task<'_>) -> Option<Self> {
        let program = binaries::packaged("unbound")?;
        let folder = folder(place, &format!("unbound-{}", address.ip()));
        let file = folder.join("unbound.conf");
        fs::write(&file, unbound_configuration(&folder, address, task))
            .expect("a test can write to its folder");
        let launch = Launch::new(place, &format!("unbound-{}", address.ip()), &program)
            .arg("-d")
            .arg("-c")
            .arg(file);
        Some(Self::start(launch, address, task).await)
    }

    /// Starts BIND, and waits until it answers. It listens on addresses that a device has by itself,
    /// so the place has to be a namespace, in which this device gets it.
    ///
    /// `None` when it is not on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn bind(place: &Place, address: SocketAddr, task: Task<'_>) -> Option<Self> {
        let program = binaries::packaged("named")?;
        let ip = binaries::packaged("ip")?;
        Launch::new(place, "ip", &ip)
            .args([
                "address",
                "add",
                &format!("{}/32", address.ip()),
                "dev",
                "lo",
            ])
            .run()
            .await
            .success();
        let folder = folder(place, &format!("bind-{}", address.ip()));
        let file = folder.join("named.conf");
        fs::write(&file, bind_configuration(&folder, address, task))
            .expect("a test can write to its folder");
        let launch = Launch::new(place, &format!("bind-{}", address.ip()), &program)
            .arg("-g")
            .arg("-c")
            .arg(file);
        Some(Self::start(launch, address, task).await)
    }

    async fn start(launch: Launch, address: SocketAddr, task: Task<'_>) -> Self {
        let mut peer = launch.start();
        let question = Question::new(task.zone, RecordType::SOA);
        peer.ready(START_DEADLINE, async || question.ask(address).await)
            .await;
        Self { peer, address }
    }

    /// Where it listens, on UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for TLS, if it does.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), TLS_PORT)
    }
}

fn folder(place: &Place, name: &str) -> std::path::PathBuf {
    let folder = place.folder().join(name);
    fs::create_dir(&folder).expect("a place has room for one server at an address");
    folder
}

fn unbound_configuration(folder: &Path, address: SocketAddr, task: Task<'_>) -> String {
    let (ip, port, folder) = (address.ip(), address.port(), folder.display());
    let (zone, server) = (task.zone, task.server);
    let modules = match task.trust_anchor {
        Some(_) => "validator iterator",
        None => "iterator",
    };
    let anchor = task.trust_anchor.map_or_else(String::new, |ds| {
        format!("  trust-anchor: \"{}\"\n", one_line(ds))
    });
    let tls = task.certificate.map_or_else(String::new, |issued| {
        format!(
            "  interface: {ip}@{TLS_PORT}\n  tls-port: {TLS_PORT}\n  tls-service-pem: \"{}\"\n  tls-service-key: \"{}\"\n",
            issued.certificate.display(),
            issued.key.display()
        )
    });
    format!(
        r#"server:
  interface: {ip}@{port}
{tls}  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "{modules}"
{anchor}  root-hints: ""
  # So that a connection that nobody uses ends soon.
  tcp-idle-timeout: 2000
  num-threads: 1
remote-control:
  control-enable: no
stub-zone:
  name: "{zone}"
  stub-addr: {}@{}
"#,
        server.ip(),
        server.port()
    )
}

fn bind_configuration(folder: &Path, address: SocketAddr, task: Task<'_>) -> String {
    let (ip, port, folder) = (address.ip(), address.port(), folder.display());
    let (zone, server) = (task.zone, task.server);
    let validation = if task.trust_anchor.is_some() {
        "yes"
    } else {
        "no"
    };
    let anchor = task.trust_anchor.map_or_else(String::new, |ds| {
        // OWNER [TTL] IN DS TAG ALGORITHM DIGEST-TYPE DIGEST
        let line = one_line(ds);
        let (_, data) = line.split_once(" DS ").expect("a DS record");
        let mut fields = data.split_whitespace();
        let [tag, algorithm, kind] = [0; 3].map(|_| fields.next().expect("a DS record"));
        let digest: String = fields.collect();
        format!(
            "trust-anchors {{ \"{zone}\" static-ds {tag} {algorithm} {kind} \"{digest}\"; }};\n"
        )
    });
    let (tls, listen) = task.certificate.map_or_else(Default::default, |issued| {
        (
            format!(
                "tls own {{ cert-file \"{}\"; key-file \"{}\"; }};\n",
                issued.certificate.display(),
                issued.key.display()
            ),
            format!("  listen-on port {TLS_PORT} tls own {{ {ip}; }};\n"),
        )
    });
    format!(
        r#"{tls}{anchor}options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  managed-keys-directory "{folder}";
  listen-on port {port} {{ {ip}; }};
{listen}  listen-on-v6 {{ none; }};
  allow-query {{ any; }};
  recursion yes;
  dnssec-validation {validation};
}};
controls {{ }};
zone "{zone}" {{ type static-stub; server-addresses {{ {}; }}; }};
"#,
        server.ip()
    )
}

/// A record without its comment.
fn one_line(record: &str) -> String {
    let record = record.split(';').next().unwrap_or_default();
    record.split_whitespace().collect::<Vec<_>>().join(" ")
}

const TLS_PORT: u16 = 8853;
const START_DEADLINE: Duration = Duration::from_secs(20);
