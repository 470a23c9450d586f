//! Forward and stub zones of unbound.conf as zones of ours.

use std::net::{IpAddr, SocketAddr};

use crate::config::file::Zone;
use crate::config::{Forward, Identity, Name, Protocol};
use crate::wire::order::is_within;

use super::lines::Line;
use super::{Remark, Taken, name, not_read};

/// The zones so far, and what is said of all of them.
#[derive(Debug, Default)]
pub(super) struct Zones {
    clauses: Vec<Clause>,
    /// Names that are asked for although they are special.
    pub(super) asked: Vec<Name>,
    /// Names at and below which nothing is validated.
    pub(super) insecure: Vec<Name>,
    /// There is no validator.
    pub(super) unvalidated: bool,
    pub(super) over_tcp: bool,
    pub(super) over_tls: bool,
}

/// One clause.
#[derive(Debug)]
struct Clause {
    begins: usize,
    is_stub: bool,
    name: Option<Name>,
    servers: Vec<Server>,
    over_tcp: bool,
    over_tls: bool,
}

/// `IP@PORT#NAME`.
#[derive(Debug)]
struct Server {
    ip: IpAddr,
    port: Option<u16>,
    name: Option<String>,
}

impl Zones {
    /// An option of the clause that begins on that line.
    pub(super) fn option(&mut self, begins: usize, is_stub: bool, line: &Line<'_>) -> Taken {
        if self
            .clauses
            .last()
            .is_none_or(|clause| clause.begins != begins)
        {
            self.clauses.push(Clause {
                begins,
                is_stub,
                name: None,
                servers: Vec::new(),
                over_tcp: false,
                over_tls: false,
            });
        }
        let Some(clause) = self.clauses.last_mut() else {
            return Ok(());
        };
        let value = line.values.first().copied().unwrap_or_default();
        let is_yes = value == "yes";
        match line.key {
            "name" => clause.name = Some(name(value)?),
            "forward-addr" | "stub-addr" => clause.servers.push(server(value)?),
            "forward-tcp-upstream" | "stub-tcp-upstream" => clause.over_tcp = is_yes,
            "forward-tls-upstream"
            | "stub-tls-upstream"
            | "forward-ssl-upstream"
            | "stub-ssl-upstream" => clause.over_tls = is_yes,
            "forward-host" | "stub-host" => {
                return Err("left out: name the server by its address".to_owned());
            }
            "forward-first" | "stub-first" if is_yes => {
                return Err(
                    "has no counterpart: a zone has servers, or is resolved from the root down"
                        .to_owned(),
                );
            }
            "forward-first" | "stub-first" | "stub-prime" => {}
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    /// All zones, and the names without validation that are none.
    pub(super) fn end(self, remarks: &mut Vec<Remark>) -> (Vec<Zone>, Vec<Name>) {
        let mut zones: Vec<Zone> = Vec::new();
        for clause in &self.clauses {
            let remark = |word: &str| Remark {
                line: clause.begins,
                option: if clause.is_stub {
                    "stub-zone"
                } else {
                    "forward-zone"
                }
                .to_owned(),
                word: word.to_owned(),
            };
            let Some(name) = &clause.name else {
                remarks.push(remark("left out: it has no name"));
                continue;
            };
            if zones.iter().any(|zone| zone.name == *name) {
                remarks.push(remark("left out: there is one of this name before it"));
                continue;
            }
            if clause.servers.is_empty() {
                remarks.push(remark("has no address: resolved from the root down"));
            }
            zones.push(self.zone(clause, name));
        }
        if !zones.iter().any(|zone| zone.name.is_root()) {
            zones.push(Zone::forwarded(Name::root(), Vec::new()));
        }
        self.ask_for_special(&mut zones);
        let negative = self.mark_insecure(&mut zones);
        (zones, negative)
    }

    fn zone(&self, clause: &Clause, name: &Name) -> Zone {
        let over_tls = self.over_tls || clause.over_tls;
        let over_tcp = self.over_tcp || clause.over_tcp;
        let mut servers: Vec<Forward> = Vec::new();
        for server in &clause.servers {
            let forward = server.forward(over_tls, over_tcp);
            if !servers.contains(&forward) {
                servers.push(forward);
            }
        }
        let mut zone = Zone::forwarded(name.clone(), servers);
        if clause.is_stub {
            zone.authoritative = std::mem::take(&mut zone.forward);
        }
        zone
    }

    /// What is special in unbound and asked for all the same is a zone of its own here, with the
    /// servers of the closest one above it.
    fn ask_for_special(&self, zones: &mut Vec<Zone>) {
        for name in &self.asked {
            if zones.iter().any(|zone| zone.name == *name) {
                continue;
            }
            let above = zones
                .iter()
                .filter(|zone| is_within(name.as_wire(), zone.name.as_wire()));
            if let Some(above) = above.max_by_key(|zone| zone.name.as_wire().len()) {
                let zone = Zone {
                    name: name.clone(),
                    ..above.clone()
                };
                zones.push(zone);
            }
        }
    }

    fn mark_insecure(&self, zones: &mut [Zone]) -> Vec<Name> {
        let mut negative = Vec::new();
        for name in &self.insecure {
            match zones.iter_mut().find(|zone| zone.name == *name) {
                Some(zone) => zone.validate = Some(false),
                None if negative.contains(name) => {}
                None => negative.push(name.clone()),
            }
        }
        if self.unvalidated {
            for zone in zones {
                zone.validate = Some(false);
            }
        }
        negative
    }
}

impl Server {
    fn forward(&self, over_tls: bool, over_tcp: bool) -> Forward {
        let (protocol, port) = match (over_tls, over_tcp) {
            (true, _) => {
                let identity = match &self.name {
                    Some(name) => Identity::Name(name.to_ascii_lowercase().into()),
                    None => Identity::Address,
                };
                (Protocol::Tls(identity), 853)
            }
            (false, true) => (Protocol::Tcp, 53),
            (false, false) => (Protocol::Udp, 53),
        };
        Forward {
            protocol,
            address: SocketAddr::new(self.ip, self.port.unwrap_or(port)),
        }
    }
}

fn server(text: &str) -> Result<Server, String> {
    let wrong = || not_read(text);
    let (address, name) = match text.split_once('#') {
        Some((address, name)) => (address, Some(name.trim_end_matches('.').to_owned())),
        None => (text, None),
    };
    let (ip, port) = match address.split_once('@') {
        Some((ip, port)) => (ip, Some(port.parse().map_err(|_| wrong())?)),
        None => (address, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
    let server = Server { ip, port, name };
    // Only what the file may say: a name that no certificate has, port 0 and the like are not.
    let written = server.forward(server.name.is_some(), false).to_string();
    written
        .parse::<Forward>()
        .map_err(|error| format!("{error}: left out"))?;
    Ok(server)
}
