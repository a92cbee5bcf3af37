"""copy: registry to registry, beside skopeo copy --all --preserve-digests. Each run fills a registry of its own."""

import concurrent.futures
import shutil
import time

import images
import measure
import servers

MIB = images.MIB
SMALL = 50
TAGS = ["1.0-1", "1.0", "latest"]


def main(options, tools, folder):
    cases = {"application": application, "runtime": runtime, "tags": tags, "nothing": nothing, "small": small}
    if options.only and options.only not in cases:
        raise SystemExit(f"--only takes one of: {', '.join(cases)}")
    with servers.Registry(folder / "source") as source:
        for name, case in cases.items():
            if options.only in (None, name):
                case(Bench(options, tools, folder, source))


class Bench:
    def __init__(self, options, tools, folder, source):
        self.options, self.tools, self.folder, self.source = options, tools, folder, source

    def push(self, repository, layer_bytes):
        return images.push_image(self.source.host, repository, "build", layer_bytes, self.folder)

    def ours(self, destination, pairs):
        """One process, all pairs of (source, destination)."""
        named = [
            name for source, target in pairs for name in (f"{self.source.host}/{source}", f"{destination}/{target}")
        ]
        return measure.run([self.tools.example("copy", "flatbus-oci"), "--plain-http", *named])

    def theirs(self, destination, pairs):
        """skopeo takes one pair a process: that is how Bodhi calls it."""
        flags = [
            "copy",
            "--all",
            "--preserve-digests",
            "--insecure-policy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ]
        costs = [
            measure.run(
                [
                    servers.find("skopeo"),
                    *flags,
                    f"docker://{self.source.host}/{source}",
                    f"docker://{destination}/{target}",
                ]
            )
            for source, target in pairs
        ]
        total = measure.Cost(
            sum(cost.wall_s for cost in costs),
            sum(cost.cpu_s for cost in costs),
            max(cost.peak_mib for cost in costs),
            {},
        )
        return total

    def rounds(self, pairs, wanted, before=None):
        """Both in turn, each into an empty registry, or into one that `before` filled."""
        ours, theirs = [], []
        for _ in range(self.options.rounds):
            ours.append(self.once(self.ours, pairs, wanted, before))
            theirs.append(self.once(self.theirs, pairs, wanted, before))
        return ours, theirs

    def once(self, copy, pairs, wanted, before=None):
        with Empty(self.folder / "destination") as destination:
            if before:
                before(destination)
            cost = copy(destination.host, pairs)
            check(destination.host, wanted)
        return cost


class Empty(servers.Registry):
    """A registry whose folder goes with it."""

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def check(host, wanted):
    for (repository, tag), digest in wanted.items():
        found = images.tag_digest(host, repository, tag)
        if found != digest:
            raise SystemExit(f"{repository}:{tag} is {found}, not {digest}")


def application(bench):
    digest = bench.push("application", 60 * MIB)
    ours, theirs = bench.rounds([("application:build", "application:latest")], {("application", "latest"): digest})
    measure.compare(
        "copy: application, 2 architectures of 60 MiB", ours, theirs, {"wall": 0.45, "cpu": 0.35}, ("flatbus", "skopeo")
    )
    peak_goal(ours)


def runtime(bench):
    size = 700 * MIB
    digest = bench.push("f42/flatpak-runtime", size)
    ours, theirs = bench.rounds(
        [("f42/flatpak-runtime:build", "f42/flatpak-runtime:latest")], {("f42/flatpak-runtime", "latest"): digest}
    )
    measure.compare("copy: runtime, 2 architectures of 700 MiB", ours, theirs, {"wall": 0.65}, ("flatbus", "skopeo"))
    peak_goal(ours)
    floor = median_floor(bench, size)
    wall = measure.median([cost.wall_s for cost in ours])
    print(
        f"  docker-registry's own PUT of the same bytes: {floor:.2f} s, {2 * 700 / floor:.0f} MiB/s; flatbus / floor: {wall / floor:.2f} {measure.verdict(wall / floor, 1.2)}"
    )


def median_floor(bench, size):
    """How long the registry itself takes for two layers at once, from memory-cached files, with nothing in between."""
    files = [images.layer_file(bench.folder, size) for _ in range(2)]

    def put(host, path, digest):
        with open(path, "rb") as body:
            images.push_blob(host, "floor", body, digest, size)

    took = []
    for _ in range(bench.options.rounds):
        with Empty(bench.folder / "destination") as destination, concurrent.futures.ThreadPoolExecutor() as pool:
            began = time.monotonic()
            for done in [pool.submit(put, destination.host, *file) for file in files]:
                done.result()
            took.append(time.monotonic() - began)
    for path, _ in files:
        path.unlink()
    return measure.median(took)


def tags(bench):
    digest = bench.push("tagged", 60 * MIB)
    pairs = [("tagged:build", f"tagged:{tag}") for tag in TAGS]
    wanted = {("tagged", tag): digest for tag in TAGS}
    one, ours, theirs = [], [], []
    for _ in range(bench.options.rounds):
        one.append(bench.once(bench.ours, pairs[:1], {("tagged", TAGS[0]): digest}))
        ours.append(bench.once(bench.ours, pairs, wanted))
        theirs.append(bench.once(bench.theirs, pairs, wanted))
    measure.compare("copy: Bodhi's way, three tags of one build", ours, theirs, {}, ("flatbus", "skopeo"))
    ratio = measure.median([cost.wall_s for cost in ours]) / measure.median([cost.wall_s for cost in one])
    print(f"  flatbus, three tags / one tag: {ratio:.2f} {measure.verdict(ratio, 1.1)}")


def nothing(bench):
    digest = bench.push("same", MIB)
    pairs = [("same:build", "same:latest")]
    ours, theirs = bench.rounds(
        pairs, {("same", "latest"): digest}, before=lambda destination: bench.theirs(destination.host, pairs)
    )
    measure.compare("copy: nothing to do (whole processes)", ours, theirs, {}, ("flatbus", "skopeo"))
    said = [cost.said["copies"][0] for cost in ours]
    took_ms = 1000 * measure.median([copy["wall_s"] for copy in said])
    requests = measure.median([copy["destination_requests"] for copy in said])
    print(
        f"  flatbus, inside the process: {took_ms:.1f} ms {measure.verdict(took_ms, 10)}, {requests:.0f} requests {measure.verdict(requests, 1)}"
    )


def small(bench):
    wanted = {(f"small{at}", "latest"): bench.push(f"small{at}", 64 * 1024) for at in range(SMALL)}
    pairs = [(f"{name}:build", f"{name}:latest") for name, _ in wanted]
    ours, theirs = bench.rounds(pairs, wanted)
    measure.compare(
        f"copy: {SMALL} small images", ours, theirs, {"wall": 0.25}, ("flatbus, one process", "skopeo, one each")
    )
    peak_goal(ours)


def peak_goal(ours):
    peak = max(cost.peak_mib for cost in ours)
    print(f"  flatbus, greatest peak memory: {peak:.0f} MiB {measure.verdict(peak, 64)}")
