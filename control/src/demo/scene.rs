//! The scene of the demo: its folder, its certificates and every process, started in order.
//!
//! The composition root of the demo. Stand-ins listen on addresses of their own in 127.0.0.0/8: no
//! outgoing connection ever takes a port there, so one that was killed finds its port free again.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use nodedns::config::file::{Cache, File, Size, TrustAnchors, Zone};
use nodedns::config::{Forward, Name, Protocol};
use tempfile::TempDir;

use super::assets::Assets;
use super::certificates::{Certificates, Issued};
use super::cluster;
use super::dns::{CLUSTER_ZONE, FORGED, KUBERNETES, SIGNED};
use super::folder::write;
use super::peer::Peer;
use super::process::{LOG_LINES, Launcher, Ready};
use super::progress::Progress;
use super::report::ByHand;
use super::service::{self, Service};

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Three, named a, b and c.
    pub(crate) api_servers: [Peer; 3],
    /// Behind the API servers where they are real.
    etcd: Option<Peer>,
    /// CoreDNS, or in its place.
    pub(crate) cluster_dns: Peer,
    /// In the place of the world's name servers.
    signed_zone: Peer,
    /// The real rivers.
    pub(crate) rivers: Service,
    /// The real nodedns.
    pub(crate) nodedns: Service,
    /// The demo's CA.
    pub(crate) certificates: Certificates,
    /// File with the signed zone's key.
    trust_anchor: PathBuf,
    /// For an administrator of a real cluster.
    kubeconfig: Option<PathBuf>,
    // Last, so that the processes are gone before their folder.
    folder: TempDir,
}

/// The real binaries.
#[derive(Debug)]
pub(crate) struct Binaries {
    control: PathBuf,
    rivers: PathBuf,
    nodedns: PathBuf,
}

impl Binaries {
    /// Those beside this program's own executable.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let control = std::env::current_exe().context("cannot find control's own executable")?;
        let beside = |name: &str| {
            let path = control.with_file_name(name);
            if !path.is_file() {
                bail!(
                    "{} is missing; build all three: cargo build --release",
                    path.display()
                );
            }
            Ok(path)
        };
        Ok(Self {
            rivers: beside("rivers")?,
            nodedns: beside("nodedns")?,
            control,
        })
    }
}

impl Scene {
    /// Starts everything, real parts where there are `assets`, and waits until rivers and nodedns are ready.
    pub(crate) async fn start(
        binaries: &Binaries,
        assets: Option<&Assets>,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("control-demo.")
            .tempdir()
            .context("cannot make a folder for the demo")?;
        let launcher = Launcher::new(binaries.control.clone(), folder.path());

        progress.step("making a CA and certificates");
        let certificates = Certificates::create(folder.path())?;
        let issue = |(name, address): (&str, Ipv4Addr)| {
            certificates.server(name, &[address, Ipv4Addr::LOCALHOST])
        };
        let [a, b, c] = API_SERVERS.map(issue);
        let issued = [a?, b?, c?];

        let (etcd, api_servers) = if let Some(assets) = assets {
            progress.step("starting etcd and three API servers");
            let etcd = cluster::etcd(&launcher, assets, &certificates, folder.path())?;
            let common = cluster::Common::new(&etcd, &certificates, folder.path())?;
            let start = |at: usize| {
                common.api_server(
                    &launcher,
                    assets,
                    API_SERVERS[at],
                    &issued[at],
                    folder.path(),
                )
            };
            // Of several that find an empty etcd, one of Kubernetes 1.33 may end: "cannot create cluster IP allocator".
            let mut first = start(0)?;
            cluster::is_ready(&mut first, &certificates.ca).await?;
            let mut servers = [first, start(1)?, start(2)?];
            for server in &mut servers[1..] {
                cluster::is_ready(server, &certificates.ca).await?;
            }
            (Some(etcd), servers)
        } else {
            progress.step("starting three stand-ins for API servers");
            let start = |at: usize| api_server(&launcher, API_SERVERS[at], &issued[at]);
            (None, [start(0).await?, start(1).await?, start(2).await?])
        };

        progress.step("starting rivers");
        let upstreams = api_servers.each_ref().map(|server| server.address);
        let state_dir = folder.path().join("rivers");
        let rivers = service::start("rivers", |listen, admin| {
            let arguments = rivers_arguments(listen, admin, upstreams, &state_dir);
            launcher.program("rivers", &binaries.rivers, &arguments)
        })
        .await?;

        let (cluster_dns, kubeconfig) = if let Some(assets) = assets {
            progress.step("starting CoreDNS, and a stand-in for a signed zone");
            let kubeconfig = cluster::kubeconfig(rivers.listen, &certificates, folder.path())?;
            let coredns =
                cluster::cluster_dns(&launcher, assets, &kubeconfig, CLUSTER_DNS, folder.path());
            (coredns.await?, Some(kubeconfig))
        } else {
            progress.step("starting stand-ins for CoreDNS and for a signed zone");
            let started = name_server(&launcher, "cluster-dns", "cluster", CLUSTER_DNS);
            (started.await?.0, None)
        };
        let (signed_zone, ready) =
            name_server(&launcher, "signed-zone", "signed", SIGNED_ZONE).await?;
        let trust_anchor = folder.path().join("trust-anchor");
        let key = ready.trust_anchor.context("a signed zone tells its key")?;
        write(&trust_anchor, &key)?;

        progress.step("starting nodedns");
        let nodedns = service::start("nodedns", |listen, admin| {
            let file = folder.path().join("nodedns.yml");
            let cluster_dns = cluster_dns.address;
            write(
                &file,
                &nodedns_yml(
                    listen,
                    admin,
                    cluster_dns,
                    signed_zone.address,
                    &trust_anchor,
                )?,
            )?;
            launcher.program(
                "nodedns",
                &binaries.nodedns,
                &["--config".as_ref(), file.as_os_str()],
            )
        })
        .await?;

        Ok(Self {
            api_servers,
            etcd,
            cluster_dns,
            signed_zone,
            rivers,
            nodedns,
            certificates,
            trust_anchor,
            kubeconfig,
            folder,
        })
    }

    /// What a person can try while everything runs.
    pub(crate) fn by_hand(&self) -> Vec<ByHand> {
        let ca = self.certificates.ca.display();
        let rivers = self.rivers.listen;
        let dig = format!(
            "dig @{} -p {}",
            self.nodedns.listen.ip(),
            self.nodedns.listen.port()
        );
        let by_hand = |shows, command| ByHand { shows, command };
        let mut all = vec![
            by_hand(
                "an API server, another one now and then",
                format!("curl --cacert {ca} https://{rivers}/version"),
            ),
            by_hand("a cluster name", format!("{dig} {}", KUBERNETES.0)),
            by_hand("a signed name", format!("{dig} +dnssec {}", SIGNED.0)),
            by_hand("a forged name", format!("{dig} +dnssec {}", FORGED.0)),
            by_hand(
                "the signed zone's key",
                format!("cat {}", self.trust_anchor.display()),
            ),
            by_hand(
                "rivers' metrics",
                format!("curl http://{}/metrics", self.rivers.admin),
            ),
            by_hand(
                "nodedns' metrics",
                format!("curl http://{}/metrics", self.nodedns.admin),
            ),
        ];
        if let Some(kubeconfig) = &self.kubeconfig {
            let kubeconfig = kubeconfig.display();
            all.push(by_hand(
                "the cluster, through rivers",
                format!("kubectl --kubeconfig={kubeconfig} get services -A"),
            ));
        }
        all
    }

    /// The last lines that each process logged, those without any left out.
    pub(crate) fn last_lines(&self) -> Vec<(&str, Vec<String>)> {
        let peers = self.api_servers.iter().chain(&self.etcd);
        let peers = peers.chain([&self.cluster_dns, &self.signed_zone]);
        [&self.rivers.process, &self.nodedns.process]
            .into_iter()
            .chain(peers.map(|peer| &peer.process))
            .map(|process| (process.name(), process.last_lines(LOG_LINES)))
            .filter(|(_, lines)| !lines.is_empty())
            .collect()
    }

    /// Ends all processes and keeps the folder, for a person to read its logs.
    pub(crate) fn keep_folder(self) -> PathBuf {
        self.folder.keep()
    }
}

async fn api_server(
    launcher: &Launcher,
    (name, address): (&'static str, Ipv4Addr),
    issued: &Issued,
) -> anyhow::Result<Peer> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let arguments = vec![
        "--certificate".to_owned(),
        path(&issued.certificate),
        "--key".to_owned(),
        path(&issued.key),
    ];
    let started = Peer::stand_in(launcher, name, "api-server", address, arguments);
    Ok(started.await?.0)
}

async fn name_server(
    launcher: &Launcher,
    name: &'static str,
    zone: &str,
    address: Ipv4Addr,
) -> anyhow::Result<(Peer, Ready)> {
    let arguments = vec!["--zone".to_owned(), zone.to_owned()];
    Peer::stand_in(launcher, name, "name-server", address, arguments).await
}

fn rivers_arguments(
    listen: SocketAddr,
    admin: SocketAddr,
    upstreams: [SocketAddr; 3],
    state_dir: &Path,
) -> Vec<String> {
    vec![
        format!("--listen={listen}"),
        format!("--upstreams={}", upstreams.map(|u| u.to_string()).join(",")),
        format!("--admin={admin}"),
        "--check-interval=250ms".to_owned(),
        // CoreDNS keeps its connections for as long as it can.
        "--shutdown-timeout=2s".to_owned(),
        format!("--state-dir={}", state_dir.display()),
        format!("--run-dir={}", state_dir.display()),
    ]
}

/// nodedns' configuration in its own types; as JSON, which YAML takes.
fn nodedns_yml(
    listen: SocketAddr,
    admin: SocketAddr,
    cluster_dns: SocketAddr,
    signed_zone: SocketAddr,
    trust_anchor: &Path,
) -> anyhow::Result<String> {
    let zone = |name: &str, protocol, address, validate| -> anyhow::Result<Zone> {
        let forward = vec![Forward { protocol, address }];
        Ok(Zone {
            validate,
            ..Zone::forwarded(Name::from_text(name)?, forward)
        })
    };
    let file = File {
        listen: vec![listen],
        admin,
        cache: Cache {
            size: Size(8 << 20),
            ..Cache::default()
        },
        trust_anchors: TrustAnchors {
            files: vec![trust_anchor.to_owned()],
            ..TrustAnchors::default()
        },
        nsec3_max_iterations: 0,
        ..File::with_zones(vec![
            zone(CLUSTER_ZONE, Protocol::Tcp, cluster_dns, Some(false))?,
            zone(".", Protocol::Udp, signed_zone, None)?,
        ])
    };
    Ok(serde_json::to_string_pretty(&file)?)
}

const API_SERVERS: [(&str, Ipv4Addr); 3] = [
    ("a", Ipv4Addr::new(127, 0, 0, 2)),
    ("b", Ipv4Addr::new(127, 0, 0, 3)),
    ("c", Ipv4Addr::new(127, 0, 0, 4)),
];
const CLUSTER_DNS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const SIGNED_ZONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

#[cfg(test)]
mod tests {
    use daemon::config_file::Document;

    use super::*;

    #[test]
    fn nodedns_asks_cluster_dns_over_tcp_and_the_signed_zone_for_all_else() {
        let address = |host, port| SocketAddr::from(([127, 0, 0, host], port));
        let folder = tempfile::tempdir().unwrap();
        let anchor = folder.path().join("trust-anchor");
        std::fs::write(&anchor, "demo.example. IN DS 1 13 2 00ff\n").unwrap();
        let text = nodedns_yml(
            address(1, 5300),
            address(1, 9253),
            address(5, 53),
            address(6, 53),
            &anchor,
        )
        .unwrap();
        let document = Document::new(Path::new("nodedns.yml"), &text);
        let config = File::check(&document).unwrap();
        let zones: Vec<_> = config
            .zones
            .iter()
            .map(|zone| format!("{} {} {}", zone.name, zone.asked()[0], zone.validate))
            .collect();
        assert_eq!(
            zones,
            [
                "cluster.local. tcp://127.0.0.5:53 false",
                ". udp://127.0.0.6:53 true"
            ]
        );
        let anchors = config.validation.anchors;
        assert_eq!(anchors[0].zone.to_string(), "demo.example.");
    }
}
