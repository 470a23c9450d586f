//! A cluster with one API server, on which what is in `deploy/` is tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::Api;
use kube::api::PostParams;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tests::kubernetes::Cluster;
use tests::launch::Launch;
use tests::node::images::root;
use tests::place::Place;
use tests::{binaries, program};

/// Ended from top to bottom.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    kubectl: PathBuf,
    pub(crate) place: Place,
}

impl Scene {
    /// In a namespace, where addresses may stand in Endpoints; `None` where this machine cannot, which has then
    /// been said.
    pub(crate) async fn start() -> Option<Self> {
        let place = Place::namespace()?;
        let kubectl = binaries::built("kubectl")?;
        let cluster = Cluster::builder(&place).start().await?;
        let scene = Self {
            cluster,
            kubectl,
            place,
        };
        scene.cluster_yml("cluster.local");
        let nodes: Api<Node> = Api::all(scene.cluster.client(0));
        let node = json!({
            "metadata": {"name": "cp-2"},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "Test", "message": ""},
            ]},
        });
        let node = serde_json::from_value(node).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        Some(scene)
    }

    /// Writes a cluster.yml with one node.
    pub(crate) fn cluster_yml(&self, domain: &str) {
        let text = format!(
            "name: deploy\nservice_subnet: 10.96.0.0/16\ndns_servers: [192.0.2.53]\nnodes:\n\
             - {{address: {}, hostname: cp-2, user: admin, control_plane: true, labels: {{rack: {domain}}}}}\n\
             options: {{kubelet: {{config: {{clusterDomain: {domain}}}}}}}\n",
            self.place.address(2)
        );
        fs::write(self.place.folder().join("cluster.yml"), text).unwrap();
    }

    pub(crate) fn control(&self, kubeconfig: &Path, arguments: &[&str]) -> Launch {
        program::control(&self.place)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.cluster.kubeconfig(&self.cluster.api_servers[0].url())
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Launch {
        Launch::new(&self.place, "kubectl", &self.kubectl)
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
    }

    /// A line for a shell in the sources' folder, in which kubectl is the administrator's.
    pub(crate) fn shell(&self, command: &str) -> Launch {
        let folder = self.kubectl.parent().unwrap().display();
        Launch::new(&self.place, "sh", Path::new("/bin/sh"))
            .arg("-ec")
            .arg(format!("cd {}; {command}", root().display()))
            .env("PATH", format!("{folder}:/usr/bin:/bin"))
            .env("KUBECONFIG", self.kubeconfig())
    }

    /// A kubeconfig with a token of a service account of kube-system.
    pub(crate) async fn kubeconfig_of(&self, account: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.client(0), "kube-system");
        let request = TokenRequest {
            spec: TokenRequestSpec::default(),
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": {
                "server": self.cluster.api_servers[0].url(),
                "certificate-authority": self.cluster.pki.ca_file(),
            }}],
            "users": [{"name": "user", "user": {"token": token.status.unwrap().token}}],
            "contexts": [{"name": "context", "context": {"cluster": "cluster", "user": "user"}}],
            "current-context": "context",
        });
        let file = self.place.folder().join(format!("{account}.kubeconfig"));
        fs::write(&file, kubeconfig.to_string()).unwrap();
        file
    }
}

/// The documents of a YAML file.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Programs of a debug build are large, and other builds may hold cargo's lock.
pub(crate) const PACKING_DEADLINE: Duration = Duration::from_secs(300);
