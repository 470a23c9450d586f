//! Signed zones in memory for the tests: keys made on the spot, and signatures
//! made by another implementation over another reading of the canonical form.

use std::collections::HashMap;
use std::time::Duration;

use hickory_proto::dnssec::crypto::{EcdsaSigningKey, Ed25519SigningKey};
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, NSEC, RRSIG, SigInput};
use hickory_proto::dnssec::{
    Algorithm, DigestType, DnssecSigner, PublicKey as _, PublicKeyBuf, SigningKey as _, TBS,
};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name as HickoryName, RData, Record, RecordType};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::anchors::{Anchor, Anchors, Trusted};
use crate::validate::budget::Budget;
use crate::validate::{Judged, Moment, Need, Policy, Scope, Step, Validator, Verdict};
use crate::wire::name::Name;
use crate::wire::record::tests::soa;
use crate::wire::response::Response;

/// The calendar's time in all tests.
pub(super) const NOW: u32 = 1_800_000_000;

/// The TTL of all records.
pub(super) const TTL: u32 = 300;

/// A zone with one key.
pub(super) struct Zone {
    pub(super) name: HickoryName,
    pub(super) dnskey: DNSKEY,
    signer: DnssecSigner,
    /// Its private key, if it is one of P-256.
    pkcs8: Option<PrivatePkcs8KeyDer<'static>>,
}

/// What is changed about a signature before it is made.
pub(super) type Change<'a> = &'a dyn Fn(&mut SigInput);

impl Zone {
    pub(super) fn new(name: &str) -> Self {
        Self::with_flags(name, 257)
    }

    pub(super) fn with_flags(name: &str, flags: u16) -> Self {
        let algorithm = Algorithm::ECDSAP256SHA256;
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(algorithm).unwrap();
        let key = EcdsaSigningKey::from_pkcs8(&pkcs8, algorithm).unwrap();
        let public = key.to_public_key().unwrap();
        Self {
            pkcs8: Some(pkcs8),
            ..Self::of(name, flags, public, Box::new(key))
        }
    }

    /// A zone whose key is the last of those that are made from it, see
    /// [`Zone::keys_with_the_same_tag`]: which key is tried first goes by the canonical order.
    pub(super) fn with_a_late_key(name: &str) -> Self {
        let high = |zone: &Self| zone.dnskey.public_key().public_bytes()[0] >= 0x80;
        let mut zones = std::iter::repeat_with(|| Self::new(name));
        zones.find(high).unwrap()
    }

    pub(super) fn with_ed25519(name: &str) -> Self {
        let pkcs8 = Ed25519SigningKey::generate_pkcs8().unwrap();
        let key = Ed25519SigningKey::from_pkcs8(&pkcs8).unwrap();
        let public = key.to_public_key().unwrap();
        Self::of(name, 257, public, Box::new(key))
    }

    fn of(
        name: &str,
        flags: u16,
        public: PublicKeyBuf,
        key: Box<dyn hickory_proto::dnssec::SigningKey>,
    ) -> Self {
        let dnskey = DNSKEY::with_flags(flags, public);
        let name = self::name(name);
        let day = Duration::from_secs(86_400);
        Self {
            signer: DnssecSigner::new(dnskey.clone(), key, name.clone(), day),
            name,
            dnskey,
            pkcs8: None,
        }
    }

    /// The same key with the REVOKE bit, which still signs (RFC 5011 §2.1).
    pub(super) fn revoked(&self) -> Self {
        let flags = self.dnskey.flags() | 128;
        let pkcs8 = self.pkcs8.as_ref().expect("a key of P-256");
        let algorithm = Algorithm::ECDSAP256SHA256;
        let key = EcdsaSigningKey::from_pkcs8(pkcs8, algorithm).unwrap();
        let public = key.to_public_key().unwrap();
        Self::of(&self.name.to_ascii(), flags, public, Box::new(key))
    }

    /// The records with their signature.
    pub(super) fn signed(&self, records: Vec<Record>) -> Vec<Record> {
        self.signed_with(records, &|_| ())
    }

    /// The records with a signature that is changed before it is made.
    pub(super) fn signed_with(&self, records: Vec<Record>, change: Change<'_>) -> Vec<Record> {
        let (owner, ttl) = (records[0].name.clone(), records[0].ttl);
        let mut input = SigInput {
            type_covered: records[0].record_type(),
            algorithm: self.signer.key().algorithm(),
            num_labels: owner.num_labels(),
            original_ttl: ttl,
            sig_expiration: (NOW + 3_600).into(),
            sig_inception: (NOW - 3_600).into(),
            key_tag: self.dnskey.calculate_key_tag().unwrap(),
            signer_name: self.name.clone(),
        };
        change(&mut input);
        let tbs = TBS::from_input(&owner, DNSClass::IN, &input, records.iter())
            .unwrap_or_else(|_| TBS::from(&b""[..]));
        let signature = self.signer.sign(&tbs).unwrap();
        let rrsig = RRSIG::from_sig(input, signature);
        let rdata = RData::DNSSEC(DNSSECRData::RRSIG(rrsig));
        let mut all = records;
        all.push(Record::from_rdata(owner, ttl, rdata));
        all
    }

    pub(super) fn key_record(&self) -> Record {
        let rdata = RData::DNSSEC(DNSSECRData::DNSKEY(self.dnskey.clone()));
        Record::from_rdata(self.name.clone(), TTL, rdata)
    }

    /// So many other keys that have the tag of this zone's own, and come before it in the canonical
    /// order: the tag is a sum of pairs of bytes, and does not mind their order.
    pub(super) fn keys_with_the_same_tag(&self, count: usize) -> Vec<Record> {
        let own = self.dnskey.public_key().public_bytes();
        let mut sorted: Vec<&[u8]> = own.chunks(2).collect();
        sorted.sort_unstable();
        assert!(
            sorted[0] < &own[..2],
            "no other order comes before this key"
        );
        let keys = (0..count).map(|number| {
            let mut pairs = sorted.clone();
            let rest = &mut pairs[1..];
            let (one, other) = (number % rest.len(), number / rest.len());
            rest.rotate_left(one);
            rest.swap(0, 1 + other);
            let public = PublicKeyBuf::new(pairs.concat(), Algorithm::ECDSAP256SHA256);
            let key = DNSKEY::with_flags(257, public);
            let rdata = RData::DNSSEC(DNSSECRData::DNSKEY(key));
            Record::from_rdata(self.name.clone(), TTL, rdata)
        });
        keys.collect()
    }

    /// The DS record that the parent has of this zone.
    pub(super) fn ds(&self) -> Record {
        let digest = self
            .dnskey
            .to_digest(&self.name, DigestType::SHA256)
            .unwrap();
        let ds = DS::new(
            self.dnskey.calculate_key_tag().unwrap(),
            self.signer.key().algorithm(),
            DigestType::SHA256,
            digest.as_ref().to_vec(),
        );
        Record::from_rdata(self.name.clone(), TTL, RData::DNSSEC(DNSSECRData::DS(ds)))
    }

    /// The anchor for this zone.
    pub(super) fn anchor(&self) -> Anchor {
        let data = hickory_proto::serialize::binary::BinEncodable::to_bytes(&self.dnskey);
        Anchor {
            zone: Name::from_text(&self.name.to_ascii()).unwrap(),
            trusted: Trusted::Key(data.unwrap()),
        }
    }

    pub(super) fn nsec(&self, owner: &str, next: &str, types: &[RecordType]) -> Vec<Record> {
        let nsec = NSEC::new(name(next), types.iter().copied());
        let rdata = RData::DNSSEC(DNSSECRData::NSEC(nsec));
        self.signed(vec![Record::from_rdata(name(owner), TTL, rdata)])
    }

    pub(super) fn soa(&self) -> Vec<Record> {
        self.signed(vec![soa(&self.name.to_ascii(), TTL, 60)])
    }
}

/// What servers answer, by question.
#[derive(Default)]
pub(super) struct World {
    answers: HashMap<(String, u16), Message>,
    anchors: Vec<Anchor>,
    pub(super) negative: Vec<Name>,
    /// How many questions of the chain of trust were asked.
    pub(super) asked: usize,
    /// Seconds by which the calendar is off.
    pub(super) wall: u32,
}

impl World {
    /// A root with a signed `example.`, as most tests need.
    pub(super) fn with_example() -> (Self, Zone, Zone) {
        let (root, example) = (Zone::new("."), Zone::new("example."));
        let mut world = Self::default();
        world.anchor(&root);
        world.keys(&root);
        world.delegate(&root, &example);
        (world, root, example)
    }

    pub(super) fn anchor(&mut self, zone: &Zone) {
        self.anchors.push(zone.anchor());
    }

    /// `zone` answers for its DNSKEY.
    pub(super) fn keys(&mut self, zone: &Zone) {
        let records = zone.signed(vec![zone.key_record()]);
        let owner = zone.name.to_ascii();
        self.says(answer(&owner, RecordType::DNSKEY, records));
    }

    /// `parent` has the DS of `child`, which has its keys.
    pub(super) fn delegate(&mut self, parent: &Zone, child: &Zone) {
        let owner = child.name.to_ascii();
        self.says(answer(
            &owner,
            RecordType::DS,
            parent.signed(vec![child.ds()]),
        ));
        self.keys(child);
    }

    /// `parent` says with an NSEC of these types that `name` has no DS.
    pub(super) fn no_ds(&mut self, parent: &Zone, name: &str, types: &[RecordType]) {
        let next = format!("0.{name}");
        let mut message = answer(name, RecordType::DS, Vec::new());
        message.authorities = [parent.soa(), parent.nsec(name, &next, types)].concat();
        self.says(message);
    }

    pub(super) fn says(&mut self, message: Message) {
        let query = &message.queries[0];
        let key = (query.name().to_ascii(), query.query_type().into());
        self.answers.insert(key, message);
    }

    /// All that servers answer.
    pub(super) fn answers(&self) -> impl Iterator<Item = &Message> {
        self.answers.values()
    }

    pub(super) fn validator(&self) -> Validator {
        Validator::new(Anchors::new(&self.anchors, &self.negative), POLICY)
    }

    /// Judges with a validator that knows nothing yet.
    pub(super) fn judge(&mut self, message: &Message) -> Verdict {
        let validator = self.validator();
        self.judge_with(&validator, message, true).0
    }

    pub(super) fn judge_with(
        &mut self,
        validator: &Validator,
        message: &Message,
        dnssec_ok: bool,
    ) -> (Verdict, Judged) {
        let response = parse(message);
        let mut budget = Budget::new();
        let moment = Moment {
            wall: NOW.wrapping_add(self.wall),
            instant: super::some_time(),
        };
        loop {
            match validator.judge(&response, Scope::Whole, dnssec_ok, moment, &mut budget) {
                Step::Done(verdict, judged) => return (verdict, judged),
                Step::Ask(need) => {
                    self.asked += 1;
                    validator.learn(
                        &need,
                        &parse(&self.answer(&need)),
                        true,
                        moment,
                        &mut budget,
                    );
                }
            }
        }
    }

    fn answer(&self, need: &Need) -> Message {
        let key = (need.name.to_string(), need.rtype);
        let known = self.answers.get(&key).cloned();
        known.unwrap_or_else(|| answer(&key.0, need.rtype.into(), Vec::new()))
    }
}

const POLICY: Policy = Policy {
    sha1: false,
    nsec3_max_iterations: 50,
};

pub(super) fn answer(owner: &str, rtype: RecordType, records: Vec<Record>) -> Message {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name(owner), rtype));
    message.metadata.response_code = ResponseCode::NoError;
    message.answers = records;
    message
}

/// The answer that there is nothing, with these records as the proof.
pub(super) fn denial(
    owner: &str,
    rtype: RecordType,
    code: ResponseCode,
    proof: Vec<Record>,
) -> Message {
    let mut message = answer(owner, rtype, Vec::new());
    message.metadata.response_code = code;
    message.authorities = proof;
    message
}

pub(super) fn name(text: &str) -> HickoryName {
    HickoryName::from_ascii(text).unwrap()
}

pub(super) fn parse(message: &Message) -> Response {
    Response::parse(message.to_vec().unwrap()).unwrap()
}
