//! The files that decide do so without I/O, without async and without a clock: only then can a
//! simulator drive them, and a test try what a network would take hours for.

use std::fs;
use std::path::{Path, PathBuf};

/// The subjects, each a file `NAME.rs` and a folder `NAME` beside it.
const SUBJECTS: [&str; 20] = [
    "control/src/desired",
    "control/src/encryption",
    "control/src/installed",
    "control/src/inventory",
    "control/src/kind",
    "control/src/lease",
    "control/src/observed",
    "control/src/pki",
    "control/src/plan",
    "control/src/rollout",
    "nodedns/src/recurse/course",
    "nodedns/src/recurse/referral",
    "nodedns/src/recurse/scrub",
    "nodedns/src/resolve/tree",
    "nodedns/src/upstream/authority",
    "nodedns/src/upstream/standing",
    "nodedns/src/validate",
    "nodedns/src/wire",
    "rivers/src/close",
    "rivers/src/decide",
];

/// What none of them may name, with the way out.
const BANNED: [(&str, &str); 12] = [
    ("tokio", "async belongs to the caller"),
    ("async ", "async belongs to the caller"),
    (".await", "async belongs to the caller"),
    ("Instant::now", "take the time as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    (".elapsed()", "take the time as an argument"),
    ("TcpStream", "sockets belong to the caller"),
    ("TcpListener", "sockets belong to the caller"),
    ("UdpSocket", "sockets belong to the caller"),
    ("std::fs", "take the content as an argument"),
    ("std::env", "take the value as an argument"),
    ("std::thread", "threads belong to the caller"),
];

#[test]
fn pure_files_name_no_io_no_async_and_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for subject in SUBJECTS {
        let files = files_of(&root.join(subject));
        assert!(
            !files.is_empty(),
            "{subject}.rs is gone: say here where its subject went"
        );
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let name = file.strip_prefix(root).unwrap().display();
            found.extend(offences(&text).map(|(line, why)| format!("{name}:{line}: {why}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_offence_is_found_in_code_but_not_in_comments_and_tests() {
    let text = "//! No tokio here.\nfn a() {} // nor tokio\nlet now = Instant::now();\n\
        #[cfg(test)]\nlet now = Instant::now();\n";
    assert_eq!(
        offences(text).map(|(line, _)| line).collect::<Vec<_>>(),
        [3]
    );
}

/// Numbers of the lines that name what they may not, and why not. Tests, which come last, may: a
/// point in time to start from is to be had from the clock alone.
fn offences(text: &str) -> impl Iterator<Item = (usize, String)> {
    let code = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .map(|line| line.split_once("//").map_or(line, |(code, _comment)| code));
    (1..).zip(code).flat_map(|(number, code)| {
        let banned = BANNED.iter().filter(move |(word, _)| code.contains(word));
        banned.map(move |(word, why)| (number, format!("`{word}`: {why}")))
    })
}

/// `NAME.rs` and all Rust files below `NAME`, less those of tests.
pub(crate) fn files_of(subject: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let own = subject.with_extension("rs");
    if own.exists() {
        files.push(own);
    }
    let mut folders = vec![subject.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                if !path.ends_with("tests") {
                    folders.push(path);
                }
            } else if path.extension() == Some("rs".as_ref()) && !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    files
}
