//! A DNS client for tests: one question to one server, and what the reply says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

pub use hickory_proto::rr::RecordType;

/// A question. Unless told otherwise it goes over UDP, asks for recursion, and takes 1,232 bytes.
#[derive(Debug, Clone)]
pub struct Question {
    message: Message,
    tcp: bool,
    from: Option<IpAddr>,
}

impl Question {
    /// Asks for records of a type.
    ///
    /// # Panics
    ///
    /// When the name is none.
    #[must_use]
    #[track_caller]
    pub fn new(name: &str, kind: RecordType) -> Self {
        let name = Name::from_ascii(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut message = Message::query();
        message.add_query(Query::query(name, kind));
        message.metadata.recursion_desired = true;
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        message.set_edns(edns);
        Self {
            message,
            tcp: false,
            from: None,
        }
    }

    /// Asks over TCP.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Asks from this address of the machine, as a client of its own.
    #[must_use]
    pub const fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Asks for signatures (DO).
    #[must_use]
    pub fn dnssec_ok(mut self) -> Self {
        self.message
            .edns
            .get_or_insert_default()
            .set_dnssec_ok(true);
        self
    }

    /// Asks for the data even if bogus (CD).
    #[must_use]
    pub fn checking_disabled(mut self) -> Self {
        self.message.metadata.checking_disabled = true;
        self
    }

    /// Asks like a client of before EDNS, which takes 512 bytes.
    #[must_use]
    pub fn without_edns(mut self) -> Self {
        self.message.edns = None;
        self
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    ///
    /// When none that matches comes within five seconds, as long as a stub resolver waits.
    pub async fn ask(&self, server: SocketAddr) -> io::Result<Reply> {
        let exchange = async {
            if self.tcp {
                self.over_tcp(server).await
            } else {
                self.over_udp(server).await
            }
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no reply from {server}"));
        timeout(REPLY_DEADLINE, exchange).await.map_err(late)?
    }

    async fn over_udp(&self, server: SocketAddr) -> io::Result<Reply> {
        let socket = UdpSocket::bind(self.source(server)).await?;
        socket.connect(server).await?;
        socket.send(&self.wire()).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut buffer).await?;
            // Anybody can send to a UDP socket: what does not match is not the reply.
            if let Some(reply) = self.reply(&buffer[..length]) {
                return Ok(reply);
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr) -> io::Result<Reply> {
        let socket = match server {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.from.is_some() {
            socket.bind(self.source(server))?;
        }
        let mut stream = socket.connect(server).await?;
        let wire = self.wire();
        let length = u16::try_from(wire.len()).expect("one question is short");
        stream
            .write_all(&[&length.to_be_bytes()[..], &wire].concat())
            .await?;
        let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut buffer).await?;
        self.reply(&buffer)
            .ok_or_else(|| io::Error::other(format!("{server} sent no reply to this question")))
    }

    fn source(&self, server: SocketAddr) -> SocketAddr {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        (self.from.unwrap_or(any), 0).into()
    }

    /// The message as it goes over UDP.
    ///
    /// # Panics
    ///
    /// Never: it was made to be encoded.
    #[must_use]
    pub fn wire(&self) -> Vec<u8> {
        self.message.to_vec().expect("the question is valid")
    }

    fn reply(&self, wire: &[u8]) -> Option<Reply> {
        let message = Message::from_vec(wire).ok()?;
        let matches = message.metadata.id == self.message.metadata.id
            && message.queries == self.message.queries;
        matches.then_some(Reply { message })
    }
}

/// A reply to a [`Question`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// All of it.
    pub message: Message,
}

impl Reply {
    /// The response code, EDNS's upper bits included.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// Whether the server says that it has validated this (AD).
    #[must_use]
    pub fn is_authentic(&self) -> bool {
        self.message.metadata.authentic_data
    }

    /// The data of the answer's records of this type, as in a zone file, in order.
    #[must_use]
    pub fn data(&self, kind: RecordType) -> Vec<String> {
        let records = self
            .message
            .answers
            .iter()
            .filter(|record| record.record_type() == kind);
        let mut data: Vec<String> = records.map(|record| record.data.to_string()).collect();
        data.sort();
        data
    }

    /// The extended errors (RFC 8914): code and text.
    #[must_use]
    pub fn extended_errors(&self) -> Vec<(u16, String)> {
        let options = self
            .message
            .edns
            .iter()
            .flat_map(|edns| edns.options().as_ref());
        options
            .filter_map(|(code, option)| match (code, option) {
                (EdnsCode::Unknown(EXTENDED_ERROR), EdnsOption::Unknown(_, bytes)) => {
                    let (code, text) = bytes.split_first_chunk()?;
                    Some((
                        u16::from_be_bytes(*code),
                        String::from_utf8_lossy(text).into_owned(),
                    ))
                }
                _ => None,
            })
            .collect()
    }
}

/// The EDNS option of an extended error.
const EXTENDED_ERROR: u16 = 15;

const REPLY_DEADLINE: Duration = Duration::from_secs(5);
