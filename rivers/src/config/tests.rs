//! What a file may say, and the sentence for each mistake.

use proptest::prelude::*;

use super::*;

fn load(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("rivers.yml"), text).map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn any_text_is_refused_in_a_sentence_or_taken(text in ".{0,200}") {
        if let Err(error) = load(&text) {
            prop_assert!(error.starts_with("rivers.yml:"), "{}", error);
        }
    }

    #[test]
    fn any_damage_to_a_good_file_is_refused_in_a_sentence_or_taken(
        at: prop::sample::Index,
        length in 0..9_usize,
        damage in ".{0,9}",
    ) {
        let mut chars: Vec<char> = FULL.chars().collect();
        let at = at.index(chars.len());
        let end = chars.len().min(at + length);
        chars.splice(at..end, damage.chars());
        let text: String = chars.into_iter().collect();
        if let Err(error) = load(&text) {
            prop_assert!(error.starts_with("rivers.yml:"), "{}", error);
        }
    }
}

/// A file with one listener that has this further line.
fn with_listener_line(line: &str) -> Result<Config, String> {
    load(&format!(
        "listeners:\n- listen: 127.0.0.1:16443\n  upstreams: [10.9.0.2:6443, 10.9.0.3:6443]\n  {line}\n"
    ))
}

#[test]
fn the_shortest_file_gets_every_default() {
    let config = with_listener_line("").unwrap();
    let admin = Admin {
        address: "127.0.0.1:16480".parse().unwrap(),
        required: true,
    };
    assert_eq!(config.admin, Some(admin));
    assert_eq!(config.shutdown_timeout, Some(Duration::from_secs(10)));
    assert!((1..=4).contains(&config.workers.get()));
    let listener = &config.listeners[0];
    assert_eq!(listener.name, "127.0.0.1:16443");
    assert_eq!(listener.dial_timeout, Duration::from_secs(10));
    assert_eq!(listener.keepalive, Duration::from_secs(15));
    assert_eq!(listener.balance, Balance::LeastLoaded);
    assert_eq!(listener.rebalance, None);
    assert_eq!(listener.health, Health::default());
}

#[test]
fn the_longest_file_is_taken_as_it_says() {
    let config = load(FULL).unwrap();
    assert_eq!(config.admin, None);
    assert_eq!(config.workers.get(), 2);
    assert_eq!(config.max_connections.unwrap().get(), 1000);
    assert_eq!(config.shutdown_timeout, None);
    assert_eq!(config.log.level, logging::Level::Debug);
    let listener = &config.listeners[0];
    assert_eq!(listener.balance, Balance::RoundRobin);
    assert!((listener.rebalance.unwrap().a_second() - 0.1).abs() < 1e-9);
    let discovery = listener.discovery.as_ref().unwrap();
    assert_eq!(discovery.kubeconfig, Path::new("/etc/rivers/kubeconfig"));
    assert_eq!(listener.health.interval, Duration::from_millis(500));
    assert_eq!(config.listeners[1].name, "etcd");
}

/// Every field, once.
const FULL: &str = r#"
listeners:
- name: kube-apiserver
  listen: "127.0.0.1:16443"
  upstreams: ["10.9.0.2:6443", "[fd00::3]:6443", "api.example:6443"]
  discovery: {kubeconfig: /etc/rivers/kubeconfig}
  balance: round_robin
  dial_timeout: 2s
  dial_keep_alive: 1m
  rebalance: true
  rebalance_pace: 600
  health: {interval: 500ms, timeout: 300ms, rise: 3, fall: 4}
- name: etcd
  listen: "127.0.0.1:12379"
  upstreams: ["10.9.0.2:2379"]
admin: off
workers: 2
max_connections: 1000
shutdown_timeout: 0s
log: {level: debug, format: json, file: /var/log/rivers.log}
"#;

#[test]
fn every_mistake_is_named_with_its_line() {
    let mistakes = [
        "dial_timeout: 0s",
        "dial_timeout: 10",
        "dial_keep_alive: 2h",
        "balance: fastest",
        "name: ''",
        "rebalance: slowly",
        "rebalance_pace: 0",
        "health: {interval: 1ms}",
        "health: {fall: 0}",
        "health: {mode: fast}",
        "health: {readyz_interval: 1h}",
        "health: {ca_file: /nowhere/ca.crt}",
        "health: {ca_file: /dev/null}",
        "health: {server_name: kubernetes}",
        "discovery: {}",
        "discovery: {kubeconfig: /etc/rivers/kubeconfig, namespace: default}",
    ];
    let said: Vec<String> = mistakes
        .iter()
        .map(|line| format!("{line}\n  {}", with_listener_line(line).unwrap_err()))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn mistakes_in_addresses_are_named_with_their_line() {
    let listener = |listen: &str, upstreams: &str| {
        load(&format!(
            "listeners:\n- listen: {listen}\n  upstreams: {upstreams}\n"
        ))
        .unwrap_err()
    };
    let said = [
        load("listeners: []").unwrap_err(),
        load("listeners:\n- upstreams: [10.9.0.2:6443]\n").unwrap_err(),
        listener("localhost:16443", "[10.9.0.2:6443]"),
        listener("127.0.0.1:16443", "[]"),
        listener("127.0.0.1:16443", "[10.9.0.2]"),
        listener("127.0.0.1:16443", "['10.9.0.2:6443', '10.9.0.2:6443']"),
        listener("':16443'", "['10.9.0.2:6443', '127.0.0.1:16443']"),
        listener("':16443'", "['localhost:16443']"),
        load("listeners:\n- {listen: '127.0.0.1:1', upstreams: ['a:1']}\n- {listen: '127.0.0.1:1', upstreams: ['a:1']}\n").unwrap_err(),
        load("listeners:\n- {name: a, listen: '127.0.0.1:1', upstreams: ['a:1']}\n- {name: a, listen: '127.0.0.1:2', upstreams: ['a:1']}\n").unwrap_err(),
        load("listeners:\n- {listen: '127.0.0.1:1', upstreams: ['a:1']}\nadmin: 16480\n").unwrap_err(),
        load("listeners:\n- {listen: '127.0.0.1:1', upstreams: ['a:1']}\nworkers: 65\n").unwrap_err(),
        load("listeners:\n- {listen: '127.0.0.1:1', upstreams: ['a:1']}\nworkers: 0\n").unwrap_err(),
        load("listeners:\n- {listen: '127.0.0.1:1', upstreams: ['a:1']}\nmax_connections: 0\n").unwrap_err(),
    ];
    insta::assert_snapshot!(said.join("\n"));
}
