//! The name servers' stand-ins: one for CoreDNS with the cluster's zone, one for the world outside
//! with a signed zone. Both are hickory-server with zones in memory, over UDP and TCP.
//!
//! The signed zone holds one name whose data was altered after it was signed, as a forger would: its
//! RRSIG does not match, and a resolver that validates must not pass it on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::DNSKEY;
use hickory_proto::dnssec::{Algorithm, DnssecSigner, SigningKey as _};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordSet, RecordType, RrKey};
use hickory_server::Server;
use hickory_server::dnssec::NxProofKind;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

/// The zone of a cluster's Services.
pub(crate) const CLUSTER_ZONE: &str = "cluster.local.";
/// A name that every cluster has, and its address there.
pub(crate) const KUBERNETES: (&str, Ipv4Addr) = (
    "kubernetes.default.svc.cluster.local.",
    Ipv4Addr::new(10, 96, 0, 1),
);
/// A second name of the cluster, to be asked for when nothing can be in a cache yet.
pub(crate) const CLUSTER_DNS: (&str, Ipv4Addr) = (
    "cluster-dns.kube-system.svc.cluster.local.",
    Ipv4Addr::new(10, 96, 0, 10),
);

/// The signed zone.
pub(crate) const SIGNED_ZONE: &str = "demo.example.";
/// A name whose signature is good.
pub(crate) const SIGNED: (&str, Ipv4Addr) = ("www.demo.example.", Ipv4Addr::new(192, 0, 2, 80));
/// A name whose signature was made over another address than this one.
pub(crate) const FORGED: (&str, Ipv4Addr) = ("forged.demo.example.", Ipv4Addr::new(192, 0, 2, 66));

/// A zone ready to be served.
pub(crate) struct Zone {
    origin: LowerName,
    records: InMemoryZoneHandler,
    /// The zone's key as a line of a trust anchor file; none for a zone that is not signed.
    pub(crate) trust_anchor: Option<String>,
}

impl Zone {
    /// `cluster.local.`, not signed, as CoreDNS serves it.
    pub(crate) fn cluster() -> anyhow::Result<Self> {
        let records = unsigned(CLUSTER_ZONE, CLUSTER_TTL, &[KUBERNETES, CLUSTER_DNS], None)?;
        Ok(Self {
            origin: Name::from_ascii(CLUSTER_ZONE)?.into(),
            records,
            trust_anchor: None,
        })
    }

    /// `demo.example.`, signed with a key made on the spot, one name forged.
    pub(crate) fn signed() -> anyhow::Result<Self> {
        let origin = Name::from_ascii(SIGNED_ZONE)?;
        let genuine = (FORGED.0, BEFORE_THE_FORGERY);
        let mut records = unsigned(
            SIGNED_ZONE,
            SIGNED_TTL,
            &[SIGNED, genuine],
            Some(NxProofKind::Nsec),
        )?;

        let pkcs8 = EcdsaSigningKey::generate_pkcs8(ALGORITHM)?;
        let key = EcdsaSigningKey::from_pkcs8(&pkcs8, ALGORITHM)?;
        let dnskey = DNSKEY::from_key(&key.to_public_key()?);
        let trust_anchor = format!("{origin} {SIGNED_TTL} IN DNSKEY {dnskey}\n");
        let signer = DnssecSigner::new(dnskey, Box::new(key), origin.clone(), SIGNATURES_LIVE);
        records.add_zone_signing_key_mut(signer)?;
        records.secure_zone_mut()?;
        forge(&mut records)?;

        Ok(Self {
            origin: origin.into(),
            records,
            trust_anchor: Some(trust_anchor),
        })
    }
}

/// Serves `zone` on both sockets until the process ends.
pub(crate) async fn serve(zone: Zone, udp: UdpSocket, tcp: TcpListener) -> anyhow::Result<()> {
    let mut catalog = Catalog::new();
    catalog.upsert(zone.origin, vec![Arc::new(zone.records)]);
    let mut server = Server::new(catalog);
    server.register_socket(udp);
    server.register_listener(tcp, TCP_IDLE, TCP_ANSWERS_QUEUED);
    server.block_until_done().await?;
    Ok(())
}

/// Binds the same port for UDP and for TCP; port 0 chooses a free one.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<(UdpSocket, TcpListener)> {
    let mut attempts = 0;
    loop {
        let tcp = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (TCP)"))?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((udp, tcp)),
            // The free TCP port was somebody's UDP port.
            Err(_) if address.port() == 0 && attempts < BIND_ATTEMPTS => attempts += 1,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot listen on {address} (UDP)"));
            }
        }
    }
}

/// A zone with SOA, NS and the given addresses.
fn unsigned(
    origin: &str,
    ttl: u32,
    addresses: &[(&str, Ipv4Addr)],
    nx_proof_kind: Option<NxProofKind>,
) -> anyhow::Result<InMemoryZoneHandler> {
    let origin = Name::from_ascii(origin)?;
    let server = Name::from_ascii("ns")?.append_domain(&origin)?;
    let person = Name::from_ascii("hostmaster")?.append_domain(&origin)?;
    let soa = SOA::new(server.clone(), person, 1, 7200, 1800, 86_400, 5);

    let mut records = BTreeMap::new();
    let mut add = |name: &Name, data: RData| {
        let key = RrKey::new(name.into(), data.record_type());
        let mut set = RecordSet::new(name.clone(), data.record_type(), 1);
        set.insert(Record::from_rdata(name.clone(), ttl, data), 1);
        records.insert(key, set);
    };
    add(&origin, RData::SOA(soa));
    add(&origin, RData::NS(NS(server.clone())));
    add(&server, RData::A(A(Ipv4Addr::LOCALHOST)));
    for (name, address) in addresses {
        add(&Name::from_ascii(name)?, RData::A(A(*address)));
    }
    InMemoryZoneHandler::new(
        origin,
        records,
        ZoneType::Primary,
        AxfrPolicy::Deny,
        nx_proof_kind,
    )
    .map_err(|reason| anyhow!(reason))
}

/// Puts another address where [`FORGED`]'s was, and keeps the signature.
fn forge(records: &mut InMemoryZoneHandler) -> anyhow::Result<()> {
    let name = Name::from_ascii(FORGED.0)?;
    let key = RrKey::new((&name).into(), RecordType::A);
    let genuine = records
        .records_get_mut()
        .get(&key)
        .context("the name to forge is in the zone")?;
    let mut forged = RecordSet::new(name.clone(), RecordType::A, genuine.serial());
    forged.set_ttl(genuine.ttl());
    forged.set_records(vec![Record::from_rdata(
        name,
        genuine.ttl(),
        RData::A(A(FORGED.1)),
    )]);
    forged.set_rrsigs(genuine.rrsigs().to_vec());
    records.records_get_mut().insert(key, Arc::new(forged));
    Ok(())
}

const ALGORITHM: Algorithm = Algorithm::ECDSAP256SHA256;
const BEFORE_THE_FORGERY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 81);
const CLUSTER_TTL: u32 = 30;
const SIGNED_TTL: u32 = 300;
/// As long as the demo's certificates live.
const SIGNATURES_LIVE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const TCP_IDLE: Duration = Duration::from_secs(30);
const TCP_ANSWERS_QUEUED: usize = 128;
const BIND_ATTEMPTS: usize = 10;

#[cfg(test)]
mod tests;
