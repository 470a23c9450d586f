//! `options.rivers` and `options.etcd-rivers`: what an operator wants otherwise in each node's
//! `rivers.yml`. It is laid over what control generates, and judged by rivers' own parser.
//!
//! CKE starts a rivers for the API servers and one for etcd, each with flags; here both are
//! listeners of one process. So a flag becomes a field of its listener, and one of the whole
//! process must not say different things in both places.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use daemon::config_file::to_yaml;
use rivers::config::Config;
use serde_json::{Map, Value, json};

use super::document::{ClusterError, Document};
use super::file;
use super::node_dns::split;
use crate::json::merge;

/// What `options.rivers` and `options.etcd-rivers` ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeRivers {
    /// Fields of `rivers.yml`, laid over the generated ones.
    config: Map<String, Value>,
    /// Fields of the listener for API servers.
    api_server: Value,
    /// Fields of the listener for etcd.
    etcd: Value,
    /// Fields of the whole process.
    process: Value,
}

/// A node's `rivers.yml`, and where to ask what it makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiversFile {
    /// The file.
    pub text: String,
    /// Where kubelet and others reach the API servers.
    pub api_server: SocketAddr,
    /// Where rivers says how it is, if anywhere.
    pub admin: Option<SocketAddr>,
}

impl NodeRivers {
    pub(super) fn new(
        document: &Document,
        rivers: file::Rivers,
        etcd_rivers: file::EtcdRivers,
    ) -> Result<Self, ClusterError> {
        let mut process = json!({});
        let mut read = |at: &'static str, flags: Vec<String>| {
            fields(&flags, &mut process).map_err(|(index, why)| {
                document.error_at(&format!("options.{at}.extra_args[{index}]"), why)
            })
        };
        let api_server = read("rivers", rivers.extra_args)?;
        let etcd = read("etcd-rivers", etcd_rivers.extra_args)?;
        let options = Self {
            config: rivers.config,
            api_server,
            etcd,
            process,
        };
        // Whatever the cluster turns out to be: generated files differ in addresses only.
        let sample = [IpAddr::from([192, 0, 2, 1])];
        for is_control_plane in [true, false] {
            options
                .file(&sample, 1, is_control_plane)
                .map_err(|mistake| {
                    let (place, message) = options.origin(&mistake);
                    document.error_at(&place, message)
                })?;
        }
        Ok(options)
    }

    /// The `rivers.yml` of a node in a cluster with this control plane and so many nodes.
    ///
    /// # Errors
    /// rivers would refuse it: the field, and why.
    pub fn file(
        &self,
        control_plane: &[IpAddr],
        nodes: usize,
        is_control_plane: bool,
    ) -> Result<RiversFile, String> {
        let upstreams = |port: u16| -> Vec<String> {
            let addresses = control_plane.iter();
            addresses
                .map(|&ip| SocketAddr::new(ip, port).to_string())
                .collect()
        };
        let mut api_server = json!({
            "name": API_SERVER,
            "listen": "127.0.0.1:16443",
            "upstreams": upstreams(6443),
        });
        if let Some(interval) = readyz_interval(nodes) {
            let interval = daemon::duration::format(interval);
            api_server["health"] = json!({"readyz_interval": interval});
        }
        merge(&mut api_server, self.api_server.clone());
        let mut listeners = vec![api_server];
        if is_control_plane {
            let mut etcd = json!({
                "name": ETCD,
                "listen": "127.0.0.1:12379",
                "upstreams": upstreams(2379),
            });
            merge(&mut etcd, self.etcd.clone());
            listeners.push(etcd);
        }
        let mut config = self.config.clone();
        if let Some(Value::Array(given)) = config.remove("listeners") {
            overlay(&mut listeners, given, is_control_plane);
        }
        let mut whole = json!({"listeners": listeners});
        merge(&mut whole, self.process.clone());
        merge(&mut whole, Value::Object(config));
        let yaml = to_yaml(&whole).map_err(|error| error.to_string())?;
        let text = format!("{HEADER}{yaml}");
        let checked = Config::parse(Path::new("rivers.yml"), &text)
            .map_err(|error| error.message().to_owned())?;
        let listener = checked.listeners.iter().find(|l| l.name == API_SERVER);
        let api_server = listener
            .map(|listener| listener.listen.socket_addr())
            .ok_or_else(|| format!("listeners: none is called {API_SERVER}"))?;
        Ok(RiversFile {
            text,
            api_server: reachable(api_server),
            admin: checked.admin.map(|admin| reachable(admin.address)),
        })
    }

    /// Where a mistake in the outcome comes from, as far as can be told, and what it is.
    fn origin<'a>(&self, mistake: &'a str) -> (String, &'a str) {
        let (field, message) = split(mistake);
        let within = format!("/{}", field.replace(['.', '['], "/").replace(']', ""));
        let config = Value::Object(self.config.clone());
        if !field.is_empty() && config.pointer(&within).is_some() {
            return (format!("options.rivers.config.{field}"), message);
        }
        let has = |fields: &Value| {
            let last = within.rsplit('/').next().unwrap_or_default();
            !last.is_empty() && fields.to_string().contains(&format!("\"{last}\":"))
        };
        let place = if has(&self.api_server) || has(&self.process) {
            "options.rivers.extra_args"
        } else if has(&self.etcd) {
            "options.etcd-rivers.extra_args"
        } else {
            "options.rivers.config"
        };
        (place.to_owned(), mistake)
    }
}

/// Lays the operator's listeners over the generated ones of the same name, and adds the others.
fn overlay(listeners: &mut Vec<Value>, given: Vec<Value>, is_control_plane: bool) {
    for listener in given {
        let same = |other: &&mut Value| other["name"] == listener["name"];
        match listeners.iter_mut().find(same) {
            Some(generated) => merge(generated, listener),
            // What is said of etcd's listener holds where there is one.
            None if listener["name"] == ETCD && !is_control_plane => {}
            None => listeners.push(listener),
        }
    }
}

/// What flags of CKE's rivers say, as fields of a listener; those of the process go into
/// `process`. An error names the flag by its index.
fn fields(flags: &[String], process: &mut Value) -> Result<Value, (usize, String)> {
    let mut listener = json!({});
    let mut rest = flags.iter().enumerate();
    while let Some((index, flag)) = rest.next() {
        let bare = flag.trim_start_matches('-');
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (bare, None),
        };
        let known = FLAGS.iter().find(|(known, ..)| *known == name);
        let Some((_, place, pointers)) = known.filter(|_| flag.starts_with('-')) else {
            let why = match KEPT.iter().find(|(kept, _)| *kept == name) {
                Some((_, why)) => format!("`{flag}`: {why}"),
                None => format!("`{flag}` is no flag of rivers"),
            };
            return Err((index, why));
        };
        let value = match (value, *name == *"rebalance") {
            (Some(value), true) => Value::Bool(value != "false"),
            (None, true) => Value::Bool(true),
            (Some(value), false) => Value::String(value),
            (None, false) => match rest.next() {
                Some((_, value)) => Value::String(value.clone()),
                None => return Err((index, format!("`{flag}` lacks its value"))),
            },
        };
        for pointer in *pointers {
            let over = nested(pointer, value.clone());
            match place {
                Place::Listener => merge(&mut listener, over),
                Place::Process => {
                    let path = format!("/{}", pointer.replace('.', "/"));
                    if process.pointer(&path).is_some_and(|other| *other != value) {
                        let why = format!(
                            "`{flag}` is {} elsewhere in options.rivers and options.etcd-rivers; \
                             they are one process here, and it has one {name}",
                            process.pointer(&path).unwrap_or(&Value::Null)
                        );
                        return Err((index, why));
                    }
                    merge(process, over);
                }
            }
        }
    }
    Ok(listener)
}

/// `{a: {b: value}}` for `a.b`.
fn nested(pointer: &str, value: Value) -> Value {
    pointer
        .rsplit('.')
        .fold(value, |value, field| json!({ field: value }))
}

/// An address that listens on all of a host's is reached by one of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::from(([127, 0, 0, 1], address.port()));
    }
    address
}

/// So that an API server is asked at `/readyz` at most [`MAX_READYZ`] times a second by all
/// nodes together; None while rivers' default does.
fn readyz_interval(nodes: usize) -> Option<Duration> {
    let seconds = u64::try_from(nodes.div_ceil(MAX_READYZ)).unwrap_or(u64::MAX);
    let interval = Duration::from_secs(seconds).min(LONGEST_INTERVAL);
    (interval > DEFAULT_INTERVAL).then_some(interval)
}

enum Place {
    Listener,
    Process,
}

/// Flags of rivers, and the fields that they stand for.
const FLAGS: [(&str, Place, &[&str]); 13] = [
    (
        "check-interval",
        Place::Listener,
        &["health.interval", "health.readyz_interval"],
    ),
    ("ca-file", Place::Listener, &["health.ca_file"]),
    ("health-mode", Place::Listener, &["health.mode"]),
    ("dial-timeout", Place::Listener, &["dial_timeout"]),
    ("dial-keep-alive", Place::Listener, &["dial_keep_alive"]),
    ("kubeconfig", Place::Listener, &["discovery.kubeconfig"]),
    ("replay", Place::Listener, &["replay"]),
    ("rebalance", Place::Listener, &["rebalance"]),
    ("shutdown-timeout", Place::Process, &["shutdown_timeout"]),
    ("admin", Place::Process, &["admin"]),
    ("logfile", Place::Process, &["log.file"]),
    ("loglevel", Place::Process, &["log.level"]),
    ("logformat", Place::Process, &["log.format"]),
];
/// Flags that are not the operator's.
const KEPT: [(&str, &str); 7] = [
    (
        "listen",
        "is kept by control; use options.rivers.config.listeners",
    ),
    ("upstreams", "are the control plane of cluster.yml"),
    (
        "config",
        "is /etc/rivers/rivers.yml; use options.rivers.config",
    ),
    ("state-dir", "is the unit's"),
    ("run-dir", "is the unit's"),
    ("generation", "is the unit's"),
    ("when-replaced", "is the unit's"),
];
const API_SERVER: &str = "kube-apiserver";
const ETCD: &str = "etcd";
const HEADER: &str = "# Written by control from cluster.yml; changes here are undone.\n";
/// A second, at one API server.
const MAX_READYZ: usize = 500;
/// rivers' own.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// The longest that rivers takes.
const LONGEST_INTERVAL: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;

    fn read(options: &str) -> Result<NodeRivers, String> {
        let text = format!(
            "name: a\nservice_subnet: 10.0.0.0/16\n\
             nodes: [{{address: 10.0.0.1, user: u, control_plane: true}}]\noptions:\n{options}"
        );
        Cluster::parse(Path::new("cluster.yml"), text.as_bytes())
            .map(|cluster| cluster.options.rivers)
            .map_err(|error| error.to_string())
    }

    fn file(options: &str, nodes: usize, is_control_plane: bool) -> String {
        let control_plane = ["10.0.0.1", "fd00::2"].map(|ip| ip.parse().unwrap());
        let read = read(options).unwrap();
        let file = read.file(&control_plane, nodes, is_control_plane).unwrap();
        let text = file.text.strip_prefix(HEADER).unwrap();
        text.to_owned()
    }

    #[test]
    fn a_worker_has_the_api_servers_and_a_control_plane_node_etcd_too() {
        let worker = "listeners:\n- listen: 127.0.0.1:16443\n  name: kube-apiserver\n  upstreams:\n  \
                      - 10.0.0.1:6443\n  - '[fd00::2]:6443'\n";
        let etcd = "- listen: 127.0.0.1:12379\n  name: etcd\n  upstreams:\n  - 10.0.0.1:2379\n  \
                    - '[fd00::2]:2379'\n";
        assert_eq!(file("  rivers:\n", 3, false), worker);
        assert_eq!(file("  rivers:\n", 3, true), format!("{worker}{etcd}"));
    }

    #[test]
    fn all_nodes_together_ask_an_api_server_500_times_a_second_at_most() {
        assert_eq!(readyz_interval(5000), None);
        assert_eq!(readyz_interval(5001), Some(Duration::from_secs(11)));
        assert_eq!(readyz_interval(usize::MAX), Some(LONGEST_INTERVAL));
        assert!(file("  rivers:\n", 10_000, false).contains("readyz_interval: 20s"));
    }

    #[test]
    fn flags_become_fields_of_their_listener_and_the_config_goes_before_them() {
        let text = file(
            "  rivers:\n    extra_args: [--dial-timeout=5s, -check-interval, 3s, --loglevel=debug]\n    \
             config:\n      workers: 2\n      listeners:\n      \
             - {name: kube-apiserver, dial_timeout: 6s, rebalance: true}\n      \
             - {name: more, listen: '127.0.0.1:1', upstreams: ['192.0.2.1:1']}\n  \
             etcd-rivers: {extra_args: ['--dial-timeout=7s', '--loglevel=debug']}\n",
            1,
            true,
        );
        let whole: Value = daemon::config_file::parse(Path::new("a"), &text).unwrap();
        let listeners = &whole["listeners"];
        assert_eq!(listeners[0]["dial_timeout"], "6s");
        assert_eq!(listeners[0]["health"]["interval"], "3s");
        assert_eq!(listeners[0]["rebalance"], true);
        assert_eq!(listeners[1]["dial_timeout"], "7s");
        assert_eq!(listeners[2]["name"], "more");
        assert_eq!(
            (&whole["workers"], &whole["log"]["level"]),
            (&json!(2), &json!("debug"))
        );
    }

    #[test]
    fn it_is_known_where_to_ask_a_node() {
        let file = |config: &str| {
            let options = read(&format!("  rivers: {{config: {config}}}\n")).unwrap();
            options
                .file(&["10.0.0.1".parse().unwrap()], 1, false)
                .unwrap()
        };
        let plain = file("{}");
        assert_eq!(plain.api_server.to_string(), "127.0.0.1:16443");
        assert_eq!(plain.admin.unwrap().to_string(), "127.0.0.1:16480");
        assert_eq!(file("{admin: 'off'}").admin, None);
        let wide = file("{listeners: [{name: kube-apiserver, listen: ':1'}], admin: '[::]:2'}");
        assert_eq!(wide.admin.unwrap().to_string(), "127.0.0.1:2");
        assert_eq!(wide.api_server.to_string(), "127.0.0.1:1");
    }

    #[test]
    fn what_rivers_would_refuse_or_is_not_the_operators_is_refused_in_its_place() {
        for (options, expected) in [
            (
                "  rivers: {extra_args: [--listen=:1]}\n",
                "extra_args[0]: `--listen=:1`: is kept",
            ),
            (
                "  rivers: {extra_args: [--nonsense]}\n",
                "`--nonsense` is no flag of rivers",
            ),
            (
                "  rivers: {extra_args: [dial-timeout]}\n",
                "`dial-timeout` is no flag",
            ),
            (
                "  rivers: {extra_args: [--dial-timeout]}\n",
                "`--dial-timeout` lacks its value",
            ),
            (
                "  rivers: {extra_args: [--dial-timeout=1d]}\n",
                "options.rivers.extra_args: ",
            ),
            (
                "  rivers: {extra_args: [--loglevel=info]}\n  etcd-rivers: {extra_args: [--loglevel, debug]}\n",
                "options.etcd-rivers.extra_args[0]: `--loglevel` is \"info\" elsewhere",
            ),
            (
                "  rivers: {config: {workres: 1}}\n",
                "options.rivers.config: unknown field",
            ),
            (
                "  rivers: {config: {workers: 100}}\n",
                "cluster.yml:5:30: options.rivers.config.workers: must be",
            ),
            ("  rivers: {extra_arg: []}\n", "unknown field `extra_arg`"),
        ] {
            let error = read(options).unwrap_err();
            assert!(error.contains(expected), "{options}: {error}");
        }
    }
}
