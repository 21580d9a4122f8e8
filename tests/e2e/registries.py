"""Registries for the stories: Debian's docker-registry, and what stands between it and Kiln: gates, proxies, token services."""
import base64
import http.server
import json
import pathlib
import re
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


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
        self.hold: threading.Event | None = None  # until it is set, nothing goes through
        self.held = threading.Event()
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_) -> None:
                pass

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if gate.hold is not None:
                    gate.held.set()
                    gate.hold.wait(60)
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


class ConnectProxy:
    """A proxy that tunnels (CONNECT) to the one port that a name stands for, and counts who asked for what."""

    def __init__(self, names: dict[str, int]) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words = self.rfile.readline().decode().split()
                while self.rfile.readline().strip():
                    pass
                proxy.asked.append(" ".join(words[:2]))
                port = names.get(words[1]) if words[0] == "CONNECT" else None
                if port is None:
                    self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", port)) as target:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=self.pump, args=(target, self.connection), daemon=True)
                    back.start()
                    self.pump(self.connection, target)
                    back.join()

            @staticmethod
            def pump(source: socket.socket, sink: socket.socket) -> None:
                try:
                    while piece := source.recv(1 << 16):
                        sink.sendall(piece)
                    sink.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # the other side is gone

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def certificate(folder: pathlib.Path, name: str, subject: str, kind: str = "ec") -> tuple[pathlib.Path, pathlib.Path]:
    """A certificate that signs itself, and its key."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    algorithm = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else ["rsa:2048"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", *algorithm, "-nodes", "-days", "2", "-subj", f"/CN={name} of this test",
                    "-addext", f"subjectAltName={subject}", "-keyout", key, "-out", pem], check=True, capture_output=True)
    return pem, key


class TokenService:
    """https://distribution.github.io/distribution/spec/auth/token/: signs JWTs (RS256) that docker-registry checks itself."""

    ISSUER, SERVICE = "token service of this test", "registry of this test"

    def __init__(self, folder: pathlib.Path, users: dict[str, str]) -> None:
        self.certificate, self.key = certificate(folder, "tokens", "DNS:tokens.test", "rsa")
        self.issued: list[dict] = []  # the claims
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_) -> None:
                pass

            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                user, _, password = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode().partition(":")
                status, body = 200, {}
                if user and users.get(user) != password:
                    status, body = 401, {"details": "wrong user or password"}
                else:
                    body = {"token": service.token(user, query.get("scope", [])), "expires_in": 120}
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, user: str, scopes: list[str]) -> str:
        """Whoever has logged in may do all; others may pull what is public."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = set(actions.split(",")) if user else {"pull"} & set(actions.split(",")) if name.startswith("public/") else set()
            access.append({"type": kind, "name": name, "actions": sorted(allowed)})
        now = int(time.time())
        claims = {"iss": self.ISSUER, "sub": user, "aud": self.SERVICE, "iat": now, "nbf": now - 5, "exp": now + 120,
                  "jti": str(len(self.issued)), "access": access}
        self.issued.append(claims)
        der = subprocess.run(["openssl", "x509", "-in", self.certificate, "-outform", "DER"], check=True, capture_output=True).stdout
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=b".".join(parts), check=True,
                                   capture_output=True).stdout
        return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()

    def auth(self) -> str:
        """What docker-registry's configuration says of it."""
        return (f"auth:\n  token:\n    realm: {self.realm}\n    service: {self.SERVICE}\n    issuer: {self.ISSUER}\n"
                f"    rootcertbundle: {self.certificate}\n")

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
