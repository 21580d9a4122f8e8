"""A recipe with all that kiln.yaml knows: bases of the catalog, reasons, lock file, comparison, secrets, live view."""
import json
import os
import shutil
import time
import unittest

import world

BASE = """app: base
image:
  from: debian:bookworm
  version: 1.0.0
  steps:
    - packages: [nginx]
"""

SHOP = """app: shop
image:
  from: {image: base@1.0.0}
  version: 1.0.0
  variables: {port: "8080"}
  secrets: [{name: token, env: SHOP_TOKEN}]
  steps:
    - run: {commands: 'echo one > /one; cat /run/kiln/secrets/token', secrets: [token]}
      name: one
    - run: 'echo two > /two'
      name: two
      after: []
    - template: {from: app.conf, to: /etc/, owner: www-data, mode: 0640}
    - copy: {from: site/, to: /var/www/html/, ignore: ['*.bak']}
    - run: 'test -e /one && test -e /two && test ! -e /var/www/html/old.bak && cat /etc/app.conf'
"""


class Recipe(world.Story):
    def setUp(self) -> None:
        super().setUp()
        os.environ["SHOP_TOKEN"] = "s3cr3t-of-the-shop"
        self.addCleanup(os.environ.pop, "SHOP_TOKEN")
        (self.kiln.app / "kiln.yaml").write_text(BASE)
        self.kiln.run("bake", "--no-publish")
        (self.kiln.app / "kiln.yaml").write_text(SHOP)
        (self.kiln.app / "app.conf").write_text("port {{ port }}\n")
        (self.kiln.app / "site/old.bak").write_text("old")

    def bake(self, *words: str) -> dict:
        return self.kiln.json("bake", "--no-publish", *words)

    def refused(self, old: str, new: str) -> str:
        before = (self.kiln.app / "kiln.yaml").read_text()
        images = self.kiln.json("images")
        self.kiln.edit("kiln.yaml", old, new)
        result = self.kiln.run("bake", "--no-publish", check=False)
        (self.kiln.app / "kiln.yaml").write_text(before)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(self.kiln.json("images"), images, "a wrong recipe changes nothing")
        return result.stderr

    def test_an_image_of_the_catalog_is_built_on_and_every_rebuild_has_a_reason(self) -> None:
        kiln = self.kiln
        first = self.bake()
        self.assertEqual(first["layers"][0]["step"], "base image base@1.0.0 1/2")
        self.assertEqual([layer["reused"] for layer in self.bake()["layers"]], [True] * 7)
        layers = kiln.json("bake", "--explain")["layers"]
        self.assertEqual({layer["fate"] for layer in layers}, {"reused"})

        (kiln.app / "site/old.bak").write_text("changed, and ignored")
        (kiln.app / "site/index.html").write_text(f"a page that no cache has seen: {time.time_ns()}\n")
        told = kiln.run("bake", "--explain").stdout
        self.assertIn("reused     run echo two > /two", told)
        self.assertIn("made anew  copy site/ /var/www/html/\n             site/index.html changed\n", told)
        kiln.edit("kiln.yaml", "version: 1.0.0", "version: 1.0.1")
        second = self.bake()
        self.assertEqual([layer["reused"] for layer in second["layers"]], [True] * 5 + [False] * 2)

        # Another folder, and entries made in another order: the same image.
        copy = kiln.home / "copy"
        copy.mkdir()
        for name in ("app.conf", "kiln.yaml"):
            shutil.copy(kiln.app / name, copy / name)
        (copy / "site").mkdir()
        for path in sorted((kiln.app / "site").iterdir(), reverse=True):
            (copy / "site" / path.name).write_bytes(path.read_bytes())
        again = kiln.run("bake", "--no-publish", "--no-cache", "--json", folder=copy)
        self.assertEqual(json.loads(again.stdout)["digest"], second["digest"])

        secrets = [str(path) for folder in ("ledger", "logs") for path in (kiln.home / folder).rglob("*")
                   if path.is_file() and b"s3cr3t" in path.read_bytes()]
        self.assertEqual(secrets, [])

    def test_two_bakes_are_compared_and_a_lock_file_holds(self) -> None:
        kiln = self.kiln
        same = kiln.run("bake", "--check")
        self.assertIn("two bakes gave the same image: sha256:", same.stdout)
        kiln.edit("kiln.yaml", "'echo two > /two'", "'date +%N > /two'")
        differs = kiln.run("bake", "--check", check=False)
        self.assertEqual(differs.returncode, 6, differs.stderr)
        self.assertIn("run date +%N > /two\n  /two: content\n", differs.stdout)
        self.assertIn("two bakes differ in 1 files", differs.stdout)

        kiln.edit("kiln.yaml", "'date +%N > /two'", "'echo two > /two'")
        kiln.edit("kiln.yaml", "    - template", "    - packages: [tree]\n    - template")
        self.bake("--update")
        lock = json.loads((kiln.app / "kiln.lock").read_text())
        self.assertEqual(lock["base"], {"from": "image base@1.0.0", "versions": {}})
        self.assertEqual(list(lock["steps"][0]["versions"]), ["tree"])
        self.assertTrue(all(layer["reused"] for layer in self.bake()["layers"]))
        kiln.edit("kiln.lock", '"tree": "', '"tree": "9.')
        gone = kiln.run("bake", "--no-publish", check=False)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("names versions that are no longer to be had", gone.stderr)
        self.assertIn("kiln bake --update", gone.stderr)
        kiln.edit("kiln.lock", "{", "[")
        self.assertIn("kiln.lock:2:10: this is not JSON", self.kiln.run("bake", "--no-publish", check=False).stderr)

    def test_what_is_wrong_in_a_recipe_is_quoted(self) -> None:
        self.bake()
        self.assertIn("no step has the name 'tow'; did you mean 'two'?", self.refused("name: two\n      after: []",
                      "name: two\n      after: []\n    - run: 'true'\n      after: [tow]"))
        self.assertIn("'two' is not above this step", self.refused("name: one\n", "name: one\n      after: [two]\n"))
        self.assertIn("both write /one", self.refused("echo two > /two", "echo two > /two; echo x > /one"))
        self.assertIn("app.conf:1:6: there is no variable 'port'", self.refused("{port:", "{prt:"))
        self.assertIn("the image has no user 'www-dta'; did you mean 'www-data'?",
                      self.refused("owner: www-data", "owner: www-dta"))
        self.assertIn("'base@2.0.0'", self.refused("base@1.0.0", "base@2.0.0"))
        old = "env: SHOP_TOKEN}]\n  steps:\n    - run: {commands: 'echo one"
        self.assertIn("the secret 'token' is not there: SHOP_TOKN is not set",
                      self.refused(old, old.replace("TOKEN", "TOKN").replace("echo one", "echo 1")))
        self.assertIn("'../x' must not contain '..'", self.refused("from: app.conf", "from: ../x"))

    def test_a_person_sees_what_runs(self) -> None:
        self.kiln.edit("kiln.yaml", "'echo two > /two'", "'echo so far; sleep 2; echo two > /two'")
        view = world.Terminal(self.kiln, "bake", "--no-publish", "--no-cache")
        view.wait_for(" s  so far")
        self.assertEqual(view.end(), 0)
        self.assertIn("baked shop@1.0.0", view.said)
        self.assertNotIn("s3cr3t", view.said)


if __name__ == "__main__":
    unittest.main()
