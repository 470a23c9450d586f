//! Both sides of a hand-over in one process, the workers played by the test.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::mpsc,
    thread,
};

use super::{
    frame::Line,
    message::{Message, PROTOCOL},
    record::{Handed, HandedListener, Stage},
    *,
};

/// What the owner was asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Release,
    Restore {
        listeners: usize,
        connections: usize,
    },
    Gone,
}

struct Workers {
    serves: Released,
    asked: mpsc::Sender<Asked>,
}

impl Owner for Workers {
    fn release(&mut self) -> Released {
        self.asked.send(Asked::Release).unwrap();
        std::mem::take(&mut self.serves)
    }

    fn restore(&mut self, released: Released) {
        let asked = Asked::Restore {
            listeners: released.listeners.len(),
            connections: released.connections.len(),
        };
        self.serves = released;
        self.asked.send(asked).unwrap();
    }

    fn gone(&mut self, successor: Option<rustix::process::Pid>) {
        assert_eq!(successor, Some(rustix::process::getpid()));
        self.asked.send(Asked::Gone).unwrap();
    }
}

/// An old process of generation 5 that serves one address with three hundred clients.
struct Old {
    folder: tempfile::TempDir,
    addresses: Vec<ListenAddress>,
    asked: mpsc::Receiver<Asked>,
    clients: Vec<UnixStream>,
    serving: thread::JoinHandle<()>,
}

impl Old {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = vec![ListenAddress::At(socket.local_addr().unwrap())];
        let (connections, clients) = (0..300).map(client).unzip();
        let (sender, asked) = mpsc::channel();
        let mut owner = Workers {
            serves: Released {
                listeners: vec![HandedListener {
                    address: addresses[0],
                    socket,
                }],
                connections,
            },
            asked: sender,
        };
        let sockets = Sockets::bind(&folder.path().join("run"), &addresses).unwrap();
        Self {
            folder,
            addresses,
            asked,
            clients,
            serving: thread::spawn(move || serve(sockets, Generation(5), &mut owner)),
        }
    }

    fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn ask(&self, generation: u64) -> Result<Option<Offer>, TakeError> {
        ask(&self.run_dir(), &self.addresses, Generation(generation))
    }

    /// A conversation that does not keep to the rules.
    fn line(&self) -> Line {
        let path = path(&self.run_dir(), self.addresses[0]);
        Line::new(UnixStream::connect(path).unwrap(), LIMIT)
    }
}

fn client(number: u16) -> (Handed, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let handed = Handed {
        listener: "api".to_owned(),
        client: OwnedFd::from(ours),
        address: ([127, 0, 0, 1], number).into(),
        age: Duration::ZERO,
        stage: Stage::Dialling(number.to_be_bytes().to_vec()),
    };
    (handed, theirs)
}

#[test]
fn everything_changes_hands_and_the_old_process_is_done() {
    let mut old = Old::start();
    let mut offer = old.ask(5).unwrap().unwrap();
    let listeners = offer.take_listeners();
    let connections = offer.commit().unwrap();
    old.serving.join().unwrap();
    let asked: Vec<_> = old.asked.iter().collect();
    assert_eq!(asked, [Asked::Release, Asked::Gone]);

    assert_eq!(listeners[0].address, old.addresses[0]);
    let address = listeners[0].socket.local_addr().unwrap();
    let _client = TcpStream::connect(address).unwrap();
    listeners[0].socket.accept().unwrap();

    assert_eq!(connections.len(), 300);
    for (number, (handed, theirs)) in (0_u16..).zip(connections.into_iter().zip(&mut old.clients)) {
        assert_eq!(handed.address.port(), number);
        let Stage::Dialling(kept) = handed.stage else {
            panic!("{:?}", handed.stage);
        };
        assert_eq!(kept, number.to_be_bytes());
        File::from(handed.client).write_all(b"x").unwrap();
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"x");
    }
    assert!(!path(&old.folder.path().join("run"), old.addresses[0]).exists());
}

#[test]
fn a_new_process_that_goes_away_before_its_commit_has_changed_nothing() {
    let old = Old::start();
    for _ in 0..3 {
        drop(old.ask(5).unwrap().unwrap());
        assert_eq!(old.asked.recv().unwrap(), Asked::Release);
        let all = Asked::Restore {
            listeners: 1,
            connections: 300,
        };
        assert_eq!(old.asked.recv().unwrap(), all);
    }
    let connections = old.ask(5).unwrap().unwrap().commit().unwrap();
    assert_eq!(connections.len(), 300);
}

#[test]
fn an_older_generation_never_takes_over_and_a_newer_one_does() {
    let old = Old::start();
    let refused = old.ask(4).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the rivers that is running goes on: it is of generation 5 and the new one of 4"
    );
    assert!(matches!(refused, TakeError::Refused { older: true, .. }));
    assert!(old.asked.try_recv().is_err());
    old.ask(6).unwrap().unwrap().commit().unwrap();
}

#[test]
fn another_protocol_is_refused_in_words() {
    let old = Old::start();
    let line = old.line();
    let hello = Message::Hello {
        protocol: PROTOCOL + 1,
        version: "9.9.9".to_owned(),
        generation: 9,
    };
    line.send(&hello.into()).unwrap();
    let Message::Refused { reason, older } = line.receive().unwrap().message else {
        panic!("it was not refused");
    };
    assert_eq!(
        reason,
        "it speaks protocol 1 of the hand-over and the new one 2; stop it first"
    );
    assert!(!older);
    assert!(old.asked.try_recv().is_err());
}

#[test]
fn what_does_not_greet_gets_nothing() {
    let old = Old::start();
    let line = old.line();
    line.send(&Message::Commit.into()).unwrap();
    assert!(line.receive().is_err());
    assert!(old.asked.try_recv().is_err());
}

#[test]
fn where_nobody_serves_there_is_nothing_to_take_over() {
    let folder = tempfile::tempdir().unwrap();
    let address = [":16443".parse().unwrap()];
    assert!(
        ask(folder.path(), &address, Generation(1))
            .unwrap()
            .is_none()
    );
    // Left behind by a process that was killed.
    drop(UnixListener::bind(path(folder.path(), address[0])).unwrap());
    assert!(
        ask(folder.path(), &address, Generation(1))
            .unwrap()
            .is_none()
    );
    Sockets::bind(folder.path(), &address).unwrap();
}
