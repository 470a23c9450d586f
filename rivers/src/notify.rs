//! What the service manager is told, where one has started us that wants to know: systemd's protocol, a
//! datagram for each message to the socket in `NOTIFY_SOCKET` (sd_notify(3)).
//!
//! When another process has taken over, the manager is told whom to watch from then on; the new one need not
//! be its child. It has to be in the same cgroup, which a successor is that we have started ourselves.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use daemon::readiness::Readiness;
use rustix::{
    process::Pid,
    time::{ClockId, clock_gettime},
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// How the service manager is told something. Clones tell the same; where there is none, nobody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notify(Option<SocketAddr>);

impl Notify {
    /// To whom the environment says.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let address = match name.as_encoded_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(&name),
        };
        if let Err(error) = &address {
            warn!(%error, "NOTIFY_SOCKET names no socket; the service manager is told nothing");
        }
        Self(address.ok())
    }

    /// Clients are served, by the configuration in force.
    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again; [`ready`](Self::ready) is to follow.
    pub(crate) fn reloading(&self) {
        // By this time it tells an answer to its own request from an earlier one.
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// No more clients are accepted.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// This process serves now, in place of ours.
    pub(crate) fn replaced(&self, by: Pid) {
        self.tell(&format!("MAINPID={}", by.as_raw_nonzero()));
    }

    /// Gives signs of life, as often as the environment asks for, as long as no worker is stuck. Never ends;
    /// to be run on the main thread, so that it is not stuck either.
    pub(crate) async fn watch(self, readiness: Readiness) {
        let Some(limit) = watchdog(|name| env::var(name).ok(), std::process::id()) else {
            return;
        };
        // Half of the time that it waits, as it recommends.
        let mut ticks = interval(limit / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if readiness.stuck().is_empty() {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, message: &str) {
        if let Some(address) = &self.0
            && let Err(error) = send(address, message)
        {
            warn!(message, %error, "the service manager cannot be told");
        }
    }
}

fn send(address: &SocketAddr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // One that does not listen must not keep us.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(message.as_bytes(), address)?;
    Ok(())
}

/// How long the service manager waits for a sign of life, if it does (sd_watchdog_enabled(3)). A process that
/// another one has started inherits the time without being meant by name.
fn watchdog(variable: impl Fn(&str) -> Option<String>, own: u32) -> Option<Duration> {
    if variable("WATCHDOG_PID").is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let microseconds: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    (microseconds >= 2).then(|| Duration::from_micros(microseconds))
}

const PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram) -> String {
        let mut message = [0; 256];
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    #[test]
    fn each_message_is_a_datagram() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify(SocketAddr::from_pathname(&path).ok());
        notify.ready();
        assert_eq!(told(&manager), "READY=1");
        notify.replaced(rustix::process::getpid());
        assert_eq!(told(&manager), format!("MAINPID={}", std::process::id()));
        notify.reloading();
        let reloading = told(&manager);
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        assert!(since.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    }

    #[test]
    fn the_watchdog_is_meant_for_whom_it_names_or_for_anybody() {
        let with = |pid: Option<&str>, time: Option<&str>| {
            let variable = |name: &str| match name {
                "WATCHDOG_PID" => pid.map(str::to_owned),
                _ => time.map(str::to_owned),
            };
            watchdog(variable, 7)
        };
        let ten = Some(Duration::from_secs(10));
        assert_eq!(with(Some("7"), Some("10000000")), ten);
        assert_eq!(with(None, Some("10000000")), ten);
        assert_eq!(with(Some("8"), Some("10000000")), None);
        assert_eq!(with(Some("7"), None), None);
        for garbage in ["", "0", "-1", "ten"] {
            assert_eq!(with(None, Some(garbage)), None, "{garbage}");
        }
    }
}
