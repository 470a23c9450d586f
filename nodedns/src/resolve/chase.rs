//! An answer whose CNAME leads into another zone, put together with what that
//! zone says (RFC 1034 §3.6.2). CoreDNS answers a Service of type ExternalName
//! with the CNAME alone; a stub resolver needs the addresses, too.
//!
//! Rare, and names in the two messages are compressed each in its own way: so
//! this is the one place where messages are decoded and encoded as a whole.

use hickory_proto::op::Message;

use crate::wire::response::Response;

/// The question and the answers of `first`, then everything of `rest`, which
/// answers for the end of the chain: its code, its data or its denial. None when
/// the codec cannot read one of them, or the whole is too long for a message.
pub(crate) fn join(first: &Response, rest: &Response) -> Option<Response> {
    let mut whole = Message::from_vec(first.wire()).ok()?;
    let rest = Message::from_vec(rest.wire()).ok()?;
    whole.metadata.response_code = rest.metadata.response_code;
    whole.edns = None;
    whole.answers.extend(rest.answers);
    whole.authorities = rest.authorities;
    whole.additionals = rest.additionals;
    let wire = whole.to_vec().ok()?;
    if wire.len() > usize::from(u16::MAX) {
        return None;
    }
    Response::parse(wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Rcode;
    use crate::wire::record::tests::{a, cname, name, response, soa};
    use hickory_proto::op::ResponseCode;

    fn alias() -> Response {
        let wire = response(|message| {
            message.add_answer(cname("www.example.", 60, "host.other."));
        });
        Response::parse(wire).unwrap()
    }

    #[test]
    fn addresses_follow_the_alias() {
        let target = response(|message| {
            message.queries[0].set_name(name("host.other."));
            message.add_answer(a("host.other.", 30, 1));
        });
        let whole = join(&alias(), &Response::parse(target).unwrap()).unwrap();
        assert_eq!(whole.loose_end(), None);
        let message = Message::from_vec(whole.wire()).unwrap();
        assert_eq!(message.queries[0].name(), &name("www.example."));
        assert_eq!(message.answers.len(), 2);
    }

    #[test]
    fn a_denial_of_the_target_denies_the_whole() {
        let target = response(|message| {
            message.queries[0].set_name(name("host.other."));
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authority(soa("other.", 60, 5));
        });
        let whole = join(&alias(), &Response::parse(target).unwrap()).unwrap();
        assert_eq!(whole.rcode(), Rcode::NXDOMAIN);
        assert!(whole.soa().is_some());
    }
}
