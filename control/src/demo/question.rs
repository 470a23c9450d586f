//! One DNS question and what came back: the client of the checks, which never asks twice.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// How a question is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// One datagram each way.
    Udp,
    /// A connection of its own.
    Tcp,
}

/// What a resolver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The response code, its extended part included.
    pub(crate) code: ResponseCode,
    /// The AD bit: the resolver says that it validated this (RFC 4035 §3.2.3).
    pub(crate) authentic: bool,
    /// The addresses of the answer section.
    pub(crate) addresses: Vec<Ipv4Addr>,
    /// The first Extended DNS Error.
    pub(crate) extended_error: Option<ExtendedError>,
    /// From the question sent (for TCP: from the SYN) to the answer read.
    pub(crate) took: Duration,
}

/// An Extended DNS Error (RFC 8914).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    /// The info code.
    pub(crate) code: u16,
    /// The text beside it, empty if none was sent.
    pub(crate) text: String,
}

/// Asks `server` for the IPv4 addresses of `name`, with DO set, within two seconds.
pub(crate) async fn ask(
    server: SocketAddr,
    name: &str,
    transport: Transport,
) -> anyhow::Result<Reply> {
    let question = question(name)?;
    let wire = question.to_vec()?;
    let begun = Instant::now();
    let exchange = async {
        match transport {
            Transport::Udp => over_udp(server, &wire).await,
            Transport::Tcp => over_tcp(server, &wire).await,
        }
    };
    let reply = tokio::time::timeout(DEADLINE, exchange)
        .await
        .with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))??;
    let took = begun.elapsed();
    let reply = Message::from_vec(&reply).context("the answer is no DNS message")?;
    if reply.metadata.message_type != MessageType::Response
        || reply.metadata.id != question.metadata.id
        || reply.queries != question.queries
    {
        bail!("the answer is not to this question");
    }
    Ok(Reply {
        code: reply.metadata.response_code,
        authentic: reply.metadata.authentic_data,
        addresses: reply
            .answers
            .iter()
            .filter_map(|record| match record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            })
            .collect(),
        extended_error: extended_error(&reply),
        took,
    })
}

fn question(name: &str) -> anyhow::Result<Message> {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_SIZE).set_dnssec_ok(true);
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name)?, RecordType::A));
    message.set_edns(edns);
    Ok(message)
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> anyhow::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // Connected: only datagrams of this server are received, and a closed port is an error at once.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; UDP_SIZE.into()];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = u16::try_from(question.len())?.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn extended_error(reply: &Message) -> Option<ExtendedError> {
    let option = reply.edns.as_ref()?.option(EdnsCode::Unknown(EDE))?;
    let EdnsOption::Unknown(_, data) = option else {
        return None;
    };
    let (code, text) = data.split_first_chunk::<2>()?;
    Some(ExtendedError {
        code: u16::from_be_bytes(*code),
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

impl fmt::Display for ExtendedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EDE {}", self.code)?;
        // The text is a server's: keep what could move a terminal's cursor out of it.
        let text: String = self.text.chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() {
            Ok(())
        } else {
            write!(formatter, " ({text})")
        }
    }
}

const DEADLINE: Duration = Duration::from_secs(2);
const UDP_SIZE: u16 = 1232;
/// The option code of Extended DNS Errors (RFC 8914 §2).
const EDE: u16 = 15;
