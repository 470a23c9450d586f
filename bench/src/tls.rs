//! TLS for both ends of a run, from a certificate of its own.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

/// Both ends. Clones share everything.
#[derive(Clone, Debug)]
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl Tls {
    /// With a new certificate.
    ///
    /// # Panics
    /// Never: what it is made of is fixed.
    #[must_use]
    pub fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a valid name");
        let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let certificate = issued.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("it was just made");
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))
            .expect("the key is the certificate's");
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }

    /// The server's end of a stream.
    ///
    /// # Errors
    /// rustls does not want to.
    pub fn server(
        &self,
        stream: TcpStream,
    ) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let connection = ServerConnection::new(Arc::clone(&self.server));
        Ok(StreamOwned::new(
            connection.map_err(io::Error::other)?,
            stream,
        ))
    }

    /// The client's end of a stream.
    ///
    /// # Errors
    /// rustls does not want to.
    pub fn client(
        &self,
        stream: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.client), name);
        Ok(StreamOwned::new(
            connection.map_err(io::Error::other)?,
            stream,
        ))
    }
}

const NAME: &str = "bench.test";
