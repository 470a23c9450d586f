//! Files of resources, as a specification.

use std::fs;

use serde_json::json;

use super::*;

fn parsed(text: &str) -> Vec<Resource> {
    parse(Path::new("a.yml"), text.as_bytes()).unwrap()
}

fn error(text: &str) -> String {
    parse(Path::new("a.yml"), text.as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn each_document_is_an_object_with_its_place() {
    let text = "\
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: a, name: b}
data: {k: 'no'}
";
    let objects = parsed(text);
    let named: Vec<_> = objects
        .iter()
        .map(|r| format!("{} {}", r.source, r.object.key))
        .collect();
    assert_eq!(named, ["a.yml:1:1 Namespace a", "a.yml:5:1 ConfigMap a/b"]);
}

#[test]
fn a_list_stands_for_its_items() {
    let text = "apiVersion: v1\nkind: List\nitems:\n\
        - {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n\
        - {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n";
    assert_eq!(parsed(text).len(), 2);
}

#[test]
fn what_only_the_server_sets_is_left_out() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  uid: x\n  \
        resourceVersion: '1'\n  creationTimestamp: null\n  labels:\nstatus: {phase: Active}\n";
    assert_eq!(
        parsed(text)[0].object.content,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
    );
}

#[test]
fn what_is_no_object_is_named_with_its_place() {
    insta::assert_snapshot!(
        [
            "[]",
            "kind: A",
            "apiVersion: v1\nkind: A",
            "apiVersion: v1\nkind: A\nmetadata: {name: 5}",
            "apiVersion: v1\nkind: A\nmetadata: {name: ''}",
            "apiVersion: v1\nkind: A\nmetadata: {generateName: a}",
            "---\napiVersion: v1\nkind: A\nmetadata: {name: a, labels: {x: yes}}",
            "apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: [x]}",
            "a: 1\na: 2",
            "a:\n\t- 1",
            "a: *b",
        ]
        .map(error)
        .join("\n")
    );
}

#[test]
fn binary_is_named_with_its_place() {
    let error = parse(Path::new("a.yml"), b"a: 1\nb: \xff\xfe").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.yml:2:4: is not UTF-8 text; is this a binary file?"
    );
    assert!(parse(Path::new("a.yml"), b"\0\0\0").is_err());
}

#[test]
fn a_directory_is_read_in_the_order_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, object: &str| {
        let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {object}}}\n");
        fs::write(folder.path().join(name), text).unwrap();
    };
    fs::create_dir(folder.path().join("c")).unwrap();
    write("b.yaml", "second");
    write("a.yml", "first");
    write("c/a.json", "third");
    write(".hidden.yml", "hidden");
    write("README.md", "prose");
    let names: Vec<_> = Resources::read(folder.path())
        .unwrap()
        .objects
        .into_iter()
        .map(|r| r.object.key.name)
        .collect();
    assert_eq!(names, ["first", "second", "third"]);

    write("d.yml", "first");
    let error = Resources::read(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("d.yml:1:1: Namespace first is at "),
        "{error}"
    );
    assert!(error.contains("a.yml:1:1 too; remove one"), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_one_sentence() {
    let error = Resources::read(Path::new("/nonexistent")).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent: no such file or directory");
}

#[test]
fn a_huge_file_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("huge.yml")).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = Resources::read(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("huge.yml: is 1099511627776 bytes long"),
        "{error}"
    );
}

#[test]
fn the_seeds_of_the_fuzz_target_are_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/resources");
    let mut taken = 0;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        for resource in parse(&file, &fs::read(&file).unwrap())
            .into_iter()
            .flatten()
        {
            taken += 1;
            let json = resource.object.content.to_string();
            assert_eq!(parsed(&json)[0].object, resource.object, "{file:?}");
        }
    }
    assert!(taken >= 3, "{taken}");
}
