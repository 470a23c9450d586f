//! nodedns that goes down from the root's servers, on name servers at addresses of the Internet, which
//! a namespace has to itself: the whole signed hierarchy, delegations that lead astray, servers that lie,
//! and servers that cannot be reached.

mod liars;
mod reach;
mod recorder;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode::{NXDomain, NoError, ServFail};
use tests::authoritative::{Authoritative, Zone};
use tests::binaries;
use tests::dns::{Question, RecordType, Reply};
use tests::launch::Launch;
use tests::place::Place;
use tests::program;

use crate::node::Node;
use crate::validation::hierarchy::{ROOT_SERVER, SERVER, TLD_SERVER};
use crate::validation::{ANCHOR, all_cases, grown, the_table_holds};
use recorder::{Manner, Recorder};

#[tokio::test]
async fn the_signed_hierarchy_has_the_same_answers_from_the_root_down() {
    let Some(place) = world().await else { return };
    let Some(grown) = grown(&place) else { return };
    let at = |address| move |zone: &&Zone| server_of(zone.name()) == address;
    let mut servers = Vec::new();
    for address in [ROOT_SERVER, TLD_SERVER, SERVER] {
        let zones: Vec<Zone> = grown.zones.iter().filter(at(address)).cloned().collect();
        let Some(server) = Authoritative::start(&place, port_53(address), &zones).await else {
            return;
        };
        servers.push(server);
    }
    let anchors = place.folder().join(ANCHOR);
    let anchors = format!("trust_anchors: {{files: [{:?}]}}", anchors.display());
    let node = node(&place, "{name: .}", &anchors).await;
    the_table_holds(&node, &all_cases(false)).await;
    a_query_shows_the_way(&place).await;
}

/// `nodedns query`, with the configuration of the node and a cache of its own.
async fn a_query_shows_the_way(place: &Place) {
    let query = async |arguments: &[&str]| {
        let launch = program::nodedns(place).arg("query").args(arguments);
        let configuration = place.folder().join("nodedns.yml");
        launch.arg("--config").arg(configuration).run().await
    };
    let shown = query(&["www.a13.tld", "--trace"]).await.success();
    for line in [
        "www.a13.tld. A: NOERROR, secure\n  because signatures lead from it up to the trust anchor at .\n",
        "www.a13.tld. A is in zone ., the longest that is configured: from the root down, validated",
        ". refers to tld.: 1 name server, the addresses of 1 known",
        "tld. refers to a13.tld.: 1 name server, the addresses of 1 known",
        "  .  secure (trust anchor): 1 key",
        "  a13.tld.  secure: 1 key",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let bogus = query(&["altered.faults.tld", "-o", "json"]).await;
    assert_eq!(bogus.code(), 1, "{bogus}");
    let report: serde_json::Value = serde_json::from_str(&bogus.stdout).unwrap();
    assert_eq!(report["verdict"], "bogus", "{report}");
    assert_eq!(report["error"]["code"], 6, "{report}");
    let unsigned = query(&["www.plain.tld"]).await.success();
    assert!(unsigned.contains("because plain.tld.: the zone above says that it has no DS"));
}

fn server_of(zone: &str) -> &'static str {
    match zone {
        "." => ROOT_SERVER,
        "tld." => TLD_SERVER,
        _ => SERVER,
    }
}

/// A root, a zone `lab.` below it, and servers that are as their names say.
struct Astray {
    root: Recorder,
    test: Recorder,
    leaf: Recorder,
    victim: Recorder,
    node: Node,
    _others: Vec<Recorder>,
    _authoritative: Vec<Authoritative>,
}

impl Astray {
    async fn start(place: &Place) -> Option<Self> {
        let zone = |name: &str, text: &str| Zone::unsigned(place, name, &format!("{SOA}{text}"));
        let flood: String = (0..30)
            .map(|number| format!("flood NS ns{number}.victim.lab.\n"))
            .collect();
        let root = zone(".", "lab. NS ns.lab.\nns.lab. A 192.0.2.52\n");
        let test = zone("lab.", &format!("{TEST}{flood}"));
        let leaves = LEAVES.map(|name| zone(&format!("{name}.lab."), LEAF));
        let mut authoritative = Vec::new();
        for (address, zones) in [
            ("192.0.2.151", &[root][..]),
            ("192.0.2.152", &[test]),
            ("192.0.2.153", &leaves),
            ("192.0.2.157", &[zone("victim.lab.", "")]),
        ] {
            authoritative.push(Authoritative::start(place, port_53(address), zones).await?);
        }
        let record = |address, manner| Recorder::start(port_53(address), manner);
        let honest = |address| Manner::Pass(port_53(address));
        let others = vec![
            record("192.0.2.54", Manner::Refuse).await,
            record("192.0.2.55", Manner::ReferUp).await,
            record("192.0.2.56", Manner::Nothing).await,
        ];
        let root = record("192.0.2.51", honest("192.0.2.151")).await;
        let test = record("192.0.2.52", honest("192.0.2.152")).await;
        let leaf = record("192.0.2.53", Manner::DenyParts(port_53("192.0.2.153"))).await;
        let victim = record("192.0.2.57", honest("192.0.2.157")).await;
        Some(Self {
            root,
            test,
            leaf,
            victim,
            node: node(place, "{name: ., validate: false}", "").await,
            _others: others,
            _authoritative: authoritative,
        })
    }

    async fn ask(&self, name: &str) -> Reply {
        let question = Question::new(name, RecordType::A);
        question.ask(self.node.address).await.unwrap()
    }
}

#[tokio::test]
async fn a_way_that_leads_astray_is_left_in_time() {
    let Some(place) = world().await else { return };
    let Some(astray) = Astray::start(&place).await else {
        return;
    };
    // One good server is enough, whatever the others are like.
    for name in ["plain", "glueless", "lame", "upward", "silent", "both"] {
        let name = format!("www.{name}.lab.");
        let reply = astray.ask(&name).await;
        let why = reply.extended_errors();
        assert_eq!(reply.data(RecordType::A), ["192.0.2.1"], "{name}: {why:?}");
    }
    // Where there is none, that is said at once.
    for (name, part) in [
        ("www.circle-a.lab.", "known to themselves only"),
        ("www.own.lab.", "known to themselves only"),
        ("www.nowhere.lab.", "have no address"),
        ("www.inside.lab.", "recursion.deny"),
        ("www.only-lame.lab.", "192.0.2.54"),
    ] {
        let began = Instant::now();
        let reply = astray.ask(name).await;
        assert_eq!(reply.code(), ServFail, "{name}");
        let (code, text) = reply.extended_errors().remove(0);
        assert!(code == 22 && text.contains(part), "{name}: {code} {text}");
        assert!(began.elapsed() < Duration::from_secs(3), "{name}");
    }
}

#[tokio::test]
async fn each_server_sees_no_more_of_a_name_than_it_must() {
    let Some(place) = world().await else { return };
    let Some(astray) = Astray::start(&place).await else {
        return;
    };
    let reply = astray.ask("a.deep.plain.lab.").await;
    assert_eq!(reply.data(RecordType::A), ["192.0.2.2"]);
    assert_eq!(astray.root.asked(), [". NS", "lab. A"]);
    assert_eq!(astray.test.asked(), ["plain.lab. A"]);
    // This server denies what only has names below it; so it is asked for all.
    let asked = ["deep.plain.lab. A", "a.deep.plain.lab. A"];
    assert_eq!(astray.leaf.asked(), asked);
    // What is known is not asked for again.
    let reply = astray.ask("none.plain.lab.").await;
    assert_eq!(reply.code(), NXDomain);
    assert_eq!(astray.root.asked().len(), 2);
    assert_eq!(astray.leaf.asked()[2..], ["none.plain.lab. A"]);
}

#[tokio::test]
async fn aliases_are_followed_into_other_zones_and_no_others_word_is_taken() {
    let Some(place) = world().await else { return };
    let Some(astray) = Astray::start(&place).await else {
        return;
    };
    let reply = astray.ask("alias.plain.lab.").await;
    assert_eq!(reply.code(), NoError);
    assert_eq!(reply.data(RecordType::CNAME), ["www.lame.lab."]);
    assert_eq!(reply.data(RecordType::A), ["192.0.2.1"]);
    // The server of both would have said so at once, had it been believed.
    assert!(astray.test.asked().contains(&"lame.lab. A".to_owned()));
}

#[tokio::test]
async fn a_referral_to_many_strangers_has_few_of_them_asked() {
    let Some(place) = world().await else { return };
    let Some(astray) = Astray::start(&place).await else {
        return;
    };
    for number in 0..3 {
        let reply = astray.ask(&format!("n{number}.flood.lab.")).await;
        assert_eq!(reply.code(), ServFail);
    }
    let asked = astray.victim.asked();
    // Three questions, three names each, two types at most; the referral has 30 names.
    assert!((3..=18).contains(&asked.len()), "{asked:?}");
}

/// A namespace with all of 192.0.2.0/24.
async fn world() -> Option<Place> {
    let place = Place::namespace()?;
    let ip = binaries::packaged("ip")?;
    let add = ["address", "add", "192.0.2.0/24", "dev", "lo"];
    Launch::new(&place, "ip", &ip)
        .args(add)
        .run()
        .await
        .success();
    Some(place)
}

/// nodedns that resolves everything from the root of this world down.
async fn node(place: &Place, zone: &str, more: &str) -> Node {
    let hints = place.folder().join("named.root");
    std::fs::write(&hints, format!(". NS ns.\nns. A {ROOT_SERVER}\n")).unwrap();
    let zones = format!(
        "- {zone}\nrecursion: {{root_hints: {:?}}}\n{more}",
        hints.display()
    );
    Node::start(place, &zones).await
}

fn port_53(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 53)
}

const SOA: &str = "@ SOA ns host 1 3600 600 86400 20\n@ NS ns\nns A 192.0.2.51\n";
const LEAF: &str =
    "www A 192.0.2.1\na.deep A 192.0.2.2\nalias CNAME www.lame.lab.\nns A 192.0.2.53\n";
/// The zones that there are at 192.0.2.53.
const LEAVES: [&str; 7] = [
    "plain",
    "glueless",
    "lame",
    "upward",
    "silent",
    "both",
    "only-lame",
];
const TEST: &str = "plain NS ns.plain
ns.plain A 192.0.2.53
glueless NS ns.plain
lame NS ns1.lame
lame NS ns2.lame
ns1.lame A 192.0.2.54
ns2.lame A 192.0.2.53
upward NS ns1.upward
upward NS ns2.upward
ns1.upward A 192.0.2.55
ns2.upward A 192.0.2.53
silent NS ns1.silent
silent NS ns2.silent
ns1.silent A 192.0.2.56
ns2.silent A 192.0.2.53
both NS ns1.both
both NS ns.plain
ns1.both A 192.0.2.54
only-lame NS ns.only-lame
ns.only-lame A 192.0.2.54
circle-a NS ns.circle-b
circle-b NS ns.circle-a
own NS ns.own
nowhere NS ns.none
inside NS ns.inside
ns.inside A 127.0.0.1
victim NS ns.victim
ns.victim A 192.0.2.57
";
