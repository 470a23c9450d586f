//! Months of a trust point in microseconds, on a clock of the test's own.

use proptest::prelude::*;

use super::*;

/// A trust point, and its clock.
struct Zone {
    point: TrustPoint,
    now: Time,
}

const DAYS: Time = 24 * 3_600;

fn key(number: u8) -> Vec<u8> {
    vec![1, 1, 3, 13, number]
}

/// What is seen: these keys, these revoked ones, signed by these. Key 0 is configured.
fn seen(keys: &[u8], revoked: &[u8], vouchers: &[u8]) -> Observation {
    let all = |numbers: &[u8]| {
        let seen = numbers.iter().map(|number| Seen {
            data: key(*number),
            is_configured: *number == 0,
        });
        seen.collect()
    };
    Observation {
        keys: all(keys),
        revoked: all(revoked),
        vouchers: vouchers.iter().map(|number| key(*number)).collect(),
        original_ttl: 172_800,
        expires_in: 20 * 24 * 3_600,
    }
}

impl Zone {
    /// One whose configured key 0 is trusted.
    fn new() -> Self {
        let mut zone = Self {
            point: TrustPoint::default(),
            now: 1_800_000_000,
        };
        assert_eq!(zone.see(&[0], &[], &[0]), [(0, Event::Trusted)]);
        zone
    }

    fn see(&mut self, keys: &[u8], revoked: &[u8], vouchers: &[u8]) -> Vec<(u8, Event)> {
        let changes = self.point.see(&seen(keys, revoked, vouchers), self.now);
        let numbers = changes.iter().map(|change| (change.data[4], change.event));
        numbers.collect()
    }

    fn wait(&mut self, days: Time) {
        self.now += days * DAYS;
    }

    fn trusted(&self) -> Vec<u8> {
        self.point.trusted().map(|data| data[4]).collect()
    }

    fn state(&self, number: u8) -> Option<&State> {
        let mut keys = self.point.keys().iter();
        keys.find(|one| one.data == key(number))
            .map(|one| &one.state)
    }
}

#[test]
fn a_new_key_is_trusted_after_30_days_and_not_before() {
    let mut zone = Zone::new();
    let trusted_at = zone.now + 30 * DAYS;
    assert_eq!(
        zone.see(&[0, 1], &[], &[0]),
        [(1, Event::New { trusted_at })]
    );
    for _ in 0..29 {
        zone.wait(1);
        assert_eq!(zone.see(&[0, 1], &[], &[0]), []);
    }
    assert_eq!(zone.trusted(), [0]);
    zone.wait(1);
    assert_eq!(zone.trusted(), [0], "only when it is seen again");
    assert_eq!(zone.see(&[0, 1], &[], &[0]), [(1, Event::Trusted)]);
    assert_eq!(zone.trusted(), [0, 1]);
}

#[test]
fn the_hold_down_is_as_long_as_the_ttl_of_the_keys_if_that_is_longer_rfc_5011_2_4_1() {
    let mut point = TrustPoint::default();
    let long = Observation {
        original_ttl: 40 * 24 * 3_600,
        ..seen(&[0, 1], &[], &[0])
    };
    point.see(&long, 0);
    point.see(&long, 39 * DAYS);
    assert_eq!(point.trusted().count(), 1);
    point.see(&long, 40 * DAYS);
    assert_eq!(point.trusted().count(), 2);
}

#[test]
fn a_pending_key_that_goes_begins_anew_rfc_5011_2_2() {
    let mut zone = Zone::new();
    zone.see(&[0, 1], &[], &[0]);
    zone.wait(20);
    assert_eq!(zone.see(&[0], &[], &[0]), [(1, Event::Withdrawn)]);
    zone.wait(1);
    zone.see(&[0, 1], &[], &[0]);
    zone.wait(29);
    assert_eq!(zone.see(&[0, 1], &[], &[0]), []);
    zone.wait(1);
    assert_eq!(zone.see(&[0, 1], &[], &[0]), [(1, Event::Trusted)]);
}

#[test]
fn what_nobody_trusted_has_signed_changes_nothing() {
    let mut zone = Zone::new();
    assert_eq!(zone.see(&[1], &[], &[]), []);
    zone.see(&[0, 1], &[], &[0]);
    let before = zone.point.clone();
    assert_eq!(zone.see(&[2], &[], &[]), []);
    zone.wait(31);
    assert_eq!(zone.see(&[0, 1], &[], &[]), []);
    assert_eq!(zone.point, before);
}

#[test]
fn a_trusted_key_that_is_missing_stays_trusted() {
    let mut zone = Zone::new();
    zone.see(&[0, 1], &[], &[0]);
    zone.wait(30);
    zone.see(&[0, 1], &[], &[0]);
    assert_eq!(zone.see(&[1], &[], &[1]), [(0, Event::Missing)]);
    zone.wait(300);
    assert_eq!(zone.trusted(), [0, 1]);
    assert_eq!(zone.see(&[0, 1], &[], &[1]), [(0, Event::Back)]);
}

#[test]
fn a_revoked_key_is_never_trusted_again_be_it_configured_rfc_5011_2_1() {
    let mut zone = Zone::new();
    zone.see(&[0, 1], &[], &[0]);
    zone.wait(30);
    zone.see(&[0, 1], &[], &[0]);
    assert_eq!(zone.see(&[1], &[0], &[1]), [(0, Event::Revoked)]);
    assert_eq!(zone.trusted(), [1]);
    zone.wait(1);
    assert_eq!(zone.see(&[0, 1], &[], &[1]), [], "back without the bit");
    zone.wait(29);
    assert_eq!(zone.see(&[1], &[], &[1]), [(0, Event::Removed)]);
    zone.wait(100);
    assert_eq!(zone.see(&[0, 1], &[], &[1]), []);
    assert_eq!(zone.trusted(), [1]);
    let distrusted: Vec<_> = zone.point.distrusted().collect();
    assert_eq!(distrusted, [key(0)]);
}

#[test]
fn a_removed_key_stays_known_until_its_place_is_needed() {
    let mut zone = Zone::new();
    zone.see(&[0, 1], &[], &[0]);
    zone.wait(30);
    zone.see(&[0, 1], &[], &[0]);
    zone.see(&[0], &[1], &[0]);
    zone.wait(30);
    assert_eq!(zone.see(&[0], &[], &[0]), [(1, Event::Removed)]);
    assert_eq!(zone.see(&[0, 1], &[], &[0]), [], "it does not come back");
    let others: Vec<u8> = [0].into_iter().chain(2..=16).collect();
    zone.see(&others, &[], &[0]);
    assert_eq!(zone.state(1), None);
    assert_eq!(zone.point.keys().len(), MAX_KEYS);
}

#[test]
fn a_key_may_be_revoked_without_another_that_vouches() {
    let mut zone = Zone::new();
    assert_eq!(zone.see(&[], &[0], &[]), [(0, Event::Revoked)]);
    assert_eq!(zone.trusted(), [0; 0]);
    assert_eq!(
        zone.see(&[1], &[0], &[0]),
        [],
        "a revoked key vouches for none"
    );
}

#[test]
fn a_configured_key_that_is_revoked_when_first_seen_is_not_trusted() {
    let mut zone = Zone {
        point: TrustPoint::default(),
        now: 0,
    };
    assert_eq!(zone.see(&[], &[0], &[]), [(0, Event::Revoked)]);
    assert_eq!(zone.point.distrusted().count(), 1);
}

#[test]
fn a_stranger_that_is_revoked_means_nothing() {
    let mut zone = Zone::new();
    assert_eq!(zone.see(&[0], &[7], &[0]), []);
    assert_eq!(zone.state(7), None);
}

#[test]
fn a_pending_key_goes_when_all_who_vouched_are_revoked_rfc_5011_2_2() {
    let mut zone = Zone::new();
    zone.see(&[0, 1], &[], &[0]);
    zone.wait(30);
    zone.see(&[0, 1], &[], &[0]);
    // Both are trusted; 0 alone vouches for 2, both for 3.
    zone.see(&[0, 1, 2], &[], &[0]);
    zone.see(&[0, 1, 2, 3], &[], &[0, 1]);
    zone.wait(10);
    let trusted_at = zone.now + 30 * DAYS;
    assert_eq!(
        zone.see(&[1, 2, 3], &[0], &[1]),
        [
            (0, Event::Revoked),
            (2, Event::Withdrawn),
            (2, Event::New { trusted_at })
        ]
    );
    zone.wait(20);
    assert_eq!(
        zone.see(&[1, 2, 3], &[0], &[1]),
        [(3, Event::Trusted)],
        "2 waits 30 days from then"
    );
}

#[test]
fn a_rollover_of_the_root_is_followed_from_end_to_end() {
    let mut zone = Zone::new();
    // KSK-2017 to KSK-2024, in the root's own pace.
    let mut after = |days: Time, keys: &[u8], revoked: &[u8], voucher: u8| {
        zone.wait(days);
        zone.see(keys, revoked, &[voucher]);
        zone.trusted()
    };
    assert_eq!(after(0, &[0, 1], &[], 0), [0]);
    assert_eq!(after(31, &[0, 1], &[], 0), [0, 1]);
    assert_eq!(after(600, &[0, 1], &[], 1), [0, 1]);
    assert_eq!(after(90, &[1], &[0], 1), [1]);
    assert_eq!(after(90, &[1], &[], 1), [1]);
}

#[test]
fn more_keys_than_a_zone_has_take_no_more_memory() {
    let mut zone = Zone::new();
    let flood: Vec<u8> = (0..=255).collect();
    zone.see(&flood, &[], &[0]);
    assert_eq!(zone.point.keys().len(), MAX_KEYS);
}

#[test]
fn keys_are_asked_for_as_often_as_rfc_5011_2_3_says() {
    const HOURS: u32 = 3_600;
    let hours = |duration: Duration| duration.as_secs() / 3_600;
    let of_root = |rule: fn(u32, u32) -> Duration| hours(rule(48 * HOURS, 20 * 24 * HOURS));
    assert_eq!(of_root(query_interval), 24);
    assert_eq!(of_root(retry_interval), 4);
    for (ttl, expires_in, query, retry) in [
        (0, 0, 1, 1),
        (24 * HOURS, 4 * HOURS, 2, 1),
        (u32::MAX, u32::MAX, 360, 24),
    ] {
        assert_eq!(hours(query_interval(ttl, expires_in)), query);
        assert_eq!(hours(retry_interval(ttl, expires_in)), retry);
    }
}

proptest! {
    /// Whatever a zone shows: no key is trusted that was not configured, or vouched for by a trusted
    /// one 30 days before; and no key that was revoked while it was trusted.
    #[test]
    fn trust_is_earned_and_lost_for_good(
        steps in prop::collection::vec((0_u64..20, any::<u8>(), any::<u8>(), any::<u8>()), 0..60),
    ) {
        let bits = |set: u8| (0..8_u8).filter(move |bit| set & 1 << bit != 0).collect::<Vec<_>>();
        let mut zone = Zone::new();
        let mut first_vouched = [None; 8];
        let mut revoked_ever = [false; 8];
        for (days, keys, revoked, vouchers) in steps {
            zone.wait(days);
            let before = zone.trusted();
            // Only who is trusted vouches: that is verified before.
            let vouchers: Vec<u8> = bits(vouchers).into_iter().filter(|one| before.contains(one)).collect();
            let (keys, revoked) = (bits(keys & !revoked), bits(revoked));
            zone.see(&keys, &revoked, &vouchers);
            for one in &revoked {
                revoked_ever[usize::from(*one)] |= before.contains(one);
            }
            if !vouchers.is_empty() {
                for one in &keys {
                    first_vouched[usize::from(*one)].get_or_insert(zone.now);
                }
            }
            for one in zone.trusted() {
                prop_assert!(!revoked.contains(&one));
                let since = first_vouched[usize::from(one)];
                prop_assert!(one == 0 || since.is_some_and(|since| zone.now - since >= 30 * DAYS));
                prop_assert!(!revoked_ever[usize::from(one)]);
            }
            prop_assert!(zone.point.keys().len() <= MAX_KEYS);
        }
    }
}
