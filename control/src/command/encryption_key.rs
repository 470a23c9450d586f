//! `control encryption-key`: the key that encrypts Secrets at rest, shown or replaced.

use std::process::ExitCode;

use anyhow::anyhow;
use daemon::exit::Failure;
use jiff::Timestamp;

use super::{block_on, open_store};
use crate::cli::{EncryptionKey, Flags, Format};
use crate::output::{self, encryption};

pub(super) fn run(flags: &Flags, command: &EncryptionKey) -> Result<ExitCode, Failure> {
    let store = open_store(flags)?;
    let keyring = block_on(async {
        let kept = match command {
            EncryptionKey::Show => store.keyring().await,
            EncryptionKey::Rotate { provider } => {
                let rotated = store.rotate_key(*provider, Timestamp::now()).await;
                rotated.map(Some)
            }
        };
        kept.map_err(Failure::failed)
    })?;
    let Some(keyring) = keyring else {
        return Err(Failure::failed(anyhow!(
            "{store} has no encryption key yet; `control encryption-key rotate` makes the first one"
        )));
    };
    let text = match flags.output {
        Format::Text => encryption::text(&store.to_string(), &keyring),
        Format::Json => encryption::json(&store.to_string(), &keyring),
    };
    output::print(&text).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}
