//! Servers that give cookies, give none any more, or have others speak in their name (RFC 7873).

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::*;

/// The data of the COOKIE option in a question.
fn cookie(packet: &[u8]) -> Option<Vec<u8>> {
    let edns = Message::from_vec(packet).unwrap().edns?;
    match edns.option(EdnsCode::Cookie)? {
        EdnsOption::Unknown(_, data) => Some(data.clone()),
        other => panic!("{other:?}"),
    }
}

/// `answer` with these cookies.
fn with_cookie(answer: &[u8], code: ResponseCode, cookie: Vec<u8>) -> Vec<u8> {
    let mut message = Message::from_vec(answer).unwrap();
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Unknown(10, cookie));
    message.edns = Some(edns);
    message.metadata.response_code = code;
    message.to_vec().unwrap()
}

/// Wants to see the cookie that it gives, eight sevens.
fn strict(packet: &[u8], number: usize) -> Vec<Vec<u8>> {
    let shown = cookie(packet).unwrap();
    let both = [&shown[..8], &[7; 8]].concat();
    let code = if shown == both {
        ResponseCode::NoError
    } else {
        ResponseCode::BADCOOKIE
    };
    vec![with_cookie(&good(packet, number)[0], code, both)]
}

#[tokio::test]
async fn a_server_is_shown_the_cookie_that_it_gave() {
    let peer = Peer::start(strict, no_tcp).await;
    let upstream = peer.upstream(Protocol::Udp);
    for _ in 0..10 {
        assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    }
    // Twice the first.
    assert_eq!(peer.asked(), 11);
}

#[tokio::test]
async fn a_server_that_takes_none_of_its_cookies_is_asked_over_tcp() {
    let peer = Peer::start(
        |packet, number| {
            let shown = cookie(packet).unwrap();
            let both = [&shown[..8], &[number as u8; 8]].concat();
            vec![with_cookie(
                &good(packet, number)[0],
                ResponseCode::BADCOOKIE,
                both,
            )]
        },
        good_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    assert_eq!((peer.asked(), peer.connections.load(Relaxed)), (3, 1));
}

#[tokio::test]
async fn a_reply_with_the_cookie_of_another_is_ignored() {
    let peer = Peer::start(
        |packet, number| {
            let truth = good(packet, number).remove(0);
            let forged = with_cookie(&truth, ResponseCode::Refused, vec![1; 16]);
            let short = with_cookie(&truth, ResponseCode::Refused, vec![1; 3]);
            [vec![forged, short], strict(packet, number)].concat()
        },
        no_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    assert_eq!(ask(&upstream).await.unwrap(), Rcode::NOERROR);
    assert_eq!(peer.asked(), 2);
}

#[tokio::test]
async fn a_server_that_minds_cookies_gets_no_more_of_them() {
    let peer = Peer::start(
        |packet, number| match cookie(packet) {
            None => good(packet, number),
            Some(_) => code(packet, ResponseCode::FormErr),
        },
        no_tcp,
    )
    .await;
    let upstream = peer.upstream(Protocol::Udp);
    let signed = Key::new(key().name(), 1, true, true);
    for _ in 0..10 {
        let response = answer(&upstream, &signed, Duration::from_secs(4)).await;
        assert_eq!(response.unwrap().rcode(), Rcode::NOERROR);
    }
    assert_eq!(peer.asked(), 11);
}

/// Denies the name, and gives no cookie: a forger, who has guessed all else.
fn forged(packet: &[u8]) -> Vec<u8> {
    code(packet, ResponseCode::NXDomain).remove(0)
}

/// Asks so often, with each bit that may be asked for.
async fn ask_times(times: u32, upstream: &Upstream) {
    let signed = Key::new(key().name(), 1, true, true);
    for number in 0..times {
        let response = answer(upstream, &signed, Duration::from_secs(4)).await;
        let response = response.unwrap_or_else(|failure| panic!("question {number}: {failure}"));
        assert_eq!(response.rcode(), Rcode::NOERROR, "question {number}");
    }
}

/// The questions and the connections that a server of this kind saw.
async fn seen(udp: Behaviour, tcp: fn(usize) -> Line) -> (usize, usize) {
    let peer = Peer::start(udp, tcp).await;
    ask_times(10, &peer.upstream(Protocol::Udp)).await;
    (peer.asked(), peer.connections.load(Relaxed))
}

/// The first question is asked twice.
const FIRST: usize = 2;
const PROOFS: usize = crate::upstream::offer::PROOFS as usize;

#[tokio::test]
async fn who_has_given_cookies_is_not_believed_without() {
    let udp: Behaviour = |packet, number| {
        let mut replies = strict(packet, number);
        if number >= FIRST {
            replies.insert(0, forged(packet));
        }
        replies
    };
    let (asked, _) = seen(udp, no_tcp).await;
    assert_eq!(asked, FIRST + 9, "its own reply came right behind");
}

#[tokio::test]
async fn what_a_connection_says_is_believed_where_only_forgers_answer() {
    let udp: Behaviour = |packet, number| match number {
        0..FIRST => strict(packet, number),
        _ => vec![forged(packet)],
    };
    let (asked, connections) = seen(udp, |_| Line::Serve(strict)).await;
    // Each over UDP and then over TCP: it does give cookies, so it owes them.
    assert_eq!(asked, FIRST + 9 * 2);
    assert!(connections > 0);
}

fn no_more_cookies(packet: &[u8], number: usize) -> Vec<Vec<u8>> {
    match number {
        0..FIRST => strict(packet, number),
        _ => good(packet, number),
    }
}

#[tokio::test]
async fn a_server_that_gives_none_any_more_is_believed_once_it_has_proved_it() {
    let peer = Peer::start(no_more_cookies, good_tcp).await;
    let upstream = peer.upstream(Protocol::Udp);
    ask_times(20, &upstream).await;
    assert_eq!(peer.asked(), FIRST + 19 + PROOFS);
}

#[tokio::test]
async fn a_server_that_gives_none_any_more_and_has_no_tcp_answers_all_the_same() {
    let peer = Peer::start(no_more_cookies, no_tcp).await;
    let upstream = peer.upstream(Protocol::Udp);
    ask_times(1 + PROOFS as u32, &upstream).await;
    let asked = peer.asked();
    ask_times(20, &upstream).await;
    assert_eq!(peer.asked(), asked + 20, "it is borne with");
}

#[tokio::test]
async fn of_many_servers_behind_an_address_some_may_give_cookies() {
    let udp: Behaviour = |packet, number| match number % 3 {
        0 => good(packet, number),
        _ => strict(packet, number),
    };
    let peer = Peer::start(udp, good_tcp).await;
    ask_times(50, &peer.upstream(Protocol::Udp)).await;
    assert!(peer.asked() < 80, "{}", peer.asked());
    let peer = Peer::start(udp, no_tcp).await;
    ask_times(50, &peer.upstream(Protocol::Udp)).await;
}

#[tokio::test]
async fn a_server_that_has_come_to_mind_cookies_is_asked_without() {
    let udp: Behaviour = |packet, number| match (number, cookie(packet)) {
        (0..FIRST, Some(_)) => strict(packet, number),
        (_, Some(_)) => code(packet, ResponseCode::FormErr),
        (_, None) => good(packet, number),
    };
    for tcp in [|_| Line::Serve(good), no_tcp] {
        let peer = Peer::start(udp, tcp).await;
        ask_times(10, &peer.upstream(Protocol::Udp)).await;
    }
}
