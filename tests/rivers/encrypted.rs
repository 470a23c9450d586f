//! Both ends of TLS for clients and servers that a test plays, from a CA of the test.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tests::pki::Pki;
use tests::place::Place;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Both sides.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
}

impl Tls {
    pub(crate) fn new(place: &Place) -> Self {
        let pki = Pki::new(&place.folder().join("pki"));
        let issued = pki.server("server", &[NAME], &[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(pki.ca_file()).unwrap();
        roots.add(ca).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        }
    }

    /// What clients call the server.
    pub(crate) fn name() -> ServerName<'static> {
        ServerName::try_from(NAME).unwrap()
    }
}

const NAME: &str = "server.test";
