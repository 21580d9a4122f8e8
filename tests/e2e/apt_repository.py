"""AptRepository: a Debian repository of a story's own, signed by a key of its own, served on loopback."""
import email.utils
import functools
import hashlib
import http.server
import pathlib
import subprocess
import threading
import time


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Server:
    """An HTTP server on loopback; `close` ends it."""

    def __init__(self, handler) -> None:
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Key:
    """An OpenPGP key without a passphrase, in a keyring of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.home = folder
        self.home.mkdir(mode=0o700, parents=True)
        self.gpg("--passphrase", "", "--quick-generate-key", "a story's archive <archive@example.com>", "ed25519", "sign",
                 "never")

    def gpg(self, *words: str, text: str = "") -> str:
        return subprocess.run(["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--yes", *words], input=text,
                              capture_output=True, text=True, check=True, timeout=60).stdout

    def public(self) -> str:
        return self.gpg("--armor", "--export")

    def sign(self, text: str) -> str:
        return self.gpg("--clearsign", "--digest-algo", "SHA512", text=text)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], capture_output=True, timeout=30)


class AptRepository:
    """`add` and `remove` packages, then `publish`; `stanza` is its entry under `repositories` of kiln.yaml."""

    def __init__(self, folder: pathlib.Path, key: Key, suite: str = "stable") -> None:
        self.folder, self.key, self.suite = folder, key, suite
        (folder / "pool").mkdir(parents=True)
        self.server = Server(functools.partial(QuietHandler, directory=str(folder)))

    def close(self) -> None:
        self.server.close()

    def file(self, name: str, version: str) -> pathlib.Path:
        return self.folder / "pool" / f"{name}_{version}_all.deb"

    def add(self, name: str, version: str, depends: str = "") -> None:
        """A package with one program of its name, which says name and version."""
        tree = self.folder / f"tree-{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A Story <archive@example.com>\n"
            + (f"Depends: {depends}\n" if depends else "") + f"Description: says {name} {version}\n")
        program = tree / "usr/bin" / name
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho {name} {version}\n")
        program.chmod(0o755)
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(self.file(name, version))],
                       capture_output=True, check=True, timeout=60)

    def remove(self, name: str, version: str) -> None:
        self.file(name, version).unlink()

    def publish(self, valid_for: float = 7 * 86400) -> None:
        stanzas = []
        for deb in sorted((self.folder / "pool").glob("*.deb")):
            control = subprocess.run(["dpkg-deb", "--field", str(deb)], capture_output=True, text=True, check=True,
                                     timeout=60).stdout
            stanzas.append(f"{control}Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\n"
                           f"SHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\n")
        packages = "\n".join(stanzas).encode()
        suite = self.folder / "dists" / self.suite
        (suite / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
        (suite / "main/binary-amd64/Packages").write_bytes(packages)
        now = time.time()
        made = min(now, now + valid_for - 86400)
        release = (f"Origin: Story\nSuite: {self.suite}\nCodename: {self.suite}\nArchitectures: amd64 all\n"
                   f"Components: main\nDate: {email.utils.formatdate(made, usegmt=True)}\n"
                   f"Valid-Until: {email.utils.formatdate(now + valid_for, usegmt=True)}\nSHA256:\n"
                   f" {hashlib.sha256(packages).hexdigest()} {len(packages)} main/binary-amd64/Packages\n")
        (suite / "InRelease").write_text(self.key.sign(release))

    def stanza(self, key: str = "tools.asc") -> str:
        return f"{{name: tools, url: {self.server.url()}, suite: {self.suite}, components: [main], key: {key}}}"
