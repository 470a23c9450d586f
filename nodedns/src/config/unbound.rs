//! unbound.conf, as CKE writes it for its node DNS, as a `nodedns.yml`, with a word about each
//! line that has no counterpart. Pure: no file that it names is looked at.

mod kept;
mod lines;
mod words;
mod zones;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::file::{File, Networks};
use crate::config::{Mode, Name};

use self::kept::Kept;
use self::lines::{Clause, Line};
use self::zones::Zones;

pub use self::lines::NoOption;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What nodedns is to run on.
    pub file: File,
    /// What a person should know, by line.
    pub remarks: Vec<Remark>,
}

/// A line that has no counterpart, or not quite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Counted from 1.
    pub line: usize,
    /// The option.
    pub option: String,
    /// What became of it.
    pub word: String,
}

/// Translates the text of an unbound.conf.
///
/// # Errors
/// A line is none of such a file.
pub fn import(text: &str) -> Result<Imported, NoOption> {
    let mut import = Import::default();
    for line in &lines::read(text)? {
        if let Err(word) = import.take(line) {
            import.remarks.push(Remark {
                line: line.number,
                option: line.key.to_owned(),
                word,
            });
        }
    }
    Ok(import.end())
}

/// What has been read so far.
#[derive(Default)]
struct Import {
    interfaces: Vec<(IpAddr, Option<u16>)>,
    port: Option<u16>,
    access: Vec<Networks>,
    workers: Option<usize>,
    kept: Kept,
    rotates: bool,
    is_permissive: bool,
    ca_file: Option<PathBuf>,
    root_hints: Option<PathBuf>,
    anchors: Vec<PathBuf>,
    hosts: Vec<(Name, IpAddr)>,
    denied: Vec<Networks>,
    exempt: Vec<Name>,
    logs_all: bool,
    logs_failures: bool,
    zones: Zones,
    remarks: Vec<Remark>,
}

/// Nothing, or the word about a line.
type Taken = Result<(), String>;

impl Import {
    fn take(&mut self, line: &Line<'_>) -> Taken {
        match line.clause {
            Clause::Server => self.server(line),
            Clause::Forward(begins) | Clause::Stub(begins) => {
                let is_stub = matches!(line.clause, Clause::Stub(_));
                self.zones.option(begins, is_stub, line)
            }
            Clause::Other => Err(words::OTHER_CLAUSE.to_owned()),
        }
    }

    fn server(&mut self, line: &Line<'_>) -> Taken {
        let value = line.values.first().copied().unwrap_or_default();
        let is_yes = value == "yes";
        match line.key {
            "interface" | "ip-address" => {
                let (address, port) = match value.split_once('@') {
                    Some((address, port)) => {
                        (address, Some(port.parse().map_err(|_| not_read(value))?))
                    }
                    None => (value, None),
                };
                let address = address.parse().map_err(|_| words::INTERFACE.to_owned())?;
                self.interfaces.push((address, port));
            }
            "port" => self.port = Some(number(value)?),
            "access-control" => return self.access(line),
            "num-threads" => {
                let threads: usize = number(value)?;
                self.workers = Some(threads.clamp(1, MAX_WORKERS));
                if threads > 1 {
                    return Err(words::THREADS.to_owned());
                }
            }
            "rrset-roundrobin" => self.rotates = is_yes,
            "val-permissive-mode" => self.is_permissive = is_yes,
            "tls-cert-bundle" | "ssl-cert-bundle" => self.ca_file = Some(value.into()),
            "root-hints" => self.root_hints = Some(value.into()),
            "tcp-upstream" => self.zones.over_tcp = is_yes,
            "tls-upstream" | "ssl-upstream" => self.zones.over_tls = is_yes,
            "module-config" => {
                if !value.split_whitespace().any(|module| module == "validator") {
                    self.zones.unvalidated = true;
                }
            }
            "domain-insecure" => self.zones.insecure.push(name(value)?),
            "trust-anchor-file" | "auto-trust-anchor-file" if value.ends_with("root.key") => {
                return Err(words::ROOT_KEY.to_owned());
            }
            "trust-anchor-file" | "auto-trust-anchor-file" => self.anchors.push(value.into()),
            "private-address" => self
                .denied
                .push(value.parse().map_err(|_| not_read(value))?),
            "private-domain" => self.exempt.push(name(value)?),
            "log-queries" | "log-replies" => self.logs_all |= is_yes,
            "log-servfail" => self.logs_failures = is_yes,
            "local-zone" => return self.local_zone(line),
            "local-data" => return self.local_data(value),
            key => {
                let taken = self.kept.option(key, value);
                return taken.unwrap_or_else(|| words::of_server(key, value));
            }
        }
        Ok(())
    }

    fn access(&mut self, line: &Line<'_>) -> Taken {
        let [subnet, action] = line.values[..] else {
            return Err("is a subnet and an action; this is not".to_owned());
        };
        if !action.starts_with("allow") {
            return Err(words::NOT_ALLOWED.to_owned());
        }
        self.access
            .push(subnet.parse().map_err(|_| not_read(subnet))?);
        Ok(())
    }

    fn local_zone(&mut self, line: &Line<'_>) -> Taken {
        let [zone, kind] = line.values[..] else {
            return Err("is a name and a type; this is not".to_owned());
        };
        if !matches!(kind, "transparent" | "nodefault" | "typetransparent") {
            return Err(words::LOCAL_ZONE.to_owned());
        }
        self.zones.asked.push(name(zone)?);
        Ok(())
    }

    fn local_data(&mut self, record: &str) -> Taken {
        let fields: Vec<&str> = record.split_whitespace().collect();
        let [owner, .., kind, data] = fields[..] else {
            return Err(words::LOCAL_DATA.to_owned());
        };
        match (kind, data.parse()) {
            ("A" | "AAAA", Ok(address)) => self.hosts.push((name(owner)?, address)),
            _ => return Err(words::LOCAL_DATA.to_owned()),
        }
        Ok(())
    }

    fn end(mut self) -> Imported {
        let (zones, negative) = self.zones.end(&mut self.remarks);
        let mut file = File::with_zones(zones);
        let port = self.port.unwrap_or(53);
        let listen = self.interfaces.iter();
        let mut listen: Vec<_> = listen
            .map(|(ip, own)| SocketAddr::new(*ip, own.unwrap_or(port)))
            .collect();
        let mut seen = std::collections::HashSet::new();
        listen.retain(|address| seen.insert(*address));
        // Without one unbound listens on localhost alone.
        file.listen = match listen.is_empty() {
            true => [
                [127, 0, 0, 1].into(),
                IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
            ]
            .map(|ip: IpAddr| SocketAddr::new(ip, port))
            .into(),
            false => listen,
        };
        if !self.access.is_empty() {
            file.access.allow = self.access;
        }
        if let Some(workers) = self.workers {
            file.workers = workers;
        }
        self.kept.end(&mut file.cache);
        file.rotate_addresses = self.rotates;
        file.rebinding.deny = self.denied;
        file.rebinding.exempt = self.exempt;
        file.query_log.one_in = u32::from(self.logs_all);
        file.query_log.failed = self.logs_failures;
        if self.is_permissive {
            file.validation = Mode::Log;
        }
        file.ca_file = self.ca_file;
        file.recursion.root_hints = self.root_hints;
        file.trust_anchors.files = self.anchors;
        file.trust_anchors.negative = negative;
        for (name, address) in self.hosts {
            file.hosts
                .entry(name.to_string())
                .or_default()
                .push(address);
        }
        self.remarks.sort_by_key(|remark| remark.line);
        Imported {
            file,
            remarks: self.remarks,
        }
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::from_text(text).map_err(|error| error.to_string())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| not_read(text))
}

/// `64m`, as unbound writes bytes.
fn bytes(text: &str) -> Result<usize, String> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.trim_end_matches('b');
    let (digits, unit) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 1 << 10),
        Some(b'm') => (&lower[..lower.len() - 1], 1 << 20),
        Some(b'g') => (&lower[..lower.len() - 1], 1 << 30),
        _ => (lower, 1),
    };
    let count: usize = number(digits)?;
    count.checked_mul(unit).ok_or_else(|| not_read(text))
}

fn not_read(text: &str) -> String {
    format!("`{text}` cannot be read: left out")
}

const MAX_WORKERS: usize = 64;

#[cfg(test)]
mod tests;
