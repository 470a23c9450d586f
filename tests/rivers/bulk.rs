//! Gigabytes through rivers, and readers that do not read.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tests::place::Place;
use tests::{scale, wait};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::memory::user_bytes;
use crate::scene::{PATIENCE, Rivers};

#[tokio::test]
async fn a_gibibyte_each_way_in_random_chunks_arrives_as_it_was_sent() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let rivers = served_by(&place, server, |stream| both_ways(stream, [2, 1])).await;
    let client = TcpStream::connect(rivers.listen).unwrap();
    let begin = Instant::now();
    let received = spawn(move || both_ways(client, [1, 2])).await;
    assert_eq!(received, size());
    println!("{received} bytes each way in {:?}", begin.elapsed());
    rivers.peer.says("_finished").await;
    for direction in ["to_upstream", "to_client"] {
        bytes_are(&rivers, direction, size()).await;
    }
}

#[tokio::test]
async fn a_server_that_has_finished_still_gets_the_rest_of_the_client() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let (told, tells) = std::sync::mpsc::channel();
    let rivers = served_by(&place, server, move |mut stream| {
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        told.send(said).unwrap();
    })
    .await;
    let mut client = TcpStream::connect(rivers.listen).unwrap();
    let heard = spawn(move || {
        client.write_all(b"hello, ").unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, "bye");
        client.write_all(b"and the rest").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        tells.recv_timeout(PATIENCE).unwrap()
    });
    assert_eq!(heard.await, "hello, and the rest");
    rivers.peer.says("reason=upstream_finished").await;
}

/// What rivers keeps for a reader that does not read is one buffer of 64 KiB; anything more waits in the
/// kernel, whose own bounds (`tcp_wmem`, `tcp_rmem`) hold, or has not been taken from the writer.
///
/// A reader that lives is not cut, however long it takes: here for a multiple of the silence after which a
/// peer that answers nothing is given up (`dial_keep_alive` and three more of it), for ten minutes with
/// `TEST_SCALE=60`.
#[tokio::test]
async fn readers_that_stall_cost_a_buffer_each_and_are_not_cut() {
    let place = Place::loopback();
    let server = place.socket_address(2, 6443);
    let flags = ["--dial-keep-alive=1s"];
    let rivers = served_by_with(&place, server, &flags, |mut stream| {
        write(&mut stream, 3, STALLED_BYTES);
        stream.shutdown(Shutdown::Write).unwrap();
        // Until the client has gone.
        let _ = stream.read_to_end(&mut Vec::new());
    })
    .await;
    let mut readers = Vec::new();
    // The worker's own buffers and what the first connections need are not theirs.
    readers.push(stalled(&rivers).await);
    settled(&rivers).await;
    let before = user_bytes(&rivers.peer);
    for _ in 1..READERS {
        readers.push(stalled(&rivers).await);
    }
    settled(&rivers).await;
    let each = user_bytes(&rivers.peer).saturating_sub(before) / (READERS - 1);
    println!("a stalled reader costs {each} bytes of user memory");
    let taken = moved(&rivers, "to_client").await;
    let all = READERS as u64 * STALLED_BYTES;
    assert!(taken < all / 2, "{taken} of {all} bytes were taken");
    assert!(each <= KEPT, "{each}");

    tokio::time::sleep(STALL * scale()).await;
    for mut reader in readers {
        reader.set_nonblocking(false).unwrap();
        let read = spawn(move || read(&mut reader, 3)).await;
        assert_eq!(read, STALLED_BYTES);
    }
    println!("{READERS} readers stalled for {:?}", STALL * scale());
}

/// Waits until so many bytes have been counted; that is done once a second.
async fn bytes_are(rivers: &Rivers, direction: &str, bytes: u64) {
    wait::until(direction, PATIENCE, async || {
        let counted = moved(rivers, direction).await;
        if counted == bytes {
            Ok(())
        } else {
            Err(counted)
        }
    })
    .await;
}

async fn moved(rivers: &Rivers, direction: &str) -> u64 {
    let labels = [("direction", direction)];
    rivers.admin.metric("rivers_bytes_total", &labels).await as u64
}

/// A client whose server writes, and which reads nothing yet.
async fn stalled(rivers: &Rivers) -> TcpStream {
    let mut client = rivers.client().await;
    client.write_all(b"all").await.unwrap();
    client.readable().await.unwrap();
    client.into_std().unwrap()
}

/// Waits until nothing flows any more.
async fn settled(rivers: &Rivers) {
    let mut last = 0;
    wait::until("nothing to flow", PATIENCE, async || {
        tokio::time::sleep(2 * COUNTING).await;
        let now = moved(rivers, "to_client").await;
        let before = std::mem::replace(&mut last, now);
        if now > 0 && now == before {
            Ok(())
        } else {
            Err(now)
        }
    })
    .await;
}

/// A rivers in front of a server that does this with each client that speaks, on a thread of its own.
async fn served_by<T>(
    place: &Place,
    server: SocketAddr,
    serve: impl Fn(TcpStream) -> T + Clone + Send + 'static,
) -> Rivers {
    served_by_with(place, server, &[], serve).await
}

async fn served_by_with<T>(
    place: &Place,
    server: SocketAddr,
    flags: &[&str],
    serve: impl Fn(TcpStream) -> T + Clone + Send + 'static,
) -> Rivers {
    let listener = TcpListener::bind(server).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = stream.into_std().unwrap();
            let serve = serve.clone();
            thread::spawn(move || {
                stream.set_nonblocking(false).unwrap();
                // A probe says nothing.
                if stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0) {
                    serve(stream);
                }
            });
        }
    });
    let flags = [&["--check-interval=5m", "--health-mode=tcp"], flags].concat();
    Rivers::start(place, &[server], &flags).await
}

async fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Writes one pattern to its end, and reads another at the same time; how much that was.
fn both_ways(stream: TcpStream, [writes, reads]: [u64; 2]) -> u64 {
    let mut writer = stream.try_clone().unwrap();
    let written = thread::spawn(move || {
        write(&mut writer, writes, size());
        writer.shutdown(Shutdown::Write)
    });
    let mut reader = stream;
    let received = read(&mut reader, reads);
    written.join().unwrap().unwrap();
    received
}

/// Writes so many bytes of a pattern, in chunks of 1 byte to 256 KiB.
fn write(stream: &mut TcpStream, seed: u64, bytes: u64) {
    let pattern = Pattern::new(seed);
    let mut random = Random(seed);
    let mut written = 0;
    while written < bytes {
        // As many small ones as large ones.
        let most = 1 << (random.next() % 19);
        let chunk = (1 + random.next() % most).min(bytes - written);
        for part in pattern.at(written, chunk) {
            stream.write_all(part).unwrap();
        }
        written += chunk;
    }
}

/// Reads a pattern to the end of the stream, and says how long it was.
fn read(stream: &mut TcpStream, seed: u64) -> u64 {
    let pattern = Pattern::new(seed);
    let mut random = Random(!seed);
    let mut buffer = vec![0; 1 << 18];
    let mut received = 0;
    loop {
        let most = 1 + usize::try_from(random.next()).unwrap() % buffer.len();
        let count = stream.read(&mut buffer[..most]).unwrap();
        if count == 0 {
            return received;
        }
        let mut rest = &buffer[..count];
        for part in pattern.at(received, count as u64) {
            let (here, after) = rest.split_at(part.len());
            assert!(
                here == part,
                "other bytes between {received} and {count} more"
            );
            rest = after;
        }
        received += count as u64;
    }
}

/// Endless bytes that look random: a block again and again, whose length no chunk or buffer divides.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let words = (0..BLOCK / 8 + 1).flat_map(|_| random.next().to_le_bytes());
        Self(words.take(BLOCK).collect())
    }

    /// So many bytes from this place on.
    fn at(&self, place: u64, bytes: u64) -> impl Iterator<Item = &[u8]> {
        let mut begin = usize::try_from(place % BLOCK as u64).unwrap();
        let mut left = usize::try_from(bytes).unwrap();
        std::iter::from_fn(move || {
            let part = &self.0[begin..(begin + left).min(BLOCK)];
            left -= part.len();
            begin = 0;
            (!part.is_empty()).then_some(part)
        })
    }
}

/// SplitMix64: enough for chunks and patterns.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Never negative, so that it fits wherever.
        (word ^ (word >> 31)) >> 1
    }
}

fn size() -> u64 {
    u64::from(scale()) << 30
}

/// A prime number of bytes, about a mebibyte.
const BLOCK: usize = 1_048_583;
const READERS: usize = 40;
/// Counters are written so often.
const COUNTING: Duration = Duration::from_secs(1);
/// More than sockets on the way hold.
const STALLED_BYTES: u64 = 32 << 20;
/// 64 KiB, and what a connection needs anyway.
const KEPT: usize = 68 << 10;
/// Twice and a half the silence of a peer that is given up.
const STALL: Duration = Duration::from_secs(10);
