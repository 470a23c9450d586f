//! Why a connection ended, in words for log and metrics. What a peer does wrong is a value here, never an
//! error of ours.

use std::{fmt, io};

/// One of the two sides of a relayed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// Both sides said that they were done; this one first.
    Finished(Side),
    /// This side reset the connection.
    Reset(Side),
    /// This side was silent for too long; the kernel gave up on it.
    TimedOut(Side),
    /// The client reset the connection while an upstream was still being dialled.
    ClientLeft,
    /// `dial_timeout` is over, and every upstream has refused or could not be dialled.
    NoUpstream,
    /// `dial_timeout` is over, and some upstream has not even refused.
    DialTimedOut,
    /// The upstream was declared dead: nothing is to be expected of it.
    UpstreamDown,
    /// It was quiet, and its client is to go to an upstream that has come back.
    Rebalanced,
    /// rivers had to stop, and `shutdown_timeout` was over.
    Shutdown,
}

impl CloseReason {
    /// All of them, for metrics that have a series for each.
    pub(crate) const ALL: [Self; 12] = [
        Self::Finished(Side::Client),
        Self::Finished(Side::Upstream),
        Self::Reset(Side::Client),
        Self::Reset(Side::Upstream),
        Self::TimedOut(Side::Client),
        Self::TimedOut(Side::Upstream),
        Self::ClientLeft,
        Self::NoUpstream,
        Self::DialTimedOut,
        Self::UpstreamDown,
        Self::Rebalanced,
        Self::Shutdown,
    ];

    /// A side that failed with this error.
    pub(crate) fn failed(side: Side, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Self::TimedOut(side),
            _ => Self::Reset(side),
        }
    }

    /// Whether both sides get a FIN; else what is left of the connection is reset, as one side was.
    pub(crate) const fn is_orderly(self) -> bool {
        matches!(self, Self::Finished(_) | Self::Rebalanced | Self::Shutdown)
    }

    /// The word for it, as the label `reason` and in the access log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Finished(Side::Client) => "client_finished",
            Self::Finished(Side::Upstream) => "upstream_finished",
            Self::Reset(Side::Client) => "client_reset",
            Self::Reset(Side::Upstream) => "upstream_reset",
            Self::TimedOut(Side::Client) => "client_timed_out",
            Self::TimedOut(Side::Upstream) => "upstream_timed_out",
            Self::ClientLeft => "client_left",
            Self::NoUpstream => "no_upstream",
            Self::DialTimedOut => "dial_timed_out",
            Self::UpstreamDown => "upstream_down",
            Self::Rebalanced => "rebalanced",
            Self::Shutdown => "shutdown",
        }
    }
}

impl CloseReason {
    /// What the word means, for people.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Finished(Side::Client) => "both sides were done, the client first",
            Self::Finished(Side::Upstream) => "both sides were done, the upstream first",
            Self::Reset(Side::Client) => "the client reset it",
            Self::Reset(Side::Upstream) => "the upstream reset it",
            Self::TimedOut(Side::Client) => "the client was silent, also when asked by keepalives",
            Self::TimedOut(Side::Upstream) => {
                "the upstream was silent, also when asked by keepalives"
            }
            Self::ClientLeft => "the client reset it while upstreams were being dialled",
            Self::NoUpstream => "every upstream was tried and failed",
            Self::DialTimedOut => "no upstream accepted within `dial_timeout`",
            Self::UpstreamDown => "the upstream was declared dead",
            Self::Rebalanced => "it was quiet, and an upstream that came back gets its client",
            Self::Shutdown => "rivers stopped",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_reset_are_told_apart() {
        let reason = |kind: io::ErrorKind| CloseReason::failed(Side::Upstream, &kind.into());
        assert_eq!(reason(io::ErrorKind::TimedOut).word(), "upstream_timed_out");
        assert_eq!(
            reason(io::ErrorKind::ConnectionReset).word(),
            "upstream_reset"
        );
        assert_eq!(reason(io::ErrorKind::BrokenPipe).word(), "upstream_reset");
    }
}
