//! The checks, in order: first the API servers behind rivers, then names through nodedns, and last a
//! clean stop. A check that fails is a row like any other; the ones after it still run.

mod api_servers;
mod names;
mod stop;

use super::progress::Progress;
use super::report::Row;
use super::scene::Scene;

pub(crate) use stop::clean_stop;

/// All checks that leave everything running.
///
/// # Errors
/// The scene itself broke: a stand-in could not be killed or started again.
pub(crate) async fn all(scene: &mut Scene, progress: &Progress) -> anyhow::Result<Vec<Row>> {
    let mut rows = api_servers::check(scene, progress).await?;
    rows.extend(names::check(scene, progress).await?);
    Ok(rows)
}
