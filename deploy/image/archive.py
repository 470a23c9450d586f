#!/usr/bin/env python3
"""Makes an image of one static program, FROM scratch, as an archive that every container tool reads.

usage: archive.py --name localhost/rivers:0.1.0 --output rivers.tar [--user UID] [--label KEY=VALUE]...
                  [--folder PATH:UID:MODE]... [--architecture amd64] [--stop-signal SIGQUIT] PATH=FILE...

The first PATH is what the image starts. The archive is an OCI layout that docker, podman, buildah, nerdctl and
ctr load as well as one of their own. It depends on its input alone: files are in the order of their names, their
times are SOURCE_DATE_EPOCH, and nothing of this machine gets in. Prints the digest of the image's manifest.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile
from datetime import datetime, timezone


class Layout:
    """An OCI layout: blobs by digest, and the files that name them."""

    def __init__(self):
        self.files = {"oci-layout": encode({"imageLayoutVersion": "1.0.0"})}

    def blob(self, media_type, content):
        """Keeps some content; its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def tar(self, epoch):
        entries = [(name, content, 0, 0o644) for name, content in self.files.items()]
        return tar([("blobs", None, 0, 0o755), ("blobs/sha256", None, 0, 0o755), *entries], epoch)


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def tar(entries, epoch):
    """A tar file of (name, content or None for a folder, owner, mode)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, owner, mode in sorted(entries):
            info = tarfile.TarInfo(name)
            info.mtime, info.mode, info.uid, info.gid = epoch, mode, owner, owner
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def layer(files, folders, epoch):
    """The one layer: files, the folders that lead to them, and those that are asked for."""
    entries = {}
    for path, (content, mode) in files.items():
        for parent in pathlib.PurePosixPath(path).parents:
            entries[str(parent)] = (None, 0, 0o755)
        entries[path] = (content, 0, mode)
    for path, owner, mode in folders:
        for parent in pathlib.PurePosixPath(path).parents:
            entries.setdefault(str(parent), (None, 0, 0o755))
        entries[path] = (None, owner, mode)
    entries.pop("/", None)
    entries.pop(".", None)
    return tar([(path.lstrip("/"), *entry) for path, entry in entries.items()], epoch)


def image(arguments, epoch):
    """The layout of the image, and the digest of its manifest."""
    files = {}
    for path, file in arguments.files:
        mode = 0o755 if os.access(file, os.X_OK) else 0o644
        files[path] = (pathlib.Path(file).read_bytes(), mode)
    content = layer(files, arguments.folder, epoch)
    stop = {"StopSignal": arguments.stop_signal} if arguments.stop_signal else {}
    created = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = dict(arguments.label)
    config = {
        "architecture": arguments.architecture,
        "os": "linux",
        "created": created,
        "config": {
            "Entrypoint": [arguments.files[0][0]],
            "Env": ["PATH=/usr/local/bin"],
            "WorkingDir": "/",
            "User": arguments.user,
            "Labels": labels,
            **stop,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
        "history": [{"created": created, "created_by": "deploy/images"}],
    }
    layout = Layout()
    # Without a time and a name in its header.
    packed = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(content, 6, mtime=0))
    configuration = layout.blob("application/vnd.oci.image.config.v1+json", encode(config))
    manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", encode({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": configuration,
        "layers": [packed],
        "annotations": labels,
    }))
    names = {
        "io.containerd.image.name": arguments.name,
        "org.opencontainers.image.ref.name": arguments.name.rsplit(":", 1)[1],
    }
    layout.files["index.json"] = encode({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{**manifest, "annotations": names}],
    })
    # What `docker load` of before version 25, and `docker-archive:`, look for.
    layout.files["manifest.json"] = encode([{
        "Config": blob_path(configuration),
        "RepoTags": [arguments.name],
        "Layers": [blob_path(packed)],
    }])
    return layout, manifest["digest"]


def blob_path(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


def pair(separator):
    def parse(text):
        left, found, right = text.partition(separator)
        if not (left and found):
            raise argparse.ArgumentTypeError(f"{text!r} has no {separator!r}")
        return left, right
    return parse


def folder(text):
    path, owner, mode = text.split(":")
    return path, int(owner), int(mode, 8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--user", default="0:0")
    parser.add_argument("--label", action="append", default=[], type=pair("="))
    parser.add_argument("--folder", action="append", default=[], type=folder)
    parser.add_argument("--architecture", default="amd64")
    parser.add_argument("--stop-signal", help="SIGTERM without")
    parser.add_argument("files", nargs="+", type=pair("="), metavar="PATH=FILE")
    arguments = parser.parse_args()
    if ":" not in arguments.name.rsplit("/", 1)[-1]:
        sys.exit(f"archive.py: {arguments.name} has no tag, as in localhost/rivers:0.1.0")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    layout, digest = image(arguments, epoch)
    arguments.output.write_bytes(layout.tar(epoch))
    print(digest)


main()
