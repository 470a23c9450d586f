//! The proxies that are compared: how each is started, and what it has used.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Running;

/// One that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxy {
    /// Ours.
    Rivers,
    /// Debian's, copying.
    Haproxy,
    /// Debian's, with splice.
    HaproxySplice,
    /// Debian's, module stream.
    Nginx,
    /// `src/bin/copy_bidirectional.rs`.
    Tokio,
}

impl Proxy {
    /// All, the one that the others are compared with first.
    pub const ALL: [Self; 5] = [
        Self::Haproxy,
        Self::HaproxySplice,
        Self::Nginx,
        Self::Tokio,
        Self::Rivers,
    ];

    /// What the table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rivers => "rivers",
            Self::Haproxy => "HAProxy",
            Self::HaproxySplice => "HAProxy, splice",
            Self::Nginx => "nginx",
            Self::Tokio => "copy_bidirectional",
        }
    }

    /// Starts it on the first core, in front of `upstream`, with its files in `folder`.
    ///
    /// # Errors
    /// It cannot be started, or accepts nobody within five seconds.
    pub fn start(self, upstream: SocketAddr, folder: &Path) -> io::Result<Started> {
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let own = std::env::current_exe()?;
        let beside = |name: &str| own.with_file_name(name);
        let configured = |name: &str| -> io::Result<PathBuf> {
            let text = fs::read_to_string(configurations().join(name))?
                .replace("@LISTEN@", &listen.to_string())
                .replace("@UPSTREAM@", &upstream.to_string())
                .replace("@FOLDER@", &folder.display().to_string());
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let mut command = Command::new("taskset");
        command.args(["-c", PROXY_CORE]);
        match self {
            Self::Rivers => command
                .arg(beside("rivers"))
                .arg("--config")
                .arg(configured("rivers.yml")?),
            Self::Haproxy => command
                .args(["haproxy", "-db", "-f"])
                .arg(configured("haproxy.cfg")?),
            Self::HaproxySplice => command
                .args(["haproxy", "-db", "-f"])
                .arg(configured("haproxy-splice.cfg")?),
            Self::Nginx => command.args(["nginx", "-c"]).arg(configured("nginx.conf")?),
            Self::Tokio => command
                .arg(beside("copy_bidirectional"))
                .args([listen.to_string(), upstream.to_string()]),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn()?;
        let running = Running::of(child);
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(listen).is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(folder.join("log"))?;
                return Err(io::Error::other(format!(
                    "{} accepts nobody: {log}",
                    self.name()
                )));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Started { running, listen })
    }
}

/// A proxy that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub running: Running,
    /// Where its clients connect to.
    pub listen: SocketAddr,
}

/// Where the configurations of all are.
fn configurations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compare/rivers")
}

/// The proxy has this core to itself.
const PROXY_CORE: &str = "0";
