//! A network namespace of its own for a test, so that node addresses such as 10.9.0.2 are real and
//! valid in Endpoints, and nothing outside is reached or disturbed. Needs root.

use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace. It ends with the last process, thread or open file in it, so there is
/// nothing to clean up.
#[derive(Debug)]
pub(crate) struct Namespace {
    link: File,
}

impl Namespace {
    /// The address with this last byte in a namespace from [`Self::create`].
    pub(crate) fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 0, last)
    }

    /// The IPv6 address with this last byte, 1 to 4, in a namespace from [`Self::create`].
    pub(crate) fn address6(last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, last.into())
    }

    /// The namespace that the calling thread is in.
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self {
            link: File::open("/proc/thread-self/ns/net")?,
        })
    }

    /// Makes a namespace with all of 10.9.0.0/24 on its loopback device, and fd09::1 to fd09::4.
    pub(crate) fn create() -> io::Result<Self> {
        let namespace = Self { link: unshared()? };
        let inside = namespace.enter()?;
        // On a loopback device a prefix makes each of its addresses local.
        ip(&["link", "set", "lo", "up"])?;
        ip(&[
            "address",
            "add",
            &format!("{}/24", Self::address(1)),
            "dev",
            "lo",
        ])?;
        for last in 1..=4 {
            let address = format!("{}/128", Self::address6(last));
            ip(&["address", "add", &address, "dev", "lo", "nodad"])?;
        }
        drop(inside);
        Ok(namespace)
    }

    /// Moves the calling thread in, until the guard is dropped. Processes and threads started
    /// meanwhile from this thread are inside and stay there.
    pub(crate) fn enter(&self) -> io::Result<Entered> {
        let home = Self::current()?;
        // Without root, only where one is already.
        if home.number()? != self.number()? {
            self.join()?;
        }
        Ok(Entered {
            home,
            _of_this_thread: PhantomData,
        })
    }

    fn join(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(
            self.link.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    fn number(&self) -> io::Result<u64> {
        Ok(self.link.metadata()?.ino())
    }
}

/// The calling thread is in a namespace; dropping this brings it back.
#[derive(Debug)]
pub(crate) struct Entered {
    home: Namespace,
    /// Another thread that dropped it would move itself.
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // A thread that could leave its namespace can return; and one that never left may lack the
        // right to, and need not.
        let _ = self.home.join();
    }
}

/// Opens a new namespace. A child makes it, since no safe function leaves a namespace in Rust, and
/// keeps it until it is opened here. The child ends with its standard input, so with us at the latest.
fn unshared() -> io::Result<File> {
    let mut holder = Command::new("unshare")
        .args(["--net", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let opened = (|| {
        let mut stdin = holder.stdin.take().expect("piped above");
        let mut echo = [0];
        // The echo comes from cat, thus from within.
        stdin.write_all(b".")?;
        holder
            .stdout
            .as_mut()
            .expect("piped above")
            .read_exact(&mut echo)?;
        File::open(format!("/proc/{}/ns/net", holder.id()))
    })();
    let output = holder.wait_with_output()?;
    opened.map_err(|_| {
        io::Error::other(format!(
            "unshare --net: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    })
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "ip {}: {}",
        arguments.join(" "),
        said.trim()
    )))
}
