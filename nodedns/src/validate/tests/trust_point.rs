//! What an answer for the keys of an anchor's zone is taken for (RFC 5011 §2).

use hickory_proto::rr::{Record, RecordType};

use super::some_time;
use super::world::{NOW, World, Zone, answer, parse};
use crate::anchors::rfc5011::{Observation, Time, TrustPoint};
use crate::anchors::{Anchor, Anchors, Trusted};
use crate::validate::budget::Budget;
use crate::validate::{FaultKind, Moment, Validator};
use crate::wire::name::Name;

/// What the validator of a world whose root is `zone` sees in these keys, signed by these.
fn observe(zone: &Zone, keys: &[&Zone], signers: &[&Zone]) -> Result<Observation, FaultKind> {
    let mut world = World::default();
    world.anchor(zone);
    observe_with(&world.validator(), zone, keys, signers, 0)
}

fn observe_with(
    validator: &Validator,
    configured: &Zone,
    keys: &[&Zone],
    signers: &[&Zone],
    later: u32,
) -> Result<Observation, FaultKind> {
    let moment = Moment {
        wall: NOW + later,
        instant: some_time(),
    };
    let message = answer(".", RecordType::DNSKEY, signed(keys, signers, later));
    validator.observe(
        &Name::root(),
        &[configured.anchor().trusted],
        &parse(&message),
        moment,
        &mut Budget::new(),
    )
}

fn signed(keys: &[&Zone], signers: &[&Zone], later: u32) -> Vec<Record> {
    let records: Vec<Record> = keys.iter().map(|key| key.key_record()).collect();
    let signatures = signers.iter().map(|signer| {
        let mut signed = signer.signed_with(records.clone(), &|input| {
            input.sig_inception = (NOW + later - 3_600).into();
            input.sig_expiration = (NOW + later + 3_600).into();
        });
        signed.pop().unwrap()
    });
    records.iter().cloned().chain(signatures).collect()
}

/// The keys' data, in the order of `zones`, as far as they are among `found`.
fn which<'a>(zones: &[(&'a str, &Zone)], found: impl Fn(&[u8]) -> bool) -> Vec<&'a str> {
    let data = |zone: &Zone| match zone.anchor().trusted {
        Trusted::Key(mut data) => {
            data[1] &= !128;
            data
        }
        Trusted::Ds { .. } => panic!("a key"),
    };
    let those = zones.iter().filter(|(_, zone)| found(&data(zone)));
    those.map(|(name, _)| *name).collect()
}

#[test]
fn keys_that_want_to_be_trusted_are_told_from_those_that_do_not() {
    let (root, next) = (Zone::new("."), Zone::new("."));
    let (zsk, host) = (Zone::with_flags(".", 256), Zone::with_flags(".", 1));
    let seen = observe(&root, &[&root, &next, &zsk, &host], &[&root, &zsk]).unwrap();
    let names = [
        ("root", &root),
        ("next", &next),
        ("zsk", &zsk),
        ("host", &host),
    ];
    let shown = which(&names, |data| seen.keys.iter().any(|key| key.data == data));
    assert_eq!(shown, ["root", "next"]);
    let configured = seen.keys.iter().filter(|key| key.is_configured).count();
    assert_eq!(configured, 1);
    let vouchers = which(&names, |data| seen.vouchers.iter().any(|one| one == data));
    assert_eq!(vouchers, ["root"], "who is not trusted vouches for nobody");
    assert_eq!((seen.original_ttl, seen.expires_in), (300, 3_600));
}

#[test]
fn what_no_trusted_key_has_signed_is_no_observation() {
    let (root, next) = (Zone::new("."), Zone::new("."));
    let unsigned = observe(&root, &[&root, &next], &[]);
    assert_eq!(unsigned, Err(FaultKind::SignatureMissing));
    let by_another = observe(&root, &[&root, &next], &[&next]);
    assert_eq!(by_another, Err(FaultKind::KeyUnknown));
    let replaced = observe(&root, &[&next], &[&next]);
    assert_eq!(replaced, Err(FaultKind::KeyMissing));
}

#[test]
fn a_revocation_counts_when_the_revoked_key_has_signed_it_rfc_5011_2_1() {
    let root = Zone::new(".");
    let (revoked, next) = (root.revoked(), Zone::new("."));
    let seen = observe(&root, &[&revoked, &next], &[&revoked, &next]).unwrap();
    let [only] = &seen.revoked[..] else {
        panic!("{seen:?}")
    };
    assert!(only.is_configured);
    assert_eq!(seen.vouchers, [[0; 0]; 0], "it vouches for nothing else");
    // Anybody can show a key with the bit set; only its owner can sign with it.
    let by_another = observe(&root, &[&root, &revoked, &next], &[&root, &next]).unwrap();
    assert_eq!(by_another.revoked, []);
    assert_eq!(by_another.vouchers.len(), 1);
}

/// From one key to another, and back to what the validator then says of answers.
#[test]
fn a_rollover_is_followed_by_what_is_judged() {
    let (old, new) = (Zone::new("."), Zone::new("."));
    let old_revoked = old.revoked();
    let mut world = World::default();
    world.anchor(&old);
    let validator = world.validator();
    let mut point = TrustPoint::default();
    let mut at = |days: u32, keys: &[&Zone], signers: &[&Zone]| {
        let later = days * 86_400;
        let seen = observe_with(&validator, &old, keys, signers, later).unwrap();
        point.see(&seen, Time::from(NOW + later));
        let trusted = point.trusted().map(|data| Anchor {
            zone: Name::root(),
            trusted: Trusted::Key(data.to_vec()),
        });
        let trusted: Vec<Anchor> = trusted.collect();
        validator.trust(Anchors::new(&trusted, []), &[Name::root()]);
        trusted
    };
    // In any order: that in which keys are seen goes by their random bytes.
    let is = |anchors: &[Anchor], keys: &[&Zone]| {
        let mut keys = keys.iter();
        anchors.len() == keys.len() && keys.all(|key| anchors.contains(&key.anchor()))
    };
    assert!(is(&at(0, &[&old, &new], &[&old]), &[&old]));
    assert!(is(&at(29, &[&old, &new], &[&old]), &[&old]));
    assert!(is(&at(30, &[&old, &new], &[&old]), &[&old, &new]));
    assert!(is(&at(60, &[&old, &new], &[&new]), &[&old, &new]));
    assert!(is(
        &at(90, &[&old_revoked, &new], &[&old_revoked, &new]),
        &[&new]
    ));
    let moment = 91 * 86_400;
    let by_old = observe_with(&validator, &old, &[&old, &new], &[&old], moment);
    assert_eq!(
        by_old,
        Err(FaultKind::KeyUnknown),
        "the revoked key signs in vain"
    );
}
