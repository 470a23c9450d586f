//! The servers that are compared: how each is started. Their configurations are in `compare/nodedns/`.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::dns::questions::question;
use crate::dns::zones::{PLAIN, SIGNED, Zones};
use crate::process::Running;

/// One that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// `src/bin/udp_echo.rs`, the floor; it sends back so many bytes.
    Echo(usize),
    /// Ours.
    Nodedns,
    /// Debian's.
    Unbound,
    /// Debian's Knot Resolver.
    Knot,
    /// Debian's PowerDNS Recursor.
    PowerDns,
    /// Debian's BIND.
    Bind,
    /// Debian's; a cache that validates nothing.
    Dnsdist,
    /// As built for the tests; a cache that validates nothing.
    CoreDns,
}

impl Server {
    /// What the table calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Nodedns => "nodedns",
            Self::Unbound => "unbound",
            Self::Knot => "Knot Resolver",
            Self::PowerDns => "PowerDNS Recursor",
            Self::Bind => "BIND",
            Self::Dnsdist => "dnsdist",
            Self::CoreDns => "CoreDNS",
        }
    }

    /// Whether it validates.
    #[must_use]
    pub const fn validates(self) -> bool {
        !matches!(self, Self::Echo(_) | Self::Dnsdist | Self::CoreDns)
    }

    /// The program, when it is on this machine.
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        let beside = |name: &str| Some(env::current_exe().ok()?.with_file_name(name));
        let (name, places) = match self {
            Self::Echo(_) => return beside("udp_echo"),
            Self::Nodedns => return beside("nodedns"),
            Self::Unbound => ("unbound", SYSTEM),
            Self::Knot => ("kresd", SYSTEM),
            Self::PowerDns => ("pdns_recursor", SYSTEM),
            Self::Bind => ("named", SYSTEM),
            Self::Dnsdist => ("dnsdist", SYSTEM),
            Self::CoreDns => ("coredns", &[][..]),
        };
        let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let places = places.iter().map(PathBuf::from).chain(assets);
        places
            .map(|place| place.join(name))
            .find(|path| path.exists())
    }

    /// Starts it on the first core, before `zones`, with its files in `folder`.
    ///
    /// # Errors
    /// It is missing, cannot be started, or answers nobody within ten seconds.
    pub fn start(self, zones: &Zones, folder: &Path) -> io::Result<Started> {
        let missing = || io::Error::other(format!("{} is not on this machine", self.name()));
        let program = self.program().ok_or_else(missing)?;
        let address = free_port()?;
        let text = Text::new(address, zones, folder)?;
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]).arg(program);
        match self {
            Self::Echo(bytes) => command.args([address.to_string(), bytes.to_string()]),
            Self::Nodedns => command
                .arg("--config")
                .arg(text.write("nodedns.yml")?)
                .arg("--run-dir")
                .arg(folder)
                .arg("--state-dir")
                .arg(folder),
            Self::Unbound => command.args(["-d", "-c"]).arg(text.write("unbound.conf")?),
            Self::Knot => command
                .args(["-n", "-c"])
                .arg(text.write("kresd.conf")?)
                .arg(folder),
            Self::PowerDns => {
                text.write("recursor.lua")?;
                text.write("recursor.conf")?;
                command.arg(format!("--config-dir={}", folder.display()))
            }
            Self::Bind => command
                .args(["-f", "-n", "1", "-c"])
                .arg(text.write("named.conf")?),
            Self::Dnsdist => command
                .args(["--supervised", "--disable-syslog", "-C"])
                .arg(text.write("dnsdist.conf")?),
            Self::CoreDns => command
                .env("GOMAXPROCS", "1")
                .arg("-conf")
                .arg(text.write("Corefile")?),
        };
        let began = Instant::now();
        let log = folder.join("log");
        let child: Child = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::OpenOptions::new().append(true).open(&log)?)
            .spawn()?;
        let running = Running::of(child);
        wait_for_answer(address).map_err(|error| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            io::Error::other(format!("{} answers nobody: {error}: {said}", self.name()))
        })?;
        Ok(Started {
            running,
            address,
            first_answer: began.elapsed(),
        })
    }
}

/// A server that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub running: Running,
    /// Where it is asked.
    pub address: SocketAddr,
    /// From the start of the process to its first answer.
    pub first_answer: Duration,
}

/// Configurations, filled in.
struct Text<'a> {
    words: Vec<(&'static str, String)>,
    folder: &'a Path,
}

impl<'a> Text<'a> {
    fn new(address: SocketAddr, zones: &Zones, folder: &'a Path) -> io::Result<Self> {
        let ds = fs::read_to_string(&zones.anchor)?;
        let ds: Vec<&str> = ds.split_whitespace().collect();
        // name, (TTL,) class, DS, tag, algorithm, digest type, digest.
        let data = ds.iter().position(|word| *word == "DS").unwrap_or(0) + 1;
        let [tag, algorithm, kind, digest @ ..] = &ds[data..] else {
            return Err(io::Error::other("no DS record"));
        };
        let digest = digest.concat();
        let ds_data = format!("{tag} {algorithm} {kind} {digest}");
        Ok(Self {
            words: vec![
                ("@IP@", address.ip().to_string()),
                ("@PORT@", address.port().to_string()),
                ("@ADMIN@", free_port()?.port().to_string()),
                ("@UPSTREAM_IP@", zones.address.ip().to_string()),
                ("@UPSTREAM_PORT@", zones.address.port().to_string()),
                ("@FOLDER@", folder.display().to_string()),
                ("@ANCHOR@", zones.anchor.display().to_string()),
                ("@DS@", format!("{SIGNED} IN DS {ds_data}")),
                (
                    "@TRUST_ANCHOR@",
                    format!("{SIGNED} static-ds {tag} {algorithm} {kind} \"{digest}\""),
                ),
                ("@DS_DATA@", ds_data),
            ],
            folder,
        })
    }

    fn write(&self, name: &str) -> io::Result<PathBuf> {
        let configurations = Path::new(env!("CARGO_MANIFEST_DIR")).join("compare/nodedns");
        let mut text = fs::read_to_string(configurations.join(name))?;
        for (word, value) in &self.words {
            text = text.replace(word, value);
        }
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

fn wait_for_answer(address: SocketAddr) -> io::Result<()> {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.connect(address)?;
    client.set_read_timeout(Some(Duration::from_millis(10)))?;
    let question = question(&format!("n0.{PLAIN}"), false);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        // Refused as long as nobody listens.
        let _ = client.send(&question);
        match client.recv(&mut [0; 1_500]) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A port that nobody has over TCP.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const SYSTEM: &[&str] = &["/usr/sbin", "/usr/bin", "/usr/local/sbin"];
/// The server has this core to itself.
const SERVER_CORE: &str = "0";
