//! The real parts behind rivers and nodedns: etcd, three API servers of one cluster, and its CoreDNS, which
//! reaches them through rivers as it would on a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rcgen::KeyPair;
use serde_json::json;

use super::assets::Assets;
use super::certificates::{Certificates, Issued};
use super::dns::{CLUSTER_DNS, CLUSTER_ZONE, KUBERNETES};
use super::folder::write;
use super::peer::{Peer, free_port};
use super::process::Launcher;
use super::question::{Transport, ask};
use super::request::{self, Protocol};

/// Etcd, which keeps what the API servers know.
pub(super) fn etcd(
    launcher: &Launcher,
    assets: &Assets,
    certificates: &Certificates,
    folder: &Path,
) -> anyhow::Result<Peer> {
    let (clients, members) = (free_port(ETCD)?, free_port(ETCD)?);
    let server = certificates.server("etcd", &[ETCD])?;
    let (clients_url, members_url) = (format!("https://{clients}"), format!("http://{members}"));
    let arguments = vec![
        "--name=demo".to_owned(),
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={clients_url}"),
        format!("--advertise-client-urls={clients_url}"),
        format!("--listen-peer-urls={members_url}"),
        format!("--initial-advertise-peer-urls={members_url}"),
        format!("--initial-cluster=demo={members_url}"),
        "--client-cert-auth".to_owned(),
        // It would be a client with the server's certificate.
        "--enable-grpc-gateway=false".to_owned(),
        format!("--trusted-ca-file={}", certificates.ca.display()),
        format!("--cert-file={}", server.certificate.display()),
        format!("--key-file={}", server.key.display()),
        // What a demo has written need not survive a power cut.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Peer::real(launcher, "etcd", assets.etcd(), clients, arguments)
}

/// What all API servers of the cluster share.
pub(super) struct Common {
    flags: Vec<String>,
}

impl Common {
    /// Of a cluster whose objects are in `etcd`.
    pub(super) fn new(
        etcd: &Peer,
        certificates: &Certificates,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let client = certificates.client("etcd-client", "kube-apiserver")?;
        let tokens = KeyPair::generate()?;
        let signing = folder.join("service-accounts.key");
        write(&signing, &tokens.serialize_pem())?;
        let verifying = folder.join("service-accounts.pub");
        write(&verifying, &tokens.public_key_pem())?;
        Ok(Self {
            flags: vec![
                format!("--etcd-servers=https://{}", etcd.address),
                format!("--etcd-cafile={}", certificates.ca.display()),
                format!("--etcd-certfile={}", client.certificate.display()),
                format!("--etcd-keyfile={}", client.key.display()),
                format!("--client-ca-file={}", certificates.ca.display()),
                format!("--service-account-key-file={}", verifying.display()),
                format!("--service-account-signing-key-file={}", signing.display()),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
                // They would write addresses of this machine that no pod could reach.
                "--endpoint-reconciler-type=none".to_owned(),
            ],
        })
    }

    /// One of the API servers, called `name`; it is not ready yet.
    pub(super) fn api_server(
        &self,
        launcher: &Launcher,
        assets: &Assets,
        (name, address): (&'static str, Ipv4Addr),
        server: &Issued,
        folder: &Path,
    ) -> anyhow::Result<Peer> {
        let address = free_port(address)?;
        let mut arguments = self.flags.clone();
        arguments.extend([
            format!("--bind-address={}", address.ip()),
            format!("--advertise-address={}", address.ip()),
            format!("--secure-port={}", address.port()),
            format!("--cert-dir={}", folder.join(name).display()),
            format!("--tls-cert-file={}", server.certificate.display()),
            format!("--tls-private-key-file={}", server.key.display()),
        ]);
        let program = assets.kube_apiserver();
        Peer::real(launcher, name, program, address, arguments)
    }
}

/// Waits until an API server says that it is ready.
pub(super) async fn is_ready(server: &mut Peer, ca: &Path) -> anyhow::Result<()> {
    let client = request::Client::new(server.address, ca)?;
    server
        .wait(async || {
            let answered = client.get(Protocol::Http1, "/readyz").await;
            answered.map(drop).map_err(Into::into)
        })
        .await
}

/// CoreDNS with the cluster's zone, when it answers; the Service that the checks ask for is made before.
/// It reaches the API through `rivers`, with the rights of `kubeconfig`'s user.
pub(super) async fn cluster_dns(
    launcher: &Launcher,
    assets: &Assets,
    kubeconfig: &Path,
    address: Ipv4Addr,
    folder: &Path,
) -> anyhow::Result<Peer> {
    let address = free_port(address)?;
    let corefile = folder.join("Corefile");
    let text = format!(
        "{CLUSTER_ZONE}:{port} {{\n  bind {ip}\n  errors\n  kubernetes {CLUSTER_ZONE} {{\n    kubeconfig {kubeconfig}\n    ttl 30\n  }}\n}}\n",
        port = address.port(),
        ip = address.ip(),
        kubeconfig = kubeconfig.display(),
    );
    write(&corefile, &text)?;
    let arguments = vec!["-conf".to_owned(), corefile.display().to_string()];
    let program = assets.coredns();
    let mut coredns = Peer::real(launcher, "cluster-dns", program, address, arguments)?;
    let client = client(kubeconfig).await?;
    coredns
        .wait(async || {
            register(&client).await?;
            answers(address).await
        })
        .await?;
    Ok(coredns)
}

/// A kubeconfig, which as JSON is YAML too, for an administrator who goes through `rivers`.
pub(super) fn kubeconfig(
    rivers: SocketAddr,
    certificates: &Certificates,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    let admin = certificates.client("admin", "system:masters")?;
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "demo", "cluster": {
            "server": format!("https://{rivers}"),
            "certificate-authority": certificates.ca,
        }}],
        "users": [{"name": "admin", "user": {
            "client-certificate": admin.certificate,
            "client-key": admin.key,
        }}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "admin"}}],
        "current-context": "demo",
    });
    let path = folder.join("kubeconfig");
    write(&path, &format!("{content:#}\n"))?;
    Ok(path)
}

async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

/// Makes the Service of the cluster's DNS, unless it is there.
async fn register(client: &Client) -> anyhow::Result<()> {
    let (name, address) = CLUSTER_DNS;
    let (name, namespace) = name
        .split_once('.')
        .and_then(|(name, rest)| Some((name, rest.split_once('.')?.0)))
        .context("a Service's name has a namespace")?;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    if services.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let service = Service {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(address.to_string()),
            ports: Some(vec![ServicePort {
                port: 53,
                protocol: Some("UDP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    services.create(&PostParams::default(), &service).await?;
    Ok(())
}

/// Whether the name server at `address` knows the Services that the checks ask for.
async fn answers(address: SocketAddr) -> anyhow::Result<()> {
    for (name, expected) in [KUBERNETES, CLUSTER_DNS] {
        let reply = ask(address, name, Transport::Udp).await?;
        anyhow::ensure!(
            reply.addresses == [expected],
            "{name} is answered {} {:?}",
            reply.code,
            reply.addresses
        );
    }
    Ok(())
}

const ETCD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
