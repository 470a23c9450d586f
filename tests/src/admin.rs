//! What a program of ours says on its admin endpoint.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The admin endpoint at an address.
#[derive(Clone, Copy, Debug)]
pub struct Admin(pub SocketAddr);

impl Admin {
    /// The status and the body of a page.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or not in HTTP.
    pub async fn get(self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.0).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.0
        );
        stream.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = reply
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        status
            .zip(body)
            .ok_or_else(|| io::Error::other(format!("no HTTP: {reply}")))
    }

    /// Whether `/readyz` says yes.
    ///
    /// # Errors
    ///
    /// It does not; the error is what it said.
    pub async fn ready(self) -> io::Result<()> {
        match self.get("/readyz").await? {
            (200, _) => Ok(()),
            (_, body) => Err(io::Error::other(body)),
        }
    }

    /// The sum of the series that have this name and at least these labels; 0 when there is none.
    ///
    /// # Panics
    ///
    /// When the endpoint does not answer.
    pub async fn metric(self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (_, text) = self.get("/metrics").await.expect("metrics are served");
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        text.lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
