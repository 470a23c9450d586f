//! The certificates of a cluster: its CA, those of servers, those of users, and kubeconfig files.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A cluster's CA. What it issues is written to the folder it was given.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

impl Pki {
    /// Makes a CA, and its file `ca.crt`, in a new folder.
    ///
    /// # Panics
    ///
    /// When the folder is there already or cannot be written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir(folder).expect("a test can write to its folder");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("keys can be generated");
        let ca = CertifiedIssuer::self_signed(params, key).expect("the parameters are valid");
        let pki = Self {
            folder: folder.to_owned(),
            ca,
        };
        pki.write("ca.crt", &pki.ca.pem());
        pki
    }

    /// PEM file of the CA's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The CA's certificate.
    #[must_use]
    pub fn ca_der(&self) -> Vec<u8> {
        self.ca.der().to_vec()
    }

    /// Issues a certificate for a server with these names and addresses; it serves as a client's as
    /// well, as etcd wants it. `name` is that of the files.
    ///
    /// # Panics
    ///
    /// When the files cannot be written.
    #[must_use]
    pub fn server(&self, name: &str, names: &[&str], addresses: &[IpAddr]) -> Issued {
        let addresses = addresses.iter().map(IpAddr::to_string);
        let alternatives: Vec<String> = names
            .iter()
            .map(|&name| name.to_owned())
            .chain(addresses)
            .collect();
        let mut params = CertificateParams::new(alternatives).expect("the names are ASCII");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(name, params)
    }

    /// [`Self::server`] with a certificate that expired long ago.
    ///
    /// # Panics
    ///
    /// When the files cannot be written.
    #[must_use]
    pub fn expired_server(&self, name: &str, addresses: &[IpAddr]) -> Issued {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let mut params = CertificateParams::new(addresses).expect("addresses are ASCII");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, expired(params))
    }

    /// Issues a certificate for a user, in a group or none; `user` is also the name of the files.
    ///
    /// # Panics
    ///
    /// When the files cannot be written.
    #[must_use]
    pub fn client(&self, user: &str, group: Option<&str>) -> Issued {
        self.issue(user, client(user, group))
    }

    /// [`Self::client`] with a certificate that expired long ago.
    ///
    /// # Panics
    ///
    /// When the files cannot be written.
    #[must_use]
    pub fn expired_client(&self, user: &str, group: Option<&str>) -> Issued {
        self.issue(user, expired(client(user, group)))
    }

    /// Makes a key that signs service account tokens, and gives its public and its private file.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    #[must_use]
    pub fn service_account_key(&self) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("keys can be generated");
        let public = self.write("service-account.pub", &key.public_key_pem());
        (
            public,
            self.write(SERVICE_ACCOUNT_KEY, &key.serialize_pem()),
        )
    }

    /// The private file of [`Self::service_account_key`].
    #[must_use]
    pub(crate) fn service_account_private_key(&self) -> PathBuf {
        self.folder.join(SERVICE_ACCOUNT_KEY)
    }

    /// Writes a kubeconfig for a user and the API server with this URL; it names the certificates' files.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    #[must_use]
    pub fn kubeconfig(&self, user: &Issued, server: &str) -> PathBuf {
        let ca = self.ca_file();
        let [ca, certificate, key] = [&ca, &user.certificate, &user.key].map(|file| file.display());
        let text = format!(
            "apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: {server}
    certificate-authority: {ca}
users:
- name: user
  user:
    client-certificate: {certificate}
    client-key: {key}
contexts:
- name: context
  context: {{cluster: cluster, user: user}}
current-context: context
"
        );
        let user = user
            .certificate
            .file_stem()
            .expect("issued with a name")
            .display();
        let server = server.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        self.write(&format!("{user}-{server}.kubeconfig"), &text)
    }

    fn issue(&self, name: &str, mut params: CertificateParams) -> Issued {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("keys can be generated");
        let certificate = params
            .signed_by(&key, &self.ca)
            .expect("the parameters are valid");
        let name = name.replace([':', '/'], "-");
        Issued {
            certificate: self.write(&format!("{name}.crt"), &certificate.pem()),
            key: self.write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a test can write to its folder");
        path
    }
}

fn client(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    params
}

const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
