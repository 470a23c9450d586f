//! What becomes of an unbound.conf.

use super::*;
use crate::config::file::{Cache, Size, Zone};
use daemon::config_file::Document;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What CKE's node DNS runs with, in short.
const NODE_DNS: &str = r#"
server:
  do-daemonize: no
  interface: 0.0.0.0
  interface-automatic: yes
  access-control: 0.0.0.0/0 allow
  username: ""
  logfile: ""
  log-queries: yes
  num-threads: 4
  rrset-roundrobin: yes
  rrset-cache-size: 256m
  msg-cache-size: 256m
  msg-cache-slabs: 4
  so-rcvbuf: 4m
  tcp-upstream: yes
  local-zone: "10.in-addr.arpa." transparent
  local-zone: "16.172.in-addr.arpa." transparent
  trust-anchor-file: "/usr/local/unbound/etc/unbound/root.key"
  domain-insecure: "cluster.local"
  domain-insecure: "10.in-addr.arpa."
remote-control:
  control-enable: yes
stub-zone:
  name: "cluster.local"
  stub-addr: 10.96.0.10
forward-zone:
  name: "in-addr.arpa."
  forward-addr: 10.96.0.10
forward-zone:
  name: "."
  forward-addr: 192.0.2.53
  forward-addr: 192.0.2.54
"#;

fn word_of(imported: &Imported, option: &str) -> String {
    let mut remarks = imported.remarks.iter();
    let remark = remarks.find(|remark| remark.option == option);
    remark.map_or_else(String::new, |remark| remark.word.clone())
}

fn yaml(imported: &Imported) -> String {
    daemon::config_file::to_yaml(&imported.file).unwrap()
}

#[test]
fn what_becomes_of_kept_answers_is_translated() {
    let cache = |lines: &str| {
        let imported = import(&format!("server:\n{lines}")).unwrap();
        assert_eq!(imported.remarks, [], "{lines}");
        imported.file.cache
    };
    let seconds = Duration::from_secs;
    let own = Cache::default();
    assert_eq!(cache("prefetch: yes\nserve-expired: yes"), own);
    let without = cache("prefetch: no\nserve-expired: no\nserve-expired-ttl: 5");
    assert!(!without.prefetch);
    assert_eq!(
        (without.stale.max, without.stale.inner_max),
        (seconds(0), seconds(0))
    );
    let lines = "serve-expired: yes\nserve-expired-ttl: 3600\nserve-expired-reply-ttl: 10\n\
        serve-expired-client-timeout: 0\ncache-min-ttl: 60\ncache-max-ttl: 600";
    let all = cache(lines);
    assert_eq!(
        (all.stale.max, all.stale.ttl),
        (seconds(3_600), seconds(10))
    );
    assert_eq!(
        (all.stale.client_response, all.stale.inner_max),
        (seconds(0), own.stale.inner_max)
    );
    assert_eq!((all.min_ttl, all.max_ttl), (seconds(60), seconds(600)));
    let endless = cache("serve-expired: yes\nserve-expired-ttl: 0");
    assert_eq!(endless.stale.max, seconds(7 * 24 * 3_600));
    let long = import("server:\ncache-min-ttl: 900").unwrap();
    assert_eq!(long.file.cache.min_ttl, seconds(300));
    assert_eq!(
        word_of(&long, "cache-min-ttl"),
        "is 5m at most in `cache.min_ttl`"
    );
}

#[test]
fn a_node_dns_goes_on_with_its_zones_servers_and_clients() {
    let imported = import(NODE_DNS).unwrap();
    let zones: Vec<String> = imported
        .file
        .zones
        .iter()
        .map(
            |Zone {
                 name,
                 forward,
                 authoritative,
                 validate,
                 ..
             }| {
                let mut text = format!("{name}");
                for (how, servers) in [("forward", forward), ("authoritative", authoritative)] {
                    for server in servers {
                        write!(text, " {how} {server}").unwrap();
                    }
                }
                if *validate == Some(false) {
                    text += " insecure";
                }
                text
            },
        )
        .collect();
    assert_eq!(
        zones,
        [
            "cluster.local. authoritative tcp://10.96.0.10:53 insecure",
            "in-addr.arpa. forward tcp://10.96.0.10:53",
            ". forward tcp://192.0.2.53:53 forward tcp://192.0.2.54:53",
            "10.in-addr.arpa. forward tcp://10.96.0.10:53 insecure",
            "16.172.in-addr.arpa. forward tcp://10.96.0.10:53",
        ]
    );
    let file = &imported.file;
    assert_eq!(file.listen, ["0.0.0.0:53".parse().unwrap()]);
    assert_eq!(file.access.allow[0].to_string(), "0.0.0.0/0");
    assert_eq!(
        (file.workers, file.cache.size, file.rotate_addresses),
        (4, Size(512 << 20), true)
    );
    for (option, part) in [
        ("do-daemonize", "unit or the manifest"),
        ("msg-cache-slabs", "no lock"),
        ("so-rcvbuf", "net.core.rmem_max"),
        ("trust-anchor-file", "are built in"),
        ("control-enable", "over a socket in --run-dir"),
    ] {
        let word = word_of(&imported, option);
        assert!(word.contains(part), "{option}: {word}");
    }
    assert_eq!(word_of(&imported, "interface-automatic"), "");
    assert_eq!((file.query_log.one_in, file.query_log.failed), (1, false));
    let config = File::check(&Document::new(Path::new("f"), &yaml(&imported))).unwrap();
    let validated: Vec<_> = config.zones.iter().map(|zone| zone.validate).collect();
    assert_eq!(validated, [false, true, true, false, false]);
}

#[test]
fn what_a_resolver_of_ones_own_says_is_kept() {
    let imported = import(
        "server:\n port: 5353\n interface: ::1\n interface: 127.0.0.1@54\n access-control: 10.0.0.0/8 allow\n\
         access-control: 10.1.0.0/16 refuse\n cache-max-ttl: 3600\n val-permissive-mode: yes\n\
         local-data: \"registry.example. 60 IN A 10.0.0.9\"\n local-data: 'x.example. TXT a'\n\
         domain-insecure: corp.example\n local-zone: a.example static\n unheard-of: 1\n private-address: 10.0.0.0/8\n private-domain: corp.example\n\
         forward-zone:\n name: .\n forward-tls-upstream: yes\n forward-addr: 192.0.2.1@853#DNS.example\n\
         forward-addr: 2001:db8::1\n forward-host: dns.example\nforward-zone:\n name: .\n",
    )
    .unwrap();
    let file = &imported.file;
    assert_eq!(
        file.listen,
        ["[::1]:5353", "127.0.0.1:54"].map(|text| text.parse().unwrap())
    );
    assert_eq!(file.validation, Mode::Log);
    assert_eq!(file.rebinding.deny[0].to_string(), "10.0.0.0/8");
    assert_eq!(file.rebinding.exempt[0].to_string(), "corp.example.");
    assert_eq!(
        file.hosts["registry.example."],
        [IpAddr::from([10, 0, 0, 9])]
    );
    assert_eq!(file.trust_anchors.negative[0].to_string(), "corp.example.");
    let servers: Vec<_> = file.zones[0]
        .forward
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        servers,
        ["tls://192.0.2.1:853#dns.example", "tls://[2001:db8::1]:853"]
    );
    let lines: Vec<_> = imported
        .remarks
        .iter()
        .map(|remark| (remark.line, &*remark.option))
        .collect();
    let expected = [
        (6, "access-control"),
        (10, "local-data"),
        (12, "local-zone"),
        (13, "unheard-of"),
        (21, "forward-host"),
        (22, "forward-zone"),
    ];
    assert_eq!(lines, expected);
    File::check(&Document::new(Path::new("f"), &yaml(&imported))).unwrap();
}

#[test]
fn without_forwarders_names_are_resolved_from_the_root_down() {
    let file = import("server:\n module-config: iterator\n").unwrap().file;
    assert_eq!(file.zones.len(), 1);
    assert!(file.zones[0].forward.is_empty());
    assert_eq!(file.zones[0].validate, Some(false));
    assert!(file.listen.iter().all(|address| address.ip().is_loopback()));
}

#[test]
fn sizes_are_read_as_unbound_writes_them() {
    for (text, size) in [
        ("4m", 4 << 20),
        ("1G", 1 << 30),
        ("64kb", 64 << 10),
        ("1000", 1_000),
    ] {
        assert_eq!(bytes(text), Ok(size), "{text}");
    }
    for text in ["", "m", "-1m", "99999999999999999999g"] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

proptest! {
    /// Whatever an unbound.conf says, nodedns takes what is made of it, but for what depends on more
    /// than one line: a server that is nodedns itself.
    #[test]
    fn what_is_written_can_be_read(
        options in prop::collection::vec((0_usize..16, "[a-z0-9.@:/#-]{0,20}", "(yes|no|allow|static|transparent|[0-9]{1,12}[kmg]?)"), 0..30)
    ) {
        const KEYS: [&str; 16] = [
            "interface", "port", "access-control", "num-threads", "msg-cache-size", "cache-max-ttl",
            "domain-insecure", "local-zone", "local-data", "name", "forward-addr", "stub-addr",
            "forward-zone", "stub-zone", "tcp-upstream", "x",
        ];
        let mut text = String::from("server:\n");
        for (key, one, two) in options {
            match KEYS[key] {
                key @ ("forward-zone" | "stub-zone") => writeln!(text, "{key}:").unwrap(),
                key => writeln!(text, "{key}: \"{one}\" {two}").unwrap(),
            }
        }
        let imported = import(&text).unwrap();
        let yaml = yaml(&imported);
        if let Err(error) = Document::new(Path::new("f"), &yaml).parse::<File>() {
            prop_assert!(false, "{}\n{}\n{}", text, yaml, error);
        }
    }
}
