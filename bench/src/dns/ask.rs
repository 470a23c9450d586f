//! The clients: they ask in batches, so that they can keep a server's core busy from one of their own.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::mmsg::{Datagrams, MOST};

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Answers.
    pub answered: u64,
    /// Those of them that are as long as a header and a question at most: errors, cut answers.
    pub empty: u64,
    /// Questions that had no answer in time.
    pub lost: u64,
}

/// Asks over UDP as fast as answers come, `window` questions on each of eight sockets at once, for that long
/// or, when nothing is repeated, until all was asked once.
///
/// # Errors
/// The server cannot be reached.
pub fn udp(
    server: SocketAddr,
    questions: &[Vec<u8>],
    window: usize,
    end: End,
) -> io::Result<Asked> {
    let mut clients = Vec::new();
    for _ in 0..SOCKETS {
        clients.push(Client::new(server)?);
    }
    let mut next = questions.iter().cycle();
    let mut left = match end {
        End::After(_) => usize::MAX,
        End::AllOnce => questions.len(),
    };
    let began = Instant::now();
    let mut asked = Asked::default();
    loop {
        let now = Instant::now();
        let over = match end {
            End::After(time) => now - began >= time,
            End::AllOnce => left == 0,
        };
        let mut waiting = 0;
        for client in &mut clients {
            client.take_answers(now, &mut asked)?;
            if !over {
                let count = window.saturating_sub(client.waiting).min(left).min(MOST);
                left -= client.ask(&mut next, count)?;
            }
            waiting += client.waiting;
        }
        if over && waiting == 0 {
            return Ok(asked);
        }
    }
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// After that time.
    After(Duration),
    /// When each question was asked once.
    AllOnce,
}

/// Asks over UDP one question at a time, `rate` a second, evenly, for that long.
///
/// # Errors
/// The server cannot be reached.
pub fn paced(
    server: SocketAddr,
    questions: &[Vec<u8>],
    rate: u32,
    time: Duration,
) -> io::Result<Asked> {
    let mut client = Client::new(server)?;
    let mut next = questions.iter().cycle();
    let mut asked = Asked::default();
    let began = Instant::now();
    for number in 0_u32.. {
        let due = began + Duration::from_secs(1) / rate * number;
        loop {
            let now = Instant::now();
            client.take_answers(now, &mut asked)?;
            if now >= due {
                break;
            }
        }
        if due - began >= time {
            break;
        }
        client.ask(&mut next, 1)?;
    }
    Ok(asked)
}

/// Asks over one TCP connection, `window` questions at once, for that long.
///
/// # Errors
/// The server cannot be reached, or closes the connection.
pub fn tcp(
    server: SocketAddr,
    questions: &[Vec<u8>],
    window: usize,
    time: Duration,
) -> io::Result<Asked> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LATE))?;
    let mut next = questions.iter().cycle();
    let mut asked = Asked::default();
    let mut received = Vec::with_capacity(1 << 20);
    let mut buffer = vec![0; 64 << 10];
    let mut waiting = 0;
    let began = Instant::now();
    while began.elapsed() < time || waiting > 0 {
        // Not one by one: a client with many questions writes many at once.
        if began.elapsed() < time && waiting <= window / 2 {
            let mut batch = Vec::new();
            for question in next.by_ref().take(window - waiting) {
                batch.extend_from_slice(&(question.len() as u16).to_be_bytes());
                batch.extend_from_slice(question);
                waiting += 1;
            }
            stream.write_all(&batch)?;
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&buffer[..count]);
        let mut at = 0;
        while let Some(length) = received.get(at..at + 2) {
            let end = at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
            if received.len() < end {
                break;
            }
            at = end;
            waiting -= 1;
            asked.answered += 1;
        }
        received.drain(..at);
    }
    Ok(asked)
}

struct Client {
    socket: UdpSocket,
    datagrams: Datagrams,
    waiting: usize,
    /// When something last came, or was asked.
    last: Instant,
    id: u16,
}

impl Client {
    fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.connect(server)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
        Ok(Self {
            socket,
            datagrams: Datagrams::connected(),
            waiting: 0,
            last: Instant::now(),
            id: 0,
        })
    }

    /// Asks `count` questions, and gives the number that could be.
    fn ask<'a>(
        &mut self,
        questions: &mut impl Iterator<Item = &'a Vec<u8>>,
        count: usize,
    ) -> io::Result<usize> {
        if count == 0 {
            return Ok(0);
        }
        for (place, question) in questions.take(count).enumerate() {
            let packet = self.datagrams.resize(place, question.len());
            packet.copy_from_slice(question);
            packet[..2].copy_from_slice(&self.id.to_be_bytes());
            self.id = self.id.wrapping_add(1);
        }
        let sent = match self.datagrams.send(&self.socket, count) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.waiting += sent;
        self.last = Instant::now();
        Ok(sent)
    }

    /// Takes what is there, and gives up what is late.
    fn take_answers(&mut self, now: Instant, asked: &mut Asked) -> io::Result<()> {
        match self.datagrams.receive(&self.socket, false) {
            Ok(count) => {
                for place in 0..count {
                    let answer = self.datagrams.get(place);
                    asked.answered += 1;
                    // ANCOUNT and NSCOUNT.
                    let is_empty = answer.get(6..10).is_none_or(|counts| counts == [0; 4]);
                    asked.empty += u64::from(is_empty);
                }
                self.waiting = self.waiting.saturating_sub(count);
                self.last = now;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if now.saturating_duration_since(self.last) > LATE {
                    asked.lost += self.waiting as u64;
                    self.waiting = 0;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

const SOCKETS: usize = 8;
/// A question without an answer for that long is lost.
const LATE: Duration = Duration::from_secs(2);
