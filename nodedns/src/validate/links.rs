//! The chain of trust above a name, as far as it is known: for people.

use std::fmt;

use std::sync::PoisonError;

use crate::anchors::Governing;
use crate::validate::verdict::{Fault, Insecure};
use crate::validate::zones::Cut;
use crate::validate::{Moment, Validator};
use crate::wire::name::{Name, suffixes};

/// One zone on the way down to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrustLink {
    pub(crate) zone: Name,
    pub(crate) state: State,
    /// Whether trust begins here, because a person or this program says so.
    pub(crate) is_anchor: bool,
}

/// What is known of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// So many keys, which are those that its parent or an anchor names.
    Secure(usize),
    /// It is signed; its keys were not asked for.
    Signed,
    /// It need not be signed, nor need anything below.
    Insecure(Insecure),
    /// It must be signed, and is not rightly so.
    Bogus(Fault),
    /// A negative anchor is set here.
    NotValidated,
}

impl State {
    /// The one word for it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Secure(_) => "secure",
            Self::Signed => "signed",
            Self::Insecure(_) | Self::NotValidated => "insecure",
            Self::Bogus(_) => "bogus",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure(1) => f.write_str("1 key"),
            Self::Secure(keys) => write!(f, "{keys} keys"),
            Self::Signed => f.write_str("its parent has a DS"),
            Self::Insecure(insecure) => write!(f, "{insecure}"),
            Self::Bogus(fault) => write!(f, "{fault}"),
            Self::NotValidated => f.write_str("a negative trust anchor is set"),
        }
    }
}

impl Validator {
    /// The zones above and at `name` of which something is known at `moment`, the
    /// topmost first. Names that are no zones are left out.
    pub(crate) fn links(&self, name: &Name, moment: Moment) -> Vec<TrustLink> {
        let anchors = self.anchors.read().unwrap_or_else(PoisonError::into_inner);
        let top = match anchors.governing(name.as_wire()) {
            Governing::Keys(top, _) => top,
            Governing::Negative(top) => {
                let zone = Name::from_wire(top).unwrap_or_else(Name::root);
                return vec![TrustLink {
                    zone,
                    state: State::NotValidated,
                    is_anchor: true,
                }];
            }
            Governing::Nothing => return Vec::new(),
        };
        let known = suffixes(name.as_wire())
            .take_while(|suffix| suffix.len() >= top.len())
            .filter_map(|suffix| {
                let state = match self.zones.get(suffix, moment.instant)? {
                    Cut::Secure(keys) => State::Secure(keys.len()),
                    Cut::Signed(_) => State::Signed,
                    Cut::Insecure(insecure) => State::Insecure(insecure),
                    Cut::Bogus(fault) => State::Bogus(fault),
                    Cut::Inside { .. } => return None,
                };
                Some(TrustLink {
                    zone: Name::from_wire(suffix)?,
                    state,
                    is_anchor: suffix.len() == top.len(),
                })
            });
        let mut links: Vec<TrustLink> = known.collect();
        links.reverse();
        links
    }
}
