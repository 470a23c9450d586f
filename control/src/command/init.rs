//! `control init`: a cluster.yml to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use daemon::exit::Failure;

use crate::cli::Flags;
use crate::output;

pub(super) fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let path = &flags.cluster;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| {
            Failure::usage(if error.kind() == std::io::ErrorKind::AlreadyExists {
                anyhow!("{} exists already; it is left as it is", path.display())
            } else {
                anyhow!("{} cannot be written: {error}", path.display())
            })
        })?;
    file.write_all(EXAMPLE.as_bytes())
        .with_context(|| format!("{} cannot be written", path.display()))
        .map_err(Failure::failed)?;
    let said = format!(
        "wrote {}; put your nodes in, then try `control validate` and `control plan`\n",
        path.display()
    );
    output::print(&said).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}

const EXAMPLE: &str = include_str!("../../manifests/cluster.example.yml");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cluster::Cluster;

    #[test]
    fn the_example_is_valid() {
        let cluster = Cluster::parse(Path::new("cluster.yml"), EXAMPLE.as_bytes()).unwrap();
        assert!(cluster.ignored.is_empty());
    }
}
