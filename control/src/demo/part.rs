//! `control demo-part …`: what a child process of the demo does. Not for people, and not in the help.
//!
//! ```text
//! control demo ──► demo-part --parent PID api-server …    an API server's stand-in
//!              ├─► demo-part --parent PID name-server …   a name server's stand-in
//!              └─► demo-part --parent PID program -- P …  becomes P: rivers or nodedns
//! ```
//!
//! Each first asks the kernel to be killed when its parent ends, however that ends. The request
//! outlives exec, so rivers and nodedns need not know of it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::net::TcpListener;

use super::process::Ready;
use super::{api_server, dns};

/// Arguments of `demo-part`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process ID of the demo, whose end ends this process
    #[arg(long)]
    parent: i32,
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Serve as an API server
    ApiServer {
        /// Address to listen on
        #[arg(long)]
        listen: SocketAddr,
        /// Certificate chain (PEM)
        #[arg(long)]
        certificate: PathBuf,
        /// Private key (PEM)
        #[arg(long)]
        key: PathBuf,
    },
    /// Serve as a name server
    NameServer {
        /// The zone to serve
        #[arg(long)]
        zone: ZoneName,
        /// Address to listen on, UDP and TCP
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Become another program
    Program {
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ZoneName {
    Cluster,
    Signed,
}

/// Runs a part; comes back only if it fails.
pub(crate) fn run(args: Args) -> anyhow::Result<Infallible> {
    die_with(args.parent)?;
    match args.part {
        Part::ApiServer {
            listen,
            certificate,
            key,
        } => on_a_runtime(async {
            let tls = api_server::tls(&certificate, &key)?;
            let listener = TcpListener::bind(listen)
                .await
                .with_context(|| format!("cannot listen on {listen}"))?;
            tell_ready(listener.local_addr()?, None)?;
            api_server::serve(listener, tls).await;
            bail!("stopped serving")
        }),
        Part::NameServer { zone, listen } => on_a_runtime(async {
            let zone = match zone {
                ZoneName::Cluster => dns::Zone::cluster()?,
                ZoneName::Signed => dns::Zone::signed()?,
            };
            let (udp, tcp) = dns::bind(listen).await?;
            tell_ready(tcp.local_addr()?, zone.trust_anchor.clone())?;
            dns::serve(zone, udp, tcp).await?;
            bail!("stopped serving")
        }),
        Part::Program { command } => become_program(&command),
    }
}

/// Has the kernel kill this process when its parent, which must be `parent`, ends.
fn die_with(parent: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot tie this process to its parent")?;
    // A parent that ended before the call above sends no signal any more.
    if getppid() != Pid::from_raw(parent) {
        bail!(
            "demo-part is started by `control demo` only, and process {parent} is not its parent"
        );
    }
    Ok(())
}

fn on_a_runtime(
    serve: impl Future<Output = anyhow::Result<Infallible>>,
) -> anyhow::Result<Infallible> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(serve)
}

fn tell_ready(listen: SocketAddr, trust_anchor: Option<String>) -> anyhow::Result<()> {
    let ready = serde_json::to_string(&Ready {
        listen,
        trust_anchor,
    })?;
    writeln!(std::io::stdout(), "{ready}")?;
    Ok(())
}

fn become_program(command: &[OsString]) -> anyhow::Result<Infallible> {
    let [program, arguments @ ..] = command else {
        bail!("no program given");
    };
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
