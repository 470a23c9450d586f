//! What is known to exist, and what not, in a zone whose answers nobody signs: a denial of
//! what lies above answers for all that lies below (RFC 8020).
//!
//! A pod's resolver looks for `www.example.com` below each domain of its search list first.
//! So a name is not asked about before what lies above it is known: from the zone's own name
//! down, label by label, to what does not exist, here `com.default.svc.cluster.local.`; the
//! next name below that costs no question. What exists is learned from every answer, so that
//! there is something to ask only where a name is new, or does not exist.
//!
//! ```text
//! way ─► denied above: that is the answer
//!   ├──► unknown above: ask about that, once for all ─► affirmed, denied ─► way …
//!   └──► ask about the name itself ─► saw, or, where that is to renew a denial, denied
//! ```
//!
//! Servers deny what exists: CoreDNS does `_tcp.web.default.svc.cluster.local.` although
//! SRV names are below it, and all that lies above the names of its reverse zones. Hence
//! nothing that begins with `_` is denied here, nor anything below it. A zone's denials count
//! only once it was seen to affirm a name with something below it, and not for ten minutes once
//! it was seen to deny one. And every other time that a denial has run out the name below is
//! asked about itself, so that what is there after all comes to light.
//!
//! Pure: the time is an argument.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::wire::name::suffixes;

/// What is known of the names of one zone; `D` is what a denial says.
#[derive(Debug)]
pub(crate) struct Tree<D> {
    /// Length of the zone's own name.
    apex: usize,
    state: RwLock<State<D>>,
}

/// What is to be done for a name.
#[derive(Debug)]
pub(crate) enum Way<'a, D> {
    /// It does not exist.
    Denied(Arc<D>),
    /// This name above it is to be asked about first.
    Above(&'a [u8]),
    /// It is to be asked about itself. Where that renews the denial of a name above it,
    /// that name.
    Itself(Option<&'a [u8]>),
}

#[derive(Debug)]
struct State<D> {
    nodes: HashMap<Box<[u8]>, Node<D>>,
    honesty: Honesty,
    /// When it may be looked for what has run out.
    next_sweep: Instant,
}

#[derive(Debug)]
struct Node<D> {
    what: What<D>,
    until: Instant,
}

#[derive(Debug)]
enum What<D> {
    /// It is there; `affirmed`: it was asked about itself.
    Exists { affirmed: bool },
    /// It is not, they say; `itself`: it was asked about itself, the last time.
    Denied { denial: Arc<D>, itself: bool },
}

/// Whether the zone's denials of what may have something below it are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Honesty {
    Unknown,
    /// Something that lies above others was affirmed.
    Shown,
    /// Something that lies above others was denied.
    Disproved {
        until: Instant,
    },
}

impl<D> Tree<D> {
    /// Nothing is known of the zone with this name.
    pub(crate) fn new(zone: &[u8], now: Instant) -> Self {
        Self {
            apex: zone.len(),
            state: RwLock::new(State {
                nodes: HashMap::new(),
                honesty: Honesty::Unknown,
                next_sweep: now,
            }),
        }
    }

    /// What to do for `name`, which is in lower case and within the zone.
    pub(crate) fn way<'a>(&self, name: &'a [u8], now: Instant) -> Way<'a, D> {
        match self.look(name, now) {
            Way::Itself(Some(above)) => self.renewal(above, now),
            way => way,
        }
    }

    /// What denies `name`, if it is known not to exist.
    pub(crate) fn denial(&self, name: &[u8], now: Instant) -> Option<Arc<D>> {
        match self.look(name, now) {
            Way::Denied(denial) => Some(denial),
            Way::Above(_) | Way::Itself(_) => None,
        }
    }

    fn look<'a>(&self, name: &'a [u8], now: Instant) -> Way<'a, D> {
        let state = self.read();
        let is_honest = match state.honesty {
            Honesty::Shown => true,
            Honesty::Unknown => false,
            Honesty::Disproved { until } if now < until => return Way::Itself(None),
            Honesty::Disproved { .. } => false,
        };
        if is_service(name) {
            return Way::Itself(None);
        }
        for above in self.above(name) {
            match state.nodes.get(above) {
                // What would be learned could not be noted.
                None if state.is_full(now) => return Way::Itself(None),
                None => return Way::Above(above),
                Some(Node { what, until }) => match what {
                    // Whether it is affirmed shows whether the zone is honest.
                    What::Exists { affirmed: false } if !is_honest => return Way::Above(above),
                    What::Exists { .. } => {}
                    What::Denied { .. } if now < *until && !is_honest => return Way::Itself(None),
                    What::Denied { denial, .. } if now < *until => {
                        return Way::Denied(Arc::clone(denial));
                    }
                    What::Denied { itself: true, .. } if is_honest => {
                        return Way::Itself(Some(above));
                    }
                    What::Denied { .. } => return Way::Above(above),
                },
            }
        }
        Way::Itself(None)
    }

    /// The denial of `above` has run out. Whoever comes first asks about the name itself; it
    /// holds for the others meanwhile.
    fn renewal<'a>(&self, above: &'a [u8], now: Instant) -> Way<'a, D> {
        let mut state = self.write();
        match state.nodes.get_mut(above) {
            Some(Node {
                what: What::Denied { denial, itself },
                until,
            }) => {
                if now < *until {
                    return Way::Denied(Arc::clone(denial));
                }
                (*itself, *until) = (false, now + RENEWAL);
                Way::Itself(Some(above))
            }
            _ => Way::Itself(None),
        }
    }

    /// `name` was asked about to find out what lies below it, and exists.
    pub(crate) fn affirmed(&self, name: &[u8], now: Instant) {
        self.saw(name, now);
        let mut state = self.write();
        let before = state.nodes.get(name).map(|node| &node.what);
        if matches!(before, Some(What::Exists { affirmed: false })) && !state.is_disproved(now) {
            // Something below it was seen before.
            state.honesty = Honesty::Shown;
        }
        state.note(name, What::Exists { affirmed: true }, now + EXISTENCE, now);
    }

    /// `name` was asked about, or, unless `itself`, a name below it in its place, and does
    /// not exist; that may be believed until then.
    pub(crate) fn denied(
        &self,
        name: &[u8],
        denial: D,
        itself: bool,
        until: Instant,
        now: Instant,
    ) {
        let mut state = self.write();
        let before = state.nodes.get(name);
        let something_is_below = before.is_some_and(|node| {
            matches!(node.what, What::Exists { affirmed: false }) && now < node.until
        });
        if something_is_below {
            return state.disprove(now);
        }
        let denial = Arc::new(denial);
        state.note(name, What::Denied { denial, itself }, until, now);
    }

    /// Denials of this zone cannot be used.
    pub(crate) fn disprove(&self, now: Instant) {
        self.write().disprove(now);
    }

    /// `name` exists, and so does all that lies above it.
    pub(crate) fn saw(&self, name: &[u8], now: Instant) {
        let is_news = |state: &State<D>, above: &[u8]| match state.nodes.get(above) {
            None => true,
            Some(Node { what, .. }) => match what {
                What::Exists { affirmed } => *affirmed && state.honesty == Honesty::Unknown,
                What::Denied { .. } => true,
            },
        };
        for above in self.above(name).take_while(|above| !is_service(above)) {
            if !is_news(&self.read(), above) {
                continue;
            }
            let mut state = self.write();
            let is_denied = match state.nodes.get(above).map(|node| &node.what) {
                Some(What::Exists { affirmed: true }) => {
                    if !state.is_disproved(now) {
                        state.honesty = Honesty::Shown;
                    }
                    continue;
                }
                Some(What::Exists { .. }) => continue,
                Some(What::Denied { .. }) => true,
                None => false,
            };
            if is_denied && state.honesty == Honesty::Shown {
                // It has come into being, or was there all the time: that is to be seen.
                state.honesty = Honesty::Unknown;
            }
            state.note(
                above,
                What::Exists { affirmed: false },
                now + EXISTENCE,
                now,
            );
        }
    }

    /// The names between the zone's own and `name`, the uppermost first.
    fn above<'a>(&self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, D> {
        let (apex, own) = (self.apex, name.len());
        let between =
            suffixes(name).filter(move |suffix| suffix.len() > apex && suffix.len() < own);
        let between: Vec<&[u8]> = between.collect();
        between.into_iter().rev()
    }

    fn read(&self) -> RwLockReadGuard<'_, State<D>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<D>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D> State<D> {
    /// Notes what is known of `name`, if there is room for it.
    fn note(&mut self, name: &[u8], what: What<D>, until: Instant, now: Instant) {
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(name) {
            if self.is_full(now) {
                return;
            }
            self.next_sweep = now + SWEEP;
            self.nodes.retain(|_, node| now < node.until);
            if self.nodes.len() >= MAX_NODES {
                return;
            }
        }
        self.nodes.insert(name.into(), Node { what, until });
    }

    /// Whether there is no room, nor will be in a moment.
    fn is_full(&self, now: Instant) -> bool {
        self.nodes.len() >= MAX_NODES && now < self.next_sweep
    }

    fn is_disproved(&self, now: Instant) -> bool {
        matches!(self.honesty, Honesty::Disproved { until } if now < until)
    }

    fn disprove(&mut self, now: Instant) {
        self.honesty = Honesty::Disproved {
            until: now + DISTRUST,
        };
        self.nodes.clear();
    }
}

/// Whether the name begins with `_`, as those of services do (RFC 2782).
fn is_service(name: &[u8]) -> bool {
    name.get(1) == Some(&b'_')
}

/// What has been there is only where to begin to ask.
const EXISTENCE: Duration = Duration::from_secs(3_600);
const DISTRUST: Duration = Duration::from_secs(600);
/// A denial holds so much longer while it is asked about.
const RENEWAL: Duration = Duration::from_secs(1);
/// Some 200 bytes each. Beyond, names are asked about themselves.
const MAX_NODES: usize = 2_048;
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const ZONE: &str = "cluster.local";

    fn wire(name: &str) -> Vec<u8> {
        Name::from_text(name).unwrap().as_wire().to_vec()
    }

    /// A server of the zone, which knows what exists, and a resolver with its tree.
    struct World {
        tree: Tree<()>,
        /// Names that have something themselves.
        names: BTreeSet<String>,
        /// Names with only something below them that are denied all the same.
        lies: fn(&str) -> bool,
        now: Instant,
        asked: Vec<String>,
    }

    impl World {
        fn new(names: &[&str], lies: fn(&str) -> bool) -> Self {
            let now = Instant::now();
            Self {
                tree: Tree::new(&wire(ZONE), now),
                names: names.iter().map(|name| format!("{name}.{ZONE}.")).collect(),
                lies,
                now,
                asked: Vec::new(),
            }
        }

        /// What the server says: whether the name exists.
        fn says(&mut self, name: &[u8]) -> bool {
            let name = Name::from_wire(name).unwrap().to_string();
            let below = format!(".{name}");
            let exists = self.names.contains(&name)
                || self.names.iter().any(|one| one.ends_with(&below)) && !(self.lies)(&name);
            self.asked.push(name);
            exists
        }

        /// Whether the resolver says that the name exists.
        fn ask(&mut self, name: &str) -> bool {
            let name = wire(&format!("{name}.{ZONE}"));
            for _ in 0..10 {
                if self.tree.denial(&name, self.now).is_some() {
                    return false;
                }
                match self.tree.way(&name, self.now) {
                    Way::Denied(_) => return false,
                    Way::Above(above) => {
                        let above = above.to_vec();
                        if self.says(&above) {
                            self.tree.affirmed(&above, self.now);
                        } else {
                            self.deny(&above, true);
                        }
                    }
                    Way::Itself(beneath) => {
                        let beneath = beneath.map(<[u8]>::to_vec);
                        let exists = self.says(&name);
                        match beneath {
                            _ if exists => self.tree.saw(&name, self.now),
                            Some(above) => self.deny(&above, false),
                            None => {}
                        }
                        return exists;
                    }
                }
            }
            panic!("there is no end");
        }

        fn deny(&self, name: &[u8], itself: bool) {
            let until = self.now + Duration::from_secs(5);
            self.tree.denied(name, (), itself, until, self.now);
        }

        fn asked_of(&mut self, name: &str) -> (bool, Vec<String>) {
            self.asked.clear();
            let exists = self.ask(name);
            let tail = format!(".{ZONE}.");
            let asked = self
                .asked
                .iter()
                .map(|name| name.strip_suffix(&tail).unwrap_or(name).to_owned());
            (exists, asked.collect())
        }
    }

    fn denies_services(name: &str) -> bool {
        name.starts_with('_')
    }

    const NAMES: [&str; 6] = [
        "web.default.svc",
        "_http._tcp.web.default.svc",
        "db-0.db.default.svc",
        "dns.kube-system.svc",
        "_dns._udp.dns.kube-system.svc",
        "10-1-0-1.default.pod",
    ];

    #[test]
    fn a_search_list_costs_a_question_for_each_domain_and_top_label() {
        let mut world = World::new(&NAMES, denies_services);
        let (exists, asked) = world.asked_of("www.example.com.default.svc");
        assert!(!exists);
        assert_eq!(asked, ["svc", "default.svc", "com.default.svc"]);
        for (name, expected) in [
            ("www.example.com.svc", &["com.svc"][..]),
            ("www.example.com", &["com"]),
            ("api.example.com.default.svc", &[]),
            ("other.com.default.svc", &[]),
            ("a.b.c.d.com.svc", &[]),
            ("www.example.org.default.svc", &["org.default.svc"]),
            // A name that may be there is asked about itself.
            ("web.default.svc", &["web.default.svc"]),
            ("com.default.svc", &["com.default.svc"]),
        ] {
            assert_eq!(world.asked_of(name).1, expected, "{name}");
        }
        world.now += Duration::from_secs(5);
        // Every other time the name itself: what is there comes to light.
        let (_, asked) = world.asked_of("api.example.com.default.svc");
        assert_eq!(asked, ["api.example.com.default.svc"]);
        assert!(world.asked_of("www.example.com.default.svc").1.is_empty());
        world.now += Duration::from_secs(5);
        let (_, asked) = world.asked_of("api.example.com.default.svc");
        assert_eq!(asked, ["com.default.svc"]);
    }

    #[test]
    fn names_of_services_are_asked_about_whatever_is_denied_above_them() {
        let mut world = World::new(&NAMES, denies_services);
        world.ask("www.example.com.default.svc");
        assert!(!world.ask("_tcp.web.default.svc"));
        assert!(world.ask("_http._tcp.web.default.svc"));
        assert!(!world.ask("x._tcp.web.default.svc"));
        assert!(world.ask("_http._tcp.web.default.svc"));
        assert!(
            world.asked_of("www.example.com.default.svc").1.is_empty(),
            "and nobody is distrusted for it"
        );
    }

    #[test]
    fn a_zone_that_denies_what_lies_above_its_names_is_not_believed() {
        let reverse = ["1.0.96", "10.0.96", "1.0.244"];
        let mut world = World::new(&reverse, |_| true);
        assert!(!world.ask("5.0.96"));
        assert!(world.ask("10.0.96"), "before anybody could know");
        assert!(world.ask("1.0.96"));
        // It is known now, and nothing but the name is asked about.
        let (exists, asked) = world.asked_of("1.0.244");
        assert!(exists);
        assert_eq!(asked, ["1.0.244"]);
    }

    #[test]
    fn what_comes_into_being_is_seen_once_the_denial_has_run_out() {
        let mut world = World::new(&NAMES, denies_services);
        world.ask("www.example.com.default.svc");
        assert!(!world.ask("web.new.svc"));
        world.names.insert(format!("web.new.svc.{ZONE}."));
        world.now += Duration::from_secs(5);
        assert!(world.ask("web.new.svc"));
        assert!(world.ask("web.new.svc"));
        world.ask("www.example.net.new.svc");
        assert!(
            world.asked_of("api.example.net.new.svc").1.is_empty(),
            "nor is that a lie"
        );
    }

    #[test]
    fn a_part_of_the_zone_that_is_served_otherwise_comes_to_light() {
        let names = [&NAMES[..], &["a.hosts", "b.hosts"]].concat();
        let mut world = World::new(&names, |name| {
            denies_services(name) || name.starts_with("hosts.")
        });
        world.ask("www.example.com.default.svc");
        world.ask("a.hosts");
        world.now += Duration::from_secs(5);
        assert!(world.ask("a.hosts"));
        for _ in 0..10 {
            world.now += Duration::from_secs(2);
            assert!(world.ask("b.hosts") && world.ask("a.hosts"));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut world = World::new(&NAMES, denies_services);
        world.ask("www.example.com.default.svc");
        for number in 0..10_000 {
            world.ask(&format!("x.n{number}.default.svc"));
        }
        assert!(world.tree.read().nodes.len() <= MAX_NODES);
        assert!(world.ask("web.default.svc"));
        let (_, asked) = world.asked_of("x.another.default.svc");
        assert_eq!(
            asked,
            ["x.another.default.svc"],
            "nothing is asked for that cannot be noted"
        );
        world.now += Duration::from_secs(6);
        world.ask("x.fresh.default.svc");
        assert!(world.asked_of("y.fresh.default.svc").1.is_empty());
    }

    proptest! {
        /// All names of a cluster, what lies above them and what does not exist, in every order.
        #[test]
        fn no_name_of_a_cluster_is_ever_denied(
            order in prop::collection::vec((0_usize..20, 0_u64..4), 0..200),
        ) {
            let mut world = World::new(&NAMES, denies_services);
            let others = [
                "svc", "default.svc", "pod", "_tcp.web.default.svc", "x._tcp.web.default.svc",
                "www.example.com.default.svc", "www.example.com.svc", "www.example.com", "a.web.default.svc",
                "web.default.svc.default.svc", "web.default", "x.none.svc", "_x._tcp.none.default.svc", "com.default.svc",
            ];
            let all: Vec<&str> = NAMES.iter().chain(&others).copied().collect();
            for (which, seconds) in order {
                world.now += Duration::from_secs(seconds);
                let name = all[which];
                let exists = world.ask(name);
                let absolute = format!("{name}.{ZONE}.");
                if world.names.contains(&absolute) {
                    prop_assert!(exists, "{name}");
                }
            }
        }

        /// Whatever a zone denies, what it has is found at once where nothing was denied above it.
        #[test]
        fn any_names_are_survived(names in prop::collection::vec("[a-c_](\\.[a-c_]){0,4}", 1..60)) {
            let mut world = World::new(&["a.b.c", "_a._b.c"], |name| name.len().is_multiple_of(3));
            for name in names {
                world.ask(&name);
            }
        }
    }
}
