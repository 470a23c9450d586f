//! `deploy/images`: the same bytes each time, in archives that container tools read, with what is said of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::launch::{Launch, Output};
use tests::node::images::root;
use tests::place::Place;
use tests::{binaries, program};

use crate::scene::PACKING_DEADLINE;

#[tokio::test]
async fn the_same_programs_give_the_same_bytes() {
    let place = Place::loopback();
    let programs = program::path("rivers");
    let programs = programs.parent().unwrap();
    let first = images(&place, programs, "first").await.success();
    // Other files elsewhere, of another time.
    let copies = place.folder().join("programs");
    fs::create_dir(&copies).unwrap();
    for name in NAMES {
        fs::copy(programs.join(name), copies.join(name)).unwrap();
    }
    let second = images(&place, &copies, "second").await.success();
    for name in NAMES {
        let [one, other] = ["first", "second"].map(|folder| archive(&place, folder, name));
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{name}.tar differs"
        );
    }
    let digests = |said: &str| -> Vec<String> {
        let first_words = said.lines().filter_map(|line| line.split(' ').next());
        first_words.map(str::to_owned).collect()
    };
    assert_eq!(digests(&first).len(), NAMES.len(), "{first}");
    assert_eq!(digests(&first), digests(&second));
}

#[tokio::test]
async fn tools_read_the_archives_and_find_what_the_image_is_to_say() {
    let Some(tool) = binaries::packaged("buildah") else {
        return;
    };
    let place = Place::loopback();
    let programs = program::path("rivers");
    images(&place, programs.parent().unwrap(), "images")
        .await
        .success();
    let buildah = |arguments: &[&str]| {
        let folder = |name: &str| place.folder().join(name).display().to_string();
        Launch::new(&place, "buildah", &tool)
            .arg("--storage-driver=vfs")
            .arg(format!("--root={}", folder("storage")))
            .arg(format!("--runroot={}", folder("run")))
            .args(arguments)
    };
    for (name, user) in [
        ("rivers", "65532:65532"),
        ("control", "65532:65532"),
        ("nodedns", "0:0"),
    ] {
        let file = archive(&place, "images", name);
        // Both formats are in the archive.
        for format in ["oci-archive", "docker-archive"] {
            let from = format!("{format}:{}", file.display());
            buildah(&["pull", "--quiet", &from]).run().await.success();
        }
        let image = format!("localhost/{name}:{}", env!("CARGO_PKG_VERSION"));
        let said = buildah(&["inspect", "--type=image", &image]).run().await;
        let said: Value = serde_json::from_str(&said.success()).unwrap();
        let config = &said["OCIv1"]["config"];
        assert_eq!(config["User"], user);
        assert_eq!(config["Entrypoint"][0], format!("/usr/local/bin/{name}"));
        let labels = &config["Labels"];
        assert_eq!(labels["org.opencontainers.image.title"], name);
        assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");

        let container = buildah(&["from", &image]).run().await.success();
        let mounted = buildah(&["mount", container.trim()]).run().await.success();
        let files = PathBuf::from(mounted.trim());
        assert_bill(&files, name);
        assert_owner(&files, name, user);
        // It has all that it needs to run.
        let version = Launch::new(&place, name, Path::new("chroot"))
            .arg(&files)
            .args([&format!("/usr/local/bin/{name}"), "--version"])
            .run()
            .await
            .success();
        assert_eq!(
            version.trim(),
            format!("{name} {}", env!("CARGO_PKG_VERSION"))
        );
    }
}

/// The SBOM and the licences name all that the program is made of, and the texts are there.
fn assert_bill(files: &Path, name: &str) {
    let documents = files.join("usr/share/doc").join(name);
    let bill = fs::read_to_string(documents.join("sbom.cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["metadata"]["component"]["name"], name);
    let components = bill["components"].as_array().unwrap();
    let names: BTreeSet<&str> = components
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    for expected in ["daemon", "tokio", "rust-std", "glibc"] {
        assert!(names.contains(expected), "{expected} in {names:?}");
    }
    // Tests need it, the program does not.
    assert!(!names.contains("proptest"), "{names:?}");
    let licences = fs::read_to_string(documents.join("THIRD-PARTY")).unwrap();
    for component in components {
        let title = format!("{} {} (", component["name"], component["version"]).replace('"', "");
        assert!(licences.contains(&title), "{title} in THIRD-PARTY");
        assert_ne!(
            component["licenses"][0]["expression"], "NOASSERTION",
            "{title}"
        );
    }
    for text in [
        "Permission is hereby granted, free of charge",
        "Version 2.0, January 2004",
    ] {
        assert!(licences.contains(text), "{text}");
    }
    let missing = licences
        .lines()
        .find(|line| line.ends_with("no text of its own"));
    assert_eq!(missing, None);
}

/// A folder that the program writes to is its user's.
fn assert_owner(files: &Path, name: &str, user: &str) {
    if name == "control" {
        return;
    }
    let folder = files.join("var/lib").join(name).metadata().unwrap();
    assert_eq!(format!("{}:{}", folder.uid(), folder.gid()), user);
}

async fn images(place: &Place, programs: &Path, output: &str) -> Output {
    Launch::new(place, "images", &root().join("deploy/images"))
        .arg("--programs")
        .arg(programs)
        .arg("--output")
        .arg(place.folder().join(output))
        // cargo and rustc are the user's.
        .env("HOME", std::env::var_os("HOME").unwrap())
        .run_within(PACKING_DEADLINE)
        .await
}

fn archive(place: &Place, folder: &str, name: &str) -> PathBuf {
    place.folder().join(folder).join(format!("{name}.tar"))
}

const NAMES: [&str; 3] = ["rivers", "nodedns", "control"];
