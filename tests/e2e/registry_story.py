"""Debian's docker-registry and skopeo, which nobody here wrote: images go up, come down, and are the same."""
import base64
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

import world

SKOPEO = ["skopeo", "--insecure-policy"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """docker-registry on loopback, for the length of a test."""

    def __init__(self, folder: pathlib.Path, http_extra: str = "", auth: str = "") -> None:
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.log = folder / f"registry-{self.port}.log"
        config = folder / f"registry-{self.port}.yml"
        config.write_text(f"version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {folder}/data-{self.port}}}\n"
                          f"  delete: {{enabled: true}}\nhttp:\n  addr: {self.name}\n  secret: one\n{http_extra}{auth}")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"docker-registry does not answer\n{self.log.read_text()[-3000:]}")

    def requests(self, beginning: str) -> int:
        return len(re.findall(rf'"{beginning}', self.log.read_text()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Gate:
    """A proxy before a registry: counts the bytes of bodies each way, and stops for good where it is told to."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.up = self.down = 0
        self.stop_up: int | None = None    # before the PATCH that would go beyond so many bytes
        self.stop_down: int | None = None  # in the middle of a blob
        self.stopped = threading.Event()
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_) -> None:
                pass

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if gate.stop_up is not None and gate.up + len(body) > gate.stop_up:
                    gate.stopped.set()
                    self.rfile.read(1)  # until the other side is gone
                    return
                gate.up += len(body)
                request = urllib.request.Request(f"http://127.0.0.1:{gate.target}{self.path}", method=self.command,
                                                 data=body if self.command in ("POST", "PUT", "PATCH") else None,
                                                 headers={k: v for k, v in self.headers.items() if k != "Content-Length"})
                try:
                    answer = urllib.request.urlopen(request, timeout=60)
                except urllib.error.HTTPError as error:
                    answer = error
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("connection", "transfer-encoding"):
                        self.send_header(name, value)
                if self.command == "HEAD" or "Content-Length" in answer.headers or answer.status == 204:
                    self.end_headers()
                else:
                    self.send_header("Connection", "close")
                    self.end_headers()
                while self.command != "HEAD" and (piece := answer.read(1 << 16)):
                    if gate.stop_down is not None and gate.down > gate.stop_down:
                        gate.stopped.set()
                        self.rfile.read(1)
                        break
                    self.wfile.write(piece)
                    if "/blobs/" in self.path:
                        gate.down += len(piece)
                answer.close()

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_) -> None:
                pass  # the other side was killed: that is what the test does

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Registries(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.kiln.home / "registries"
        self.folder.mkdir()
        self.image = json.loads(self.kiln.run("bake", "--no-publish", "--json").stdout)

    def registry(self, **words: str) -> Registry:
        registry = Registry(self.folder, **words)
        self.addCleanup(registry.close)
        return registry

    def elsewhere(self, name: str = "elsewhere") -> dict[str, str]:
        """Another Kiln, with an empty home."""
        return {"KILN_HOME": str(self.kiln.home / name)}

    def skopeo(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        result = subprocess.run([*SKOPEO, *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        if check:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def said(self, *words: str, env: dict[str, str] | None = None) -> dict:
        return json.loads(self.kiln.run(*words, "--json", env=env).stdout)

    def blobs(self, env: dict[str, str]) -> dict[str, int]:
        folder = pathlib.Path(env["KILN_HOME"]) / "store/blobs/sha256"
        return {file.name: file.stat().st_size for file in folder.iterdir()}

    def test_an_image_travels_with_what_is_said_about_it(self) -> None:
        registry = self.registry()
        place = f"{registry.name}/team/web"
        pushed = self.said("push", "web@1.0.0", place)
        self.assertEqual(pushed["digest"], self.image["digest"])
        self.assertGreaterEqual(len(pushed["referrers"]), 1)  # its name in the catalog, at least
        self.assertTrue(pushed["reference"].startswith(f"{place}:1.0.0@sha256:"))

        # A second push sends nothing at all.
        writes = [registry.requests(verb) for verb in ("PUT", "POST", "PATCH")]
        again = self.said("push", "web@1.0.0", place)
        self.assertEqual((again["bytes_moved"], again["bytes_there"]), (0, again["bytes_total"]))
        self.assertEqual([registry.requests(verb) for verb in ("PUT", "POST", "PATCH")], writes)

        # Into an empty home: the same image under the same name, which a region could run.
        other = self.elsewhere()
        pulled = self.said("pull", f"{place}:1.0.0", env=other)
        self.assertEqual(pulled["digest"], self.image["digest"])
        self.assertEqual(pulled["images"], [{"app": "web", "version": "1.0.0"}])
        listed = self.said("images", env=other)["images"]
        self.assertEqual([(one["version"], one["digest"]) for one in listed], [("1.0.0", self.image["digest"])])
        gets = registry.requests("GET /v2/team/web/blobs/")
        self.assertEqual(self.said("pull", f"{place}:1.0.0", env=other)["bytes_moved"], 0)
        self.assertEqual(registry.requests("GET /v2/team/web/blobs/"), gets)

        # To a neighbour the registry takes the layers over by itself; a mirror brings the referrers along.
        patches = registry.requests("PATCH")
        self.assertEqual(self.said("push", "web@1.0.0", f"{registry.name}/copy/web")["bytes_moved"], 0)
        second = self.registry()
        mirrored = self.said("mirror", place, f"{second.name}/far/web", "--all-tags", env=self.elsewhere("third"))["images"]
        self.assertEqual([one["digest"] for one in mirrored], [self.image["digest"]])
        self.assertEqual(mirrored[0]["referrers"], pushed["referrers"])
        self.assertEqual(registry.requests("PATCH"), patches)
        self.assertEqual(self.blobs(self.elsewhere("third")), {})

        # skopeo reads what Kiln wrote, and Kiln what skopeo wrote.
        raw = self.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{second.name}/far/web:1.0.0").stdout
        self.assertEqual(json.loads(raw)["artifactType"], "application/vnd.kiln.machine.v1")
        layout = f"oci:{self.folder}/layout:web"
        self.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{second.name}/far/web:1.0.0", layout)
        self.skopeo("copy", "-q", "--dest-tls-verify=false", layout, f"docker://{second.name}/skopeo/web:1")
        fourth = self.elsewhere("fourth")
        self.assertEqual(self.said("pull", f"{second.name}/skopeo/web:1", env=fourth)["digest"], self.image["digest"])
        # The same bytes but for the name, which skopeo 1.9 does not copy.
        self.assertTrue(set(self.blobs(fourth)) < set(self.blobs(other)))
        self.assertIn(self.image["digest"].removeprefix("sha256:"), self.blobs(fourth))

    def killed(self, gate: Gate, *words: str, env: dict[str, str] | None = None) -> None:
        """Runs it through the gate and kills it with -9 when the gate has stopped."""
        child = subprocess.Popen([world.PROGRAM, *words], cwd=self.kiln.app, env=self.kiln.environment() | (env or {}),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.kiln.children.append(child)
        if not gate.stopped.wait(60):
            child.kill()
            self.fail(f"never came to the gate: {child.communicate()[0]}")
        child.send_signal(signal.SIGKILL)
        child.communicate()
        self.kiln.children.remove(child)
        gate.stop_up = gate.stop_down = None

    def test_what_was_killed_goes_on_with_what_has_arrived(self) -> None:
        registry = self.registry()
        gate = Gate(registry.port)
        self.addCleanup(gate.close)
        total = self.image["size_bytes"]
        biggest = max(layer["size_bytes"] for layer in self.image["layers"])
        chunk = 16 << 20
        self.assertGreater(biggest, 3 * chunk)

        gate.stop_up = 3 * chunk
        self.killed(gate, "push", "web@1.0.0", f"{gate.name}/team/web:1", "--parallel", "1")
        self.assertGreater(gate.up, 2 * chunk)
        self.said("push", "web@1.0.0", f"{gate.name}/team/web:1")
        self.assertLess(gate.up, total + (1 << 20))  # nothing went twice

        other = self.elsewhere()
        gate.stop_down = biggest // 2
        self.killed(gate, "pull", f"{gate.name}/team/web:1", "--parallel", "1", env=other)
        pulled = self.said("pull", f"{gate.name}/team/web:1", env=other)
        self.assertEqual(pulled["digest"], self.image["digest"])
        # What was in the sockets when it died comes again, no more.
        self.assertLess(gate.down, total + (16 << 20))
        self.assertGreater(gate.down, total - (1 << 20))
        self.assertEqual(os.listdir(pathlib.Path(other["KILN_HOME"]) / "store/transfers/incoming"), [])

    def test_passwords_and_certificates(self) -> None:
        ca, key = self.folder / "ca.pem", self.folder / "ca.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=a registry of this test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", ca],
                       check=True, capture_output=True)
        passwords = self.folder / "htpasswd"
        passwords.write_text(subprocess.run(["htpasswd", "-nbB", "ana", "secret"], check=True, capture_output=True,
                                            text=True).stdout)
        registry = self.registry(http_extra=f"  tls: {{certificate: {ca}, key: {key}}}\n",
                                 auth=f"auth:\n  htpasswd: {{realm: here, path: {passwords}}}\n")
        place = f"{registry.name}/team/web:1"
        push = ("push", "web@1.0.0", place)
        login = self.folder / "auth.json"
        who = {"REGISTRY_AUTH_FILE": str(login)}

        untrusted = self.kiln.run(*push, check=False, env=who)
        self.assertEqual(untrusted.returncode, 1)
        self.assertIn("certificate that is not trusted", untrusted.stderr)
        trusted = {"KILN_REGISTRY_CA": str(ca)} | who
        anonymous = self.kiln.run(*push, check=False, env=trusted)
        self.assertEqual(anonymous.returncode, 1)
        self.assertIn("without credentials", anonymous.stderr)
        login.write_text(json.dumps({"auths": {registry.name: {"auth": base64.b64encode(b"ana:wrong").decode()}}}))
        wrong = self.kiln.run(*push, check=False, env=trusted)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn(str(login), wrong.stderr)
        self.assertNotIn("wrong", wrong.stderr.replace("went wrong", ""))  # no password on the screen
        self.skopeo("login", "--authfile", str(login), "--tls-verify=false", "-u", "ana", "-p", "secret", registry.name)
        self.assertEqual(self.said(*push, env=trusted)["digest"], self.image["digest"])
        self.assertEqual(self.said("pull", place, "--ca-file", str(ca), env=who | self.elsewhere())["digest"], self.image["digest"])

    def test_a_mistake_is_named_and_changes_nothing(self) -> None:
        registry = self.registry()
        for words, code, text in ((("push", "web@1.0.0", "web:1"), 2, "no registry before the name"),
                                  (("push", "web@9.9", f"{registry.name}/web"), 1, "9.9"),
                                  (("push", "web@1.0.0", f"{registry.name}/Web"), 2, "small letters"),
                                  (("pull", f"{registry.name}/web:1"), 1, "has no 1 in web"),
                                  (("pull", "127.0.0.1:1/web:1"), 1, "nobody answers"),
                                  (("mirror", f"{registry.name}/web:1", f"{registry.name}/x", "--all-tags"), 2, "--all-tags")):
            result = self.kiln.run(*words, check=False)
            self.assertEqual(result.returncode, code, f"{words}: {result.stderr}")
            self.assertIn(text, result.stderr)
        self.assertEqual(registry.requests("P"), 0)


if __name__ == "__main__":
    unittest.main()
