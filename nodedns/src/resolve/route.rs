//! Which zone has a name: the one with the longest name that the name ends in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use crate::cache::entry::Limits;
use crate::config::{self, Config, Forward};
use crate::recurse::Recursor;
use crate::resolve::nothing_below::Tree;
use crate::resolve::source::Source;
use crate::upstream::pool::{Network, Server};
use crate::upstream::{Role, Upstream};
use crate::wire::name::{Name, suffixes};
use crate::wire::order::parent;
use crate::wire::rtype;

/// The zones of a configuration.
#[derive(Debug)]
pub(crate) struct Routes {
    by_name: HashMap<Box<[u8]>, Zone, RandomState>,
    /// How long these names are: a suffix of another length need not be looked for.
    lengths: Lengths,
    /// Those that are named, and shared by the zones that name them.
    servers: HashMap<Forward, Arc<Server>>,
    /// One for all zones: what one learns of the world's servers serves the others.
    recursor: Option<(config::Recursion, Arc<Recursor>)>,
    network: Arc<Network>,
}

/// A zone, ready to be asked.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    /// Who is asked.
    pub(crate) source: Arc<Source>,
    /// What the configuration says of that.
    origin: config::Source,
    /// What is known to exist there; for zones that nobody signs.
    pub(super) tree: Option<Arc<Tree>>,
    /// How long its answers are kept.
    pub(crate) limits: Limits,
    /// Whether its answers must be signed where a trust anchor says so.
    pub(crate) validate: bool,
}

impl Routes {
    /// The zones of `config`.
    pub(crate) fn new(config: &Config, network: &Arc<Network>) -> Self {
        Self {
            by_name: HashMap::default(),
            lengths: Lengths::default(),
            servers: HashMap::new(),
            recursor: None,
            network: Arc::clone(network),
        }
        .succeeded(config, network)
    }

    /// The zones of `config`, with what stays of these: where the configuration says
    /// the same of a source and `network` is the same, so is the source; and so is a
    /// server, with all that is known of it.
    pub(crate) fn succeeded(&self, config: &Config, network: &Arc<Network>) -> Self {
        let mut next = Self {
            by_name: HashMap::default(),
            lengths: Lengths::default(),
            servers: HashMap::new(),
            recursor: None,
            network: Arc::clone(network),
        };
        let stays = Arc::ptr_eq(network, &self.network);
        let before = stays.then_some(self);
        let recursor = before.and_then(|before| before.recursor.as_ref());
        if let Some((recursion, recursor)) = recursor
            && *recursion == config.recursion
        {
            next.recursor = Some((recursion.clone(), Arc::clone(recursor)));
        }
        for zone in &config.zones {
            let source = next.source(zone, &config.recursion, before);
            let ready = Zone {
                name: zone.name.clone(),
                tree: self.tree(zone, &source),
                source,
                origin: zone.source.clone(),
                limits: limits(&config.cache, zone),
                validate: zone.validate,
            };
            next.lengths.add(zone.name.as_wire().len());
            next.by_name.insert(zone.name.as_wire().into(), ready);
        }
        next
    }

    /// The source of `zone`, with all of `before` that stays.
    fn source(
        &mut self,
        zone: &config::Zone,
        recursion: &config::Recursion,
        before: Option<&Self>,
    ) -> Arc<Source> {
        let same = before
            .and_then(|before| before.by_name.get(zone.name.as_wire()))
            .filter(|same| same.origin == zone.source)
            .map(|same| &same.source);
        match &zone.source {
            config::Source::Servers(named) => {
                let asked = named.asked.iter();
                let asked = asked.map(|server| self.server(server, before)).collect();
                same.cloned().unwrap_or_else(|| {
                    Arc::new(Source::Servers(Upstream::new(
                        zone.name.clone(),
                        asked,
                        Role::of(named),
                        Arc::clone(&self.network),
                    )))
                })
            }
            config::Source::Recursion => {
                let network = &self.network;
                let (_, recursor) = self.recursor.get_or_insert_with(|| {
                    (
                        recursion.clone(),
                        Arc::new(Recursor::new(recursion, network)),
                    )
                });
                match same.map(|same| (same, &**same)) {
                    Some((same, Source::Recursion(old))) if Arc::ptr_eq(old, recursor) => {
                        Arc::clone(same)
                    }
                    _ => Arc::new(Source::Recursion(Arc::clone(recursor))),
                }
            }
        }
    }

    /// What is known to exist in `zone`, asked from `source` as before or not.
    fn tree(&self, zone: &config::Zone, source: &Arc<Source>) -> Option<Arc<Tree>> {
        if zone.validate || zone.is_root() || matches!(**source, Source::Recursion(_)) {
            return None;
        }
        let name = zone.name.as_wire();
        let before = self.by_name.get(name);
        before
            .filter(|before| Arc::ptr_eq(&before.source, source))
            .and_then(|before| before.tree.clone())
            .or_else(|| Some(Arc::new(Tree::new(name, Instant::now()))))
    }

    /// The server that is asked so, which is one for all zones.
    fn server(&mut self, forward: &Forward, before: Option<&Self>) -> Arc<Server> {
        let server = self.servers.entry(forward.clone()).or_insert_with(|| {
            before
                .and_then(|before| before.servers.get(forward))
                .map_or_else(
                    || Arc::new(Server::new(forward.clone(), &self.network)),
                    Arc::clone,
                )
        });
        Arc::clone(server)
    }

    /// The network over which they are asked.
    pub(crate) const fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Whether another one is asked for `name` than in `before`, or what it says is
    /// judged otherwise. `name` is in lower case and wire form.
    pub(crate) fn differ_for(&self, name: &[u8], before: &Self) -> bool {
        !same(self.zone_of(name), before.zone_of(name))
            // The DS of a zone is in the zone above it.
            || parent(name).is_some_and(|above| !same(self.zone_of(above), before.zone_of(above)))
    }

    /// The zones that are not what they were in `before`, those that are gone
    /// included.
    pub(crate) fn changed(&self, before: &Self) -> Vec<Name> {
        let names = self.by_name.keys().chain(before.by_name.keys());
        let changed: HashSet<&Box<[u8]>> = names
            .filter(|name| !same(self.by_name.get(*name), before.by_name.get(*name)))
            .collect();
        let zones = changed.into_iter();
        zones.filter_map(|name| Name::from_wire(name)).collect()
    }

    /// The zone of `name`, which is in lower case and wire form.
    pub(crate) fn zone_of(&self, name: &[u8]) -> Option<&Zone> {
        suffixes(name).find_map(|suffix| self.named(suffix))
    }

    /// The zone of this very name.
    fn named(&self, name: &[u8]) -> Option<&Zone> {
        let may_be = self.lengths.has(name.len());
        may_be.then(|| self.by_name.get(name)).flatten()
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
            .any(|suffix| self.named(suffix).is_some())
    }
}

/// A set of lengths of names, which are below 256.
#[derive(Debug, Default)]
struct Lengths([u64; 4]);

impl Lengths {
    const fn add(&mut self, length: usize) {
        self.0[length / 64 % 4] |= 1 << (length % 64);
    }

    const fn has(&self, length: usize) -> bool {
        self.0[length / 64 % 4] & 1 << (length % 64) != 0
    }
}

/// Whether the same are asked, and believed as much.
fn same(one: Option<&Zone>, other: Option<&Zone>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            Arc::ptr_eq(&one.source, &other.source) && one.validate == other.validate
        }
        (None, None) => true,
        _ => false,
    }
}

/// How long the answers of `zone` are kept.
fn limits(cache: &config::Cache, zone: &config::Zone) -> Limits {
    let (negative, stale) = if zone.is_root() {
        (cache.max_negative_ttl, cache.stale.max)
    } else {
        (
            cache.max_negative_ttl.min(INNER_NEGATIVE),
            cache.stale.inner_max,
        )
    };
    Limits {
        positive: cache.max_ttl,
        least: cache.min_ttl,
        negative,
        stale,
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
        let config = config(&format!("zones: [{}]", zones.join(", ")));
        Routes::new(&config, &Network::new(Authorities::none()))
    }

    fn config(yaml: &str) -> Config {
        File::check(&Document::new(Path::new("f"), yaml)).unwrap()
    }

    #[test]
    fn what_the_next_configuration_says_too_stays_and_all_else_differs() {
        let text = |corp: &str, rest: &str| {
            format!(
                "zones: [{{name: ., forward: [192.0.2.1, 192.0.2.2]}}, {{name: corp.example, {corp}}}{rest}]"
            )
        };
        let network = Network::new(Authorities::none());
        let before = Routes::new(&config(&text("forward: [192.0.2.2]", "")), &network);
        let differs = |next: &Routes, name: &str| next.differ_for(&wire(name), &before);
        let next = |corp: &str, rest: &str| before.succeeded(&config(&text(corp, rest)), &network);

        let same = next("forward: [192.0.2.2]", "");
        assert!(same.changed(&before).is_empty());
        assert!(!differs(&same, "a.corp.example") && !differs(&same, "example"));

        let other = next("forward: [192.0.2.3]", "");
        assert_eq!(
            other.changed(&before),
            [Name::from_text("corp.example").unwrap()]
        );
        assert!(differs(&other, "a.corp.example") && differs(&other, "corp.example"));
        assert!(!differs(&other, "example") && !differs(&other, "corp.example.org"));

        let judged = next("forward: [192.0.2.2], validate: false", "");
        assert!(differs(&judged, "a.corp.example") && !differs(&judged, "example"));

        let more = next(
            "forward: [192.0.2.2]",
            ", {name: b.example, forward: [192.0.2.2]}",
        );
        assert!(differs(&more, "a.b.example") && !differs(&more, "a.example"));
        assert_eq!(more.servers.len(), 2, "a server is one for all zones");
        let known = |routes: &Routes| Arc::clone(&routes.servers[&"192.0.2.2".parse().unwrap()]);
        assert!(
            Arc::ptr_eq(&known(&more), &known(&before)),
            "with all that is known of it"
        );

        let elsewhere = Network::new(Authorities::none());
        let other = before.succeeded(&config(&text("forward: [192.0.2.2]", "")), &elsewhere);
        assert_eq!(other.changed(&before).len(), 2, "others vouch for servers");
    }

    #[test]
    fn recursion_goes_on_with_what_it_learned_unless_it_is_another() {
        let text = |rest: &str| format!("zones: [{{name: .}}, {{name: example}}]\n{rest}");
        let network = Network::new(Authorities::none());
        let before = Routes::new(&config(&text("")), &network);
        let same = before.succeeded(&config(&text("")), &network);
        assert!(same.changed(&before).is_empty());
        let other = before.succeeded(&config(&text("recursion: {deny: []}")), &network);
        assert_eq!(other.changed(&before).len(), 2);
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
