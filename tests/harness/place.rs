//! Places are apart from each other.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use tests::launch::Launch;
use tests::place::Place;

#[test]
fn two_places_have_the_same_port_each() {
    let (one, other) = (Place::loopback(), Place::loopback());
    let _one = TcpListener::bind(one.socket_address(2, 6443)).unwrap();
    let _other = TcpListener::bind(other.socket_address(2, 6443)).unwrap();
}

#[test]
fn a_namespace_is_left_with_its_place() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let address = place.socket_address(77, 4000);
    let _listener = TcpListener::bind(address).unwrap();
    TcpStream::connect(address).unwrap();
    drop(place);
    TcpListener::bind(address).unwrap_err();
}

#[tokio::test]
async fn a_program_starts_in_its_place() {
    let Some(place) = Place::namespace() else {
        return;
    };
    let run = |script: &str| {
        Launch::new(&place, "sh", Path::new("/bin/sh"))
            .args(["-c", script])
            .run()
    };
    assert!(
        run("ip address show dev lo")
            .await
            .success()
            .contains("10.9.0.1/24")
    );
    assert_eq!(
        run("pwd").await.success().trim(),
        place.folder().to_str().unwrap()
    );
    let output = run("echo bad flag >&2; exit 2").await;
    assert_eq!((output.code(), output.stderr.as_str()), (2, "bad flag\n"));
}
