//! An authoritative name server, NSD, with zones that are signed on the spot.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::binaries;
use crate::dns::{Question, RecordType};
use crate::launch::Launch;
use crate::peer::Peer;
use crate::place::Place;

/// A zone in a file.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    file: PathBuf,
    ds: Option<String>,
}

/// How a signed zone proves that a name is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// By the names around it.
    Nsec,
    /// By the hashes around its hash, without salt and further iterations, as RFC 9276 has it.
    Nsec3,
}

impl Zone {
    /// A zone as it is. `name` is absolute, `.` for the root; `text` is a zone file, in which `@` is
    /// the zone's name.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    #[must_use]
    pub fn unsigned(place: &Place, name: &str, text: &str) -> Self {
        let file = place
            .folder()
            .join(format!("{}-{name}zone", place.site().next_number()));
        fs::write(&file, format!("$ORIGIN {name}\n$TTL 300\n{text}\n"))
            .expect("a test can write to its folder");
        Self {
            name: name.to_owned(),
            file,
            ds: None,
        }
    }

    /// A zone that stands in a file, whatever is in it.
    #[must_use]
    pub(crate) fn of_file(name: &str, file: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            file,
            ds: None,
        }
    }

    /// A zone signed with one new P-256 key, from now for four weeks.
    ///
    /// `None` when the signer is missing on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When the zone is wrong.
    #[must_use]
    #[track_caller]
    pub fn signed(place: &Place, name: &str, text: &str, denial: Denial) -> Option<Self> {
        let [keygen, signzone] = ["ldns-keygen", "ldns-signzone"].map(binaries::packaged);
        let (keygen, signzone) = (keygen?, signzone?);
        let Self { file, .. } = Self::unsigned(place, name, text);
        let run = |command: &mut Command| {
            let output = command
                .current_dir(place.folder())
                .output()
                .expect("found above");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {said}");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let key = run(Command::new(keygen).args(["-a", "ECDSAP256SHA256", "-k", name]));
        let mut sign = Command::new(signzone);
        if denial == Denial::Nsec3 {
            sign.args(["-n", "-t", "0"]);
        }
        run(sign.args(["-o", name]).arg(&file).arg(&key));
        let ds = fs::read_to_string(place.folder().join(format!("{key}.ds")))
            .expect("ldns-keygen wrote it");
        Some(Self {
            name: name.to_owned(),
            file: place.folder().join(format!("{}.signed", file.display())),
            ds: Some(ds.trim().to_owned()),
        })
    }

    /// Its absolute name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The DS record of a signed zone, as a line for the parent's zone file or a file of trust anchors.
    ///
    /// # Panics
    ///
    /// When the zone is unsigned.
    #[must_use]
    #[track_caller]
    pub fn ds(&self) -> &str {
        self.ds.as_deref().expect("a signed zone")
    }
}

/// A running NSD.
#[derive(Debug)]
pub struct Authoritative {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
}

impl Authoritative {
    /// Starts a server of these zones, and waits until it answers.
    ///
    /// `None` when there is no NSD on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(place: &Place, address: SocketAddr, zones: &[Zone]) -> Option<Self> {
        let program = binaries::packaged("nsd")?;
        let name = format!("nsd-{}-{}", address.ip(), address.port());
        let folder = place.folder().join(&name);
        fs::create_dir(&folder).expect("a place has room for one server at an address");
        let configuration = folder.join("nsd.conf");
        fs::write(
            &configuration,
            configuration_of(&folder.display().to_string(), address, zones),
        )
        .expect("a test can write to its folder");
        let mut peer = Launch::new(place, &name, &program)
            .arg("-d")
            .arg("-c")
            .arg(&configuration)
            .start();
        let question = Question::new(
            zones.first().map_or(".", |zone| &zone.name),
            RecordType::SOA,
        );
        peer.ready(START_DEADLINE, async || question.ask(address).await)
            .await;
        Some(Self { peer, address })
    }

    /// Where it listens, on UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn configuration_of(folder: &str, address: SocketAddr, zones: &[Zone]) -> String {
    let (ip, port) = (address.ip(), address.port());
    let server = format!(
        r#"server:
  ip-address: {ip}@{port}
  server-count: 1
  # Changing the user would end the tie to the test's process.
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: ""
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  # A test may ask as fast as it likes.
  rrl-ratelimit: 0
remote-control:
  control-enable: no
"#
    );
    let zones = zones.iter().map(|Zone { name, file, .. }| {
        format!(
            "zone:\n  name: \"{name}\"\n  zonefile: \"{}\"\n",
            file.display()
        )
    });
    std::iter::once(server).chain(zones).collect()
}

const START_DEADLINE: Duration = Duration::from_secs(20);
