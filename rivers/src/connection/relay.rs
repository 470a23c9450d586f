//! Both directions of a relayed connection. Each ends on its own: a FIN is passed on while the other
//! direction goes on for as long as it likes. A failure of one side ends both.

use std::{cell::Cell, future::Future, pin::pin, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::copy::{Buffer, Count, End, copy};
use crate::close::{CloseReason, Leg};

/// The counts of both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts<'a> {
    pub(super) to_upstream: Count<'a>,
    pub(super) to_client: Count<'a>,
}

/// Relays until both sides are done or one has failed. May be dropped at any time.
pub(super) async fn relay(
    client: &TcpStream,
    upstream: &TcpStream,
    buffer: &Buffer,
    counts: Counts<'_>,
) -> CloseReason {
    let torn = Cell::new(false);
    let mut up = pin!(copy(client, upstream, buffer, counts.to_upstream, &torn));
    let mut down = pin!(copy(upstream, client, buffer, counts.to_client, &torn));
    tokio::select! {
        end = &mut up => after(Leg::Client, end, down, &torn).await,
        end = &mut down => after(Leg::Upstream, end, up, &torn).await,
    }
}

/// What is left once the direction out of `source` has ended: the `other` one.
async fn after(
    source: Leg,
    end: End,
    other: impl Future<Output = End>,
    torn: &Cell<bool>,
) -> CloseReason {
    match end {
        End::Finished => match other.await {
            End::Finished => CloseReason::Finished(source),
            End::Source(error) => CloseReason::failed(source.other(), &error),
            End::Sink(error) => CloseReason::failed(source, &error),
        },
        End::Source(error) => CloseReason::failed(source, &error),
        End::Sink(error) => {
            // The sink is gone, but what it sent before is still to be read: an answer, say, to a
            // request that it did not care to read to its end.
            torn.set(true);
            match timeout(LAST_WORDS, other).await {
                // It knows better what happened than whoever could not write.
                Ok(End::Source(error)) => CloseReason::failed(source.other(), &error),
                _ => CloseReason::failed(source.other(), &error),
            }
        }
    }
}

/// How long the last bytes of a side that is gone may take to be delivered to the other.
const LAST_WORDS: Duration = Duration::from_secs(1);
