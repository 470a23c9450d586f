//! What a response says: the chain of aliases from the name that was asked for,
//! and how it ends. Nothing is believed here; it only says which RRsets matter
//! (RFC 1034 §4.3.2, RFC 6672 §3).

use crate::validate::budget::ALIASES;
use crate::validate::verdict::{Fault, FaultKind};
use crate::wire::name::{MAX_LEN, Name, plain_len};
use crate::wire::order::is_below;
use crate::wire::record::Section;
use crate::wire::rrset::RrSet;
use crate::wire::{Rcode, rtype};

/// The chain of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) links: Vec<Link>,
    /// The name to which the links lead.
    pub(super) name: Name,
    pub(super) end: End,
}

/// One alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The name that is an alias.
    pub(super) name: Name,
    /// The RRset that makes it one, CNAME or DNAME, by its number.
    pub(super) set: usize,
    /// The CNAME that a server made from the DNAME: it is never signed.
    pub(super) synthesized: Option<usize>,
}

/// How the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In this RRset, of the type that was asked for.
    Data(usize),
    /// In what the last link made: a CNAME was asked for, or the name that a
    /// DNAME makes is too long (YXDOMAIN).
    Link,
    /// There is no such record.
    Denial,
    /// Nobody looked any further.
    Open,
}

/// How far a response counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of it.
    Whole,
    /// The first so many names of the chain: another zone has the next one.
    Aliases(usize),
}

/// Follows the chain through `sets` from `name`.
///
/// # Errors
/// It is too long, or a CNAME contradicts its DNAME.
pub(super) fn classify(
    sets: &[RrSet],
    name: &Name,
    rtype: u16,
    rcode: Rcode,
    scope: Scope,
) -> Result<Shape, Fault> {
    let mut shape = Shape {
        links: Vec::new(),
        name: name.clone(),
        end: End::Denial,
    };
    loop {
        if scope == Scope::Aliases(shape.links.len()) {
            shape.end = End::Open;
            return Ok(shape);
        }
        if let Some(set) = find(sets, &shape.name, rtype) {
            // What a DNAME above made is not a set of its own.
            if rtype != rtype::CNAME || dname_above(sets, &shape.name).is_none() {
                shape.end = End::Data(set);
                return Ok(shape);
            }
        }
        let Some((set, target)) = alias(sets, &shape.name) else {
            return Ok(shape);
        };
        if shape.links.len() == ALIASES {
            return Err(FaultKind::TooManyAliases.of(name, rtype::CNAME));
        }
        let is_dname = sets[set].rtype == rtype::DNAME;
        let cname = find(sets, &shape.name, rtype::CNAME);
        let made = is_dname.then_some(cname).flatten();
        if let (Some(made), Some(target)) = (made, &target)
            && sets[made].data != [target.as_wire()]
        {
            return Err(FaultKind::Rewrite.of(&shape.name, rtype::CNAME));
        }
        let link = Link {
            name: shape.name.clone(),
            set,
            synthesized: made,
        };
        shape.links.push(link);
        match target {
            Some(target) if rtype == rtype::CNAME && is_dname => {
                shape.name = target;
                shape.end = End::Link;
                return Ok(shape);
            }
            Some(target) => shape.name = target,
            // RFC 6672 §2.2: the name does not fit.
            None if rcode == Rcode::YXDOMAIN => {
                shape.end = End::Link;
                return Ok(shape);
            }
            None => return Err(FaultKind::Rewrite.of(&shape.name, rtype::CNAME)),
        }
    }
}

/// The alias at `name`, by the number of its set, and where it leads; nowhere
/// when that is too long to be a name.
fn alias(sets: &[RrSet], name: &Name) -> Option<(usize, Option<Name>)> {
    if let Some(at) = dname_above(sets, name) {
        return Some((at, rewrite(name, &sets[at])));
    }
    let at = find(sets, name, rtype::CNAME)?;
    let target = single(&sets[at])?;
    Some((at, Some(target)))
}

/// The closest DNAME above `name`.
fn dname_above(sets: &[RrSet], name: &Name) -> Option<usize> {
    let above = |set: &RrSet| {
        set.section == Section::Answer
            && set.rtype == rtype::DNAME
            && is_below(name.as_wire(), set.owner.as_wire())
            && single(set).is_some()
    };
    let candidates = sets.iter().enumerate().filter(|(_, set)| above(set));
    candidates
        .max_by_key(|(_, set)| set.owner.as_wire().len())
        .map(|(at, _)| at)
}

/// Puts the target of `dname` in the place of its owner at the end of `name`.
fn rewrite(name: &Name, dname: &RrSet) -> Option<Name> {
    let kept = name.as_wire().len() - dname.owner.as_wire().len();
    let target = single(dname)?;
    if kept + target.as_wire().len() > MAX_LEN {
        return None;
    }
    Name::from_wire(&[&name.as_wire()[..kept], target.as_wire()].concat())
}

/// The name in the only record of `set`.
fn single(set: &RrSet) -> Option<Name> {
    match &set.data[..] {
        [data] if plain_len(data) == Some(data.len()) => Name::from_wire(data),
        _ => None,
    }
}

fn find(sets: &[RrSet], name: &Name, rtype: u16) -> Option<usize> {
    sets.iter()
        .position(|set| set.section == Section::Answer && set.rtype == rtype && set.owner == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::tests::{a, cname, name as hickory_name, response};
    use crate::wire::response::Response;
    use hickory_proto::op::Message;
    use hickory_proto::rr::rdata::CNAME;
    use hickory_proto::rr::{RData, Record, RecordType};

    fn shape_of(
        rtype: RecordType,
        rcode: Rcode,
        scope: Scope,
        change: impl FnOnce(&mut Message),
    ) -> Result<Shape, FaultKind> {
        let wire = response(|message| {
            message.queries[0].set_query_type(rtype);
            change(message);
        });
        let sets = RrSet::all(&Response::parse(wire).unwrap());
        let name = Name::from_text("www.example").unwrap();
        classify(&sets, &name, rtype.into(), rcode, scope).map_err(|fault| fault.kind)
    }

    /// A DNAME has the data of a CNAME.
    fn dname(owner: &str, target: &str) -> Record {
        let mut data = Vec::new();
        for label in hickory_name(target).iter() {
            data.push(label.len() as u8);
            data.extend_from_slice(label);
        }
        data.push(0);
        let rdata = RData::Unknown {
            code: RecordType::Unknown(39),
            rdata: hickory_proto::rr::rdata::NULL::with(data),
        };
        Record::from_rdata(hickory_name(owner), 60, rdata)
    }

    fn whole(change: impl FnOnce(&mut Message)) -> Result<Shape, FaultKind> {
        shape_of(RecordType::A, Rcode::NOERROR, Scope::Whole, change)
    }

    fn names(shape: &Shape) -> Vec<String> {
        let links = shape.links.iter().map(|link| link.name.to_string());
        links.chain([shape.name.to_string()]).collect()
    }

    #[test]
    fn data_denials_and_chains_are_told_apart() {
        let data = whole(|message| {
            message.add_answer(a("www.example.", 60, 1));
        })
        .unwrap();
        assert_eq!((data.links.len(), data.end), (0, End::Data(0)));
        let denial = whole(|_| ()).unwrap();
        assert_eq!(denial.end, End::Denial);
        let chain = whole(|message| {
            message.add_answer(a("c.example.", 60, 1));
            message.add_answer(cname("b.example.", 60, "c.example."));
            message.add_answer(cname("www.example.", 60, "b.example."));
        })
        .unwrap();
        assert_eq!(names(&chain), ["www.example.", "b.example.", "c.example."]);
        assert_eq!(chain.end, End::Data(0), "in any order");
    }

    #[test]
    fn a_dname_rewrites_what_is_below_it() {
        let with = |target: &'static str| {
            whole(move |message| {
                message.add_answer(dname("example.", "other."));
                message.add_answer(cname("www.example.", 60, target));
                message.add_answer(a("www.other.", 60, 1));
            })
        };
        let good = with("www.other.").unwrap();
        assert_eq!(names(&good), ["www.example.", "www.other."]);
        assert_eq!(good.links[0].synthesized, Some(1));
        assert_eq!(good.end, End::Data(2));
        assert_eq!(with("evil.other."), Err(FaultKind::Rewrite));
    }

    #[test]
    fn a_cname_that_was_asked_for_is_data_unless_a_dname_made_it() {
        let asked = |with_dname: bool| {
            shape_of(RecordType::CNAME, Rcode::NOERROR, Scope::Whole, |message| {
                message.add_answer(cname("www.example.", 60, "www.other."));
                if with_dname {
                    message.add_answer(dname("example.", "other."));
                }
            })
            .unwrap()
        };
        assert_eq!(asked(false).end, End::Data(0));
        assert_eq!(asked(true).end, End::Link);
    }

    #[test]
    fn a_name_that_grows_too_long_needs_yxdomain() {
        let long = format!("{0}.{0}.{0}.{1}.", "x".repeat(63), "y".repeat(58));
        let grown = |rcode| {
            shape_of(RecordType::A, rcode, Scope::Whole, |message| {
                message.add_answer(dname("example.", &long));
            })
        };
        assert_eq!(grown(Rcode::YXDOMAIN).unwrap().end, End::Link);
        assert_eq!(grown(Rcode::NOERROR), Err(FaultKind::Rewrite));
    }

    #[test]
    fn a_loop_is_a_chain_that_is_too_long() {
        let looped = whole(|message| {
            message.add_answer(cname("www.example.", 60, "b.example."));
            message.add_answer(cname("b.example.", 60, "www.example."));
        });
        assert_eq!(looped, Err(FaultKind::TooManyAliases));
    }

    #[test]
    fn two_cnames_at_one_name_lead_nowhere() {
        let shape = whole(|message| {
            message.add_answer(cname("www.example.", 60, "b.example."));
            let other = RData::CNAME(CNAME(hickory_name("c.example.")));
            message.add_answer(Record::from_rdata(hickory_name("www.example."), 60, other));
        })
        .unwrap();
        assert_eq!((shape.links.len(), shape.end), (0, End::Denial));
    }

    #[test]
    fn only_as_many_aliases_count_as_the_zone_has() {
        let shape = shape_of(
            RecordType::A,
            Rcode::NOERROR,
            Scope::Aliases(1),
            |message| {
                message.add_answer(cname("www.example.", 60, "b.other."));
                message.add_answer(a("b.other.", 60, 1));
            },
        )
        .unwrap();
        assert_eq!((shape.links.len(), shape.end), (1, End::Open));
    }
}
