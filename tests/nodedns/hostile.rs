//! A UDP server of our own, for what no real server does: silence, lies, and packets from elsewhere.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

/// What it sends for a question that came at that time after its start: any number of packets, each
/// from its own port (`true`) or from another.
pub(crate) type Behaviour = fn(&[u8], Duration) -> Vec<(bool, Vec<u8>)>;

/// A running server; it ends with the test.
pub(crate) struct Hostile {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: AbortHandle,
}

/// A question that it got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    /// The number in a name that begins with `c`, a number and `-`, else 0.
    pub(crate) client: usize,
}

impl Hostile {
    /// Starts it. Nobody listens on TCP.
    pub(crate) async fn start(address: SocketAddr, behaviour: Behaviour) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        // What is lost is lost by its behaviour, not because this machine is busy.
        set_socket_recv_buffer_size_force(&socket, 16 << 20).unwrap();
        let elsewhere = UdpSocket::bind((address.ip(), 0)).await.unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, start) = (Arc::clone(&asked), Instant::now());
        let task = tokio::spawn(async move {
            let mut buffer = [0; 2_000];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let at = Instant::now();
                let client = client_of(&buffer[..length]);
                seen.lock().unwrap().push(Asked { at, from, client });
                for (own, packet) in behaviour(&buffer[..length], at - start) {
                    let socket = if own { &socket } else { &elsewhere };
                    // Who asked may have gone.
                    let _ = socket.send_to(&packet, from).await;
                }
            }
        });
        Self {
            address,
            asked,
            task: task.abort_handle(),
        }
    }

    /// All questions so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn client_of(packet: &[u8]) -> usize {
    let label = packet[13..].split(|byte| *byte == b'-').next();
    let digits = label.and_then(|label| str::from_utf8(label.get(1..)?).ok());
    digits.map_or(0, |digits| digits.parse().unwrap_or(0))
}

/// Says nothing.
pub(crate) const fn silent(_: &[u8], _: Duration) -> Vec<(bool, Vec<u8>)> {
    Vec::new()
}

/// Answers 192.0.2.7, whatever the name.
pub(crate) fn honest(packet: &[u8], _: Duration) -> Vec<(bool, Vec<u8>)> {
    vec![(true, answer(packet, 7))]
}

/// Answers 192.0.2.7, but only after many lies, which say 192.0.2.66.
pub(crate) fn liar(packet: &[u8], _: Duration) -> Vec<(bool, Vec<u8>)> {
    let lie = answer(packet, 66);
    let changed = |at: usize, by: u8| {
        let mut lie = lie.clone();
        lie[at] ^= by;
        (true, lie)
    };
    let name_end = 12 + packet[12..].iter().position(|byte| *byte == 0).unwrap();
    let mut other_case = lie.clone();
    for byte in &mut other_case[13..name_end] {
        if byte.is_ascii_alphabetic() {
            *byte ^= 0x20;
        }
    }
    let mut two_questions = lie.clone();
    two_questions[5] = 2;
    let mut oversized = lie.clone();
    oversized.resize(6_000, 0);
    let mut packets = vec![
        (true, Vec::new()),
        (true, b"x".to_vec()),
        // Another ID, a query, another opcode, another name, type, class.
        changed(0, 0xff),
        changed(1, 1),
        changed(2, 0x80),
        changed(2, 0x08),
        changed(14, 1),
        changed(name_end + 2, 1),
        changed(name_end + 4, 2),
        // From another port, cut short, more than it says, twice the question.
        (false, lie.clone()),
        (true, lie[..lie.len() - 1].to_vec()),
        (true, [&lie[..], b"tail"].concat()),
        (true, oversized),
        (true, two_questions),
        (true, other_case),
        // A header alone that says FORMERR, one that says REFUSED.
        (true, bare(packet, 1)),
        (true, bare(packet, 5)),
    ];
    packets.extend(honest(packet, Duration::ZERO));
    packets.extend(honest(packet, Duration::ZERO));
    packets
}

/// Says that it cannot.
pub(crate) fn servfail(packet: &[u8], _: Duration) -> Vec<(bool, Vec<u8>)> {
    let mut message = response(packet);
    message.metadata.response_code = ResponseCode::ServFail;
    vec![(true, message.to_vec().unwrap())]
}

fn response(packet: &[u8]) -> Message {
    let mut message = Message::from_vec(packet).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.edns = None;
    message
}

fn answer(packet: &[u8], last: u8) -> Vec<u8> {
    let mut message = response(packet);
    let name = message.queries[0].name().clone();
    let data = RData::A(A::new(192, 0, 2, last));
    message.add_answer(Record::from_rdata(name, 0, data));
    message.to_vec().unwrap()
}

fn bare(packet: &[u8], rcode: u8) -> Vec<u8> {
    let mut header = packet[..12].to_vec();
    header[2] |= 0x80;
    header[3] = rcode;
    header[4..].fill(0);
    header
}
