//! Whose certificates are good: the CA bundles, read again when they change, and what a handshake showed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use crate::config::read_bundle;

/// The CA certificates in force; `None` while their file has never been usable: then nothing verifies.
pub(crate) type Authorities = Option<Arc<WebPkiServerVerifier>>;

/// The CA bundles that listeners name, each read once for all of them.
#[derive(Debug, Default)]
pub(crate) struct Bundles(BTreeMap<PathBuf, watch::Receiver<Authorities>>);

impl Bundles {
    /// The bundle at `path`, kept up to date for as long as somebody has it. To be called in a runtime.
    pub(crate) fn of(&mut self, path: &Path) -> watch::Receiver<Authorities> {
        if let Some(bundle) = self.0.get(path)
            && bundle.has_changed().is_ok()
        {
            return bundle.clone();
        }
        let (sender, bundle) = watch::channel(None);
        let mut watched = Watched {
            path: path.to_owned(),
            content: Vec::new(),
            complaint: None,
            authorities: sender,
        };
        watched.take(read_bundle(path).map_err(|error| error.to_string()));
        tokio::spawn(watched.keep());
        self.0.insert(path.to_owned(), bundle.clone());
        bundle
    }
}

/// A bundle and its file. The file's content is compared, not its times: it is small, and whatever way it is
/// replaced (renamed over, a symlink to a folder swapped as Kubernetes does) is seen.
struct Watched {
    path: PathBuf,
    content: Vec<u8>,
    /// What was said last about a file that cannot be used.
    complaint: Option<String>,
    authorities: watch::Sender<Authorities>,
}

impl Watched {
    async fn keep(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.tick().await;
        loop {
            looks.tick().await;
            // One is kept by those who hand it out.
            if self.authorities.receiver_count() <= 1 {
                return;
            }
            let path = self.path.clone();
            let read =
                spawn_blocking(move || read_bundle(&path).map_err(|error| error.to_string()));
            if let Ok(read) = read.await {
                self.take(read);
            }
        }
    }

    fn take(&mut self, read: Result<(Vec<u8>, RootCertStore), String>) {
        let path = self.path.display();
        let complaint = match read {
            Ok((content, _)) if content == self.content => {
                self.complaint = None;
                return;
            }
            Ok((content, roots)) => {
                let certificates = roots.len();
                match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                    .build()
                {
                    Ok(verifier) => {
                        info!(%path, certificates, "CA bundle is in force");
                        self.content = content;
                        self.complaint = None;
                        self.authorities.send_replace(Some(verifier));
                        return;
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(complaint) => complaint,
        };
        if self.complaint.as_ref() != Some(&complaint) {
            warn!(
                reason = complaint,
                "CA bundle cannot be used; the one before stays in force"
            );
            self.complaint = Some(complaint);
        }
    }
}

/// A certificate chain that a peer has proved to be its own.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    leaf: CertificateDer<'static>,
    others: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl Chain {
    /// Whether it is good now.
    pub(super) fn verify(&self, authorities: &Authorities) -> Result<(), Error> {
        match authorities {
            Some(authorities) => authorities
                .verify_server_cert(&self.leaf, &self.others, &self.name, &[], UnixTime::now())
                .map(drop),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

/// What one handshake has shown. A peer that proved who it is and then refused us is known all the same.
#[derive(Debug)]
pub(super) struct Witness {
    /// `None`: no CA is given, and everything is taken.
    authorities: Option<Authorities>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Where.
    pub(super) peer: Option<SocketAddr>,
    /// What it showed, if that verified.
    chain: Option<Chain>,
    /// Whether it has signed with the key of `chain`.
    has_signed: bool,
    /// Why what it showed is no good.
    pub(super) refusal: Option<String>,
}

impl Seen {
    /// The chain that is good and its own.
    pub(super) fn proven(&self) -> Option<&Chain> {
        self.chain.as_ref().filter(|_| self.has_signed)
    }
}

impl Witness {
    pub(super) fn new(authorities: Option<Authorities>) -> Self {
        Self {
            authorities,
            provider: provider(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn meets(&self, peer: SocketAddr) {
        self.seen().peer = Some(peer);
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signed(
        &self,
        valid: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &valid {
            Ok(_) => self.seen().has_signed = true,
            Err(error) => self.seen().refusal = Some(words(error)),
        }
        valid
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let chain = Chain {
            leaf: end_entity.clone().into_owned(),
            others: intermediates
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            name: server_name.to_owned(),
        };
        match chain.verify(authorities) {
            Ok(()) => {
                self.seen().chain = Some(chain);
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => {
                self.seen().refusal = Some(words(&error));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.signed(verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.signed(verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The one provider of the whole tree.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Why a certificate is no good, for people.
pub(super) fn words(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else {
        return format!("TLS: {error}");
    };
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet; is the clock right?".to_owned()
        }
        CertificateError::NotValidForName => "certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            // A hostile certificate has as many names as it likes.
            let shown: Vec<&str> = presented.iter().take(4).map(String::as_str).collect();
            format!(
                "certificate is not for {} but for {}",
                expected.to_str(),
                super::readyz::printable(&shown.join(", "), 200)
            )
        }
        other => format!("certificate: {other}"),
    }
}

/// How often the file of a bundle is read.
const LOOK: Duration = Duration::from_secs(1);
