"""The catalog on real instances: channels by rules, revoke, gc that frees what nobody needs, undo, and a ledger that was lost."""
import json
import pathlib
import shutil
import unittest

import world


def bytes_of(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Catalog(world.Story):
    def setUp(self) -> None:
        super().setUp()
        world.own_store(self.kiln)
        self.kiln.edit("kiln.yaml", "size: 4", "size: 1")

    def refuse(self, status: int, *words: str) -> str:
        result = self.kiln.run(*words, check=False)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result.stderr

    def entries(self) -> int:
        return len(self.kiln.run("ledger", "export").stdout.splitlines())

    def fates(self, *words: str) -> dict:
        return {one["image"]: one for one in self.kiln.json("gc", *words)["images"]}

    def images(self) -> dict:
        return {one["version"]: one for one in self.kiln.json("images")["images"]}

    def ami_of(self, version: str) -> str:
        return self.images()[version]["placements"][-1]["ami"]

    def state_of(self, ami: str) -> str:
        found = self.kiln.aws("ec2", "describe-images", "--owners", "self", "--include-disabled", "--filters",
                              f"Name=image-id,Values={ami}")["Images"]
        return found[0]["State"] if found else "gone"

    def test_a_whole_life(self) -> None:
        kiln = self.kiln
        kiln.run("region", "start")
        kiln.run("bake")
        kiln.run("deploy")
        kiln.set_version("1.0.0", "1.1.0")
        kiln.run("bake")
        with self.subTest("promotion"):
            self.promotion()
        kiln.run("deploy")
        kiln.run("promote", "1.1.0", "production", "--why", "served well")
        with self.subTest("revoke"):
            self.revocation()
        kiln.set_version("1.1.0", "1.2.0")
        kiln.run("bake")
        with self.subTest("looking inside"):
            self.looking_inside()
        with self.subTest("gc"):
            self.collection()
        with self.subTest("a lost ledger"):
            self.lost_ledger()

    def promotion(self) -> None:
        before = self.entries()
        self.assertIn("did you mean 'staging'", self.refuse(2, "promote", "1.1.0", "stagin"))
        self.assertIn("Did you mean web@1.1.0", self.refuse(1, "promote", "1.1.1", "staging"))
        said = self.refuse(1, "promote", "1.1.0", "production")
        self.assertIn("from: staging", said)
        self.assertIn("kiln promote web@1.1.0 staging", said)
        self.assertIn("deployed: any", said)
        self.assertIn("needs a reason", self.refuse(2, "promote", "1.1.0", "production", "--force"))
        self.kiln.edit("site/index.html", "1.1.0", "1.1.0!")
        self.assertIn("never moves", self.refuse(1, "bake"))
        self.kiln.edit("site/index.html", "1.1.0!", "1.1.0")
        self.assertEqual(self.entries(), before)
        self.kiln.run("promote", "1.1.0", "staging", "--why", "looks well")
        shown = self.kiln.json("show", "web@staging")
        self.assertEqual(shown["image"], "web@1.1.0")
        self.assertLessEqual({"application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"},
                             {document["type"] for document in shown["documents"]})
        self.assertEqual(self.images()["1.1.0"]["channels"], ["staging"])
        self.assertIn("deployed: any", self.refuse(1, "promote", "staging", "production"))

    def revocation(self) -> None:
        ami = self.ami_of("1.1.0")
        self.assertIn("needs a reason", self.refuse(2, "revoke", "1.1.0"))
        answer = self.kiln.json("revoke", "1.1.0", "--why", "CVE-2026-0001 in nginx")
        self.assertEqual(answer["amis"], [ami])
        kinds = {user["kind"]: user["id"] for user in answer["users"]}
        self.assertTrue(kinds["instance"].startswith("i-"))
        self.assertEqual(kinds["group"], "kiln-web")
        self.assertEqual(self.state_of(ami), "disabled")
        for words in (("deploy", "--image", "1.1.0"), ("plan", "--image", "web@production")):
            said = self.refuse(1, *words)
            self.assertIn("CVE-2026-0001", said)
        self.assertIn("standing", self.refuse(1, "promote", "1.1.0", "dev", "--force", "--why", "must"))
        self.assertIn("CVE-2026-0001", self.refuse(1, "bake"))
        self.kiln.run("restore", "1.1.0", "--why", "not affected")
        self.assertEqual(self.state_of(ami), "available")
        self.assertEqual(self.kiln.run("plan", "--image", "1.1.0").returncode, 0)
        self.kiln.run("revoke", "1.0.0", "--why", "it leaks")
        self.assertIn("it leaks", self.refuse(1, "rollback"))
        self.kiln.run("restore", "1.0.0", "--why", "it does not")

    def looking_inside(self) -> None:
        found = self.kiln.json("diff", "1.0.0", "1.2.0")
        self.assertEqual([change["name"] for change in found["files"]], ["/var/www/html/index.html"])
        self.assertEqual((found["packages"], found["units"]), ([], []))
        self.assertEqual(sorted(layer["in"] for layer in found["layers"]), ["after", "before"] + ["both"] * 4)
        nginx = self.kiln.json("search", "nginx", "1.22")
        where = {hit["image"]: hit for hit in nginx["images"]}
        self.assertEqual(set(where), {"web@1.0.0", "web@1.1.0", "web@1.2.0"})
        self.assertTrue(where["web@1.1.0"]["matches"][0].startswith("nginx 1.22"))
        self.assertEqual(where["web@1.1.0"]["running"][0]["group"], "kiln-web")
        self.assertEqual(where["web@1.2.0"]["running"], [])
        self.assertEqual(self.kiln.json("search", "nginx", "1.2")["images"], [])
        page = found["files"][0]["after"].split()[-1]
        self.assertEqual([hit["image"] for hit in self.kiln.json("search", page)["images"]], ["web@1.2.0"])
        self.assertEqual(len(self.kiln.json("search", "/usr/sbin/ngin?")["images"]), 3)

    def collection(self) -> None:
        kiln, rules = self.kiln, ("--keep", "0", "--older", "0s")
        ami = self.ami_of("1.2.0")
        snapshots = [device["Ebs"]["SnapshotId"] for image in
                     kiln.aws("ec2", "describe-images", "--image-ids", ami)["Images"]
                     for device in image["BlockDeviceMappings"] if "Ebs" in device]
        before = self.entries()
        planned = self.fates(*rules)
        self.assertEqual({name: one["fate"] for name, one in planned.items()},
                         {"web@1.2.0": "put aside", "web@1.1.0": "keep", "web@1.0.0": "keep"})
        self.assertIn("instance", planned["web@1.1.0"]["why"])
        self.assertIn("roll back", planned["web@1.0.0"]["why"])
        self.assertEqual(self.entries(), before)
        # The way back is protected by AWS too.
        refused = kiln.aws("ec2", "deregister-image", "--image-id", self.ami_of("1.0.0"), check=False)
        self.assertIn("OperationNotPermitted", refused.stderr)

        kiln.run("gc", *rules, "--yes")
        self.assertEqual(self.state_of(ami), "disabled")
        self.assertIn("put aside", self.refuse(1, "deploy", "--image", "1.2.0"))
        self.assertEqual(self.fates(*rules)["web@1.2.0"]["fate"], "wait")
        kiln.run("gc", "--undo", "1.2.0")
        self.assertEqual(self.state_of(ami), "available")
        self.assertIn("was not put aside", self.refuse(1, "gc", "--undo", "1.2.0"))

        world.age(kiln.home / "store")
        world.age(kiln.home / "cache")
        size = bytes_of(kiln.home / "store/blobs")
        done = kiln.json("gc", *rules, "--grace", "0s", "--yes")
        self.assertGreater({one["image"]: one for one in done["images"]}["web@1.2.0"]["frees_bytes"], 0)
        self.assertEqual(size - bytes_of(kiln.home / "store/blobs"), done["freed_bytes"])
        self.assertEqual(self.state_of(ami), "gone")
        left = kiln.aws("ec2", "describe-snapshots", "--owner-ids", "self")["Snapshots"]
        self.assertEqual([one for one in left if one["SnapshotId"] in snapshots], [])
        self.assertIn("was removed on", self.refuse(1, "show", "1.2.0"))
        # What stays is whole: going back needs every byte of it.
        kiln.run("rollback", "--why", "to see that it is there")
        self.assertIn("1.0.0", world.fetch(kiln.url() + "/") or "")
        kiln.set_version("1.2.0", "1.0.0")
        self.assertTrue(all(layer["reused"] for layer in kiln.json("bake", "--no-publish")["layers"]))

    def lost_ledger(self) -> None:
        before = self.images()
        shutil.rmtree(self.kiln.home / "ledger")
        self.assertEqual(self.kiln.json("images")["images"], [])
        self.assertIn("Did you mean", self.refuse(1, "import", self.ami_of_aws() [:-1] + "x", "--app", "web"))
        taken = self.kiln.json("import", "--all")
        self.assertEqual(taken["refused"], [])
        after = self.images()
        self.assertEqual(set(after), {"1.0.0", "1.1.0"})
        for version, image in after.items():
            for key in ("digest", "recipe", "base", "built", "size_bytes", "commit"):
                self.assertEqual(image[key], before[version][key], key)
            self.assertEqual(image["placements"][0]["ami"], before[version]["placements"][0]["ami"])
        self.assertEqual(after["1.0.0"]["running"][0]["group"], "kiln-web")
        self.assertEqual(self.kiln.run("plan", "--image", "1.1.0").returncode, 0)

    def ami_of_aws(self) -> str:
        return self.kiln.aws("ec2", "describe-images", "--owners", "self")["Images"][0]["ImageId"]


if __name__ == "__main__":
    unittest.main()
