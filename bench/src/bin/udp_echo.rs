//! The floor under every DNS server: sends each datagram back, made as long as an answer, and does nothing
//! else. Its socket is set up like one of nodedns, and it takes as many datagrams at once.
//!
//! Usage: `udp_echo LISTEN BYTES`

use std::env;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use bench::mmsg::{Datagrams, ask_for_arrival};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, listen, bytes] = &arguments[..] else {
        return Err(io::Error::other("usage: udp_echo LISTEN BYTES"));
    };
    let listen: SocketAddr = listen.parse().map_err(io::Error::other)?;
    let bytes: usize = bytes.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(listen)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    ask_for_arrival(&socket)?;
    let mut datagrams = Datagrams::of_server();
    loop {
        let received = datagrams.receive(&socket, true)?;
        for place in 0..received {
            let packet = datagrams.resize(place, bytes);
            // QR, as if it were an answer.
            packet[2] |= 0x80;
        }
        // What cannot be sent is lost, as with a DNS server.
        let _ = datagrams.send(&socket, received);
    }
}
