//! A whole message that a server sent, and what is done to it before it is kept.

use crate::wire::name::{self, Expanded};
use crate::wire::record::{Layout, Record, Section};
use crate::wire::{QUESTION_AT, Rcode, flag, header_rcode, put_u16, rtype, u16_at, u32_at};

/// A response whose every record is where its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    wire: Vec<u8>,
    layout: Layout,
}

impl Response {
    /// Takes a message apart; nothing when it is malformed.
    pub(crate) fn parse(wire: Vec<u8>) -> Option<Self> {
        let layout = Layout::of(&wire)?;
        Some(Self { wire, layout })
    }

    /// Puts a message together with its layout, which stays what it was when bytes
    /// of fixed length are changed in place.
    pub(crate) const fn from_parts(wire: Vec<u8>, layout: Layout) -> Self {
        Self { wire, layout }
    }

    /// The message.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The message, given away.
    pub(crate) fn into_wire(self) -> Vec<u8> {
        self.wire
    }

    /// Where everything is.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The response code, with OPT's part of it.
    pub(crate) fn rcode(&self) -> Rcode {
        let upper = self.layout.opt().map_or(0, |opt| {
            (u32_at(&self.wire, opt.ttl_at).unwrap_or(0) >> 24) as u16
        });
        Rcode(upper << 4 | header_rcode(&self.wire).0)
    }

    /// The options of its OPT, if it has one.
    pub(crate) fn options(&self) -> Option<&[u8]> {
        let opt = self.layout.opt()?;
        self.wire.get(opt.data_at..opt.end)
    }

    /// Whether the server cut the answer.
    pub(crate) fn is_truncated(&self) -> bool {
        u16_at(&self.wire, 2).unwrap_or(0) & flag::TC != 0
    }

    /// Takes OPT away, which speaks of one hop only (RFC 6891 §6.2.1), and what
    /// follows it: nearly always nothing, and additional records are a courtesy,
    /// whereas moving them would break the names that point into them.
    pub(crate) fn without_opt(mut self) -> Self {
        if let Some(opt) = self.layout.opt().copied() {
            self.layout.records.retain(|record| record.at < opt.at);
            self.wire.truncate(opt.at);
            let left = self.layout.section(Section::Additional).count();
            put_u16(&mut self.wire, 10, left as u16);
        }
        self
    }

    /// Puts the question's name, and every owner that spells it out, in lower
    /// case: the mix of cases with which we asked is nobody's business.
    pub(crate) fn in_lower_case(mut self) -> Self {
        let end = self.layout.question_end - 4;
        self.wire[QUESTION_AT..end].make_ascii_lowercase();
        let length = end - QUESTION_AT;
        for record in &self.layout.records {
            let (head, tail) = self.wire.split_at_mut(record.at);
            let question = &head[QUESTION_AT..end];
            if let Some(owner) = tail.get_mut(..length)
                && owner.eq_ignore_ascii_case(question)
            {
                owner.make_ascii_lowercase();
            }
        }
        self
    }

    /// The SOA record that makes a denial cacheable (RFC 2308 §3).
    pub(crate) fn soa(&self) -> Option<&Record> {
        self.layout
            .section(Section::Authority)
            .find(|record| record.rtype == rtype::SOA)
    }

    /// The last field of an SOA's data, MINIMUM: the most that a denial may be
    /// kept (RFC 2308 §4).
    pub(crate) fn soa_minimum(&self, soa: &Record) -> u32 {
        soa.end
            .checked_sub(4)
            .filter(|at| *at >= soa.data_at)
            .and_then(|at| u32_at(&self.wire, at))
            .unwrap_or(0)
    }

    /// Whether the answer section has a record of the type that was asked for.
    pub(crate) fn answers_its_type(&self) -> bool {
        let asked = self.layout.rtype(&self.wire);
        self.layout
            .section(Section::Answer)
            .any(|record| record.rtype == asked)
    }

    /// The name in the question, and each name to which a CNAME in the answer
    /// leads from there, in lower case. Empty when no CNAME leads anywhere, or
    /// CNAMEs are what was asked for.
    pub(crate) fn chain(&self) -> Vec<Vec<u8>> {
        if self.layout.rtype(&self.wire) == rtype::CNAME {
            return Vec::new();
        }
        let mut chain: Vec<Vec<u8>> = Vec::new();
        let (mut owner, mut target) = (Expanded::new(), Expanded::new());
        // In order, as RFC 1034 §3.6.2 has servers send it: each record moves on once.
        for record in self.layout.section(Section::Answer) {
            let question = self.layout.name(&self.wire);
            let end = chain.last().map_or(question, Vec::as_slice);
            if record.rtype == rtype::CNAME
                && name::expand(&self.wire, record.at, &mut owner).is_some()
                && owner.as_wire().eq_ignore_ascii_case(end)
                && name::expand(&self.wire, record.data_at, &mut target).is_some()
            {
                if chain.is_empty() {
                    chain.push(question.to_ascii_lowercase());
                }
                chain.push(target.as_wire().to_ascii_lowercase());
            }
        }
        chain
    }

    /// Whether nobody followed the chain of CNAMEs to its end: there is no record
    /// of the type asked for, and no SOA that says that there is none.
    pub(crate) fn has_loose_end(&self) -> bool {
        self.rcode() == Rcode::NOERROR && !self.answers_its_type() && self.soa().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Text;
    use crate::wire::record::tests::{a, cname, response, soa};
    use hickory_proto::op::{Edns, Message};
    use hickory_proto::rr::RecordType;

    fn parse(change: impl FnOnce(&mut Message)) -> Response {
        Response::parse(response(change)).unwrap()
    }

    #[test]
    fn opt_is_taken_away() {
        let with = parse(|message| {
            message.add_answer(a("www.example.", 60, 1));
            message.set_edns(Edns::new());
        });
        let without = with.without_opt();
        let message = Message::from_vec(without.wire()).unwrap();
        assert!(message.edns.is_none());
        assert_eq!(message.answers.len(), 1);
        assert_eq!(Response::parse(without.wire().to_vec()), Some(without));
    }

    #[test]
    fn the_mixed_case_of_our_question_does_not_stay() {
        let mut wire = response(|message| {
            message.add_answer(a("www.example.", 60, 1));
        });
        wire[QUESTION_AT + 1] = b'W';
        let lower = Response::parse(wire).unwrap().in_lower_case();
        let message = Message::from_vec(lower.wire()).unwrap();
        assert_eq!(message.queries[0].name().to_ascii(), "www.example.");
        assert_eq!(message.answers[0].name.to_ascii(), "www.example.");
    }

    #[test]
    fn a_chain_is_followed_by_name_in_lower_case() {
        let response = parse(|message| {
            message.add_answer(cname("www.example.", 60, "B.example."));
            message.add_answer(cname("stray.example.", 60, "x.example."));
            message.add_answer(cname("b.example.", 60, "c.other."));
        });
        let chain = response.chain();
        let names: Vec<_> = chain.iter().map(|name| Text(name).to_string()).collect();
        assert_eq!(names, ["www.example.", "b.example.", "c.other."]);
        assert!(response.has_loose_end());
    }

    #[test]
    fn an_end_in_data_or_in_a_denial_is_not_loose() {
        let data = parse(|message| {
            message.add_answer(cname("www.example.", 60, "b.example."));
            message.add_answer(a("b.example.", 60, 1));
        });
        let denial = parse(|message| {
            message.add_answer(cname("www.example.", 60, "b.example."));
            message.add_authority(soa("example.", 60, 5));
        });
        assert!(!data.has_loose_end() && !denial.has_loose_end());
    }

    #[test]
    fn without_cname_or_when_asked_for_cname_there_is_no_chain() {
        let plain = parse(|message| {
            message.add_answer(a("www.example.", 60, 1));
        });
        let asked = parse(|message| {
            message.queries[0].set_query_type(RecordType::CNAME);
            message.add_answer(cname("www.example.", 60, "b.example."));
        });
        assert!(plain.chain().is_empty() && asked.chain().is_empty());
    }

    #[test]
    fn soa_minimum_is_read() {
        let denial = parse(|message| {
            message.add_authority(soa("example.", 60, 5));
        });
        let soa = denial.soa().unwrap();
        assert_eq!(denial.soa_minimum(soa), 5);
    }
}
