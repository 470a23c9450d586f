//! What a file means, and what is wrong with one.

use super::*;
use crate::anchors;
use crate::config::Forward;
use std::path::Path;
use std::time::Duration;

const WHOLE: &str = r#"
listen: ["0.0.0.0:53", "[::]:53"]
admin: "0.0.0.0:9253"
workers: 2
zones:
- {name: cluster.local., forward: ["tcp://10.96.0.10"], validate: false}
- {name: ., forward: ["192.0.2.53", "tcp://[2001:db8::53]:5353"]}
cache: {size: 64MiB, max_ttl: 24h}
"#;

fn check(yaml: &str) -> Result<Config, String> {
    File::check(&Document::new(Path::new("nodedns.yml"), yaml)).map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_is_read() {
    let config = check(WHOLE).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.workers.get(), 2);
    assert_eq!(config.zones[0].name.to_string(), "cluster.local.");
    assert!(config.zones[1].is_root());
    assert_eq!(config.cache.size, 64 << 20);
}

#[test]
fn zones_alone_are_enough() {
    let config = check("zones: [{name: ., forward: [192.0.2.53]}]").unwrap();
    assert_eq!(config.listen, default_listen());
    assert_eq!(config.admin, default_admin());
    assert_eq!(config.workers.get(), 1);
}

/// The servers of the one zone of a file, those that are asked and those that
/// are not.
fn zone(yaml: &str) -> (config::Servers, Vec<String>, Vec<String>) {
    let zone = check(&format!("zones: [{{name: a, {yaml}}}]"))
        .unwrap()
        .zones
        .remove(0);
    let config::Source::Servers(servers) = zone.source else {
        panic!("the zone names servers");
    };
    let texts = |servers: &[Forward]| servers.iter().map(ToString::to_string).collect();
    let (asked, unasked) = (texts(&servers.asked), texts(&servers.unasked));
    (servers, asked, unasked)
}

#[test]
fn a_zone_without_servers_is_resolved_from_the_root_down() {
    let config = check("zones: [{name: .}]").unwrap();
    assert_eq!(config.zones[0].source, config::Source::Recursion);
    assert_eq!(config.recursion.root_hints.len(), 26);
    let denied = |text: &str| {
        let address = text.parse().unwrap();
        config
            .recursion
            .deny
            .iter()
            .any(|one| one.contains(address))
    };
    assert!(denied("127.0.0.1") && !denied("198.41.0.4"));
}

#[test]
fn a_root_of_ones_own_has_hints_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root");
    std::fs::write(&file, ". NS ns.\nns. A 10.0.0.53\n").unwrap();
    let yaml = format!(
        "zones: [{{name: .}}]\nrecursion: {{root_hints: {}, deny: [127.0.0.0/8]}}",
        file.display()
    );
    let recursion = check(&yaml).unwrap().recursion;
    assert_eq!(recursion.root_hints[0].to_string(), "10.0.0.53");
    assert_eq!(recursion.deny.len(), 1);
    std::fs::write(&file, ". NS ns.\n").unwrap();
    assert!(check(&yaml).unwrap_err().contains("where is the root?"));
}

#[test]
fn authoritative_servers_are_asked_without_recursion() {
    let (own, asked, _) = zone("authoritative: [192.0.2.53]");
    assert!(!own.recursion && asked == ["udp://192.0.2.53:53"]);
    assert!(zone("forward: [192.0.2.53]").0.recursion);
}

#[test]
fn force_tcp_leaves_no_server_to_be_asked_over_udp() {
    let (_, asked, _) =
        zone("forward: [192.0.2.53, \"tls://192.0.2.54\"], force_tcp: true, mixed: true");
    assert_eq!(asked, ["tcp://192.0.2.53:53", "tls://192.0.2.54:853"]);
}

#[test]
fn beside_encrypted_servers_plaintext_ones_are_asked_only_when_mixed() {
    let servers = "forward: [\"tls://192.0.2.53\", 192.0.2.54, \"tcp://192.0.2.55\"]";
    let (_, asked, unasked) = zone(servers);
    assert_eq!(asked, ["tls://192.0.2.53:853"]);
    assert_eq!(unasked, ["udp://192.0.2.54:53", "tcp://192.0.2.55:53"]);
    let (_, asked, unasked) = zone(&format!("{servers}, mixed: true"));
    assert_eq!((asked.len(), unasked.len()), (3, 0));
}

#[test]
fn all_zones_are_validated_but_private_reverse_ones_and_those_that_say_no() {
    let config = check(
        "zones:\n- {name: ., forward: [192.0.2.53]}\n- {name: 10.in-addr.arpa, forward: [192.0.2.53]}\n\
         - {name: 168.192.in-addr.arpa, forward: [192.0.2.53], validate: true}\n\
         - {name: cluster.local, forward: [192.0.2.53], validate: false}\n",
    )
    .unwrap();
    let validated: Vec<_> = config.zones.iter().map(|zone| zone.validate).collect();
    assert_eq!(validated, [true, false, true, false]);
    assert_eq!(config.validation.mode, Mode::Enforce);
    assert_eq!(config.validation.anchors, anchors::root());
    assert_eq!(config.validation.policy.nsec3_max_iterations, 50);
}

#[test]
fn anchors_of_a_file_take_the_place_of_those_that_are_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("corp.ds");
    std::fs::write(&file, "corp.example. IN DS 1 13 2 00ff\n").unwrap();
    let config = check(&format!(
        "zones: [{{name: ., forward: [192.0.2.53]}}]\nvalidation: log\n\
         trust_anchors: {{files: [{}], negative: [broken.example]}}",
        file.display()
    ))
    .unwrap();
    assert_eq!(config.validation.anchors.len(), 1);
    assert_eq!(
        config.validation.anchors[0].zone.to_string(),
        "corp.example."
    );
    assert_eq!(config.validation.negative[0].to_string(), "broken.example.");
    assert_eq!(config.validation.mode, Mode::Log);
    assert!(config.validation.follow_rollovers);
}

#[test]
fn rollovers_are_followed_unless_the_file_says_no() {
    let follows = |yaml: &str| {
        let zones = "zones: [{name: ., forward: [192.0.2.53]}]";
        let config = check(&format!("{zones}\n{yaml}")).unwrap();
        config.validation.follow_rollovers
    };
    assert!(follows(""));
    assert!(!follows("trust_anchors: {follow_rollovers: false}"));
}

#[test]
fn what_is_written_reads_back() {
    let document = Document::new(Path::new("f"), WHOLE);
    let file: File = document.parse().unwrap();
    let yaml = daemon::config_file::to_yaml(&file).unwrap();
    let again: File = Document::new(Path::new("f"), &yaml).parse().unwrap();
    assert_eq!(again, file);
}

#[test]
fn mistakes_are_named_with_line_and_way_out() {
    let zone = "zones: [{name: ., forward: [192.0.2.53]}]\n";
    for (yaml, part) in [
        ("zones: []", "name at least one zone"),
        ("{}", "missing field `zones`"),
        ("zones: [{name: ., forward: []}]", "or leave the field out"),
        (
            "zones: [{name: ., force_tcp: true}]",
            "zones[0].force_tcp: speaks of servers",
        ),
        (
            "zones:\n- name: .\n  forward: [\"tls://192.0.2.53#a b\"]",
            "nodedns.yml:3:13: zones[0].forward[0]: `#a b` is nothing that a server can prove",
        ),
        (
            "zones:\n- name: .\n  forward: [192.0.2.53]\n  authoritative: [192.0.2.53]",
            "zones[0].authoritative: a zone has servers that resolve for us",
        ),
        (
            "zones: [{name: ., authoritative: [127.0.0.1]}]",
            "is nodedns itself",
        ),
        (
            "zones: [{name: a, forward: [192.0.2.53]}, {name: A., forward: [192.0.2.53]}]",
            "zone a. is there twice",
        ),
        (
            "zones: [{name: a..b, forward: [192.0.2.53]}]",
            "is not a domain name",
        ),
        (
            "zones: [{name: ., forward: [192.0.2.53, \"udp://192.0.2.53:53\"]}]",
            "is there twice",
        ),
        (
            "zones: [{name: ., forward: [127.0.0.1]}]",
            "is nodedns itself",
        ),
        (&format!("{zone}validation: maybe"), "validation"),
        (
            &format!("{zone}nsec3_max_iterations: 501"),
            "must be from 0 to 500",
        ),
        (
            &format!("{zone}trust_anchors: {{files: [none.ds]}}"),
            "nodedns.yml:2:25: trust_anchors.files[0]: cannot read none.ds",
        ),
        (
            &format!("{zone}trust_anchors: {{negative: [a..b]}}"),
            "is not a domain name",
        ),
        (
            &format!("{zone}recursion: {{deny: [10/8]}}"),
            "is not a subnet",
        ),
        (
            &format!("{zone}recursion: {{root_hints: none}}"),
            "recursion.root_hints: cannot read none",
        ),
        (
            &format!("{zone}access: {{allow: [neighbours]}}"),
            "access.allow[0]: `neighbours` is not a subnet",
        ),
        (
            &format!("{zone}limits: {{queries_per_second: 0}}"),
            "nodedns.yml:2:30: limits.queries_per_second: must be from 1 to 10000000",
        ),
        (
            &format!("{zone}limits: {{questions: 16385}}"),
            "limits.questions: must be from 1 to 16384",
        ),
        (
            &format!("{zone}limits: {{questions: 9, waiting: 8}}"),
            "limits.waiting: must be at least limits.questions",
        ),
        (
            &format!("{zone}limits: {{connections: 0}}"),
            "limits.connections: must be from 1 to 4096",
        ),
        (
            &format!("{zone}hosts: {{a..b: [10.0.0.1]}}"),
            "hosts: `a..b` is not a domain name",
        ),
        (
            &format!("{zone}hosts: {{a: [10.0.0.1], A: [10.0.0.2]}}"),
            "hosts: a. is there twice",
        ),
        (
            &format!("{zone}query_log: {{slow: 2m}}"),
            "query_log.slow: must be from 1ms to 1m",
        ),
        (
            &format!("{zone}query_log: {{one_in: 1000000001}}"),
            "query_log.one_in: must be from 1",
        ),
        (&format!("{zone}hosts: {{a: []}}"), "a. has no address"),
        (&format!("{zone}hosts: {{a: [b]}}"), "hosts.a[0]"),
        (&format!("{zone}workers: 0"), "must be from 1 to 64"),
        (&format!("{zone}listen: []"), "name at least one address"),
        (&format!("{zone}listen: [eth0]"), "listen[0]"),
        (&format!("{zone}cache: {{size: 64}}"), "size"),
        (&format!("{zone}cache: {{size: 64MB}}"), "is not a size"),
        (&format!("{zone}cache: {{size: 1KiB}}"), "from 1MiB"),
        (&format!("{zone}cache: {{max_ttl: 0s}}"), "from 1s to"),
    ] {
        let error = check(yaml).unwrap_err();
        assert!(error.contains(part), "{yaml}\n{error}");
    }
}

#[test]
fn private_clients_and_the_nodes_own_may_ask_and_loopback_has_no_limits() {
    let zones = "zones: [{name: ., forward: [192.0.2.53]}]\n";
    let has = |subnets: &[config::Subnet], address: &str| {
        let address = address.parse().unwrap();
        subnets.iter().any(|subnet| subnet.contains(address))
    };
    let default = check(zones).unwrap();
    assert!(has(&default.access, "10.244.0.1") && has(&default.access, "fd00::1"));
    assert!(!has(&default.access, "198.51.100.1"));
    assert!(has(&default.limits.exempt, "127.0.0.1") && has(&default.limits.exempt, "::1"));
    assert!(!has(&default.limits.exempt, "10.244.0.1"));
    let named = check(&format!(
        "{zones}access: {{allow: [private, 198.51.100.0/24]}}"
    ))
    .unwrap();
    assert!(has(&named.access, "198.51.100.1") && has(&named.access, "10.244.0.1"));
    let none = check(&format!(
        "{zones}access: {{allow: []}}\nlimits: {{exempt: []}}"
    ))
    .unwrap();
    assert!(none.access.is_empty() && none.limits.exempt.is_empty());
}

#[test]
fn hosts_are_names_with_addresses() {
    let zones = "zones: [{name: ., forward: [192.0.2.53]}]\n";
    let config = check(&format!(
        "{zones}hosts: {{A.example: [10.0.0.1, \"fd00::1\"]}}"
    ))
    .unwrap();
    assert_eq!(config.hosts[0].name.to_string(), "a.example.");
    assert_eq!(config.hosts[0].addresses.len(), 2);
}

#[test]
fn sizes_read_back() {
    for text in ["64MiB", "1GiB", "1000B", "3KiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    for text in ["", "64", "MiB", "-1B", "99999999999999999999B"] {
        assert!(text.parse::<Size>().is_err(), "{text}");
    }
}

#[test]
fn answers_after_their_time_have_bounds_of_their_own() {
    let cache = |yaml: &str| check(&format!("zones: [{{name: .}}]\ncache: {yaml}"));
    let stale = cache("{}").unwrap().cache.stale;
    assert_eq!(stale.max, Duration::from_secs(86_400));
    assert_eq!(stale.inner_max, Duration::from_secs(30));
    assert_eq!(stale.client_response, Duration::from_millis(1_800));
    let config = cache("{prefetch: false, stale: {max: 0s, ttl: 1s}}").unwrap();
    assert_eq!(config.cache.stale.max, Duration::ZERO);
    assert!(!config.cache.prefetch);
    for (yaml, message) in [
        (
            "{inner_share: 91}",
            "cache.inner_share: must be from 0 to 90",
        ),
        ("{min_ttl: 6m}", "cache.min_ttl: must be from 0s to 5m"),
        (
            "{min_ttl: 2m, max_ttl: 1m}",
            "cache.min_ttl: must be from 0s to 1m",
        ),
        (
            "{stale: {max: 169h}}",
            "cache.stale.max: must be from 0s to 168h",
        ),
        (
            "{stale: {inner_max: 25h}}",
            "cache.stale.inner_max: must be from 0s to 24h",
        ),
        (
            "{stale: {client_response: 5s}}",
            "cache.stale.client_response: must be from 0s to 4s",
        ),
        (
            "{stale: {failure_recheck: 0s}}",
            "cache.stale.failure_recheck: must be from 1s to 5m",
        ),
        (
            "{stale: {ttl: 6m}}",
            "cache.stale.ttl: must be from 1s to 5m",
        ),
        ("{stale: {maximum: 1h}}", "unknown field `maximum`"),
    ] {
        let error = cache(yaml).unwrap_err();
        assert!(error.contains(message), "{error}");
        assert!(error.starts_with("nodedns.yml:2:"), "{error}");
    }
}
