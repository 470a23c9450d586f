//! What a failure on the way to an upstream says of it.

use std::io;

use rustls::AlertDescription;

use super::trust::words;
use crate::dial;

/// Why an upstream cannot be asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer in time.
    Silent(String),
    /// A bad answer.
    Failed(String),
    /// It is there and answers, but wants a client certificate or speaks no HTTP over TLS.
    Unable(String),
}

/// The alert with which it ended the connection.
pub(super) fn refused(alert: AlertDescription) -> Trouble {
    match alert {
        AlertDescription::NoApplicationProtocol => {
            Trouble::Unable("speaks no HTTP over TLS".to_owned())
        }
        alert if wants_a_client_certificate(alert) => {
            Trouble::Unable("wants a client certificate".to_owned())
        }
        alert => Trouble::Failed(format!("TLS: it ends the handshake with {alert:?}")),
    }
}

/// What a failed handshake, or a connection that broke, says of the upstream.
pub(super) fn trouble(error: &io::Error) -> Trouble {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => refused(*alert),
        Some(error @ rustls::Error::InvalidCertificate(_)) => Trouble::Failed(words(error)),
        Some(
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. },
        ) => Trouble::Unable("speaks no TLS".to_owned()),
        Some(error) => Trouble::Failed(words(error)),
        None if is_silence(error) => Trouble::Silent("no answer to what was sent".to_owned()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Trouble::Failed("it closed the connection".to_owned())
        }
        None => Trouble::Failed(dial::reason(error)),
    }
}

/// Alerts of servers that want one, by version and library (RFC 8446 §6.2, RFC 5246 §7.2.2).
fn wants_a_client_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::HandshakeFailure
            | AlertDescription::AccessDenied
    )
}

pub(super) fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
