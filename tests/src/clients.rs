//! DNS clients that ask without pause over UDP, and never twice: what has no answer is lost.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::dns::{Question, RecordType};

/// Four clients, each with 16 questions on their way, from a new port now and then.
#[derive(Debug)]
pub struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<u64>>,
}

impl Clients {
    /// Starts them: they ask for the address of a name.
    #[must_use]
    pub fn start(server: SocketAddr, name: &str) -> Self {
        let (stop, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let question = Question::new(name, RecordType::A).wire();
        let threads = (0..4).map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            let question = question.clone();
            thread::spawn(move || {
                let mut lost = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (sent, answered) = round(server, &question);
                    asked.fetch_add(sent, Ordering::Relaxed);
                    lost += sent - answered;
                }
                lost
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            asked,
        }
    }

    /// Questions asked, and those that had no answer.
    ///
    /// # Panics
    ///
    /// When there was no port left to ask from.
    #[must_use]
    pub fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let lost = self
            .threads
            .into_iter()
            .map(|thread| thread.join().expect("a client asks on until it is stopped"))
            .sum();
        (self.asked.load(Ordering::Relaxed), lost)
    }
}

/// Asks a thousand questions from one port, and gives the numbers of questions and answers.
fn round(server: SocketAddr, question: &[u8]) -> (u64, u64) {
    let socket = UdpSocket::bind((server.ip(), 0)).expect("there are ports left");
    socket.connect(server).expect("a datagram needs no server");
    socket
        .set_read_timeout(Some(Duration::from_secs(3)))
        .expect("not zero");
    let (mut sent, mut answered) = (0, 0);
    let mut buffer = [0; 512];
    while answered < 1_000 {
        while sent < 1_000 && sent - answered < 16 {
            // An error is what became of an earlier one; that one is counted by its missing answer.
            let _ = socket.send(question);
            sent += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(_) => answered += 1,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => break,
        }
    }
    (sent, answered)
}
