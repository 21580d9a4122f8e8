"""The commands that a first app needs, in the order in which a person meets them, on one region."""
import json
import os
import unittest
import urllib.request

import world


class Commands(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.app = self.kiln.home / "shop"
        self.kiln.app.mkdir()

    def page(self) -> str:
        try:
            with urllib.request.urlopen(self.kiln.url() + "/", timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def test_a_first_app_from_init_to_a_region_that_was_reset(self) -> None:
        kiln = self.kiln
        self.assertIn("kiln bake", kiln.run("init").stdout)
        written = (kiln.app / "kiln.yaml").read_text()
        self.assertTrue(written.startswith("app: shop\n"))
        again = kiln.run("init", check=False)
        self.assertEqual((again.returncode, (kiln.app / "kiln.yaml").read_text()), (1, written))
        self.assertEqual(kiln.json("images"), {"images": [], "not_reached": []})

        kiln.run("region", "start", "--port", "0")
        not_baked = kiln.run("plan", check=False)
        self.assertEqual(not_baked.returncode, 1)
        self.assertIn("has not been baked", not_baked.stderr)
        baked = kiln.json("bake")
        image = kiln.json("images", "shop")["images"][0]
        self.assertEqual((image["version"], image["digest"]), ("1.0.0", baked["digest"]))
        self.assertEqual(image["placements"][0]["ami"], baked["ami"])
        self.assertRegex(kiln.run("images").stdout, rf"shop@1\.0\.0 +\w+ +{baked['ami']}")

        plan = kiln.json("plan")
        self.assertEqual((plan["refusals"], plan["nothing_to_do"]), ([], False))
        self.assertTrue(any("Auto Scaling group kiln-shop" in action["what"] for action in plan["actions"]), plan)
        self.assertIn("kiln-shop", kiln.run("plan").stdout)
        self.assertIsNone(kiln.json("status")["group"], "a plan changes nothing")
        kiln.run("deploy")
        self.assertTrue(kiln.json("plan")["nothing_to_do"])
        self.assertIn("shop 1.0.0", self.page())

        watch = world.Terminal(kiln, "status", "--watch")
        watch.wait_for("2 of 2 serve")
        frame = len(watch.said)
        world.wait_until("it draws more than one frame", lambda: watch.read() and len(watch.said) > frame + 200)
        self.assertIn("\x1b[", watch.said[frame:], "drawn in place")
        watch.type("\x03")
        self.assertEqual(watch.end(10), 0)

        lines = kiln.run("ledger", "export").stdout.splitlines()
        head = kiln.json("ledger", "head")
        self.assertEqual([json.loads(line)["sequence"] for line in lines], list(range(1, head["sequence"] + 1)))
        self.assertEqual(json.loads(lines[-1])["digest"], head["digest"])
        self.assertEqual(kiln.run("ledger", "head").stdout.strip(), f"{head['sequence']}@{head['digest']}")
        remembered = ("--head", f"{head['sequence']}@{head['digest']}")
        kiln.run("ledger", "verify", *remembered)
        export = kiln.app / "ledger.jsonl"
        export.write_text("\n".join(lines) + "\n")
        kiln.run("ledger", "verify", "--file", "ledger.jsonl", *remembered)
        export.write_text("\n".join(lines[:-1]) + "\n")
        self.assertEqual(kiln.run("ledger", "verify", "--file", "ledger.jsonl", *remembered, check=False).returncode, 6)

        endpoint = kiln.region()["endpoint"]
        kiln.run("region", "stop")
        self.assertEqual(kiln.run("status", check=False).returncode, 1)
        self.assertFalse(kiln.region()["running"])
        kiln.run("region", "start")
        self.assertEqual(kiln.region()["endpoint"], endpoint)
        world.wait_until("the page is served again", lambda: "shop 1.0.0" in self.page(), budget=60)
        calls = kiln.json("region", "log")["lines"]
        self.assertLessEqual(len(calls), 50)
        self.assertTrue(any("GetCallerIdentity" in call for call in calls), calls)
        self.assertEqual(os.stat(kiln.home / "regions/default").st_mode & 0o777, 0o700)

        kiln.run("region", "reset")
        kiln.run("region", "start", "--port", "0")
        published = kiln.json("bake")
        self.assertEqual(published["digest"], baked["digest"])
        self.assertNotEqual(published["ami"], baked["ami"], "the AMI went with its region and is published again")
        kiln.run("deploy")
        self.assertIn("shop 1.0.0", self.page())
        kiln.run("region", "reset")
        kiln.run("region", "start", "--port", "0")
        kiln.run("deploy")
        self.assertIn("shop 1.0.0", self.page())


if __name__ == "__main__":
    unittest.main()
