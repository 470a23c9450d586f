//! A node: containerd, kubelet and kube-proxy, real ones, on a [`Machine`] in a namespace's network. Its
//! pods have a bridge, Services work by nftables, and images come from archives, since there is no registry.
//!
//! kubelet and kube-proxy reach the API at the address that they are told, rivers' say, which must be there
//! only when it is to work: as on any node they try until it does.

pub mod images;
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries;
use crate::launch::Launch;
use crate::peer::Peer;
use crate::pki::{Issued, Pki};
use crate::place::Place;

use machine::Machine;

/// What a node is made of.
#[derive(Debug)]
pub struct Plan<'a> {
    /// A namespace; the node's address is its first.
    pub place: &'a Place,
    /// The cluster's CA.
    pub pki: &'a Pki,
    /// The Node's name.
    pub name: &'a str,
    /// Where kubelet and kube-proxy find the API.
    pub api: &'a str,
    /// What its service manager starts before kubelet, in this order.
    pub units: Vec<Unit>,
    /// Images, each an archive.
    pub archives: Vec<PathBuf>,
}

/// A program that runs on the node from its boot on.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its name in messages, and that of its log.
    pub name: &'static str,
    /// The file.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
}

/// A node that runs, or has been switched off.
#[derive(Debug)]
pub struct Node {
    programs: Programs,
    files: Files,
    units: Vec<Unit>,
    archives: Vec<PathBuf>,
    /// Ended in this order, the machine last.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    kubelet: Peer,
    _kube_proxy: Peer,
    _containerd: Peer,
    _units: Vec<Peer>,
    machine: Machine,
}

#[derive(Debug)]
struct Programs {
    containerd: PathBuf,
    ctr: PathBuf,
    kubelet: PathBuf,
    kube_proxy: PathBuf,
}

/// What the programs are told, in the place's folder.
#[derive(Debug)]
struct Files {
    disk: PathBuf,
    containerd: PathBuf,
    kubelet: PathBuf,
    kubelet_kubeconfig: PathBuf,
    kube_proxy: PathBuf,
    name: String,
    address: String,
}

impl Node {
    /// Writes what the node is told, and switches it on.
    ///
    /// `None` when something is missing on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn boot(plan: Plan<'_>) -> Option<Self> {
        let programs = Programs {
            containerd: binaries::packaged("containerd")?,
            ctr: binaries::packaged("ctr")?,
            kubelet: binaries::built("kubelet")?,
            kube_proxy: binaries::built("kube-proxy")?,
        };
        binaries::packaged("runc")?;
        let mut node = Self {
            programs,
            files: Files::write(&plan),
            units: plan.units,
            archives: plan.archives,
            running: None,
        };
        // As every node has one: what is sent to a Service is routed before it is translated.
        let source = &node.files.address;
        ip(&["route", "replace", "default", "dev", "lo", "src", source]);
        node.switch_on(plan.place).await?;
        Some(node)
    }

    /// Switches it on: its units and containerd, then kubelet and kube-proxy, which look for the API from then on.
    ///
    /// `None` without the right to; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When a program does not start.
    pub async fn switch_on(&mut self, place: &Place) -> Option<()> {
        assert!(self.running.is_none(), "it is switched on");
        let machine = Machine::boot(place, &self.files.disk).await?;
        let units = self.units.iter().map(|unit| {
            machine
                .launch(place, unit.name, &unit.program)
                .args(&unit.arguments)
                .start()
        });
        let units = units.collect();
        let mut containerd = machine
            .launch(place, "containerd", &self.programs.containerd)
            .arg("--config")
            .arg(&self.files.containerd)
            .start();
        let ctr = || {
            machine
                .launch(place, "ctr", &self.programs.ctr)
                .args(["--namespace", "k8s.io"])
        };
        containerd
            .ready(DEADLINE, async || {
                let said = ctr().arg("version").run().await;
                if said.code() == 0 { Ok(()) } else { Err(said) }
            })
            .await;
        for archive in self.archives.drain(..) {
            ctr()
                .args(["images", "import", "--snapshotter", "native"])
                .arg(archive)
                .run()
                .await
                .success();
        }
        let kubelet = machine
            .launch(place, "kubelet", &self.programs.kubelet)
            .arg(format!("--config={}", self.files.kubelet.display()))
            .arg(format!(
                "--kubeconfig={}",
                self.files.kubelet_kubeconfig.display()
            ))
            .arg(format!("--hostname-override={}", self.files.name))
            .arg(format!("--node-ip={}", self.files.address))
            .start();
        let kube_proxy = machine
            .launch(place, "kube-proxy", &self.programs.kube_proxy)
            .arg(format!("--config={}", self.files.kube_proxy.display()))
            .start();
        self.running = Some(Running {
            kubelet,
            _kube_proxy: kube_proxy,
            _containerd: containerd,
            _units: units,
            machine,
        });
        Some(())
    }

    /// Cuts its power: every process on it ends at once, and the network of its pods is gone.
    ///
    /// # Panics
    ///
    /// When it is off, or does not end.
    pub fn cut_power(&mut self) {
        drop(self.running.take().expect("it is switched on"));
        ip(&["link", "delete", BRIDGE]);
        run(Command::new("nft").args(["flush", "ruleset"]));
    }

    /// Gives its pods a network: without, as at first, it is not ready, and says so.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn install_network(&self) {
        let file = self.files.disk.join("cni/10-bridge.conflist");
        let network = BRIDGE_NETWORK.replace("{bridge}", BRIDGE);
        fs::write(file, network).expect("a test can write to its folder");
    }

    /// Puts a manifest where kubelet looks for pods that it runs without the API, and says which file that is; paths
    /// of the host that begin as told are others of the test.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    pub fn static_pod(&self, name: &str, manifest: &str, paths: &[(&str, &Path)]) -> PathBuf {
        let mut text = manifest.to_owned();
        for (from, to) in paths {
            let path = |path: &str| format!("hostPath: {{path: {path},");
            assert!(text.contains(&path(from)), "{from} in {text}");
            text = text.replace(&path(from), &path(&to.display().to_string()));
        }
        let file = self.files.disk.join("pods").join(name);
        fs::write(&file, text).expect("a test can write to its folder");
        file
    }

    /// Has kubelet tell pods, from now on, to ask at this address for names.
    ///
    /// # Panics
    ///
    /// When the node is off, or kubelet cannot be started again.
    pub fn point_pods_at(&mut self, dns: &str) {
        let file = &self.files.kubelet;
        let text = fs::read_to_string(file).expect("written at the start");
        let lines = text.lines().map(|line| match line.split_once(": ") {
            Some(("clusterDNS", _)) => format!("clusterDNS: [{dns}]\n"),
            _ => format!("{line}\n"),
        });
        fs::write(file, lines.collect::<String>()).expect("a test can write to its folder");
        self.restart_kubelet();
    }

    /// Starts kubelet again, which then reads its files anew.
    ///
    /// # Panics
    ///
    /// When the node is off, or kubelet cannot be started again.
    pub fn restart_kubelet(&mut self) {
        let running = self.running.as_mut().expect("the node is switched on");
        machine::kill(&mut running.kubelet);
        running.kubelet.restart();
    }

    /// Has kubelet ask this server for its API from now on, instead of the one of its plan.
    ///
    /// # Panics
    ///
    /// When the node is off, or kubelet cannot be started again.
    pub fn point_kubelet_at(&mut self, api: &str) {
        let file = &self.files.kubelet_kubeconfig;
        let text = fs::read_to_string(file).expect("written at the start");
        let lines = text.lines().map(|line| match line.split_once("server: ") {
            Some((indent, _)) => format!("{indent}server: {api}\n"),
            None => format!("{line}\n"),
        });
        fs::write(file, lines.collect::<String>()).expect("a test can write to its folder");
        self.restart_kubelet();
    }

    /// kubelet, to be looked at.
    ///
    /// # Panics
    ///
    /// When the node is off.
    #[must_use]
    pub fn kubelet(&self) -> &Peer {
        &self.running().kubelet
    }

    /// A program that is to run on it, as a unit of its service manager would.
    ///
    /// # Panics
    ///
    /// When the node is off.
    #[must_use]
    pub fn launch(&self, place: &Place, name: &str, program: &Path) -> Launch {
        self.running().machine.launch(place, name, program)
    }

    /// The path, for a test, of one of its files; one of `/var/lib` is there while the node is off, too.
    ///
    /// # Panics
    ///
    /// When the node is off and it is another file.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        match path.strip_prefix("/var/lib/") {
            Some(path) => self.files.disk.join("lib").join(path),
            None => self.running().machine.outside(path),
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the node is switched on")
    }
}

/// In the network of the thread, the test's.
fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Files {
    fn write(plan: &Plan<'_>) -> Self {
        let folder = plan.place.folder();
        let address = plan.place.address(1).to_string();
        let disk = folder.join("node");
        for made in ["cni", "pods"] {
            fs::create_dir_all(disk.join(made)).expect("a test can write to its folder");
        }
        let write = |name: &str, text: String| {
            let file = disk.join(name);
            fs::write(&file, text).expect("a test can write to its folder");
            file
        };
        // The resolver of the world outside, which no pod is to be given.
        let resolv_conf = write("resolv.conf", "nameserver 192.0.2.1\n".to_owned());
        let user = plan.pki.client(&user(plan.name), Some(GROUP));
        let server = plan
            .pki
            .server("kubelet", &[plan.name], &[plan.place.address(1)]);
        let proxy = plan.pki.client("system:kube-proxy", None);
        Self {
            containerd: write("containerd.toml", containerd_toml(&disk)),
            kubelet: write(
                "kubelet.yml",
                kubelet_yml(plan, &server, &disk, &resolv_conf),
            ),
            kubelet_kubeconfig: plan.pki.kubeconfig(&user, plan.api),
            kube_proxy: write(
                "kube-proxy.yml",
                kube_proxy_yml(&plan.pki.kubeconfig(&proxy, plan.api), plan.name),
            ),
            disk,
            name: plan.name.to_owned(),
            address,
        }
    }
}

/// The `native` snapshotter works on any file system; who may not raise what the kernel kills last must not try.
fn containerd_toml(disk: &Path) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{disk}/cni"
"#,
        pause = images::PAUSE,
        disk = disk.display()
    )
}

/// Pods ask the node's own address for names: nodedns.
fn kubelet_yml(plan: &Plan<'_>, server: &Issued, disk: &Path, resolv_conf: &Path) -> String {
    let ca = plan.pki.ca_file();
    let [ca, certificate, key] = [&ca, &server.certificate, &server.key].map(|file| file.display());
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{x509: {{clientCAFile: {ca}}}, anonymous: {{enabled: false}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {certificate}
tlsPrivateKeyFile: {key}
clusterDNS: [{address}]
clusterDomain: cluster.local
resolvConf: {resolv_conf}
staticPodPath: {disk}/pods
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failCgroupV1: false
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
oomScoreAdj: 0
evictionHard: {{memory.available: 1Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
",
        address = plan.place.address(1),
        resolv_conf = resolv_conf.display(),
        disk = disk.display(),
        group = machine::group(plan.place),
    )
}

fn kube_proxy_yml(kubeconfig: &Path, name: &str) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {{kubeconfig: {kubeconfig}}}
hostnameOverride: {name}
clusterCIDR: 10.244.0.0/24
oomScoreAdj: 0
conntrack: {{maxPerCore: 0}}
nftables: {{syncPeriod: 5s, minSyncPeriod: 100ms}}
",
        kubeconfig = kubeconfig.display()
    )
}

/// As which the kubelet of the Node of this name speaks to the API, in [`GROUP`].
#[must_use]
pub fn user(name: &str) -> String {
    format!("system:node:{name}")
}

/// The group of all kubelets.
pub const GROUP: &str = "system:nodes";
const BRIDGE: &str = "pods0";
const BRIDGE_NETWORK: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "{bridge}", "isGateway": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "loopback"}
  ]
}
"#;
const DEADLINE: Duration = Duration::from_secs(30);
