#!/usr/bin/env python3
"""Writes what a program is made of: an SBOM in CycloneDX 1.5, and the licences of all of it with their texts.

usage: notices.py PROGRAM TARGET SBOM NOTICES

Reads `cargo metadata` of the locked dependencies and, for the texts, the sources that cargo keeps; nothing of
this machine gets into the files. What only the build needs (derive macros, say) counts, for what it generates is in
the program; what only tests need does not.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone


def metadata(target):
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def packages_of(program, known):
    """The package of the program, then all that it is made of, by name and version; and who needs whom."""
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    [root] = [i for i in known["workspace_members"] if packages[i]["name"] == program]
    needs, waiting = {}, [root]
    while waiting:
        current = waiting.pop()
        if current in needs:
            continue
        needs[current] = sorted(
            dependency["pkg"]
            for dependency in nodes[current]["deps"]
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        )
        waiting.extend(needs[current])
    others = sorted(needs.keys() - {root}, key=lambda i: (packages[i]["name"], packages[i]["version"]))
    return [packages[i] for i in [root, *others]], {
        purl(packages[i]): [purl(packages[j]) for j in wanted] for i, wanted in needs.items()
    }


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums():
    """The checksum that Cargo.lock has of each package that comes from a registry."""
    text = pathlib.Path("Cargo.lock").read_text()
    found = re.findall(r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"', text)
    return {(name, version): checksum for name, version, checksum in found}


def component(package, sums):
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "licenses": [{"expression": expression(package)}],
    }
    checksum = sums.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return made


def expression(package):
    # An old way to write OR.
    return (package["license"] or "NOASSERTION").replace("/", " OR ")


def sbom(packages, needs, extra):
    root, *others = packages
    sums = checksums()
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created(),
            "component": {**component(root, sums), "type": "application"},
        },
        "components": [component(package, sums) for package in others] + extra,
        "dependencies": [{"ref": ref, "dependsOn": wanted} for ref, wanted in sorted(needs.items())],
    }
    # As random as it needs to be, and the same for the same content.
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    body["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}"
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def created():
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def toolchain():
    """What the compiler and the C library put into a static program: as components, and as texts."""
    version = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, stdout=subprocess.PIPE, text=True).stdout
    licences = pathlib.Path(sysroot.strip()) / "share/doc/rust/licenses"
    components = [
        {"type": "library", "name": "rust-std", "version": version,
         "licenses": [{"expression": "MIT OR Apache-2.0"}]},
        {"type": "library", "name": "glibc", "version": glibc_version(),
         "licenses": [{"expression": "LGPL-2.1-or-later"}]},
    ]
    rust = [read(licences / name) for name in ("MIT.txt", "Apache-2.0.txt") if (licences / name).is_file()]
    copyright_file = pathlib.Path("/usr/share/doc/libc6/copyright")
    glibc = [read(copyright_file)] if copyright_file.is_file() else []
    return components, [
        (f"rust-std {version} (MIT OR Apache-2.0)", rust),
        (f"glibc {glibc_version()} (LGPL-2.1-or-later), linked statically; deploy/images links the program again "
         "with another", glibc),
    ]


def glibc_version():
    return os.confstr("CS_GNU_LIBC_VERSION").split()[1]


def texts_of(package):
    """The licence texts and notices that come with a package's source."""
    if not package["source"]:
        return [read(pathlib.Path("LICENSE"))]
    folder = pathlib.Path(package["manifest_path"]).parent
    named = [folder / package["license_file"]] if package.get("license_file") else []
    found = [file for file in sorted(folder.iterdir()) if file.is_file() and TEXT.match(file.name)]
    texts = [read(file) for file in dict.fromkeys([*named, *found])]
    if not texts and "Apache-2.0" in expression(package):
        # Some leave it to their repository; the text is the same everywhere.
        return [read(pathlib.Path("LICENSE"))]
    return texts


def read(file):
    text = file.read_text(errors="replace").replace("\r\n", "\n")
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def notices(program, packages, others):
    """All licences, then each text once with those whom it is of."""
    entries = [(f"{p['name']} {p['version']} ({expression(p)})", texts_of(p)) for p in packages] + others
    of = {}
    for title, texts in entries:
        for text in texts:
            of.setdefault(text, []).append(title)
    lines = [f"What {program} is made of, and under which licences.\n"]
    lines += [title if texts else f"{title}: its source has no text of its own" for title, texts in entries]
    for text, titles in sorted(of.items(), key=lambda item: (-len(item[1]), item[1])):
        lines += ["", "=" * 80, *titles, "-" * 80, text]
    return "\n".join(lines)


TEXT = re.compile(r"(?i)^(un)?licen[sc]e|^copying|^notice|^copyright")


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    program, target, sbom_file, notices_file = sys.argv[1:]
    packages, needs = packages_of(program, metadata(target))
    components, texts = toolchain()
    pathlib.Path(sbom_file).write_text(sbom(packages, needs, components))
    pathlib.Path(notices_file).write_text(notices(program, packages, texts))


main()
