"""A Koji and a Bodhi that answer from what a bench put into them, and count who asked for what."""

import collections
import http.server
import json
import threading
import urllib.parse
import xmlrpc.client

RELEASE = {
    "name": "F42F",
    "long_name": "Fedora 42 Flatpaks",
    "version": "42",
    "id_prefix": "FEDORA-FLATPAK",
    "branch": "f42",
    "dist_tag": "f42-flatpak",
    "state": "current",
    "composed_by_bodhi": True,
}
DATES = {"submitted_since": "date_submitted", "modified_since": "date_modified", "pushed_since": "date_pushed"}


def build(number, nvr, pull_specs):
    """What Koji says of a Flatpak's build."""
    name, version, release = nvr.rsplit("-", 2)
    image = {"flatpak": True, "index": {"pull": pull_specs}}
    return {
        "id": number,
        "build_id": number,
        "nvr": nvr,
        "name": name,
        "package_name": name,
        "version": version,
        "release": release,
        "epoch": None,
        "state": 1,
        "task_id": None,
        "completion_ts": 1760000000.5,
        "extra": {"image": image, "typeinfo": {"image": image}},
    }


def update(alias, nvr, now):
    """What Bodhi says of an update that was pushed to stable just now."""
    return {
        "alias": alias,
        "updateid": alias,
        "status": "stable",
        "request": None,
        "locked": False,
        "pushed": True,
        "content_type": "flatpak",
        "title": nvr,
        "release": RELEASE,
        "builds": [{"nvr": nvr, "signed": True, "release_id": 64, "type": "flatpak"}],
        "date_submitted": now,
        "date_modified": None,
        "date_testing": now,
        "date_stable": now,
        "date_pushed": now,
    }


class Doubles:
    """Serves both on one port of 127.0.0.1: Koji below /kojihub, Bodhi below /."""

    def __init__(self):
        self.builds = {}
        self.updates = {}
        self.koji_calls = collections.Counter()
        doubles = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                answer = doubles.bodhi(url.path, urllib.parse.parse_qs(url.query))
                status = 404 if answer is None else 200
                self.say(status, "application/json", json.dumps(answer or {"status": "error"}).encode())

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.say(200, "text/xml", doubles.koji(body))

            def say(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def koji(self, body):
        arguments, method = xmlrpc.client.loads(body, use_builtin_types=True)
        wanted = str(arguments[0]) if arguments else ""
        self.koji_calls[method, wanted] += 1
        if method == "getBuild":
            found = self.builds.get(wanted) or next((b for b in self.builds.values() if str(b["id"]) == wanted), None)
            return xmlrpc.client.dumps((found,), methodresponse=True, allow_none=True).encode()
        if method == "getAPIVersion":
            return xmlrpc.client.dumps((1,), methodresponse=True).encode()
        fault = xmlrpc.client.Fault(1000, f"Invalid method: {method}")
        return xmlrpc.client.dumps(fault, methodresponse=True).encode()

    def bodhi(self, path, query):
        if path == "/releases/":
            return listing("releases", [RELEASE], query)
        if path == "/composes/":
            return {"composes": []}
        if path == "/updates/":
            return listing("updates", [update for update in self.updates.values() if admits(query, update)], query)
        if path.startswith("/updates/"):
            found = self.updates.get(path.split("/")[2])
            return found and {"update": found, "can_edit": False}
        return None


def admits(query, update):
    nvrs = [build["nvr"] for build in update["builds"]]
    if "builds" in query and not any(nvr in query["builds"] for nvr in nvrs):
        return False
    if "packages" in query and not any(nvr.rsplit("-", 2)[0] in query["packages"] for nvr in nvrs):
        return False
    if "releases" in query and update["release"]["name"] not in query["releases"]:
        return False
    since = [(update[DATES[key]], query[key][0]) for key in DATES if key in query]
    return all(date is not None and date.replace(" ", "T") >= wanted[:19] for date, wanted in since)


def listing(name, rows, query):
    size, page = int(query.get("rows_per_page", ["20"])[0]), int(query.get("page", ["1"])[0])
    pages = -(-len(rows) // size)
    return {
        name: rows[size * (page - 1) : size * page],
        "total": len(rows),
        "page": page,
        "pages": pages,
        "rows_per_page": size,
    }
