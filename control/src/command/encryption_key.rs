//! `control encryption-key`: the key that encrypts Secrets at rest, shown or replaced.

use std::process::ExitCode;

use anyhow::anyhow;
use daemon::exit::Failure;
use jiff::Timestamp;

use super::{block_on, connect, instance, open_store, read_wish};
use crate::cli::{EncryptionKey, Flags, Format, Limits};
use crate::holder::holding;
use crate::observe;
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
            EncryptionKey::Loaded => {
                vouch(flags).await?;
                store.keyring().await
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

/// Goes on to the next step on the operator's word.
async fn vouch(flags: &Flags) -> Result<(), Failure> {
    let wish = read_wish(flags, &Limits::default())?;
    let server = connect(flags, &wish.cluster).await?;
    let vouched = async |_: &_| -> Result<(), Failure> {
        let found = observe::encryption(&server, &wish).await;
        let step = found.vouched_for();
        let step = step.map_err(|why| Failure::failed(anyhow!("nothing was changed: {why}")))?;
        let advanced = wish.store.advance_key(step).await;
        advanced.map_err(Failure::failed)
    };
    let held = holding(&server, &instance(), vouched).await;
    held.map_err(|why| Failure::failed(anyhow!(why)))?
}
