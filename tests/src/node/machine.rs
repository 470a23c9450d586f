//! The machine that a node is: processes and mounts of its own inside the place's network, so that
//! kubelet and containerd have the paths that they always have, and end together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::binaries;
use crate::launch::Launch;
use crate::peer::Peer;
use crate::place::Place;
use crate::wait;

/// A machine that is switched on. All that runs on it ends with it.
///
/// Its `/var/lib` and `/var/log` lie in the place's folder and outlast it; its `/run` does not.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Process 1 of its own namespace has this one as its parent, and dies with it.
    peer: Peer,
    /// That process 1, as it is called outside.
    init: u32,
    /// Found once: what runs a program inside.
    enter: PathBuf,
    /// The control group of its containers.
    group: String,
}

impl Machine {
    /// Switches it on, with what an earlier one has left in this folder.
    ///
    /// `None` without the right to; the skip has then been reported.
    pub(crate) async fn boot(place: &Place, disk: &Path) -> Option<Self> {
        let enter = binaries::packaged("nsenter")?;
        let unshare = binaries::packaged("unshare")?;
        for folder in ["lib", "log"] {
            fs::create_dir_all(disk.join(folder)).expect("a test can write to its folder");
        }
        let mut peer = Launch::new(place, "machine", &unshare)
            .args(["--mount", "--propagation=private", "--pid", "--fork"])
            .args(["--mount-proc", "--kill-child=KILL", "sh", "-ec", INIT])
            .arg(disk)
            .start();
        let up = async || {
            if peer.log().lines().any(|line| line == UP) {
                Ok(())
            } else {
                Err(peer.log())
            }
        };
        if let Err(error) = wait::attempts(BOOT_DEADLINE, up).await {
            peer.kill();
            binaries::skip("namespaces", &format!("a node needs root: {error}"));
            return None;
        }
        let outer = peer.pid().as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        let init = children
            .ok()
            .and_then(|children| children.trim().parse().ok())
            .expect("unshare has the machine's process 1 as its child");
        let group = group(place);
        remove_groups(&group);
        if let Err(error) = make_groups(&group) {
            binaries::skip(
                "cgroups",
                &format!("kubelet needs control groups that it may make: {error}"),
            );
            return None;
        }
        Some(Self {
            peer,
            init,
            enter,
            group,
        })
    }

    /// A program that is to run on it. Its signals reach nobody: end it with [`Peer::kill`].
    pub(crate) fn launch(&self, place: &Place, name: &str, program: &Path) -> Launch {
        Launch::new(place, name, &self.enter)
            .arg(format!("--target={}", self.init))
            .args([
                "--mount",
                "--pid",
                "--",
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
            ])
            .arg(program)
    }

    /// The path outside of one of its files.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }
}

/// Cuts its power: returns when all that ran on it is gone.
impl Drop for Machine {
    fn drop(&mut self) {
        self.peer.kill();
        // Process 1 is the last of its namespace to go.
        wait_for_end(&self.init.to_string());
        remove_groups(&self.group);
    }
}

/// Kills a program of a machine, and returns when it is gone, with its ports: what [`Peer::kill`] waits for is what
/// has started it.
pub(crate) fn kill(program: &mut Peer) {
    let outer = program.pid().as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
    program.kill();
    for child in children.unwrap_or_default().split_whitespace() {
        wait_for_end(child);
    }
}

fn wait_for_end(process: &str) {
    let process = PathBuf::from(format!("/proc/{process}"));
    let start = Instant::now();
    while process.exists() && start.elapsed() < END_DEADLINE {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a control group in each hierarchy, as kubelet and runc will.
fn make_groups(name: &str) -> io::Result<()> {
    let groups: Vec<PathBuf> = hierarchies().map(|folder| folder.join(name)).collect();
    if groups.is_empty() {
        return Err(io::Error::other("no cgroup file system is mounted"));
    }
    for group in groups {
        fs::create_dir_all(&group)
            .map_err(|error| io::Error::other(format!("{}: {error}", group.display())))?;
    }
    Ok(())
}

/// Removes a control group, in each hierarchy, with those in it that containers had. What cannot be removed now,
/// the next machine of this name removes.
fn remove_groups(name: &str) {
    for group in hierarchies().map(|folder| folder.join(name)) {
        for inner in fs::read_dir(&group).into_iter().flatten().flatten() {
            // Its files go with it.
            let _ = fs::remove_dir(inner.path());
        }
        let _ = fs::remove_dir(group);
    }
}

/// Where control groups are mounted, of version 1 or 2.
fn hierarchies() -> impl Iterator<Item = PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let folders = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (folder, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(folder))
    });
    folders.collect::<Vec<_>>().into_iter()
}

/// The control group of the containers of a place's machine, in no other's way.
pub(crate) fn group(place: &Place) -> String {
    let number = place.folder().file_name().expect("a place's folder");
    format!("node-dataplane-tests-{}", number.display())
}

/// Process 1: mounts, then takes in the orphans.
const INIT: &str = "
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount --bind \"$0/lib\" /var/lib
mount --bind \"$0/log\" /var/log
mkdir -p /run/lock
echo up
while :; do sleep 3600 & wait; done";

/// What it says once all is mounted.
const UP: &str = "up";

const BOOT_DEADLINE: Duration = Duration::from_secs(20);
const END_DEADLINE: Duration = Duration::from_secs(10);
