//! The stand-ins asked over real sockets, their signatures checked with their own trust anchor.

use hickory_proto::dnssec::Verifier as _;
use hickory_proto::dnssec::rdata::{DNSSECRData, RRSIG};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::DNSClass;

use super::*;
use crate::demo::question::{Transport, ask};

#[tokio::test]
async fn the_cluster_zone_answers_over_udp_and_tcp() {
    let (server, _) = start(Zone::cluster().unwrap()).await;
    for transport in [Transport::Udp, Transport::Tcp] {
        let reply = ask(server, KUBERNETES.0, transport).await.unwrap();
        assert_eq!(reply.code, ResponseCode::NoError);
        assert_eq!(reply.addresses, [KUBERNETES.1]);
        assert!(!reply.authentic);
    }
}

#[tokio::test]
async fn a_name_that_the_cluster_has_not_is_denied() {
    let (server, _) = start(Zone::cluster().unwrap()).await;
    let reply = ask(server, "nobody.default.svc.cluster.local.", Transport::Udp).await;
    assert_eq!(reply.unwrap().code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_signed_name_verifies_with_the_trust_anchor() {
    let (server, anchor) = start(Zone::signed().unwrap()).await;
    let key = trusted_key(server, &anchor.unwrap()).await;
    let (records, signature) = signed_answer(server, SIGNED.0).await;
    assert_eq!(records[0].data, RData::A(A(SIGNED.1)));
    verify(&key, &records, &signature).unwrap();
}

#[tokio::test]
async fn a_forged_names_signature_does_not_verify() {
    let (server, anchor) = start(Zone::signed().unwrap()).await;
    let key = trusted_key(server, &anchor.unwrap()).await;
    let (records, signature) = signed_answer(server, FORGED.0).await;
    assert_eq!(records[0].data, RData::A(A(FORGED.1)));
    verify(&key, &records, &signature).unwrap_err();
}

/// The signature is a real one, over the address that the name had before: nothing but the data
/// is wrong with it.
#[tokio::test]
async fn a_forged_names_signature_is_of_the_genuine_data() {
    let (server, anchor) = start(Zone::signed().unwrap()).await;
    let key = trusted_key(server, &anchor.unwrap()).await;
    let (mut records, signature) = signed_answer(server, FORGED.0).await;
    records[0].data = RData::A(A(BEFORE_THE_FORGERY));
    verify(&key, &records, &signature).unwrap();
}

async fn start(zone: Zone) -> (SocketAddr, Option<String>) {
    let anchor = zone.trust_anchor.clone();
    let (udp, tcp) = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let address = tcp.local_addr().unwrap();
    tokio::spawn(serve(zone, udp, tcp));
    (address, anchor)
}

async fn signed_answer(server: SocketAddr, name: &str) -> (Vec<Record>, RRSIG) {
    let answers = answers(server, name, RecordType::A).await;
    let (signatures, records): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|record| record.record_type() == RecordType::RRSIG);
    let [signature] = <[Record; 1]>::try_from(signatures).unwrap();
    let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = signature.data else {
        panic!("{signature} is no RRSIG");
    };
    (records, signature)
}

/// The zone's key, which must be the one that the trust anchor names.
async fn trusted_key(server: SocketAddr, anchor: &str) -> DNSKEY {
    let keys = answers(server, SIGNED_ZONE, RecordType::DNSKEY).await;
    let RData::DNSSEC(DNSSECRData::DNSKEY(key)) = &keys[0].data else {
        panic!("{} is no DNSKEY", keys[0]);
    };
    assert_eq!(
        anchor,
        format!("{SIGNED_ZONE} {SIGNED_TTL} IN DNSKEY {key}\n")
    );
    key.clone()
}

async fn answers(server: SocketAddr, name: &str, of_type: RecordType) -> Vec<Record> {
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(1232);
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), of_type));
    message.set_edns(edns);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let question = message.to_vec().unwrap();
    socket.send_to(&question, server).await.unwrap();
    let mut answer = [0; 1232];
    let length = socket.recv(&mut answer).await.unwrap();
    Message::from_vec(&answer[..length]).unwrap().answers
}

fn verify(
    key: &DNSKEY,
    records: &[Record],
    signature: &RRSIG,
) -> Result<(), hickory_proto::ProtoError> {
    key.verify_rrsig(&records[0].name, DNSClass::IN, signature, records.iter())
}
