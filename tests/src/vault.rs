//! A secrets store that speaks Vault's API, laid out as CKE lays it out: AppRole, KV version 1 at `cke/secrets`,
//! and a PKI for webhooks. RustyVault, or the real one that `VAULT_BIN` names.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::binaries;
use crate::launch::Launch;
use crate::peer::Peer;
use crate::place::Place;

/// A running store, unsealed.
#[derive(Debug)]
pub struct Vault {
    /// The process, to be stopped, paused, killed.
    pub peer: Peer,
    address: SocketAddr,
    token: String,
    unseal_key: String,
    app_role: PathBuf,
}

impl Vault {
    /// Starts it on `address(8)`, port 8200, and lays it out.
    ///
    /// `None` when there is none on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When it does not start, or refuses the layout.
    pub async fn start(place: &Place) -> Option<Self> {
        let program = match std::env::var_os("VAULT_BIN") {
            Some(program) => PathBuf::from(program),
            None => binaries::built("rvault")?,
        };
        let address = place.socket_address(8, 8200);
        let folder = place.folder().join("vault");
        fs::create_dir_all(&folder).expect("a test can write to its folder");
        // One setting a line: RustyVault wants it so.
        let configuration = format!(
            "storage \"file\" {{\n  path = \"{folder}/data\"\n}}\n\
             listener \"tcp\" {{\n  address = \"{address}\"\n  tls_disable = \"true\"\n}}\n\
             api_addr = \"http://{address}\"\ndisable_mlock = true\npid_file = \"{folder}/pid\"\n\
             work_dir = \"{folder}\"\nmount_entry_hmac_level = \"none\"\n",
            folder = folder.display(),
        );
        let file = folder.join("config.hcl");
        fs::write(&file, configuration).expect("a test can write to its folder");
        let mut peer = Launch::new(place, "vault", &program)
            .arg("server")
            .arg(format!("--config={}", file.display()))
            .start();
        peer.ready(Duration::from_secs(20), async || {
            TcpStream::connect(address).await
        })
        .await;
        let mut vault = Self {
            peer,
            address,
            token: String::new(),
            unseal_key: String::new(),
            app_role: folder.join("app-role.json"),
        };
        vault.lay_out().await;
        Some(vault)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// CKE's file with the AppRole, for `--vault-config`.
    #[must_use]
    pub fn app_role(&self) -> &str {
        self.app_role.to_str().expect("a test's paths are plain")
    }

    async fn lay_out(&mut self) {
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = self.say("PUT", "sys/init", &shares).await;
        self.token = text(&made["root_token"]);
        self.unseal_key = text(&made["keys"][0]);
        self.unseal().await;
        let role = json!({
            "ttl": "175200h", "max_ttl": "175200h", "enforce_hostnames": false, "allow_any_name": true,
        });
        for (path, body) in [
            ("sys/auth/approle", json!({"type": "approle"})),
            ("sys/mounts/cke/secrets", json!({"type": "kv"})),
            (
                "sys/mounts/cke/ca-kubernetes-webhook",
                json!({"type": "pki"}),
            ),
            (
                "cke/ca-kubernetes-webhook/root/generate/internal",
                json!({"common_name": "kubernetes webhook CA", "ttl": "87600h"}),
            ),
            // Control makes it where it is missing, but RustyVault panics when it is asked for it then.
            ("cke/ca-kubernetes-webhook/roles/system", role),
            (
                "auth/approle/role/cke",
                json!({"policies": "cke", "token_policies": "cke"}),
            ),
        ] {
            self.say("POST", path, &body).await;
        }
        // RustyVault has no policies: there every token may do everything.
        let policy = json!({"policy": POLICY});
        let (status, answer) = self
            .exchange("POST", "sys/policy/cke", &policy)
            .await
            .expect("it has just answered");
        assert!(matches!(status, 200 | 204 | 404), "{status}: {answer}");
        let path = |what| format!("auth/approle/role/cke/{what}");
        let role = self.say("GET", &path("role-id"), &Value::Null).await;
        let secret = self.say("POST", &path("secret-id"), &json!({})).await;
        let role = text(&role["data"]["role_id"]);
        let secret = text(&secret["data"]["secret_id"]);
        let file =
            json!({"endpoint": self.url(), "role-id": role, "secret-id": secret}).to_string();
        fs::write(&self.app_role, file)
            .and_then(|()| fs::set_permissions(&self.app_role, fs::Permissions::from_mode(0o600)))
            .expect("a test can write to its folder");
    }

    async fn unseal(&self) {
        self.say("PUT", "sys/unseal", &json!({"key": self.unseal_key}))
            .await;
    }

    /// Asks as the one who may do everything, and gives the answer; null when it is empty.
    ///
    /// # Panics
    ///
    /// When it does not answer, or refuses.
    pub async fn say(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self
            .exchange(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status}: {answer}"
        );
        serde_json::from_str(&answer).unwrap_or_default()
    }

    async fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, String)> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: {}\r\nX-Vault-Token: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.token,
            body.len(),
        );
        stream.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
        let (_, body) = reply.split_once("\r\n\r\n").unwrap_or_default();
        let status = status.ok_or_else(|| io::Error::other(format!("no HTTP: {reply}")))?;
        Ok((status, body.to_owned()))
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("Vault answers with texts").to_owned()
}

/// What CKE's own role may.
const POLICY: &str = "path \"cke/*\" {\n  capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"]\n}";
