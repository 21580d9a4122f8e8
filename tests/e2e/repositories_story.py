"""Packages from elsewhere: a signed repository of one's own, its key, pinned versions and the lock file; a mirror of a day."""
import json
import re
import unittest
import urllib.error
import urllib.request

import apt_repository
import world

BASE = """app: base
image:
  from: debian:bookworm
  version: 1.0.0
  steps:
    - packages: [nginx]
"""

RECIPE = """app: shop
image:
  from: {image: base@1.0.0}
  version: 1.0.0
  repositories: [@REPOSITORY@]
  steps:
    - packages: [greet]
    - run: 'greet > /greeting; ! ls /etc/apt/sources.list.d/kiln* /etc/apt/preferences.d/kiln* /run/kiln/apt 2>/dev/null'
"""


class Repositories(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.key = apt_repository.Key(self.kiln.home / "gpg")
        self.addCleanup(self.key.close)
        self.repository = apt_repository.AptRepository(self.kiln.home / "archive", self.key)
        self.addCleanup(self.repository.close)
        self.repository.add("greet", "1.0")
        self.repository.publish()
        (self.kiln.app / "tools.asc").write_text(self.key.public())
        (self.kiln.app / "kiln.yaml").write_text(BASE)
        self.kiln.run("bake", "--no-publish")
        (self.kiln.app / "kiln.yaml").write_text(RECIPE.replace("@REPOSITORY@", self.repository.stanza()))

    def bake(self, *words: str) -> dict:
        return self.kiln.json("bake", "--no-publish", *words)

    def refused(self, status: int, *words: str) -> str:
        images = self.kiln.json("images")
        result = self.kiln.run("bake", "--no-publish", *words, check=False)
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(self.kiln.json("images"), images, "what is refused changes nothing")
        return result.stderr

    def lock(self) -> dict:
        return json.loads((self.kiln.app / "kiln.lock").read_text())

    def test_a_lock_file_holds_what_a_repository_of_ones_own_gives(self) -> None:
        kiln = self.kiln
        first = self.bake("--update")
        self.assertEqual(self.lock()["steps"][0]["versions"], {"greet": "1.0"})

        self.repository.add("greet", "1.1")
        self.repository.publish()
        self.assertTrue(all(layer["reused"] for layer in self.bake()["layers"]))
        again = self.bake("--no-cache")
        self.assertEqual(again["digest"], first["digest"], "the locked version, though there is a newer one")
        kiln.edit("kiln.yaml", "version: 1.0.0", "version: 1.1.0")
        newer = self.bake("--update")
        self.assertNotEqual(newer["digest"], first["digest"])
        self.assertEqual(self.lock()["steps"][0]["versions"], {"greet": "1.1"})

        self.repository.remove("greet", "1.1")
        self.repository.publish()
        said = self.refused(1, "--no-cache")
        self.assertIn("names versions that are no longer to be had (packages greet):\n  greet 1.1, there is 1.0", said)
        self.assertIn("kiln bake --update", said)
        self.assertEqual(self.lock()["steps"][0]["versions"], {"greet": "1.1"})

        # A version that the recipe names, with and without the lock file.
        kiln.edit("kiln.yaml", "[greet]", "[greet=1.0]")
        kiln.edit("kiln.yaml", "version: 1.1.0", "version: 1.2.0")
        self.bake("--update")
        (kiln.app / "kiln.lock").unlink()
        self.bake()
        kiln.edit("kiln.yaml", "greet=1.0", "greet=9")
        said = self.refused(2)
        self.assertIn("version 9 of 'greet' is not to be had", said)
        self.assertIn("there is 1.0", said)
        kiln.edit("kiln.yaml", "greet=9", "gret")
        self.assertIn("no package 'gret'; did you mean 'greet'?", self.refused(2))
        self.repository.add("broken", "1.0", depends="nothing-that-there-is")
        self.repository.publish()
        kiln.edit("kiln.yaml", "[gret]", "[broken]")
        self.assertIn("broken : Depends: nothing-that-there-is", self.refused(2))

    def test_what_is_not_signed_by_the_key_is_refused(self) -> None:
        app = self.kiln.app
        other = apt_repository.Key(self.kiln.home / "gpg-2")
        self.addCleanup(other.close)
        (app / "tools.asc").write_text(other.public())
        said = self.refused(1)
        self.assertIn("the repository 'tools'", said)
        self.assertIn("is not signed by tools.asc", said)
        (app / "tools.asc").write_text("no key at all\n")
        said = self.refused(2)
        self.assertIn("kiln.yaml:5:", said)
        self.assertIn("tools.asc is no OpenPGP key", said)
        (app / "tools.asc").unlink()
        self.assertIn("'tools.asc' is no file", self.refused(2))

        (app / "tools.asc").write_text(self.key.public())
        self.repository.publish(valid_for=-86400)
        said = self.refused(1)
        self.assertIn("the repository 'tools'", said)
        self.assertIn("expired", said)
        self.repository.close()
        said = self.refused(1)
        self.assertIn("the repository 'tools'", said)
        self.assertIn("Connection refused", said)


class Passing(apt_repository.QuietHandler):
    """Debian's mirrors, under the addresses of an archive of a day, as snapshot.debian.org has them."""

    def do_GET(self) -> None:  # noqa: N802, as http.server calls it
        path = re.sub(r"^/archive/(debian|debian-security)/20260101T000000Z/", r"/\1/", self.path)
        if path == self.path:
            self.send_error(404)
            return
        names = ("If-Modified-Since", "Range", "If-Range")
        request = urllib.request.Request("http://deb.debian.org" + path,
                                         headers={name: self.headers[name] for name in names if self.headers[name]})
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        with answer:
            body = answer.read()
        self.send_response(answer.status)
        for name in ("Last-Modified", "Content-Range"):
            if answer.headers[name]:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Snapshot(world.Story):
    def test_a_base_comes_from_the_mirror_of_a_day_and_is_held_by_the_lock_file(self) -> None:
        kiln = self.kiln
        server = apt_repository.Server(Passing)
        self.addCleanup(server.close)
        key = apt_repository.Key(kiln.home / "gpg")
        self.addCleanup(key.close)
        repository = apt_repository.AptRepository(kiln.home / "archive", key)
        self.addCleanup(repository.close)
        repository.add("greet", "1.0")
        repository.publish(valid_for=-86400)  # of a day that is over, as a snapshot is
        (kiln.app / "tools.asc").write_text(key.public())
        mirror = server.url() + "/archive/debian/20260101T000000Z"
        security = server.url() + "/archive/debian-security/20260101T000000Z"
        recipe = RECIPE.replace("@REPOSITORY@", repository.stanza()).replace("{image: base@1.0.0}", "debian:bookworm")
        (kiln.app / "kiln.yaml").write_text(recipe.replace("  version:", f"  mirror: {mirror}\n"
                                                           f"  security_mirror: {security}\n  version:"))
        kiln.json("bake", "--no-publish", "--update")
        lock = json.loads((kiln.app / "kiln.lock").read_text())
        self.assertGreater(len(lock["base"]["versions"]), 20)

        # What a mirror no longer has: the bake says which, and the lock file stays as it was.
        there = lock["base"]["versions"]["netbase"]
        lock["base"]["versions"]["netbase"] = "0.1"
        (kiln.app / "kiln.lock").write_text(json.dumps(lock))
        gone = kiln.run("bake", "--no-publish", check=False)
        self.assertEqual(gone.returncode, 1, gone.stderr)
        self.assertIn(f"no longer to be had (base debian:bookworm):\n  netbase 0.1, there is {there}\n", gone.stderr)
        self.assertIn("kiln bake --update", gone.stderr)
        self.assertEqual(json.loads((kiln.app / "kiln.lock").read_text()), lock)

        kiln.edit("kiln.yaml", "20260101T000000Z", "20250101T000000Z")
        nowhere = kiln.run("bake", "--no-publish", check=False)
        self.assertEqual(nowhere.returncode, 1, nowhere.stderr)
        self.assertIn("20250101T000000Z", nowhere.stderr)
        self.assertIn("404", nowhere.stderr)


if __name__ == "__main__":
    unittest.main()
