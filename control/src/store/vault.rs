//! Vault or OpenBao as the store, laid out as CKE lays it out: AppRole, KV version 1 at
//! `cke/secrets`, and a PKI for webhooks at `cke/ca-kubernetes-webhook` with the role `system`.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::output::printable;
use crate::pki::Trust;
use crate::pki::ca::{CERTIFICATE_LIFE, KeyedCertificate};
use crate::pki::certificate::Certificate;
use crate::secret::Secret;
use http::{Endpoint, HttpError, Method};

mod http;

/// A server that speaks Vault's API; opening it asks nothing.
#[derive(Debug)]
pub(crate) struct Vault {
    endpoint: Endpoint,
    role_id: String,
    secret_id: Secret,
}

/// Why Vault could not be used.
#[derive(Debug, Error)]
pub(crate) enum VaultError {
    #[error("--store {url}: {why}")]
    Url { url: String, why: &'static str },
    #[error(
        "--store {url}: name the file of its AppRole with --vault-config: JSON with `role-id`, \
         `secret-id` and, where it is not a public one, `ca-cert` (the CA in PEM)"
    )]
    NoConfig { url: String },
    #[error("--vault-config {}: {why}", path.display())]
    Config { path: PathBuf, why: String },
    #[error("Vault at {url}: cannot {doing}: {why}")]
    Request {
        url: String,
        doing: &'static str,
        why: String,
    },
}

/// As CKE keeps it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// CKE's file has it; --store says it here.
    #[serde(default, rename = "endpoint")]
    _endpoint: Option<String>,
    #[serde(default, rename = "ca-cert")]
    ca_cert: String,
    #[serde(rename = "role-id")]
    role_id: String,
    #[serde(rename = "secret-id")]
    secret_id: Secret,
}

impl Vault {
    pub(super) fn open(url: &str, config: Option<&Path>) -> Result<Self, VaultError> {
        let Some(path) = config else {
            let url = url.to_owned();
            return Err(VaultError::NoConfig { url });
        };
        let wrong = |why| VaultError::Config {
            path: path.to_owned(),
            why,
        };
        let text = read(path).map_err(wrong)?;
        let config: Config = serde_json::from_str(text.expose()).map_err(|error| {
            // Its words may quote a secret; its place does not.
            wrong(format!(
                "line {} is not as it should be: a JSON object with the texts `role-id`, \
                 `secret-id`, `ca-cert` and `endpoint`",
                error.line()
            ))
        })?;
        let endpoint = Endpoint::new(url, &config.ca_cert).map_err(|why| VaultError::Url {
            url: url.to_owned(),
            why,
        })?;
        Ok(Self {
            endpoint,
            role_id: config.role_id,
            secret_id: config.secret_id,
        })
    }

    pub(super) fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// The authority for webhooks. Vault tells it to anybody.
    pub(super) async fn trust(&self) -> Result<Trust, VaultError> {
        let doing = "read the webhook authority";
        let path = format!("/v1/{PKI}/ca/pem");
        let pem = self
            .endpoint
            .exchange(Method::Get, &path, None, None)
            .await
            .map_err(|error| self.failed(doing, &error))?;
        // Vault answers with the text itself, RustyVault with a field that holds it.
        let wrapped: Option<Answer<Authority>> = parse(&pem);
        let pem = wrapped.map_or(pem, |answer| answer.data.certificate.into_bytes());
        let issuer = Certificate::first_in(&pem).ok_or_else(|| {
            let why = format!("{PKI} has none; `ckecli vault init` makes it");
            self.wrong(doing, why)
        })?;
        Ok(Trust::in_one(issuer))
    }

    /// A certificate for a server with these names. The role is made as CKE makes it, where it
    /// is missing.
    pub(super) async fn issue(&self, names: &[String]) -> Result<KeyedCertificate, VaultError> {
        let doing = "have a certificate issued";
        let token = self.log_in().await?;
        self.make_role(&token).await?;
        let hours = CERTIFICATE_LIFE.as_secs() / 3600;
        let wanted = json!({
            "common_name": names.last(),
            "alt_names": names.join(","),
            "ttl": format!("{hours}h"),
        });
        let path = format!("/v1/{PKI}/issue/{ROLE}");
        let answer = self
            .ask(doing, Method::Post, &path, &token, Some(&wanted))
            .await?;
        let issued: Answer<Issued> = parse(&answer)
            .ok_or_else(|| self.wrong(doing, "the answer has no certificate and key".to_owned()))?;
        let Issued {
            certificate,
            private_key,
        } = issued.data;
        let certificate = Certificate::first_in(certificate.as_bytes())
            .ok_or_else(|| self.wrong(doing, "the answer's certificate is none".to_owned()))?;
        Ok(KeyedCertificate {
            certificate,
            key: private_key,
        })
    }

    /// The fields of a secret below `cke/secrets` (KV version 1); None when there is none.
    pub(super) async fn read(
        &self,
        secret: &str,
    ) -> Result<Option<Map<String, Value>>, VaultError> {
        let doing = "read cke/secrets";
        let token = self.log_in().await?;
        let path = format!("/v1/{SECRETS}/{secret}");
        let answer = match self
            .endpoint
            .exchange(Method::Get, &path, Some(&token), None)
            .await
        {
            Ok(answer) => answer,
            Err(HttpError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(self.failed(doing, &error)),
        };
        let kept: Answer<Map<String, Value>> = parse(&answer)
            .ok_or_else(|| self.wrong(doing, "the answer has no `data`".to_owned()))?;
        Ok(Some(kept.data))
    }

    /// Writes all fields of a secret below `cke/secrets`, which were read lately enough to be
    /// written until then.
    pub(super) async fn write(
        &self,
        secret: &str,
        fields: Map<String, Value>,
        fresh_until: Instant,
    ) -> Result<(), VaultError> {
        let token = self.log_in().await?;
        if Instant::now() >= fresh_until {
            let why = "what was read before is too old by now; run it again".to_owned();
            return Err(self.wrong("write cke/secrets", why));
        }
        let path = format!("/v1/{SECRETS}/{secret}");
        let fields = Value::Object(fields);
        self.ask(
            "write cke/secrets",
            Method::Post,
            &path,
            &token,
            Some(&fields),
        )
        .await?;
        Ok(())
    }

    async fn make_role(&self, token: &Secret) -> Result<(), VaultError> {
        let path = format!("/v1/{PKI}/roles/{ROLE}");
        let found = self
            .endpoint
            .exchange(Method::Get, &path, Some(token), None)
            .await;
        match found {
            Ok(_) => return Ok(()),
            Err(HttpError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(self.failed("read the role `system`", &error)),
        }
        let role = json!({
            "ttl": "175200h",
            "max_ttl": "175200h",
            "enforce_hostnames": false,
            "allow_any_name": true,
        });
        let doing = "make the role `system`";
        self.ask(doing, Method::Post, &path, token, Some(&role))
            .await?;
        Ok(())
    }

    async fn log_in(&self) -> Result<Secret, VaultError> {
        let doing = "log in by AppRole";
        let credentials = json!({
            "role_id": self.role_id,
            "secret_id": self.secret_id.expose(),
        });
        let answer = self
            .endpoint
            .exchange(
                Method::Post,
                "/v1/auth/approle/login",
                None,
                Some(&credentials),
            )
            .await
            .map_err(|error| self.failed(doing, &error))?;
        let login: Login = parse(&answer)
            .ok_or_else(|| self.wrong(doing, "the answer has no token".to_owned()))?;
        Ok(login.auth.client_token)
    }

    async fn ask(
        &self,
        doing: &'static str,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, VaultError> {
        self.endpoint
            .exchange(method, path, Some(token), body)
            .await
            .map_err(|error| self.failed(doing, &error))
    }

    fn failed(&self, doing: &'static str, error: &HttpError) -> VaultError {
        self.wrong(doing, error.to_string())
    }

    /// Whatever a server or a library says, our own secrets are not in it.
    fn wrong(&self, doing: &'static str, why: String) -> VaultError {
        let why = why.replace(self.secret_id.expose(), "(hidden)");
        VaultError::Request {
            url: self.url().to_owned(),
            doing,
            why: printable(&why),
        }
    }
}

#[derive(Deserialize)]
struct Login {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Secret,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Authority {
    certificate: String,
}

#[derive(Deserialize)]
struct Issued {
    certificate: String,
    private_key: Secret,
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Option<T> {
    serde_json::from_slice(answer).ok()
}

/// The file of an AppRole, which is its owner's alone.
fn read(path: &Path) -> Result<Secret, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is no file".to_owned());
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "others may read it (mode {mode:04o}); run `chmod 600 {}`, and have a new secret-id \
             made if somebody may have",
            path.display()
        ));
    }
    let mut text = String::new();
    file.take(MAX_CONFIG)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    Ok(Secret::from(text))
}

const PKI: &str = "cke/ca-kubernetes-webhook";
const ROLE: &str = "system";
const SECRETS: &str = "cke/secrets";
/// Bytes; a bundle of authorities fits.
const MAX_CONFIG: u64 = 1 << 20;
