//! Which zone has a name: the one with the longest name that the name ends in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::entry::Limits;
use crate::config::{self, Config, Forward};
use crate::recurse::Recursor;
use crate::resolve::source::Source;
use crate::upstream::pool::{Network, Server};
use crate::upstream::{Role, Upstream};
use crate::wire::name::{Name, suffixes};
use crate::wire::order::parent;
use crate::wire::rtype;

/// The zones of a configuration.
#[derive(Debug)]
pub(crate) struct Routes {
    by_name: HashMap<Box<[u8]>, Zone>,
}

/// A zone, ready to be asked.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    /// Who is asked.
    pub(crate) source: Source,
    /// How long its answers are kept.
    pub(crate) limits: Limits,
    /// Whether its answers must be signed where a trust anchor says so.
    pub(crate) validate: bool,
}

impl Routes {
    /// The zones of `config`. Servers that several zones name are shared.
    pub(crate) fn new(config: &Config, network: &Arc<Network>) -> Self {
        let mut servers: HashMap<&Forward, Arc<Server>> = HashMap::new();
        // One for all zones: what one learns of the world's servers serves the others.
        let mut recursor = None;
        let by_name = config.zones.iter().map(|zone| {
            let source = match &zone.source {
                config::Source::Servers(named) => {
                    let asked = named.asked.iter().map(|forward| {
                        let server = servers
                            .entry(forward)
                            .or_insert_with(|| Arc::new(Server::new(forward.clone(), network)));
                        Arc::clone(server)
                    });
                    Source::Servers(Upstream::new(
                        zone.name.clone(),
                        asked.collect(),
                        Role::of(named),
                        Arc::clone(network),
                    ))
                }
                config::Source::Recursion => {
                    Source::Recursion(Arc::clone(recursor.get_or_insert_with(|| {
                        Arc::new(Recursor::new(&config.recursion, network))
                    })))
                }
            };
            let negative = config.cache.max_negative_ttl;
            let ready = Zone {
                name: zone.name.clone(),
                source,
                limits: Limits {
                    positive: config.cache.max_ttl,
                    negative: if zone.is_root() {
                        negative
                    } else {
                        negative.min(INNER_NEGATIVE)
                    },
                },
                validate: zone.validate,
            };
            (zone.name.as_wire().into(), ready)
        });
        Self {
            by_name: by_name.collect(),
        }
    }

    /// The zone of `name`, which is in lower case and wire form.
    pub(crate) fn zone_of(&self, name: &[u8]) -> Option<&Zone> {
        suffixes(name).find_map(|suffix| self.by_name.get(suffix))
    }

    /// The zone that is asked for `rtype` at `name`: a zone's DS is in the zone
    /// above it (RFC 4035 §2.4).
    pub(crate) fn zone_for(&self, name: &[u8], rtype: u16) -> Option<&Zone> {
        match parent(name) {
            Some(above) if rtype == rtype::DS => self.zone_of(above),
            _ => self.zone_of(name),
        }
    }

    /// Whether a zone at or below `top` has `name`: then it was configured on
    /// purpose, and wins over what is built in for `top`.
    pub(crate) fn is_within(&self, name: &[u8], top: &[u8]) -> bool {
        suffixes(name)
            .take_while(|suffix| suffix.len() >= top.len())
            .any(|suffix| self.by_name.contains_key(suffix))
    }
}

/// In a zone of one's own names come into being while somebody waits for them: a
/// new Service must be seen within 5 s even if asked for before, by clients that
/// ask again once a second.
const INNER_NEGATIVE: Duration = Duration::from_secs(4);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::file::File;
    use crate::upstream::tls::Authorities;
    use crate::wire::name::Name;
    use daemon::config_file::Document;
    use std::path::Path;

    pub(crate) fn routes(zones: &[&str]) -> Routes {
        let zones: Vec<_> = zones
            .iter()
            .map(|name| format!("{{name: {name}, forward: [192.0.2.1]}}"))
            .collect();
        let yaml = format!("zones: [{}]", zones.join(", "));
        let config = File::check(&Document::new(Path::new("f"), &yaml)).unwrap();
        Routes::new(&config, &Network::new(Authorities::none()))
    }

    fn wire(name: &str) -> Vec<u8> {
        Name::from_text(name).unwrap().as_wire().to_vec()
    }

    fn zone_of<'a>(routes: &'a Routes, name: &str) -> Option<&'a Zone> {
        routes.zone_of(&wire(name))
    }

    #[test]
    fn the_longest_name_wins() {
        let routes = routes(&[".", "cluster.local", "inner.cluster.local"]);
        let same = |name: &str, zone: &str| {
            let (found, expected) = (zone_of(&routes, name), zone_of(&routes, zone));
            std::ptr::eq(found.unwrap(), expected.unwrap())
        };
        assert!(same("a.b.cluster.local", "cluster.local"));
        assert!(same("a.inner.cluster.local", "inner.cluster.local"));
        assert!(same("notcluster.local", "."));
        assert!(same("local", "."));
        assert!(!same("cluster.local", "."));
    }

    #[test]
    fn the_ds_of_a_zone_is_asked_for_above_it() {
        let routes = routes(&[".", "corp.example"]);
        let corp = wire("corp.example");
        let (ds, other) = (
            routes.zone_for(&corp, rtype::DS).unwrap(),
            routes.zone_for(&corp, rtype::DNSKEY).unwrap(),
        );
        assert!(std::ptr::eq(ds, zone_of(&routes, ".").unwrap()));
        assert!(std::ptr::eq(
            other,
            zone_of(&routes, "corp.example").unwrap()
        ));
    }

    #[test]
    fn a_name_in_no_zone_has_none() {
        let routes = routes(&["cluster.local"]);
        assert!(zone_of(&routes, "example.com").is_none());
        assert!(zone_of(&routes, "local").is_none());
    }

    #[test]
    fn denials_of_inner_zones_are_kept_for_4_seconds() {
        let routes = routes(&[".", "cluster.local"]);
        let negative = |name| zone_of(&routes, name).unwrap().limits.negative;
        assert_eq!(negative("a.cluster.local"), Duration::from_secs(4));
        assert_eq!(negative("example.com"), Duration::from_secs(3_600));
    }

    #[test]
    fn only_a_zone_at_or_below_a_built_in_name_wins_over_it() {
        let top = wire("localhost");
        let within = |zones: &[&str]| routes(zones).is_within(&wire("a.localhost"), &top);
        assert!(!within(&["."]));
        assert!(within(&["localhost"]));
        assert!(within(&["a.localhost"]));
        assert!(!within(&["b.localhost"]));
    }
}
