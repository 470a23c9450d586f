//! Where a test runs: a folder, and addresses of its own on which all ports are free.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::binaries;
use crate::netns::{Entered, Namespace};
use crate::ports::Block;

/// A test's place. Take one per test, first; peers that are started in it keep its folder.
///
/// With `TESTS_KEEP` in the environment the folder stays after the test, and its path is printed.
#[derive(Debug)]
pub struct Place {
    site: Arc<Site>,
    /// Keeps the test's thread in the namespace.
    _entered: Option<Entered>,
}

/// What peers need of a place; unlike it, not bound to the test's thread.
#[derive(Debug)]
pub(crate) struct Site {
    block: Block,
    /// Where peers are started: the spawner's thread may be anywhere.
    namespace: Arc<Namespace>,
    is_loopback: bool,
    files: AtomicUsize,
}

impl Place {
    /// Addresses 127.x.y.0/24 that no other running test has.
    ///
    /// # Panics
    ///
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn loopback() -> Self {
        let namespace = Namespace::current().expect("a thread has a network namespace");
        Self {
            site: Site::new(namespace, true),
            _entered: None,
        }
    }

    /// A network namespace, with addresses 10.9.0.0/24. The calling thread is inside until the place
    /// is dropped, and so is what it starts: use a runtime on this thread.
    ///
    /// `None` without the right to make one; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When the temporary folder cannot be written.
    #[must_use]
    pub fn namespace() -> Option<Self> {
        let created = Namespace::create().and_then(|namespace| Ok((namespace.enter()?, namespace)));
        match created {
            Ok((entered, namespace)) => Some(Self {
                site: Site::new(namespace, false),
                _entered: Some(entered),
            }),
            Err(error) => {
                binaries::skip("netns", &format!("a network namespace needs root: {error}"));
                None
            }
        }
    }

    /// The place's address with this last byte, 1 to 254. By convention 1 is the node that the test
    /// looks at, with our programs, and 2 to 4 are control plane nodes.
    #[must_use]
    pub fn address(&self, last: u8) -> IpAddr {
        self.site.address(last)
    }

    /// [`Self::address`] with a port.
    #[must_use]
    pub fn socket_address(&self, last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(last), port)
    }

    /// The IPv6 address of a namespace with this last byte, 1 to 4, with a port.
    ///
    /// # Panics
    ///
    /// When the place is on the host's loopback device, which has one such address.
    #[must_use]
    pub fn socket_address6(&self, last: u8, port: u16) -> SocketAddr {
        assert!(
            !self.site.is_loopback && (1..=4).contains(&last),
            "only a namespace has such an address"
        );
        SocketAddr::new(Namespace::address6(last).into(), port)
    }

    /// A folder of the test's own. It goes away with the place and all that was started in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.site.folder()
    }

    /// A new folder in it, of the one server of this program at an address.
    pub(crate) fn folder_of(&self, program: &str, address: SocketAddr) -> String {
        let name = format!("{program}-{}-{}", address.ip(), address.port());
        let folder = self.folder().join(name);
        fs::create_dir(&folder).expect("a place has room for one server at an address");
        folder.display().to_string()
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.site
    }
}

impl Site {
    fn new(namespace: Namespace, is_loopback: bool) -> Arc<Self> {
        let block = Block::reserve().unwrap_or_else(|error| panic!("no place for a test: {error}"));
        Arc::new(Self {
            block,
            namespace: Arc::new(namespace),
            is_loopback,
            files: AtomicUsize::new(1),
        })
    }

    pub(crate) fn address(&self, last: u8) -> IpAddr {
        if self.is_loopback {
            self.block.address(last).into()
        } else {
            Namespace::address(last).into()
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.block.folder()
    }

    pub(crate) fn namespace(&self) -> Arc<Namespace> {
        Arc::clone(&self.namespace)
    }

    /// A number that no file of this place has yet.
    pub(crate) fn next_number(&self) -> usize {
        self.files.fetch_add(1, Ordering::Relaxed)
    }
}
