//! `options.node-dns`: the image of nodedns, and what an operator wants otherwise in
//! `nodedns.yml`. It is laid over what control generates, and judged by nodedns' own parser.

use std::path::Path;

use daemon::config_file::{self, to_yaml};
use nodedns::config::Name;
use nodedns::config::file::File;
use serde_json::{Map, Value};

use super::document::{ClusterError, Document};
use super::file;
use super::image::image;
use crate::json::merge;

/// What `options.node-dns` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeDns {
    /// The image of DaemonSet `node-dns`.
    pub image: String,
    /// Fields of `nodedns.yml`, laid over the generated ones.
    config: Map<String, Value>,
}

impl NodeDns {
    pub(super) fn new(document: &Document, file: file::NodeDns) -> Result<Self, ClusterError> {
        let node_dns = Self {
            image: image(document, "options.node-dns.image", file.image, NODEDNS)?,
            config: file.config,
        };
        let config = Value::Object(node_dns.config.clone());
        for (field, why) in KEPT {
            let pointer = format!("/{}", field.replace('.', "/"));
            if config.pointer(&pointer).is_some() {
                return Err(document.error_at(&format!("{CONFIG}.{field}"), why));
            }
        }
        // Whatever the cluster turns out to be: generated files differ in addresses only.
        let sample = config_file::parse(Path::new("nodedns.yml"), SAMPLE)
            .expect("a file that nodedns takes");
        node_dns.over(sample).map_err(|mistake| {
            let (field, message) = split(&mistake);
            let field = format!("{CONFIG}{}{field}", if field.is_empty() { "" } else { "." });
            document.error_at(&field, message)
        })?;
        Ok(node_dns)
    }

    /// `generated` with the operator's fields over it: a map is merged field by field, a zone
    /// takes the place of the one with its name, everything else that of what is there.
    ///
    /// # Errors
    /// nodedns would refuse the outcome: the field, and why. Zones of the operator's have the
    /// indices that they have in cluster.yml.
    pub fn over(&self, generated: File) -> Result<File, String> {
        if self.config.is_empty() {
            return Ok(generated);
        }
        let mut whole = serde_json::to_value(generated).map_err(|error| error.to_string())?;
        let mut config = self.config.clone();
        if let Some(Value::Array(zones)) = config.get_mut("zones") {
            let others = whole["zones"].take();
            zones.extend(others_than(zones, others));
        }
        merge(&mut whole, Value::Object(config));
        let text = to_yaml(&whole).map_err(|error| error.to_string())?;
        let document = config_file::Document::new(Path::new("nodedns.yml"), &text);
        let file = document.parse().map_err(|e| e.message().to_owned())?;
        File::check(&document).map_err(|e| e.message().to_owned())?;
        Ok(file)
    }
}

/// Those of the generated zones that none of `zones` takes the place of.
fn others_than(zones: &[Value], generated: Value) -> Vec<Value> {
    let name = |zone: &Value| Name::from_text(zone.get("name")?.as_str()?).ok();
    let given: Vec<Name> = zones.iter().filter_map(name).collect();
    let Value::Array(mut generated) = generated else {
        return Vec::new();
    };
    generated.retain(|zone| name(zone).is_none_or(|name| !given.contains(&name)));
    generated
}

/// The field that a mistake begins with, as in `zones[0].name: …`, and the rest.
pub(super) fn split(mistake: &str) -> (&str, &str) {
    let is_field = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']'))
    };
    match mistake.split_once(": ") {
        Some((field, rest)) if is_field(field) => (field, rest),
        _ => ("", mistake),
    }
}

const CONFIG: &str = "options.node-dns.config";
/// In no registry: an image of this name is loaded onto the nodes, or another one is named.
const NODEDNS: &str = concat!("localhost/nodedns:", env!("CARGO_PKG_VERSION"));
/// Fields that are not the operator's.
const KEPT: [(&str, &str); 3] = [
    (
        "admin",
        "is kept by control, for the probes of DaemonSet node-dns ask there; remove it",
    ),
    (
        "ca_file",
        "names a file that the pods of DaemonSet node-dns do not have; pin the key of the server \
         instead, as in `tls://192.0.2.53#sha256:BASE64`",
    ),
    (
        "trust_anchors.files",
        "names files that the pods of DaemonSet node-dns do not have; use \
         trust_anchors.negative for zones that the world does not know",
    ),
];
const SAMPLE: &str = "zones: [{name: cluster.local., forward: ['tcp://192.0.2.1']}]";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;

    const CLUSTER: &str = "\
name: a
service_subnet: 10.0.0.0/16
nodes: [{address: 10.0.0.1, user: u, control_plane: true}]
options:
  node-dns:
    config:
";

    fn read(config: &str) -> Result<NodeDns, String> {
        let text = format!("{CLUSTER}{config}");
        Cluster::parse(Path::new("cluster.yml"), text.as_bytes())
            .map(|cluster| cluster.options.node_dns)
            .map_err(|error| error.to_string())
    }

    fn over(config: &str, generated: &str) -> File {
        let generated = config_file::parse(Path::new("nodedns.yml"), generated).unwrap();
        read(config).unwrap().over(generated).unwrap()
    }

    fn zones(file: &File) -> Vec<String> {
        file.zones
            .iter()
            .map(|zone| zone.name.to_string())
            .collect()
    }

    #[test]
    fn the_operators_zones_are_added_and_take_the_place_of_those_of_their_name() {
        let generated = "zones:\n- {name: cluster.local., forward: ['tcp://10.0.0.10']}\n\
             - {name: ., forward: [192.0.2.53]}\n";
        let config = "      zones:\n      - {name: corp.example, forward: [192.0.2.7], validate: no}\n      \
             - {name: ., forward: ['tls://192.0.2.9#dns.example']}\n      cache: {size: 8MiB}\n";
        let file = over(config, generated);
        assert_eq!(zones(&file), ["corp.example.", ".", "cluster.local."]);
        assert_eq!(file.zones[0].validate, Some(false));
        assert_eq!(
            file.zones[1].forward[0].to_string(),
            "tls://192.0.2.9:853#dns.example"
        );
        assert_eq!(file.cache.size.to_string(), "8MiB");
        assert_eq!(
            file.cache.max_ttl.as_secs(),
            86_400,
            "what is not named stays"
        );
    }

    #[test]
    fn without_a_config_nothing_changes() {
        let generated: File = config_file::parse(Path::new("nodedns.yml"), SAMPLE).unwrap();
        assert_eq!(read("").unwrap().over(generated.clone()), Ok(generated));
    }

    #[test]
    fn what_nodedns_would_refuse_is_refused_in_its_place() {
        for (config, expected) in [
            (
                "      cahce: {size: 1MiB}\n",
                "options.node-dns.config: unknown field `cahce`",
            ),
            (
                "      workers: 100\n",
                "cluster.yml:7:16: options.node-dns.config.workers: must be from 1 to 64",
            ),
            (
                "      zones:\n      - {name: a., forward: [192.0.2.1]}\n      - {name: b., forward: [dns.example]}\n",
                "cluster.yml:9:30: options.node-dns.config.zones[1].forward[0]: `dns.example`",
            ),
            (
                "      zones:\n      - {name: a., forward: [192.0.2.1, 192.0.2.1]}\n",
                "options.node-dns.config.zones[0].forward[1]: udp://192.0.2.1",
            ),
            (
                "      admin: 127.0.0.1:1\n",
                "cluster.yml:7:14: options.node-dns.config.admin: is kept by control",
            ),
            (
                "      trust_anchors: {files: [/a]}\n",
                "options.node-dns.config.trust_anchors.files: names files",
            ),
        ] {
            let error = read(config).unwrap_err();
            assert!(error.contains(expected), "{config}: {error}");
        }
    }
}
