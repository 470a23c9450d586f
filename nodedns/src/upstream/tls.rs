//! How a `tls://` server proves who it is (RFC 8310 §8.1): an authority vouches
//! for its name or address, or it has the very key that was pinned. There is no
//! way around: a server that proves nothing is not asked.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, RootCertStore,
    SignatureScheme,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

use crate::config::{Config, Identity, Protocol, Zone};
use crate::metrics::ServerMetrics;

/// Those who may vouch for servers.
#[derive(Debug, Clone)]
pub(crate) struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Nobody: for servers that need nobody.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }

    /// Those that `config` names, or the system's; none when no server needs one.
    ///
    /// # Errors
    /// A server needs one, and there is none.
    pub(crate) fn load(config: &Config) -> Result<Self, AuthorityError> {
        let needs_one = config.zones.iter().flat_map(Zone::asked).any(|server| {
            matches!(
                server.protocol,
                Protocol::Tls(Identity::Address | Identity::Name(_))
            )
        });
        let mut store = RootCertStore::empty();
        if let Some(file) = &config.ca_file {
            let wrong = |reason: String| AuthorityError::File {
                file: file.clone(),
                reason,
            };
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                store
                    .add(certificate)
                    .map_err(|error| wrong(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(wrong("it has no certificate".to_owned()));
            }
        } else if needs_one {
            let found = rustls_native_certs::load_native_certs();
            for error in found.errors {
                warn!(%error, "a certificate authority of the system cannot be read");
            }
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(AuthorityError::NoneOfTheSystem);
            }
        }
        Ok(Self(Arc::new(store)))
    }

    /// Whether these are the same authorities.
    pub(crate) fn are(&self, others: &Self) -> bool {
        self.0.roots == others.0.roots
    }
}

/// Nobody can vouch for a server.
#[derive(Debug, Error)]
pub(crate) enum AuthorityError {
    /// The file of the configuration.
    #[error("ca_file {}: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    /// The system has none.
    #[error(
        "this machine has no certificate authorities, of which a `tls://` server needs one; name a file in `ca_file`, or pin the server's key with `#sha256:`"
    )]
    NoneOfTheSystem,
}

/// Makes encrypted connections to one server. Sessions are resumed (RFC 8446
/// §2.2), which spares the server and the wait for its proof.
#[derive(Clone)]
pub(super) struct Encryption {
    connector: TlsConnector,
    name: ServerName<'static>,
    metrics: ServerMetrics,
}

impl Encryption {
    /// For the server at `address`, which has to prove `identity`.
    pub(super) fn new(
        address: SocketAddr,
        identity: &Identity,
        Authorities(roots): &Authorities,
        metrics: &ServerMetrics,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has all of them");
        let builder = match identity {
            Identity::Address | Identity::Name(_) => {
                builder.with_root_certificates(Arc::clone(roots))
            }
            Identity::Key(digest) => {
                let verifier = PinnedKey {
                    digest: *digest,
                    algorithms,
                };
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let config = Arc::new(builder.with_no_client_auth());
        let name = match identity {
            Identity::Name(name) => ServerName::try_from(name.to_string())
                .expect("the configuration holds names that are"),
            Identity::Address | Identity::Key(_) => ServerName::IpAddress(address.ip().into()),
        };
        Self {
            connector: TlsConnector::from(config),
            name,
            metrics: metrics.clone(),
        }
    }

    /// Encrypts a connection. Cancel safe.
    ///
    /// # Errors
    /// The server does not prove who it is, or does not speak TLS.
    pub(super) async fn encrypt(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let stream = self
            .connector
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("TLS: {error}")))?;
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        self.metrics.handshake(resumed);
        Ok(stream)
    }
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encryption({:?})", self.name)
    }
}

/// Believes the holder of one key, whatever its certificate says.
#[derive(Debug)]
struct PinnedKey {
    digest: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
        if digest.as_ref() == self.digest {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
