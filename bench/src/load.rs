//! The load: servers and clients on blocking sockets, a thread each. They run on another core than the
//! proxy, whose CPU time alone is measured, so that what they cost does not matter.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::tls::Tls;

/// What a connection is for; its first byte, so that one server serves all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The client sends as fast as it can.
    Up = b'u',
    /// The server sends as fast as it can.
    Down = b'd',
    /// The server sends back messages of [`MESSAGE`] bytes.
    Echo = b'e',
    /// The client says how many bytes it sends next and how many it wants, and again ([`Exchanges`]).
    Exchange = b'x',
}

/// Starts the server for everything in plain text.
///
/// # Errors
/// It cannot listen.
pub fn serve() -> io::Result<SocketAddr> {
    listen(|mut stream| {
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        let mut buffer = vec![0; BULK];
        match kind[0] {
            b'u' => while stream.read(&mut buffer)? > 0 {},
            b'd' => loop {
                stream.write_all(&buffer)?;
            },
            b'x' => loop {
                let mut sizes = [0; 8];
                stream.read_exact(&mut sizes)?;
                let [there, back] = [0, 4].map(|at| {
                    u32::from_le_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]])
                });
                read(&mut stream, &mut buffer, there as usize)?;
                write(&mut stream, &buffer, back as usize)?;
            },
            _ => loop {
                stream.read_exact(&mut buffer[..MESSAGE])?;
                stream.write_all(&buffer[..MESSAGE])?;
            },
        }
        Ok(())
    })
}

/// Starts a server that answers requests over TLS.
///
/// # Errors
/// It cannot listen.
pub fn serve_tls(tls: &Tls) -> io::Result<SocketAddr> {
    let tls = tls.clone();
    listen(move |stream| {
        let mut stream = tls.server(stream)?;
        let (mut request, answer) = ([0; REQUEST], [1; ANSWER]);
        loop {
            stream.read_exact(&mut request)?;
            stream.write_all(&answer)?;
        }
    })
}

fn listen(
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || {
                // How it ends is the client's business.
                let _ = stream.set_nodelay(true);
                let _ = serve(stream);
            });
        }
    });
    Ok(address)
}

/// Moves bytes over so many streams for a while; gives how many.
pub fn bulk(proxy: SocketAddr, kind: Kind, streams: usize, time: Duration) -> u64 {
    on_threads(streams, time, |moved, until| {
        let mut stream = connect(proxy)?;
        stream.write_all(&[kind as u8])?;
        let mut buffer = vec![0; BULK];
        while Instant::now() < until {
            let bytes = match kind {
                Kind::Up => stream.write(&buffer)?,
                _ => stream.read(&mut buffer)?,
            };
            moved.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Sends messages there and back on so many connections for a while; gives how many.
pub fn ping_pong(proxy: SocketAddr, connections: usize, time: Duration) -> u64 {
    on_threads(connections, time, |moved, until| {
        let mut stream = connect(proxy)?;
        stream.write_all(&[Kind::Echo as u8])?;
        let mut message = [0; MESSAGE];
        while Instant::now() < until {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
            moved.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Makes connections of one message each, so many at a time, for a while; gives how many.
pub fn short(proxy: SocketAddr, at_a_time: usize, time: Duration) -> u64 {
    on_threads(at_a_time, time, |moved, until| {
        let mut message = [0; 1 + MESSAGE];
        message[0] = Kind::Echo as u8;
        while Instant::now() < until {
            let mut stream = connect(proxy)?;
            stream.write_all(&message)?;
            stream.read_exact(&mut message[1..])?;
            // A reset leaves no TIME_WAIT behind, of which a run would otherwise collect too many.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            moved.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Makes requests on so many TLS connections for a while; gives how many.
pub fn requests(proxy: SocketAddr, tls: &Tls, connections: usize, time: Duration) -> u64 {
    on_threads(connections, time, |moved, until| {
        let mut stream = tls.client(connect(proxy)?)?;
        let (request, mut answer) = ([0; REQUEST], [0; ANSWER]);
        while Instant::now() < until {
            stream.write_all(&request)?;
            stream.read_exact(&mut answer)?;
            moved.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// Connections that have exchanged one message and then do nothing.
///
/// # Errors
/// One of them fails.
pub fn idle(proxy: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = connect(proxy)?;
        let mut message = [0; 1 + MESSAGE];
        message[0] = Kind::Echo as u8;
        stream.write_all(&message)?;
        stream.read_exact(&mut message[1..])?;
        idle.push(stream);
    }
    Ok(idle)
}

/// A connection on which so many bytes go there and so many come back, as often as wanted.
#[derive(Debug)]
pub struct Exchanges {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Exchanges {
    /// Connects.
    ///
    /// # Errors
    /// Nobody accepts it.
    pub fn connect(proxy: SocketAddr) -> io::Result<Self> {
        let mut stream = connect(proxy)?;
        stream.write_all(&[Kind::Exchange as u8])?;
        let buffer = vec![0; BULK];
        Ok(Self { stream, buffer })
    }

    /// Sends bytes, and waits for those that come back.
    ///
    /// # Errors
    /// The connection breaks, or nothing comes for five seconds.
    pub fn exchange(&mut self, there: u32, back: u32) -> io::Result<()> {
        let sizes = [there, back].map(u32::to_le_bytes).concat();
        if there as usize <= BULK - sizes.len() {
            // In one piece, as a client sends a small request.
            let message = &mut self.buffer[..sizes.len() + there as usize];
            message[..sizes.len()].copy_from_slice(&sizes);
            self.stream.write_all(message)?;
        } else {
            self.stream.write_all(&sizes)?;
            write(&mut self.stream, &self.buffer, there as usize)?;
        }
        read(&mut self.stream, &mut self.buffer, back as usize)
    }

    /// Ends it with a reset, which leaves no TIME_WAIT behind.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn reset(self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }
}

fn read(stream: &mut TcpStream, buffer: &mut [u8], mut left: usize) -> io::Result<()> {
    while left > 0 {
        let most = left.min(buffer.len());
        let bytes = stream.read(&mut buffer[..most])?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= bytes;
    }
    Ok(())
}

fn write(stream: &mut TcpStream, buffer: &[u8], mut left: usize) -> io::Result<()> {
    while left > 0 {
        let bytes = left.min(buffer.len());
        stream.write_all(&buffer[..bytes])?;
        left -= bytes;
    }
    Ok(())
}

fn connect(proxy: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// Runs `work` on so many threads at once, and gives what they counted.
///
/// # Panics
/// One of them fails: a run with errors measures nothing.
fn on_threads(
    count: usize,
    time: Duration,
    work: impl Fn(&AtomicU64, Instant) -> io::Result<()> + Sync,
) -> u64 {
    let counted = AtomicU64::new(0);
    let until = Instant::now() + time;
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| work(&counted, until).expect("the proxy serves"));
        }
    });
    counted.into_inner()
}

/// Bytes of a ping and of a pong.
pub const MESSAGE: usize = 128;
const BULK: usize = 128 * 1024;
const REQUEST: usize = 300;
const ANSWER: usize = 2_000;
