//! What stands behind rivers and nodedns: a real part or its stand-in, which can be killed and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use super::process::{LOG_LINES, Launcher, Process, Ready};

/// A part behind ours.
#[derive(Debug)]
pub(crate) struct Peer {
    launcher: Launcher,
    name: &'static str,
    what: What,
    /// Where it listens, also after it was started again.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) process: Process,
}

#[derive(Debug)]
enum What {
    /// A part of this program, which tells when it listens.
    StandIn {
        kind: &'static str,
        arguments: Vec<String>,
    },
    /// Another program.
    Real {
        program: PathBuf,
        arguments: Vec<String>,
    },
}

impl Peer {
    /// Starts a stand-in on a port of its own choice, and waits until it listens.
    pub(crate) async fn stand_in(
        launcher: &Launcher,
        name: &'static str,
        kind: &'static str,
        address: Ipv4Addr,
        arguments: Vec<String>,
    ) -> anyhow::Result<(Self, Ready)> {
        let any_port = SocketAddr::from((address, 0));
        let (process, ready) = launch(launcher, name, kind, any_port, &arguments).await?;
        let stand_in = Self {
            launcher: launcher.clone(),
            name,
            what: What::StandIn { kind, arguments },
            address: ready.listen,
            process,
        };
        Ok((stand_in, ready))
    }

    /// Starts a real program whose arguments make it listen on `address`; see [`Self::wait`].
    pub(crate) fn real(
        launcher: &Launcher,
        name: &'static str,
        program: PathBuf,
        address: SocketAddr,
        arguments: Vec<String>,
    ) -> anyhow::Result<Self> {
        let process = launcher.program(name, &program, &arguments)?;
        Ok(Self {
            launcher: launcher.clone(),
            name,
            what: What::Real { program, arguments },
            address,
            process,
        })
    }

    /// Waits until `is_ready` has nothing to object to.
    pub(crate) async fn wait(
        &mut self,
        is_ready: impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while let Err(reason) = is_ready().await {
            let exited = self.process.exited()?;
            let log = || self.process.last_lines(LOG_LINES).join("\n  ");
            let name = self.name;
            if let Some(status) = exited {
                bail!("{name} ended with {status}; its log ends:\n  {}", log());
            }
            if Instant::now() >= deadline {
                let seconds = START_PATIENCE.as_secs();
                bail!(
                    "{name} is not ready after {seconds} s: {reason:#}; its log ends:\n  {}",
                    log()
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// How long after [`Self::restart`] ours may take to be served by it again.
    pub(crate) fn back_within(&self) -> Duration {
        match self.what {
            What::StandIn { .. } => STAND_IN_BACK,
            What::Real { .. } => REAL_BACK,
        }
    }

    /// Starts it again at the address it had. A stand-in listens then; a real one takes its time.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = match &self.what {
            What::StandIn { kind, arguments } => {
                launch(&self.launcher, self.name, kind, self.address, arguments)
                    .await?
                    .0
            }
            What::Real { program, arguments } => {
                self.launcher.program(self.name, program, arguments)?
            }
        };
        Ok(())
    }
}

async fn launch(
    launcher: &Launcher,
    name: &str,
    kind: &str,
    listen: SocketAddr,
    arguments: &[String],
) -> anyhow::Result<(Process, Ready)> {
    let mut all = vec!["--listen".to_owned(), listen.to_string()];
    all.extend_from_slice(arguments);
    launcher.stand_in(name, kind, &all).await
}

/// A port of `address` that nobody has now. No outgoing connection takes one there later: those come
/// from 127.0.0.1.
pub(crate) fn free_port(address: Ipv4Addr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0));
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener.local_addr()?)
}

/// A real API server takes five seconds on an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// It starts first, and a CoreDNS learns the cluster's names.
const REAL_BACK: Duration = Duration::from_secs(60);
/// It listens already: what is left is that rivers or nodedns looks for it, once a second or sooner.
const STAND_IN_BACK: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);
