//! Peers that have vanished while bytes were on the way to them: no keepalive asks these, and the kernel goes
//! on for a quarter of an hour.
//!
//! `TCP_USER_TIMEOUT` is no help: it also counts the time in which a peer that lives has no room. What tells
//! the two apart is in the kernel's tables (proc_net_tcp(5)): how often it has sent the same bytes, or asked
//! whether there is room, without that any answer came. These are read now and then on a thread of their own,
//! and workers, when there is anything in them, look for their own sockets.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd,
    time::Duration,
};

use rustix::net::{getpeername, getsockname};

/// The sockets of this host whose peers have not answered for a while.
#[derive(Debug, Default)]
pub(crate) struct Vanished(HashMap<[SocketAddr; 2], Duration>);

impl Vanished {
    /// How long the peer of this socket has been silent at least although it had to answer.
    pub(crate) fn silence(&self, socket: impl AsFd) -> Option<Duration> {
        let ours = getsockname(&socket).ok()?.try_into().ok()?;
        let theirs = getpeername(&socket).ok()??.try_into().ok()?;
        self.0.get(&[ours, theirs].map(bare)).copied()
    }

    /// These are, and have been silent for long.
    #[cfg(test)]
    pub(crate) fn of(sockets: impl IntoIterator<Item = [SocketAddr; 2]>) -> Self {
        let silence = at_least(MANY);
        Self(sockets.into_iter().map(|ends| (ends, silence)).collect())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the tables of this host, or of its network namespace: milliseconds for thousands of sockets.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn read() -> io::Result<Self> {
        let mut vanished = Self::default();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            match File::open(table) {
                Ok(file) => {
                    for line in BufReader::new(file).lines() {
                        vanished.0.extend(silent(&line?));
                    }
                }
                // A host may have no IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(vanished)
    }
}

/// The socket of one line, if its peer is silent.
fn silent(line: &str) -> Option<([SocketAddr; 2], Duration)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ours, theirs) = (fields.next()?, fields.next()?);
    // The state and the queues.
    let timer = fields.nth(2)?;
    let (repeated, _user, asked) = (fields.next()?, fields.next()?, fields.next()?);
    let times = match timer.split_once(':')?.0 {
        // Bytes are sent again and again.
        "01" => u32::from_str_radix(repeated, 16).ok()?,
        // There is no room for them, and nobody says whether there is now.
        "04" => asked.parse().ok()?,
        _ => return None,
    };
    if times < FEW {
        return None;
    }
    Some(([address(ours)?, address(theirs)?], at_least(times)))
}

/// The time that so many attempts take at least: the first comes after a fifth of a second, each further one
/// after twice the time, but no more than two minutes.
fn at_least(times: u32) -> Duration {
    (0..times.min(MANY))
        .map(|doubled| (FIRST * 2_u32.pow(doubled.min(10))).min(LONGEST))
        .sum()
}

/// Words of four bytes each, in the order of this host's.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.copy_from_slice(words.as_flattened());
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Without what the kernel's tables do not show.
fn bare(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// So few attempts in vain happen on a bad network.
const FEW: u32 = 5;
const MANY: u32 = 64;
const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// As the kernel writes it on a little-endian host.
    fn line(timer: &str, repeated: u32, asked: u32) -> String {
        format!(
            "   7: 0100007F:4039 0200007F:C001 01 00000004:00000000 {timer}:00000123 {repeated:08X} \
             65534 {asked:8} 12345 2 0000000000000000 20 4 30 10 -1"
        )
    }

    #[test]
    fn only_those_are_silent_that_had_to_answer_and_did_not() {
        let seconds = |line: &str| silent(line).map(|(_, silence)| silence.as_secs());
        assert_eq!(seconds(&line("01", 8, 0)), Some(51));
        assert_eq!(seconds(&line("04", 0, 5)), Some(6));
        // Too few; a keepalive, which has an end of its own; nothing under way; the first line.
        for other in [
            line("01", 4, 9),
            line("04", 9, 4),
            line("02", 9, 9),
            line("00", 9, 9),
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
                .to_owned(),
            String::new(),
        ] {
            assert_eq!(seconds(&other), None, "{other}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_are_known_by_both_their_addresses() {
        let (ends, _) = silent(&line("01", 9, 0)).unwrap();
        assert_eq!(
            ends.map(|end| end.to_string()),
            ["127.0.0.1:16441", "127.0.0.2:49153"]
        );
        let six = "0000000000000000FFFF00000100007F:4039";
        assert_eq!(
            address(six).unwrap().to_string(),
            "[::ffff:127.0.0.1]:16441"
        );
    }

    #[test]
    fn a_socket_is_found_in_the_table_of_this_host() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ends = [near.local_addr().unwrap(), near.peer_addr().unwrap()];
        let vanished = Vanished([(ends, Duration::from_secs(60))].into());
        assert_eq!(vanished.silence(&near), Some(Duration::from_secs(60)));
        let (far, _) = listener.accept().unwrap();
        assert_eq!(vanished.silence(&far), None);
        assert!(Vanished::read().unwrap().silence(&near).is_none());
    }

    #[test]
    fn no_number_of_attempts_is_too_much() {
        assert_eq!(at_least(0), Duration::ZERO);
        assert!(at_least(u32::MAX) > Duration::from_secs(3_600));
    }
}
