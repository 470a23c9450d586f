//! BIND, with the options and statements that a test gives it. It listens only on an address that an interface
//! has: the first of a place with a namespace.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::binaries;
use crate::dns::{Question, RecordType};
use crate::launch::Launch;
use crate::peer::Peer;
use crate::place::Place;

/// Starts a BIND whose configuration has these lines in `options`, and these statements beside them.
///
/// `None` when there is none on this machine; the skip has then been reported.
///
/// # Panics
///
/// When it does not start.
pub async fn start(
    place: &Place,
    address: SocketAddr,
    options: &str,
    statements: &str,
) -> Option<Peer> {
    let program = binaries::packaged("named")?;
    let folder = place.folder_of("named", address);
    let text = format!(
        r#"options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ {ip}; }};
  listen-on-v6 {{ none; }};
  empty-zones-enable no;
{options}}};
{statements}controls {{ }};
"#,
        port = address.port(),
        ip = address.ip(),
    );
    let file = format!("{folder}/named.conf");
    fs::write(&file, text).expect("a test can write to its folder");
    let launch = Launch::new(place, "named", &program).args(["-g", "-n", "1", "-c", &file]);
    let mut peer = launch.start();
    // Over TCP: whatever it says is an answer.
    let question = Question::new(".", RecordType::NS).tcp();
    peer.ready(START_DEADLINE, async || question.ask(address).await)
        .await;
    Some(peer)
}

const START_DEADLINE: Duration = Duration::from_secs(30);
