//! The last check: SIGTERM ends rivers and nodedns in good order.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::demo::process::Process;
use crate::demo::progress::Progress;
use crate::demo::report::{Row, brief};
use crate::demo::scene::Scene;

/// Stops rivers and nodedns, both at once. The stand-ins still run.
pub(crate) async fn clean_stop(scene: &mut Scene, progress: &Progress) -> Row {
    const CHECK: &str = "SIGTERM ends both with exit code 0";
    progress.step("stopping rivers and nodedns");
    let ends = tokio::join!(
        end(&mut scene.rivers.process),
        end(&mut scene.nodedns.process)
    );
    match ends {
        (Ok(rivers), Ok(nodedns)) => Row::passed(CHECK, format!("{rivers}, {nodedns}")),
        (rivers, nodedns) => {
            let reasons: Vec<_> = [rivers.err(), nodedns.err()]
                .into_iter()
                .flatten()
                .collect();
            Row::failed(CHECK, reasons.join("; "))
        }
    }
}

async fn end(process: &mut Process) -> Result<String, String> {
    let begun = Instant::now();
    let name = process.name().to_owned();
    let status = process
        .terminate(PATIENCE)
        .await
        .map_err(|error| format!("{error:#}"))?;
    judge(&name, status, begun.elapsed())
}

fn judge(name: &str, status: ExitStatus, took: Duration) -> Result<String, String> {
    if status.success() {
        Ok(format!("{name} after {}", brief(took)))
    } else {
        Err(format!("{name} ended with {status}"))
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
