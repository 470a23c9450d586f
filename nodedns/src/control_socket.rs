//! The UNIX socket over which a person commands the nodedns that runs on this node:
//! `control.sock` in the run directory, for its own user alone.
//!
//! ```text
//! nodedns cache …            ──►  client  ── one line of JSON ──►  server ──► who can do it
//! nodedns status, health                         ◄── one line of JSON ──
//! nodedns negative-anchor …
//! ```
//!
//! [`protocol`] has the lines and their bounds. One request a connection: whoever
//! has more to say connects again.

mod cache;
pub(crate) mod client;
mod health;
pub(crate) mod protocol;
pub(crate) mod server;

use std::path::{Path, PathBuf};

/// Where the socket is.
fn path(run_dir: &Path) -> PathBuf {
    run_dir.join("control.sock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::cache::Cache;
    use crate::instance::Instance;
    use crate::seen::Seen;
    use crate::status::Gather;
    use crate::trust::Orders;
    use daemon::metrics::Metrics;
    use daemon::readiness::Readiness;
    use protocol::{MAX_REQUEST, Reply, Request};
    use server::Commanded;

    /// A server whose orders nobody carries out.
    fn serve(folder: &Path) -> impl Drop {
        struct Running(Option<tokio::runtime::Runtime>);
        impl Drop for Running {
            fn drop(&mut self) {
                if let Some(runtime) = self.0.take() {
                    runtime.shutdown_background();
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let listener = server::bind(folder).unwrap();
        drop(guard);
        let (orders, _) = Orders::new();
        let cache = Cache::new(crate::cache::tests::capacity(1 << 20)).into();
        runtime.spawn(server::serve(
            listener,
            Commanded {
                orders,
                cache,
                readiness: Readiness::new(),
                instance: Instance::new(),
                gather: Gather::new(Metrics::install(), Arc::new(Seen::new())),
                addresses: tokio::sync::watch::channel(Arc::default()).1,
            },
        ));
        Running(Some(runtime))
    }

    /// What is answered to these bytes.
    fn said(folder: &Path, sent: &[u8]) -> String {
        let mut stream = UnixStream::connect(path(folder)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // It may be refused before all of it is sent.
        let _ = stream.write_all(sent);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply
    }

    #[test]
    fn only_its_own_user_can_connect() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("run/nodedns");
        let _server = serve(&run_dir);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path(&run_dir)), 0o600);
        assert_eq!(mode(&run_dir), 0o700);
        let left = std::fs::read_dir(&run_dir).unwrap().count();
        assert_eq!(left, 1, "the socket alone");
    }

    #[test]
    fn a_new_process_takes_the_place_of_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let old = serve(folder.path());
        let _new = serve(folder.path());
        drop(old);
        let reply = client::call(folder.path(), &Request::NegativeAnchors {});
        // It reached the new one, which says that nobody carries it out.
        assert!(matches!(reply, Ok(Reply::Error(text)) if text.contains("stopping")));
    }

    #[test]
    fn without_a_server_the_error_says_where_one_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = |run_dir: &Path| {
            client::call(run_dir, &Request::NegativeAnchors {})
                .unwrap_err()
                .to_string()
        };
        let none = error(&folder.path().join("none"));
        assert!(none.contains("none/control.sock: is it running"), "{none}");
        drop(serve(folder.path()));
        std::thread::sleep(Duration::from_millis(50));
        let gone = error(folder.path());
        assert!(gone.contains("is it running"), "{gone}");
    }

    #[test]
    fn health_is_told_although_nobody_carries_orders_out() {
        let folder = tempfile::tempdir().unwrap();
        let _server = serve(folder.path());
        let reply = client::call(folder.path(), &Request::Health {}).unwrap();
        assert!(matches!(reply, Reply::Health(health) if health.pending.is_empty()));
    }

    #[test]
    fn whatever_is_sent_gets_one_line_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let _server = serve(folder.path());
        for (sent, part) in [
            (&b"\n"[..], "is no request"),
            (b"{}\n", "is no request"),
            (b"{\"command\": \"reboot\"}\n", "unknown variant"),
            (b"\xff\xfe\n", "is no request"),
            (&[b'['; MAX_REQUEST][..], "longer than"),
            (
                b"{\"command\": \"negative_anchors\", \"more\": 1}\n",
                "unknown field",
            ),
            (
                b"{\"command\": \"remove_negative_anchor\", \"name\": \"a..b\"}\n",
                "is not a domain name",
            ),
        ] {
            let reply = said(folder.path(), sent);
            assert!(
                reply.starts_with("{\"error\":") && reply.contains(part),
                "{reply}"
            );
            assert_eq!(reply.matches('\n').count(), 1, "{reply}");
        }
        assert_eq!(said(folder.path(), b""), "");
    }
}
