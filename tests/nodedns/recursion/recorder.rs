//! Name servers that write down what they are asked, and answer in their manner.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// How a server answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// As the server at this address does.
    Pass(SocketAddr),
    /// The same, but it denies names that have nothing but names below them.
    DenyParts(SocketAddr),
    /// With REFUSED.
    Refuse,
    /// With the root's name servers.
    ReferUp,
    /// Not at all.
    Nothing,
    /// As one that has the zone and may say of it, and of others, what it likes.
    Lie(fn(&mut Message)),
}

/// The server, until it is dropped.
pub(crate) struct Recorder {
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: JoinSet<()>,
}

struct Asked {
    at: Instant,
    what: String,
}

impl Recorder {
    pub(crate) async fn start(address: SocketAddr, manner: Manner) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let socket = UdpSocket::bind(address).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(serve(socket, manner, Arc::clone(&asked)));
        Self { asked, _task: task }
    }

    /// What it was asked, in order: name in lower case and type.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|asked| asked.what.clone()).collect()
    }

    /// When it was asked.
    pub(crate) fn times(&self) -> Vec<Instant> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|asked| asked.at).collect()
    }
}

async fn serve(socket: UdpSocket, manner: Manner, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut buffer = vec![0; 4_096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let query = Message::from_vec(&buffer[..length]).unwrap();
        let question = query.queries[0].clone();
        let name = question.name().to_ascii().to_lowercase();
        asked.lock().unwrap().push(Asked {
            at: Instant::now(),
            what: format!("{name} {}", question.query_type()),
        });
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata.message_type = MessageType::Response;
        reply.add_query(question);
        let packet = match manner {
            Manner::Pass(honest) => pass(honest, &buffer[..length]).await,
            Manner::DenyParts(honest) => {
                let packet = pass(honest, &buffer[..length]).await;
                let mut said = Message::from_vec(&packet).unwrap();
                if said.answers.is_empty() && said.metadata.authoritative {
                    said.metadata.response_code = ResponseCode::NXDomain;
                }
                said.to_vec().unwrap()
            }
            Manner::Refuse => {
                reply.metadata.response_code = ResponseCode::Refused;
                reply.to_vec().unwrap()
            }
            Manner::ReferUp => {
                let ns = RData::NS(NS(Name::from_ascii("ns.").unwrap()));
                reply.add_authority(Record::from_rdata(Name::root(), 300, ns));
                reply.to_vec().unwrap()
            }
            Manner::Nothing => continue,
            Manner::Lie(tell) => {
                reply.metadata.authoritative = true;
                tell(&mut reply);
                reply.to_vec().unwrap()
            }
        };
        let _ = socket.send_to(&packet, from).await;
    }
}

async fn pass(honest: SocketAddr, query: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).await.unwrap();
    socket.connect(honest).await.unwrap();
    socket.send(query).await.unwrap();
    let mut buffer = vec![0; 4_096];
    let length = socket.recv(&mut buffer).await.unwrap();
    buffer.truncate(length);
    buffer
}
