use serde_json::{Map, Value, json};

use super::*;

fn key(name: &str, provider: Provider) -> Key {
    Key {
        name: name.to_owned(),
        provider,
        secret: Secret::from(format!("canary-{name}")),
    }
}

fn settled(keys: &[(&str, Provider)]) -> Keyring {
    Keyring {
        keys: keys.iter().map(|(name, of)| key(name, *of)).collect(),
        step: Step::Settled,
    }
}

/// The order of the providers and keys in the file.
fn order(keyring: &Keyring) -> Vec<String> {
    let text = configuration::render(keyring);
    let file: Value =
        daemon::config_file::parse("test".as_ref(), text.expose()).expect("it is YAML");
    assert_eq!(file["resources"][0]["resources"], json!(["secrets"]));
    let providers = file["resources"][0]["providers"].as_array().unwrap();
    let mut order = Vec::new();
    for provider in providers {
        let (word, body) = provider.as_object().unwrap().iter().next().unwrap();
        match body["keys"].as_array() {
            None => order.push(word.clone()),
            Some(keys) => {
                order.extend(
                    keys.iter()
                        .map(|key| format!("{word} {}", key["name"].as_str().unwrap())),
                );
            }
        }
    }
    order
}

#[test]
fn a_key_writes_only_after_all_can_read_it_and_goes_last() {
    let mut keyring = settled(&[("old", Provider::Aescbc)]);
    assert_eq!(order(&keyring), ["aescbc old", "identity"]);
    keyring.rotate(key("new", Provider::Aescbc)).unwrap();
    for (step, expected) in [
        (Step::Adding, &["aescbc old", "aescbc new", "identity"][..]),
        (Step::Promoting, &["aescbc new", "aescbc old", "identity"]),
        (Step::Rewriting, &["aescbc new", "aescbc old", "identity"]),
        (Step::Dropping, &["aescbc new", "identity"]),
        (Step::Settled, &["aescbc new", "identity"]),
    ] {
        assert_eq!(keyring.step, step);
        assert_eq!(order(&keyring), expected, "{step:?}");
        assert_eq!(keyring.newest().name, "new");
        keyring.advance();
    }
    assert_eq!(keyring.step, Step::Settled);
    assert_eq!(keyring.keys.len(), 1);
}

#[test]
fn the_first_key_of_a_cluster_begins_behind_identity() {
    let mut keyring = Keyring::first(key("new", Provider::Secretbox));
    assert_eq!(order(&keyring), ["identity", "secretbox new"]);
    keyring.advance();
    assert_eq!(order(&keyring), ["secretbox new", "identity"]);
}

#[test]
fn the_provider_may_change_with_the_key() {
    let mut keyring = settled(&[("b", Provider::Aescbc), ("a", Provider::Aescbc)]);
    keyring.rotate(key("c", Provider::Secretbox)).unwrap();
    assert_eq!(
        order(&keyring),
        ["aescbc b", "aescbc a", "secretbox c", "identity"]
    );
    keyring.advance();
    assert_eq!(
        order(&keyring),
        ["secretbox c", "aescbc b", "aescbc a", "identity"]
    );
}

#[test]
fn a_second_rotation_is_refused_at_every_step_of_the_first() {
    let mut keyring = settled(&[("old", Provider::Aescbc)]);
    keyring.rotate(key("new", Provider::Aescbc)).unwrap();
    while keyring.step != Step::Settled {
        let before = order(&keyring);
        assert!(keyring.rotate(key("newer", Provider::Aescbc)).is_err());
        assert_eq!(order(&keyring), before);
        keyring.advance();
    }
    keyring.rotate(key("newer", Provider::Aescbc)).unwrap();
}

#[test]
fn any_two_neighbouring_steps_read_what_the_other_one_writes() {
    for first in [true, false] {
        let mut keyring = if first {
            Keyring::first(key("new", Provider::Aescbc))
        } else {
            let mut keyring = settled(&[("old", Provider::Aescbc)]);
            keyring.rotate(key("new", Provider::Aescbc)).unwrap();
            keyring
        };
        // Before the first step a cluster without a key writes and reads plain text.
        let mut before = match first {
            true => vec!["identity".to_owned()],
            false => vec!["aescbc old".to_owned(), "identity".to_owned()],
        };
        while keyring.step != Step::Settled {
            let now = order(&keyring);
            assert!(now.contains(&before[0]), "{now:?} reads {before:?}");
            assert!(before.contains(&now[0]), "{before:?} reads {now:?}");
            before = now;
            keyring.advance();
        }
    }
}

#[test]
fn what_is_kept_is_read_back_at_every_step() {
    let mut keyring = settled(&[("old", Provider::Aescbc)]);
    keyring.rotate(key("new", Provider::Secretbox)).unwrap();
    let mut fields = Map::from_iter([("theirs".to_owned(), json!("stays"))]);
    loop {
        kept::put(&keyring, &mut fields);
        assert_eq!(fields["theirs"], "stays");
        let read = kept::parse(&fields).unwrap().unwrap();
        assert_eq!(read.step, keyring.step);
        assert_eq!(order(&read), order(&keyring));
        if keyring.step == Step::Settled {
            return;
        }
        keyring.advance();
    }
}

#[test]
fn ckes_own_keys_are_settled() {
    assert!(kept::parse(&Map::new()).unwrap().is_none());
    let listed = r#"{"keys":[{"name":"2024-01-01T00:00:00Z","secret":"bmV3"},{"name":"2023-01-01T00:00:00Z","secret":"b2xk"}]}"#;
    let fields = Map::from_iter([("aescbc".to_owned(), json!(listed))]);
    let keyring = kept::parse(&fields).unwrap().unwrap();
    assert_eq!(keyring.step, Step::Settled);
    assert_eq!(keyring.newest().name, "2024-01-01T00:00:00Z");
    let mut again = Map::new();
    kept::put(&keyring, &mut again);
    assert_eq!(again["aescbc"], listed, "CKE reads it as it wrote it");
}

#[test]
fn keys_that_were_changed_behind_our_back_are_damaged() {
    let mut fields = Map::new();
    kept::put(&settled(&[("a", Provider::Aescbc)]), &mut fields);
    for (field, content) in [
        ("aescbc", json!("{\"keys\":[]}")),
        (
            "aescbc",
            json!("{\"keys\":[{\"name\":\"b\",\"secret\":\"\"}]}"),
        ),
        ("aescbc", json!(7)),
        ("control", json!("")),
        ("control", json!("{\"step\":\"flying\",\"order\":[\"a\"]}")),
        ("control", json!("{\"step\":\"settled\",\"order\":[]}")),
        (
            "control",
            json!("{\"step\":\"settled\",\"order\":[\"a\",\"a\"]}"),
        ),
    ] {
        let mut damaged = fields.clone();
        damaged.insert(field.to_owned(), content.clone());
        assert!(kept::parse(&damaged).is_err(), "{field}: {content}");
    }
}

#[test]
fn a_file_with_a_key_that_the_store_lacks_is_foreign() {
    let mut keyring = settled(&[("old", Provider::Aescbc)]);
    let plain = configuration::render(&keyring);
    keyring.rotate(key("new", Provider::Aescbc)).unwrap();
    while keyring.step != Step::Settled {
        assert_eq!(configuration::foreign(&plain, &keyring), None);
        keyring.advance();
    }
    let lost = configuration::foreign(&plain, &keyring).unwrap();
    assert!(lost.contains("the store does not have"), "{lost}");
    let same_name = plain.expose().replace("canary-old", "canary-other");
    let old = settled(&[("old", Provider::Aescbc)]);
    assert!(configuration::foreign(&Secret::from(same_name), &old).is_some());
    for text in ["", "{", "kind: EncryptionConfiguration", "- kms: {}"] {
        let text = Secret::from(text.to_owned());
        assert!(configuration::foreign(&text, &old).is_some());
    }
}

#[test]
fn a_hash_is_the_api_servers() {
    assert_eq!(
        configuration::hash(&Secret::from("abc".to_owned())),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn a_name_is_the_time_and_nobody_elses() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let taken = settled(&[("2027-01-15T08:00:00Z", Provider::Aescbc)]);
    assert_eq!(taken.new_name(now), "2027-01-15T08:00:01Z");
    assert_eq!(name(1_800_000_000), "2027-01-15T08:00:00Z");
}

#[test]
fn keys_are_in_no_debug_text() {
    let keyring = settled(&[("a", Provider::Aescbc)]);
    assert!(!format!("{keyring:?}").contains("canary"));
}
