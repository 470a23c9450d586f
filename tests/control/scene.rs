//! A cluster, its cluster.yml, and `control` for both.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tests::kubernetes::Cluster;
use tests::launch::{Launch, Output};
use tests::place::Place;
use tests::program;

/// A cluster with a folder for its files.
pub(crate) struct Scene {
    /// Ends before its place does.
    pub(crate) cluster: Cluster,
    place: Place,
}

impl Scene {
    /// Starts the cluster; None when this machine cannot, which has then been said.
    pub(crate) async fn start(api_servers: u8) -> Option<Self> {
        Self::start_in(Place::loopback(), api_servers, &[]).await
    }

    /// Starts the cluster in this place, its API servers with these flags too.
    pub(crate) async fn start_in(place: Place, api_servers: u8, flags: &[&str]) -> Option<Self> {
        let mut builder = Cluster::builder(&place).api_servers(api_servers);
        for flag in flags {
            builder = builder.flag(*flag);
        }
        let cluster = builder.start().await?;
        Some(Self { cluster, place })
    }

    /// Starts three API servers with an etcd of three members, on addresses that are real.
    pub(crate) async fn start_control_plane() -> Option<Self> {
        let place = Place::namespace()?;
        let builder = Cluster::builder(&place).api_servers(3);
        let cluster = builder.three_etcd_members().start().await?;
        Some(Self { cluster, place })
    }

    /// Moves all API servers at once, the first to `address(first)`.
    pub(crate) async fn move_api_servers(&mut self, first: u8) {
        self.cluster.move_api_servers(&self.place, first).await;
    }

    /// The folder in which control runs.
    pub(crate) fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Where programs of this test run.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Writes a file of resources.
    pub(crate) fn resource(&self, file: &str, text: &str) {
        let directory = self.folder().join("resources");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), text).unwrap();
    }

    /// Runs `control sync` with the resources, which must succeed.
    pub(crate) async fn sync_resources(&self) -> String {
        let arguments = ["sync", "--resources", "resources"];
        self.control(&arguments).run().await.success()
    }

    /// Says of a Node that it is ready, as its kubelet would.
    pub(crate) async fn make_ready(&self, name: &str) {
        let status = serde_json::json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "Test", "message": ""},
        ]}});
        Api::<Node>::all(self.client())
            .patch_status(name, &Default::default(), &kube::api::Patch::Merge(status))
            .await
            .unwrap();
    }

    /// Registers the Nodes of the control plane, ready, as their kubelets would: Deployments wait for
    /// them.
    pub(crate) async fn ready_nodes(&self) {
        for (number, _) in (2..).zip(&self.cluster.api_servers) {
            let name = format!("cp-{number}");
            self.register(&name, serde_json::json!({}), serde_json::json!([]))
                .await;
            self.make_ready(&name).await;
        }
    }

    /// A client that is not control's.
    pub(crate) fn client(&self) -> Client {
        self.cluster.client(0)
    }

    /// Writes cluster.yml: `cp-2` to `cp-4` are control plane as far as there are API servers,
    /// then `nodes` and `more` as they stand.
    pub(crate) fn cluster_yml(&self, nodes: &str, more: &str) {
        let control_plane: String = (2..)
            .zip(&self.cluster.api_servers)
            .map(|(number, server)| {
                let address = server.address().ip();
                format!(
                    "- {{address: {address}, hostname: cp-{number}, user: u, control_plane: true}}\n"
                )
            })
            .collect();
        let text = format!(
            "name: test\nservice_subnet: 10.96.0.0/16\n{more}nodes:\n{control_plane}{nodes}"
        );
        fs::write(self.folder().join("cluster.yml"), text).unwrap();
    }

    /// `control` with this cluster's files; cluster.yml is in its working directory.
    pub(crate) fn control(&self, arguments: &[&str]) -> Launch {
        self.control_as(&self.kubeconfig(), arguments)
    }

    /// `control` with another kubeconfig.
    pub(crate) fn control_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Launch {
        program::control(&self.place)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
    }

    /// Puts a private key for all hosts into the store.
    pub(crate) fn ssh_key(&self, key: &str) {
        store_ssh_key(self.folder(), key);
    }

    /// Runs `control sync`, which must succeed.
    pub(crate) async fn sync(&self) -> String {
        self.control(&["sync"]).run().await.success()
    }

    /// Runs `control plan -o json`, which must find something to do.
    pub(crate) async fn changes(&self) -> Value {
        let output = self.control(&["plan", "-o", "json"]).run().await;
        assert_eq!(output.code(), 1, "{output}");
        json(&output)
    }

    /// The admin's kubeconfig. Nobody is at the address that it names: control's are cluster.yml's.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.cluster.kubeconfig("https://192.0.2.1:6443")
    }

    /// Registers a Node as its kubelet would, with these labels and taints.
    pub(crate) async fn register(&self, name: &str, labels: Value, taints: Value) {
        let node = serde_json::json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints},
        });
        Api::all(self.client())
            .create(
                &PostParams::default(),
                &serde_json::from_value::<Node>(node).unwrap(),
            )
            .await
            .unwrap();
    }

    pub(crate) async fn node(&self, name: &str) -> Node {
        Api::all(self.client()).get(name).await.unwrap()
    }

    pub(crate) async fn config_map(&self, name: &str) -> ConfigMap {
        self.in_kube_system().get(name).await.unwrap()
    }

    pub(crate) fn in_kube_system<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), "kube-system")
    }

    /// The version of every object of the kinds that control writes: whoever writes changes one.
    pub(crate) async fn versions(&self) -> BTreeMap<String, String> {
        let mut versions = BTreeMap::new();
        let client = || self.client();
        add::<ServiceAccount>(&mut versions, Api::all(client())).await;
        add::<ClusterRole>(&mut versions, Api::all(client())).await;
        add::<ClusterRoleBinding>(&mut versions, Api::all(client())).await;
        add::<Role>(&mut versions, Api::all(client())).await;
        add::<RoleBinding>(&mut versions, Api::all(client())).await;
        add::<ConfigMap>(&mut versions, Api::all(client())).await;
        add::<Service>(&mut versions, Api::all(client())).await;
        add::<Deployment>(&mut versions, Api::all(client())).await;
        add::<DaemonSet>(&mut versions, Api::all(client())).await;
        add::<PodDisruptionBudget>(&mut versions, Api::all(client())).await;
        add::<Node>(&mut versions, Api::all(client())).await;
        versions
    }
}

/// Puts a private key for all hosts into the store of a folder.
pub(crate) fn store_ssh_key(folder: &Path, key: &str) {
    let store = folder.join("control-store");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&store)
        .unwrap();
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(store.join("ssh.json")).unwrap();
    let keys = serde_json::json!({"": key}).to_string();
    file.write_all(keys.as_bytes()).unwrap();
}

async fn add<K>(versions: &mut BTreeMap<String, String>, api: Api<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    for object in api.list(&ListParams::default()).await.unwrap() {
        let ObjectMeta {
            namespace,
            resource_version,
            ..
        } = object.meta().clone();
        let kind = K::kind(&());
        let namespace = namespace.unwrap_or_default();
        let key = format!("{kind} {namespace}/{}", object.name_any());
        versions.insert(key, resource_version.unwrap());
    }
}

/// Standard output as JSON.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"))
}
