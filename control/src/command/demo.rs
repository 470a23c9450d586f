//! `control demo`: starts the scene, runs the checks, prints the report, stops everything.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use daemon::exit::Failure;
use daemon::shutdown::Shutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{self, Flags, Format};
use crate::demo::{self, Assets, Binaries, Outcome, PartArgs, Progress, Report, Scene};
use crate::output;

/// Runs the demo to its end or to Ctrl-C. To be called on the process's main thread: the kernel ties
/// the children to the thread that started them.
pub(super) fn run(flags: &Flags, args: &cli::Demo) -> Result<ExitCode, Failure> {
    let binaries = Binaries::find().map_err(Failure::failed)?;
    let assets = assets(args)?;
    let plan = Plan {
        format: flags.output,
        stay: args.stay,
        binaries: &binaries,
        assets: assets.as_ref(),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
        .and_then(|runtime| runtime.block_on(until_stopped(&plan)))
        .map_err(Failure::failed)
}

/// Runs a part of the demo, in a child process of it; comes back only if it fails.
pub(super) fn run_part(args: PartArgs) -> Result<ExitCode, Failure> {
    match demo::run_part(args).map_err(Failure::failed)? {}
}

/// What is to be played.
struct Plan<'a> {
    format: Format,
    stay: bool,
    binaries: &'a Binaries,
    assets: Option<&'a Assets>,
}

/// The real parts: those that are asked for have to be there; those that the tests use are taken if they are.
fn assets(args: &cli::Demo) -> Result<Option<Assets>, Failure> {
    if let Some(folder) = &args.assets {
        return Assets::find(folder).map(Some).map_err(Failure::usage);
    }
    let folder = std::env::var_os("KUBEBUILDER_ASSETS").unwrap_or_default();
    if folder.is_empty() {
        return Ok(None);
    }
    Ok(Assets::find(Path::new(&folder))
        .inspect_err(|error| {
            // Nobody has asked for them here; that nobody reads this is no reason to stop.
            let _ = writeln!(anstream::stderr(), "stand-ins are used: {error}");
        })
        .ok())
}

/// The demo, dropped whole as soon as a signal asks for its end: what it started is killed, and its
/// folder removed.
async fn until_stopped(plan: &Plan<'_>) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::install()?;
    let mut played = tokio::select! {
        played = play(plan) => played?,
        () = stop.asked() => bail!("interrupted; everything is stopped"),
    };
    if plan.stay {
        stop.asked().await;
        let progress = Progress::new();
        let row = tokio::select! {
            row = demo::clean_stop(&mut played.scene, &progress) => row,
            () = stop.asked() => bail!("interrupted twice; everything is killed"),
        };
        if row.result == Outcome::Failed {
            writeln!(anstream::stderr(), "{}", row.detail)?;
        }
        played.report.rows.push(row);
    }
    conclude(played)
}

/// What a demo leaves: its processes, running still with `--stay`, and its report, printed already.
struct Played {
    scene: Scene,
    report: Report,
}

async fn play(plan: &Plan<'_>) -> anyhow::Result<Played> {
    let progress = Progress::new();
    let begun = Instant::now();
    let mut scene = Scene::start(plan.binaries, plan.assets, &progress).await?;
    let mut rows = demo::all_checks(&mut scene, &progress).await?;
    let mut by_hand = Vec::new();
    if plan.stay {
        by_hand = scene.by_hand();
    } else {
        rows.push(demo::clean_stop(&mut scene, &progress).await);
    }
    progress.clear();

    let report = Report {
        assets: plan.assets.map(|assets| assets.folder().to_owned()),
        rows,
        took: begun.elapsed(),
        by_hand,
    };
    output::print(&match plan.format {
        Format::Text => report.text(),
        Format::Json => report.json()?,
    })?;
    Ok(Played { scene, report })
}

/// Success, or the logs' last lines and the one sentence of a failure.
fn conclude(Played { scene, report }: Played) -> anyhow::Result<ExitCode> {
    let failed = report.count(Outcome::Failed);
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let mut stderr = anstream::stderr();
    for (name, lines) in scene.last_lines() {
        writeln!(stderr, "\n{name} logged last:")?;
        for line in lines {
            writeln!(stderr, "  {line}")?;
        }
    }
    let folder = scene.keep_folder();
    writeln!(stderr)?;
    bail!(
        "{failed} of {} checks failed; logs and configuration are kept in {}",
        report.rows.len(),
        folder.display()
    )
}

/// The signals that end the demo: Ctrl-C, SIGTERM, and a terminal that goes away.
struct Stop {
    shutdown: Shutdown,
    hangup: Signal,
}

impl Stop {
    fn install() -> anyhow::Result<Self> {
        let install = || -> std::io::Result<Self> {
            Ok(Self {
                shutdown: Shutdown::install()?,
                hangup: signal(SignalKind::hangup())?,
            })
        };
        install().context("cannot take over SIGINT, SIGTERM and SIGHUP")
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.shutdown.signal() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
