//! Nothing of ours is for one kind of processor: amd64 is tested, arm64 can be built.

use std::fs;
use std::path::Path;

use crate::{pure, workspace};

#[test]
fn no_code_is_for_one_processor() {
    let mut looked_at = 0;
    for package in workspace::packages() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        for file in pure::files_of(&manifest.with_file_name("src")) {
            let text = fs::read_to_string(&file).unwrap();
            let found: Vec<_> = WORDS.iter().filter(|word| text.contains(**word)).collect();
            assert!(found.is_empty(), "{}: {found:?}", file.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 200, "{looked_at} files");
}

const WORDS: [&str; 5] = [
    "target_arch",
    "target_feature",
    "core::arch",
    "std::arch",
    "global_asm!",
];
