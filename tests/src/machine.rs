//! Other machines, which are reached by SSH: each has a network, processes and changing files of its
//! own, a real systemd and a real SSH server. Needs root, as [`Place::namespace`] does.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::binaries;
use crate::launch::{Launch, Output};
use crate::netns::Namespace;
use crate::peer::Peer;
use crate::place::Place;

/// Some machines, with one key that opens all.
#[derive(Debug)]
pub struct Machines {
    /// The machines.
    pub list: Vec<Machine>,
    folder: PathBuf,
}

/// One machine.
#[derive(Debug)]
pub struct Machine {
    /// Its systemd, to be killed with all that runs there.
    pub peer: Peer,
    namespace: Arc<Namespace>,
    address: IpAddr,
}

impl Machines {
    /// Starts so many, at 10.9.1.1 and so on, beside a place that is a namespace.
    ///
    /// `None` when this computer cannot; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When one does not start.
    pub async fn start(place: &Place, number: u8) -> Option<Self> {
        programs()?;
        let neighbour = |last| {
            let namespace = place.site().namespace().neighbour(last);
            let namespace = namespace.expect("whoever made one namespace can make another");
            (
                Arc::new(namespace),
                Namespace::neighbour_address(last).into(),
            )
        };
        Some(Self::launch(place, (1..=number).map(neighbour)).await)
    }

    /// Starts one that has all addresses of the place's namespace itself.
    ///
    /// `None` when this computer cannot; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn here(place: &Place) -> Option<Self> {
        programs()?;
        let here = (place.site().namespace(), place.address(2));
        Some(Self::launch(place, [here]).await)
    }

    async fn launch(place: &Place, at: impl IntoIterator<Item = (Arc<Namespace>, IpAddr)>) -> Self {
        let folder = place.folder().join("machines");
        fs::create_dir(&folder).expect("a test can write to its folder");
        generate_key(&folder.join("key"));
        let mut known_hosts = String::new();
        let mut list = Vec::new();
        for (number, (namespace, address)) in (1..).zip(at) {
            let (machine, known) = Machine::launch(place, &folder, number, namespace, address);
            known_hosts += &known;
            list.push(machine);
        }
        fs::write(folder.join("known_hosts"), known_hosts).expect("a test can write to its folder");
        for machine in &mut list {
            let at = SocketAddr::new(machine.address, 22);
            let ready = async || TcpStream::connect(at).await;
            machine.peer.ready(START_DEADLINE, ready).await;
        }
        Self { list, folder }
    }

    /// File with the public keys of all of them, as ssh takes it.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// The private key that opens all of them, for [`USER`].
    ///
    /// # Panics
    ///
    /// When it is gone.
    #[must_use]
    pub fn key(&self) -> String {
        fs::read_to_string(self.folder.join("key")).expect("it was made at the start")
    }

    /// A private key that opens none of them.
    ///
    /// # Panics
    ///
    /// When the folder cannot be written.
    #[must_use]
    pub fn other_key(&self) -> String {
        let file = self.folder.join("other");
        generate_key(&file);
        fs::read_to_string(file).expect("it has just been made")
    }
}

impl Machine {
    fn launch(
        place: &Place,
        folder: &Path,
        number: u8,
        namespace: Arc<Namespace>,
        address: IpAddr,
    ) -> (Self, String) {
        let own = folder.join(number.to_string());
        fs::create_dir(&own).expect("a test can write to its folder");
        let public = generate_key(&own.join("host_key"));
        fs::copy(folder.join("key.pub"), own.join("authorized_keys"))
            .and_then(|_| fs::write(own.join("user"), USER))
            .expect("a test can write to its folder");
        let peer = Launch::new(place, &format!("machine-{number}"), Path::new("sh"))
            .args(["-c", include_str!("machine.sh"), "sh"])
            .arg(unique_name())
            .arg(&own)
            .inside(Arc::clone(&namespace))
            .start();
        let machine = Self {
            peer,
            namespace,
            address,
        };
        (machine, format!("{address} {public}"))
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Copies a file of this computer there, with its mode, and the folders that lead to it.
    ///
    /// # Panics
    ///
    /// When the file is not there, or the machine has gone.
    pub fn install(&self, from: &Path, to: &str) {
        let to = PathBuf::from(format!("/proc/{}/root{to}", self.first()));
        let folder = to.parent().expect("a file is in a folder");
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(from, &to))
            .unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
    }

    /// The number of its first process here.
    fn first(&self) -> String {
        let own = self.peer.pid().as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let first = children.expect("a machine that runs has a process");
        first.trim().to_owned()
    }

    /// Runs a command of `sh` there, as root, to its end.
    ///
    /// # Panics
    ///
    /// When the machine has gone.
    pub async fn run(&self, place: &Place, command: &str) -> Output {
        Launch::new(place, "on-machine", Path::new("nsenter"))
            .args([
                "--mount",
                "--pid",
                "--net",
                "--cgroup",
                "--target",
                &self.first(),
            ])
            .args(["sh", "-c", command])
            .inside(Arc::clone(&self.namespace))
            .run()
            .await
    }
}

/// Whether all that a machine needs is here.
fn programs() -> Option<()> {
    for program in ["sshd", "ssh", "ssh-keygen", "sudo", "systemctl"] {
        binaries::packaged(program)?;
    }
    Some(())
}

/// A name that no other machine of this computer has.
fn unique_name() -> String {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    format!("test-machine-{}-{number}", std::process::id())
}

/// Makes a key pair, and gives the public one.
fn generate_key(file: &Path) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(file)
        .status();
    assert!(made.is_ok_and(|status| status.success()), "ssh-keygen");
    fs::read_to_string(file.with_extension("pub")).expect("it has just been made")
}

/// Who may log in, and become root.
pub const USER: &str = "operator";
/// Twenty of them begin at once on a busy computer.
const START_DEADLINE: Duration = Duration::from_secs(120);
