"""Flatpak-like images of random bytes, pushed to a registry over plain HTTP."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import urllib.parse

MIB = 1 << 20
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer_file(folder, size):
    """A file of random bytes and its digest. What it holds is no archive; no registry and no copier looks."""
    digest = hashlib.sha256()
    path = pathlib.Path(folder) / os.urandom(8).hex()
    with open(path, "wb") as out:
        left = size
        while left:
            block = os.urandom(min(left, MIB))
            digest.update(block)
            out.write(block)
            left -= len(block)
    return path, f"sha256:{digest.hexdigest()}"


def request(host, method, target, body=None, headers=None):
    with contextlib.closing(http.client.HTTPConnection(host, timeout=600)) as connection:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} http://{host}{target}: {answer.status} {said[:300]!r}")
        return answer


def push_blob(host, repository, body, digest, size):
    began = request(host, "POST", f"/v2/{repository}/blobs/uploads/")
    place = urllib.parse.urlsplit(began.headers["Location"])
    target = f"{place.path}?{place.query}&digest={digest}"
    request(host, "PUT", target, body, {"Content-Length": str(size), "Content-Type": "application/octet-stream"})


def push_bytes(host, repository, body):
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    push_blob(host, repository, body, digest, len(body))
    return digest


def push_manifest(host, repository, reference, media_type, document):
    body = json.dumps(document).encode()
    request(host, "PUT", f"/v2/{repository}/manifests/{reference}", body, {"Content-Type": media_type})
    return {"mediaType": media_type, "size": len(body), "digest": "sha256:" + hashlib.sha256(body).hexdigest()}


def push_image(host, repository, tag, layer_bytes, folder, architectures=("amd64", "arm64")):
    """An index over one image a platform, each with one layer, as Flatpaks are built. Returns the index' digest."""
    entries = []
    for architecture in architectures:
        path, layer = layer_file(folder, layer_bytes)
        with open(path, "rb") as body:
            push_blob(host, repository, body, layer, layer_bytes)
        path.unlink()
        ref = f"app/org.example.{repository.replace('/', '.')}/{architecture}/stable"
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Labels": {"org.flatpak.ref": ref, "org.flatpak.metadata": "[Application]"}},
                "rootfs": {"type": "layers", "diff_ids": [layer]},
            }
        ).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": push_bytes(host, repository, config)},
            "layers": [{"mediaType": LAYER, "size": layer_bytes, "digest": layer}],
        }
        digest = "sha256:" + hashlib.sha256(json.dumps(document).encode()).hexdigest()
        pushed = push_manifest(host, repository, digest, MANIFEST, document)
        entries.append({**pushed, "platform": {"os": "linux", "architecture": architecture}})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    return push_manifest(host, repository, tag, INDEX, index)["digest"]


def tag_digest(host, repository, tag):
    """What a tag names now."""
    answer = request(host, "HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": f"{INDEX}, {MANIFEST}"})
    return answer.headers["Docker-Content-Digest"]
