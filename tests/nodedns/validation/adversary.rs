//! A lying server between nodedns and the world: it asks an honest resolver, and changes what that
//! says before it passes it on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_proto::op::Message;
use tests::dns::{Question, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use super::lies::{LIES, Lie, Truths};

/// The liar, until it is dropped.
pub(crate) struct Adversary {
    address: SocketAddr,
    /// Which lie it tells, by number; none: it is honest.
    lie: Arc<std::sync::Mutex<Option<usize>>>,
    _tasks: JoinSet<()>,
}

/// What each exchange needs.
#[derive(Clone)]
struct Context {
    honest: SocketAddr,
    lie: Arc<std::sync::Mutex<Option<usize>>>,
    truths: Arc<Truths>,
}

impl Adversary {
    /// Listens on `address`, over UDP and TCP, and asks `honest`.
    pub(crate) async fn start(address: SocketAddr, honest: SocketAddr) -> Self {
        let lie = Arc::default();
        let context = Context {
            honest,
            lie: Arc::clone(&lie),
            truths: Arc::new(truths(honest).await),
        };
        let udp = Arc::new(UdpSocket::bind(address).await.unwrap());
        let tcp = TcpListener::bind(address).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(udp, context.clone()));
        tasks.spawn(over_tcp(tcp, context));
        Self {
            address,
            lie,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the lie with this number from now on, or the truth.
    pub(crate) fn tell(&self, lie: Option<usize>) {
        *self.lie.lock().unwrap() = lie;
    }
}

async fn over_udp(socket: Arc<UdpSocket>, context: Context) {
    let mut exchanges = JoinSet::new();
    let mut buffer = vec![0; 4_096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let (query, socket, context) = (
            buffer[..length].to_vec(),
            Arc::clone(&socket),
            context.clone(),
        );
        exchanges.spawn(async move {
            for mut packet in context.replies(&query).await.unwrap_or_default() {
                if packet.len() > 1_232 {
                    // Cut to the question.
                    packet.truncate(query.len() - 11);
                    packet[2] |= 2;
                    packet[6..].iter_mut().take(6).for_each(|count| *count = 0);
                }
                let _ = socket.send_to(&packet, from).await;
            }
        });
        while exchanges.try_join_next().is_some() {}
    }
}

async fn over_tcp(listener: TcpListener, context: Context) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, context.clone()));
    }
}

async fn serve(mut stream: TcpStream, context: Context) {
    let mut exchange = async || -> io::Result<()> {
        let mut query = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut query).await?;
        for packet in context.replies(&query).await? {
            stream.write_u16(packet.len() as u16).await?;
            stream.write_all(&packet).await?;
        }
        Ok(())
    };
    while exchange().await.is_ok() {}
}

impl Context {
    /// What is answered to `query`.
    async fn replies(&self, query: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut stream = TcpStream::connect(self.honest).await?;
        stream.write_u16(query.len() as u16).await?;
        stream.write_all(query).await?;
        let mut honest = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut honest).await?;
        let lie = *self.lie.lock().unwrap();
        let Some((_, lie)) = lie.map(|number| LIES[number]) else {
            return Ok(vec![honest]);
        };
        Ok(match lie {
            Lie::Content(change) => {
                let mut message = Message::from_vec(&honest).map_err(io::Error::other)?;
                change(&mut message, &self.truths);
                vec![message.to_vec().map_err(io::Error::other)?]
            }
            Lie::Packets(change) => change(honest),
        })
    }
}

async fn truths(honest: SocketAddr) -> Truths {
    let ask = async |name: &str, kind| {
        let question = Question::new(name, kind)
            .dnssec_ok()
            .checking_disabled()
            .tcp();
        question.ask(honest).await.unwrap().message
    };
    Truths {
        no_such_name: ask("nx.a13.tld.", RecordType::A).await,
        no_such_type: ask("ent.a13.tld.", RecordType::A).await,
        other_zone: ask("www.a15.tld.", RecordType::A).await,
        same_zone: ask("a.x.deep.a13.tld.", RecordType::A).await,
        other_keys: ask("a15.tld.", RecordType::DNSKEY).await,
        other_ds: ask("a15.tld.", RecordType::DS).await,
        no_ds: ask("plain.tld.", RecordType::DS).await,
        opted_out: ask("nx.out.tld.", RecordType::A).await,
    }
}
