//! A network namespace of its own for a test, so that node addresses such as 10.9.0.2 are real and
//! valid in Endpoints, and nothing outside is reached or disturbed. Needs root.

use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::process::{self, Command, Stdio};

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

    /// The address of a [`Self::neighbour`].
    pub(crate) fn neighbour_address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 1, last)
    }

    /// Makes a namespace for another machine, and a cable to it: 10.9.1.`last` is there, and reaches
    /// 10.9.0.0/24 here.
    pub(crate) fn neighbour(&self, last: u8) -> io::Result<Self> {
        let other = Self { link: unshared()? };
        let there = format!("/proc/{}/fd/{}", process::id(), other.link.as_raw_fd());
        let device = format!("machine{last}");
        let address = format!("{}/32", Self::neighbour_address(last));
        let inside = self.enter()?;
        ip(&[
            "link", "add", &device, "type", "veth", "peer", "name", "eth0", "netns", &there,
        ])?;
        ip(&["link", "set", &device, "up"])?;
        let own = Self::address(1).to_string();
        ip(&["route", "add", &address, "dev", &device, "src", &own])?;
        drop(inside);
        let inside = other.enter()?;
        for device in ["lo", "eth0"] {
            ip(&["link", "set", device, "up"])?;
        }
        ip(&["address", "add", &address, "dev", "eth0"])?;
        ip(&["route", "add", "10.9.0.0/24", "dev", "eth0"])?;
        drop(inside);
        Ok(other)
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
