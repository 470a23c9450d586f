//! The zones behind the servers: an NSD with many names, plain and signed with a P-256 key.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A name server that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Zones {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// The DS record of [`SIGNED`], in a file.
    pub anchor: PathBuf,
}

impl Zones {
    /// Writes and signs the zones in `folder`, and serves them there.
    ///
    /// # Errors
    /// NSD or a tool of ldns is missing, or refuses.
    pub fn serve(address: SocketAddr, folder: &Path) -> io::Result<Self> {
        let mut plain = head();
        for number in 0..NAMES {
            let [high, low] = (number as u16).to_be_bytes();
            writeln!(plain, "n{number} A 198.18.{high}.{low}").map_err(io::Error::other)?;
        }
        fs::write(folder.join("plain"), &plain)?;

        let mut hashed = head();
        for number in 0..HASHED_NAMES {
            writeln!(hashed, "n{number} A 198.18.0.1").map_err(io::Error::other)?;
        }
        let hashed_ds = sign(folder, HASHED, "hashed", &hashed, &["-n", "-t", "0"])?;

        let mut signed = head();
        for number in 0..NAMES {
            let [high, low] = (number as u16).to_be_bytes();
            writeln!(signed, "n{number} A 198.19.{high}.{low}").map_err(io::Error::other)?;
        }
        writeln!(
            signed,
            "*.wild A 198.19.0.1\nhashed NS ns.hashed\nns.hashed A 192.0.2.53"
        )
        .map_err(io::Error::other)?;
        signed.push_str(&fs::read_to_string(hashed_ds)?);
        let anchor = sign(folder, SIGNED, "signed", &signed, &[])?;

        let configuration = format!(
            "server:\n ip-address: {}@{}\n zonesdir: {folder}\n username: \"\"\n pidfile: \"\"\n zonelistfile: {folder}/zone.list\n \
             xfrdfile: {folder}/xfrd\n database: \"\"\n hide-version: yes\n rrl-ratelimit: 0\n\
             remote-control:\n control-enable: no\n\
             zone:\n name: {PLAIN}\n zonefile: plain\n\
             zone:\n name: {SIGNED}\n zonefile: signed.signed\n\
             zone:\n name: {HASHED}\n zonefile: hashed.signed\n",
            address.ip(),
            address.port(),
            folder = folder.display(),
        );
        fs::write(folder.join("nsd.conf"), configuration)?;
        let child = Command::new("taskset")
            .args(["-c", "1", "nsd", "-d", "-c"])
            .arg(folder.join("nsd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("nsd.log"))?)
            .spawn()?;
        Ok(Self {
            child,
            address,
            anchor,
        })
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        // It has ended by itself if not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn head() -> String {
    "@ 86400 IN SOA ns admin 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.53\n$TTL 86400\n"
        .to_owned()
}

/// Writes and signs a zone, and gives the file that has its DS record.
fn sign(
    folder: &Path,
    zone: &str,
    file: &str,
    content: &str,
    options: &[&str],
) -> io::Result<PathBuf> {
    fs::write(folder.join(file), content)?;
    let key = run(Command::new("ldns-keygen").current_dir(folder).args([
        "-k",
        "-a",
        "ECDSAP256SHA256",
        "-r",
        "/dev/urandom",
        zone,
    ]))?;
    let key = key.trim();
    run(Command::new("ldns-signzone")
        .current_dir(folder)
        .args(options)
        .args(["-o", zone, "-f", &format!("{file}.signed"), file, key]))?;
    Ok(folder.join(format!("{key}.ds")))
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {said}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The zone without signatures.
pub const PLAIN: &str = "plain.test.";
/// The zone with signatures.
pub const SIGNED: &str = "signed.test.";
/// Names `n0`, `n1`, … of each, with an address each; [`SIGNED`], which denies by NSEC, has a wildcard `*.wild`
/// as well.
pub const NAMES: u32 = 100_000;
/// A zone below [`SIGNED`] that denies by NSEC3.
pub const HASHED: &str = "hashed.signed.test.";
const HASHED_NAMES: u32 = 10_000;
