"""Writes the index that flatpak-indexer's documented rules make of Koji's records: the second opinion on ours.

    expected.py TAGS FORM < archives.json

TAGS: {"eog": ["latest", "testing"], …}; the archives are those of one build for each repository, by its name.
FORM: {"annotations": bool, "icons": bool, "token": bool}.
"""

import base64
import hashlib
import json
import sys

PNG = "data:image/png;base64,"


def entry(archive, tags, form):
    docker = archive["extra"]["docker"]
    config = docker["config"]
    labels = dict(config["config"]["Labels"])
    if form["token"]:
        labels["org.flatpak.commit-metadata.xa.token-type"] = "AQAAAABp"
    for size in ("64", "128"):
        name = f"org.freedesktop.appstream.icon-{size}"
        if form["icons"] and labels.get(name, "").startswith(PNG):
            digest = hashlib.sha256(base64.b64decode(labels[name][len(PNG) :])).hexdigest()
            labels[name] = f"/icons/{digest[:2]}/{digest[2:]}.png"
    annotations = {}
    if form["annotations"]:
        annotations = {n: v for n, v in labels.items() if n.startswith(("org.flatpak.", "org.freedesktop."))}
        labels = {n: v for n, v in labels.items() if n not in annotations}
    ((media_type, digest),) = docker["digests"].items()
    found = {
        "Annotations": annotations,
        "Architecture": config["architecture"],
        "Digest": digest,
        "Labels": labels,
        "MediaType": media_type,
        "OS": config["os"],
        "Tags": tags,
    }
    return {name: value for name, value in found.items() if value}


def main():
    tags, form = (json.loads(text) for text in sys.argv[1:3])
    builds = json.load(sys.stdin)
    results = []
    for name in sorted(builds):
        images = [entry(archive, tags[name], form) for archive in builds[name]]
        results.append({"Images": sorted(images, key=lambda image: image["Digest"]), "Name": name})
    index = {"Registry": "https://registry.example/", "Results": results}
    sys.stdout.reconfigure(encoding="utf-8", newline="")
    json.dump(index, sys.stdout, sort_keys=True, indent=4, ensure_ascii=False)


main()
