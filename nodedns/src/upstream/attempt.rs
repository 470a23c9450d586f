//! One server, asked once: in the best way that it understands.
//!
//! ```text
//! UDP ─► whole ──────────────────────────────► usable? ─► answer
//!    ├─► cut ────────────────────────► stream ───┘
//!    ├─► BADCOOKIE ──────────────────► UDP with the cookie that it gave, once, then stream
//!    ├─► FORMERR, NOTIMP, BADVERS ───► UDP without cookie, then without EDNS
//!    ├─► no cookie, though it gave one ─► stream; is there none: UDP, once more
//!    └─► other case, header alone ───► stream; is there none: UDP, plainer
//! ```

use std::time::Duration;

use tokio::time::timeout;

use crate::cache::key::Key;
use crate::explain::Over;
use crate::upstream::Role;
use crate::upstream::accept::given;
use crate::upstream::authority::bearing;
use crate::upstream::failure::Trouble;
use crate::upstream::pool::Server;
use crate::upstream::query::{Form, Sent};
use crate::upstream::sessions::Tried;
use crate::upstream::udp::{Exchange, Reply};
use crate::wire::record::Section;
use crate::wire::response::Response;
use crate::wire::{Rcode, flag, rtype, u16_at};

/// What is asked, and how the zone wants it asked.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) key: Key,
    /// What the server is to the zone.
    pub(super) role: Role,
    /// The server was asked already, and has said nothing yet.
    pub(super) again: bool,
    /// The connections on which it was asked.
    pub(super) tried: Tried,
}

/// Asks `server`, and waits without end: the caller has the deadline. Cancel safe.
///
/// # Errors
/// See [`Trouble`].
pub(super) async fn attempt(server: &Server, ask: &Ask) -> Result<(Response, Over), Trouble> {
    let quirks = server.quirks();
    let form = Form {
        // Without EDNS there are no signatures, so where they are wanted silence is borne.
        edns: quirks.edns(ask.again && server.is_asked_over_udp() && !ask.key.dnssec_ok()),
        cookie: server.cookies().are_shown(ask.again),
        // On a connection nobody has to be kept from guessing.
        mix_case: server.is_asked_over_udp() && quirks.keeps_case(),
        recursion: ask.role == Role::Resolver,
    };
    let (response, over) = if server.is_asked_over_udp() {
        over_udp(server, ask, form).await?
    } else {
        (over_stream(server, ask, form).await?, server.usual())
    };
    Ok((usable(response, &ask.role)?, over))
}

async fn over_udp(server: &Server, ask: &Ask, form: Form) -> Result<(Response, Over), Trouble> {
    let exchange = Exchange::begin(server, &ask.key, form).await?;
    let reply = match exchange.reply().await? {
        // Whoever sent that must not end the wait for the reply. Right behind a forged one comes the
        // server's own: then nobody else is asked. What is beside is rare, and not for every
        // question to have room for.
        Reply::OtherCase => tokio::select! {
            biased;
            reply = exchange.sure_reply() => reply?,
            Ok(response) = Box::pin(doubted(server, ask, form, form.edns)) => return Ok((response, Over::Tcp)),
        },
        Reply::Bare(_) => tokio::select! {
            biased;
            reply = exchange.sure_reply() => reply?,
            Ok(response) = Box::pin(doubted(server, ask, form, false)) => return Ok((response, Over::Tcp)),
        },
        Reply::NoCookie(_) => tokio::select! {
            biased;
            reply = exchange.sure_reply() => reply?,
            Ok((response, over)) = Box::pin(proved(server, ask, form, exchange.sent())) => match over {
                Over::Udp => Reply::Whole(response),
                Over::Tcp | Over::Tls => return Ok((response, over)),
            },
        },
        sure => sure,
    };
    let Reply::Whole(response) = reply else {
        return Ok((over_stream(server, ask, form).await?, Over::Tcp));
    };
    if form.edns && form.cookie {
        if response.rcode() == Rcode::BADCOOKIE {
            return Box::pin(with_the_cookie_given(server, ask, form)).await;
        }
        if lacks_edns(response.rcode())
            && let Some(response) = Box::pin(without_cookie(server, ask, form)).await?
        {
            return Ok((response, Over::Udp));
        }
    }
    if form.edns && lacks_edns(response.rcode()) {
        let plain = Form {
            edns: false,
            ..form
        };
        let response = plain_udp(server, &ask.key, plain).await?;
        if !lacks_edns(response.rcode()) {
            server.quirks().refused_edns();
        }
        return Ok((response, Over::Udp));
    }
    if form.edns && !form.cookie && ask.again {
        server.cookies().answered_without();
    }
    if form.edns {
        server.quirks().answered_edns();
    } else if ask.again {
        server.quirks().answered_plain();
    }
    Ok((response, Over::Udp))
}

/// The server wants to see the cookie that it has just given, of which a forger cannot know. If
/// that is not enough either, a connection is (RFC 7873 §5.3).
async fn with_the_cookie_given(
    server: &Server,
    ask: &Ask,
    form: Form,
) -> Result<(Response, Over), Trouble> {
    let exchange = Exchange::begin(server, &ask.key, form).await?;
    match exchange.reply().await? {
        Reply::Whole(response) if response.rcode() != Rcode::BADCOOKIE => Ok((response, Over::Udp)),
        _ => Ok((over_stream(server, ask, form).await?, Over::Tcp)),
    }
}

/// The server may mind the cookie only, which it should not (RFC 6891 §6.1.2): what it answers
/// without, if it then understands the question.
async fn without_cookie(
    server: &Server,
    ask: &Ask,
    form: Form,
) -> Result<Option<Response>, Trouble> {
    let form = Form {
        cookie: false,
        ..form
    };
    let exchange = Exchange::begin(server, &ask.key, form).await?;
    match exchange.reply().await? {
        Reply::Whole(response) if !lacks_edns(response.rcode()) => {
            server.cookies().refused();
            Ok(Some(response))
        }
        _ => Ok(None),
    }
}

/// What came may be forged. Over a connection nobody can forge; a server that
/// speaks UDP only is asked again in a form that it should understand.
async fn doubted(server: &Server, ask: &Ask, form: Form, edns: bool) -> Result<Response, Trouble> {
    if let Ok(Ok(response)) = timeout(STREAM_PATIENCE, over_stream(server, ask, form)).await {
        return Ok(response);
    }
    let plainer = Form {
        edns,
        mix_case: false,
        ..form
    };
    let response = plain_udp(server, &ask.key, plainer).await?;
    if form.mix_case && edns == form.edns {
        server.quirks().lost_case();
    } else if form.edns && !edns {
        server.quirks().refused_edns();
    }
    Ok(response)
}

/// The reply to `sent` has no cookie, where the server has given us one before (RFC 7873 §5.3).
/// What it says over a connection is true, and whether it gives a cookie there; one that speaks
/// UDP only is asked once more, and not doubted again.
async fn proved(
    server: &Server,
    ask: &Ask,
    form: Form,
    sent: &Sent,
) -> Result<(Response, Over), Trouble> {
    let with_cookie = Sent::new(&ask.key, form, sent.cookie().copied());
    let over_tcp = async {
        let eager = server.is_worth_haste();
        let asked = server
            .sessions()
            .ask(with_cookie.clone(), &ask.tried, eager);
        match asked.await {
            Ok(response) if !minds_cookies(response.rcode()) => {
                if given(&with_cookie, &response).is_ok_and(|given| given.is_none()) {
                    server.cookies().lacked();
                }
                Ok(response)
            }
            _ => {
                let response = over_stream(server, ask, form).await?;
                server.cookies().lacked();
                Ok::<_, Trouble>(response)
            }
        }
    };
    if let Ok(Ok(response)) = timeout(STREAM_PATIENCE, over_tcp).await {
        return Ok((response, Over::Tcp));
    }
    Ok((plain_udp(server, &ask.key, form).await?, Over::Udp))
}

/// Asks over UDP in a form that leaves nothing to fall back from.
async fn plain_udp(server: &Server, key: &Key, form: Form) -> Result<Response, Trouble> {
    let exchange = Exchange::begin(server, key, form).await?;
    match exchange.reply().await? {
        Reply::Whole(response) => Ok(response),
        Reply::NoCookie(response) => {
            server.cookies().lacked();
            Ok(response)
        }
        Reply::Bare(rcode) => Err(Trouble::Rejected(rcode)),
        Reply::Cut => {
            let sent = Sent::new(key, form, None);
            Ok(server.sessions().ask(sent, &Tried::default(), true).await?)
        }
        Reply::OtherCase => Err(Trouble::Useless(
            "answers a question that was not asked: the case of its name is another",
        )),
    }
}

async fn over_stream(server: &Server, ask: &Ask, form: Form) -> Result<Response, Trouble> {
    let eager = server.is_worth_haste();
    let sent = Sent::new(&ask.key, form, None);
    let outcome = server.sessions().ask(sent.clone(), &ask.tried, eager).await;
    let refused = match &outcome {
        Ok(response) => lacks_edns(response.rcode()),
        Err(Trouble::Rejected(rcode)) => lacks_edns(*rcode),
        Err(_) => false,
    };
    let response = if form.edns && refused {
        let plain = Form {
            edns: false,
            ..form
        };
        let sent = Sent::new(&ask.key, plain, None);
        let response = server.sessions().ask(sent, &ask.tried, eager).await?;
        server.quirks().refused_edns();
        response
    } else {
        outcome?
    };
    // Said on a connection, so it is true.
    if form.mix_case && !sent.is_asked_by(&response) {
        server.quirks().lost_case();
    }
    Ok(response)
}

/// RFC 6891 §7: what servers say that do not know OPT, or believe so.
const fn lacks_edns(rcode: Rcode) -> bool {
    matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS)
}

/// What servers say that mind a cookie, be it as something that they do not know.
const fn minds_cookies(rcode: Rcode) -> bool {
    lacks_edns(rcode) || matches!(rcode, Rcode::BADCOOKIE)
}

/// Whether the response answers at all, as far as that can be seen without
/// knowing the truth.
fn usable(response: Response, role: &Role) -> Result<Response, Trouble> {
    match response.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN | Rcode::YXDOMAIN => {}
        rcode => return Err(Trouble::Rejected(rcode)),
    }
    if response.is_truncated() {
        return Err(Trouble::Useless("cuts its answers even over TCP"));
    }
    match role {
        Role::Delegate(zone) => bearing(&response, zone.as_wire()).map(drop),
        Role::Authority | Role::Resolver => answers(&response, role),
    }
    .map_err(Trouble::Useless)?;
    Ok(response.in_lower_case())
}

/// Whether whoever knows all about the zone answers.
fn answers(response: &Response, role: &Role) -> Result<(), &'static str> {
    let flags = u16_at(response.wire(), 2).unwrap_or(0);
    let authoritative = flags & flag::AA != 0;
    if response.layout().section(Section::Answer).next().is_none() {
        let mut authority = response.layout().section(Section::Authority);
        if response.soa().is_none() && authority.any(|record| record.rtype == rtype::NS) {
            return Err("does not answer, but names other servers that may");
        }
        if *role == Role::Resolver && !authoritative && flags & flag::RA == 0 {
            return Err(
                "does not resolve for others (RA is not set); its own zones are for `authoritative`",
            );
        }
    }
    if *role != Role::Resolver && !authoritative {
        return Err("is not authoritative for the name (AA is not set)");
    }
    Ok(())
}

/// A server that does not speak TCP, or a firewall before it, may say nothing.
const STREAM_PATIENCE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;
    use crate::wire::record::tests::{a, ns, response, soa};
    use hickory_proto::op::Message;

    fn judge(role: &Role, change: impl FnOnce(&mut Message)) -> Option<String> {
        let wire = response(|message| {
            message.metadata.recursion_available = true;
            change(message);
        });
        let response = Response::parse(wire).unwrap();
        usable(response, role)
            .err()
            .map(|trouble| trouble.to_string())
    }

    #[test]
    fn answers_and_denials_are_usable() {
        assert_eq!(
            judge(&Role::Resolver, |message| {
                message.add_answer(a("www.example.", 60, 1));
            }),
            None
        );
        assert_eq!(
            judge(&Role::Resolver, |message| {
                message.add_authority(soa("example.", 60, 5));
            }),
            None
        );
        // Not every forwarder adds an SOA.
        assert_eq!(judge(&Role::Resolver, |_| {}), None);
    }

    #[test]
    fn a_referral_is_no_answer() {
        let said = judge(&Role::Resolver, |message| {
            message.add_authority(ns("example.", 60, "ns.example."));
        });
        assert!(said.unwrap().contains("names other servers"));
    }

    #[test]
    fn who_does_not_recurse_cannot_deny() {
        let said = judge(&Role::Resolver, |message| {
            message.metadata.recursion_available = false;
        });
        assert!(said.unwrap().contains("RA is not set"));
        assert_eq!(
            judge(&Role::Resolver, |message| {
                message.metadata.recursion_available = false;
                message.metadata.authoritative = true;
            }),
            None
        );
    }

    #[test]
    fn who_is_asked_without_recursion_must_be_authoritative() {
        let answer = |authoritative| {
            move |message: &mut Message| {
                message.metadata.authoritative = authoritative;
                message.add_answer(a("www.example.", 60, 1));
            }
        };
        assert_eq!(judge(&Role::Authority, answer(true)), None);
        assert!(
            judge(&Role::Authority, answer(false))
                .unwrap()
                .contains("AA is not set")
        );
    }

    #[test]
    fn a_delegate_may_refer_to_those_below() {
        let root = Role::Delegate(Name::root());
        let referral = |message: &mut Message| {
            message.add_authority(ns("example.", 60, "ns.example."));
        };
        assert_eq!(judge(&root, referral), None);
        let example = Role::Delegate(Name::from_text("example.").unwrap());
        assert!(
            judge(&example, referral)
                .unwrap()
                .contains("not on the way")
        );
    }

    #[test]
    fn a_cut_answer_is_none() {
        let said = judge(&Role::Resolver, |message| {
            message.metadata.truncation = true
        });
        assert!(said.unwrap().contains("cuts"));
    }
}
