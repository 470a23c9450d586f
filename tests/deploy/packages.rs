//! `deploy/packages` and `deploy/release`: the same bytes each time, and packages that dpkg installs, upgrades and
//! takes away again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tests::launch::{Launch, Output};
use tests::node::images::root;
use tests::place::Place;
use tests::{binaries, program};

use crate::scene::PACKING_DEADLINE;

#[tokio::test]
async fn dpkg_installs_them_keeps_what_a_person_has_changed_and_takes_them_away() {
    let place = Place::loopback();
    let Some(unshare) = binaries::packaged("unshare") else {
        return;
    };
    let packages = place.folder().join("packages");
    deploy(&place, "packages")
        .arg("--output")
        .arg(&packages)
        .run_within(PACKING_DEADLINE)
        .await
        .success();
    let machine = place.folder().join("machine");
    fs::create_dir(&machine).unwrap();
    let output = Launch::new(&place, "dpkg", &unshare)
        .args(["--mount", "--propagation=private", "sh", "-ec", MACHINE])
        .args([&machine, &packages])
        .run()
        .await;
    if output.stderr.contains("no overlay") {
        binaries::skip("overlay", "a copy of this machine needs root and overlayfs");
        return;
    }
    let said = output.success();
    let steps: Vec<&str> = said.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        steps,
        [
            &format!("rivers {version}"),
            &format!("nodedns {version}"),
            &format!("control {version}"),
            "its flags are kept",
            "its configuration is kept",
            "nothing is left",
        ]
    );
}

/// A copy of this machine in memory, in which packages are installed: what is done there is gone at the end.
const MACHINE: &str = r#"
mount -t tmpfs tmpfs "$0"
cd "$0"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" root || { echo no overlay >&2; exit 1; }
mount --rbind /proc root/proc
mount --rbind /dev root/dev
mkdir root/packages
cp "$1"/*.deb root/packages
exec chroot root sh -ec '
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
dpkg -i /packages/*.deb >&2
for name in rivers nodedns control; do
  "/usr/bin/$name" --version
  systemd-analyze verify "/usr/lib/systemd/system/$name.service" >&2
done
# What is there at first is read: the one has an example, the other all it needs.
nodedns check >&2 || [ $? = 1 ]
rivers check >&2 || [ $? = 2 ]
echo RIVERS_FLAGS=--loglevel=debug >/etc/default/rivers
dpkg -i /packages/rivers_*.deb >&2
grep -q debug /etc/default/rivers && echo its flags are kept
dpkg -L rivers nodedns control | while read -r file; do [ -d "$file" ] || echo "$file"; done >/files
[ "$(wc -l </files)" -gt 30 ]
dpkg --remove rivers nodedns control >&2
[ ! -e /usr/bin/rivers ] && [ -e /etc/nodedns/nodedns.yml ] && echo its configuration is kept
dpkg --purge rivers nodedns control >&2
while read -r file; do [ ! -e "$file" ] || echo "$file is left"; done </files
[ ! -e /etc/rivers ] && [ ! -e /etc/nodedns ] && echo nothing is left
'
"#;

#[tokio::test]
async fn a_release_is_complete_and_the_same_each_time() {
    let place = Place::loopback();
    let (first, second) = (
        release(&place, "first").await,
        release(&place, "second").await,
    );
    assert_eq!(first, second);
    let version = env!("CARGO_PKG_VERSION");
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        _ => "arm64",
    };
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let expected: BTreeSet<String> = ["rivers", "nodedns", "control"]
        .into_iter()
        .flat_map(|name| {
            [
                format!("{name}-{version}-{triple}.tar.gz"),
                format!("{name}-{version}.image.tar"),
                format!("{name}-{version}.sbom.cdx.json"),
                format!("{name}_{version}_{architecture}.deb"),
            ]
        })
        .collect();
    let names = first.lines().filter_map(|line| line.split_once("  "));
    let names: BTreeSet<String> = names.map(|(_, name)| name.to_owned()).collect();
    assert_eq!(names, expected);

    // What would be written over is somebody's.
    let again = make_release(&place, "first").await;
    assert_eq!(again.code(), 2, "{again}");
    assert!(again.stderr.contains("is not empty"), "{again}");
}

/// Its checksums.
async fn release(place: &Place, folder: &str) -> String {
    make_release(place, folder).await.success()
}

async fn make_release(place: &Place, folder: &str) -> Output {
    deploy(place, "release")
        .arg("--output")
        .arg(place.folder().join(folder))
        .run_within(PACKING_DEADLINE)
        .await
}

/// A script, with our programs as the tests have them, and quick to pack.
fn deploy(place: &Place, script: &str) -> Launch {
    let programs: PathBuf = program::path("rivers");
    let programs: &Path = programs.parent().unwrap();
    Launch::new(place, script, &root().join("deploy").join(script))
        .arg("--programs")
        .arg(programs)
        // cargo and rustc are the user's.
        .env("HOME", std::env::var_os("HOME").unwrap())
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1")
}
