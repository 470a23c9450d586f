//! `control ca`: the authority for webhooks, shown or replaced.

use std::process::ExitCode;

use anyhow::anyhow;
use daemon::exit::Failure;
use jiff::Timestamp;

use super::{block_on, open_store};
use crate::cli::{Ca, Flags, Format};
use crate::output::{self, authority};

pub(super) fn run(flags: &Flags, command: &Ca) -> Result<ExitCode, Failure> {
    let store = open_store(flags)?;
    let trust = match command {
        Ca::Show => block_on(async { store.trust().await.map_err(Failure::failed) })?,
        Ca::Rotate { overlap } => {
            let begun = store.rotate(*overlap, Timestamp::now());
            Some(begun.map_err(Failure::failed)?)
        }
    };
    let Some(trust) = trust else {
        return Err(Failure::failed(anyhow!(
            "{store} has no webhook authority yet; `control sync` makes one when a resource asks \
             for it by cke.cybozu.com/issue-cert or cke.cybozu.com/inject-cacert"
        )));
    };
    let text = match flags.output {
        Format::Text => authority::text(&store.to_string(), &trust),
        Format::Json => authority::json(&store.to_string(), &trust),
    };
    output::print(&text).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
