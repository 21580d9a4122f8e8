"""Images are tested on a real instance before they are published; one that fails goes nowhere; nothing of a test stays."""
import json
import signal
import subprocess
import time
import unittest
import xml.etree.ElementTree

import world

GOOD = """  test:
    - unit: nginx
    - only_ports: 80
    - http: {port: 80, path: /healthz, status: 200, headers: {Server: nginx}}
    - http: {path: /, body: "^web 1\\\\.0"}
    - run: {command: nginx -v 2>&1, output: "nginx/1"}
    - boot: 60s
    - memory: 200MiB
    - file: {path: /var/www/html/index.html, mode: 0644, owner: root:0, contains: "web 1.0"}
    - no_secrets: true
    - read_only: true
"""

# What each check must say of the example's image.
BAD = [
    ("unit: nope", "there is no unit nope.service"),
    ("port: 22", "nothing listens on port 22"),
    ("only_ports: 81", "nothing listens on port 81, port 80 listens too"),
    ("http: {path: /nothing, timeout: 1s}", "answered 404, not 200"),
    ("http: {body: web 7, timeout: 1s}", "'web 7' is not in the body of 10 bytes, which begins: web 1.0.0"),
    ("http: {headers: {X-A: b}, timeout: 1s}", "the answer has no header X-A"),
    ("http: {port: 81, timeout: 1s}", "nobody answers"),
    ("run: [echo why >&2, exit 4]", "exit status 4, not 0: why"),
    ("run: {command: echo a, output: b}", "'b' is not in its output: a"),
    ("run: {command: sleep 100, timeout: 1s}", "it took too long and was ended"),
    ("memory: 1MiB", "held by its processes"),
    ("file: {path: /etc/hostname, mode: 0600, owner: \"33:33\", content: x}", "mode 0644, owner root:root (0:0), other content"),
    ("file: /etc/nope", "not there"),
    ("file: {path: /etc/nginx, absent: true}", "it is there"),
]


class ImageTest(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.assert_nothing_of_tests)

    def assert_nothing_of_tests(self) -> None:
        self.assertEqual(self.stands(), [])

    def stands(self) -> list[str]:
        folder = self.kiln.home / "trials"
        return [p.name for p in folder.iterdir() if p.is_dir()] if folder.exists() else []

    def ask_for(self, lines: str) -> None:
        path = self.kiln.app / "kiln.yaml"
        text = path.read_text()
        if "  test:\n" in text:
            begin, end = text.index("  test:\n"), text.index("\nfleet:")
            text = text[:begin] + text[end:]
        path.write_text(text.replace("\nfleet:", lines + "\nfleet:", 1))

    def entries(self) -> list[dict]:
        return [e for e in self.kiln.json("ledger")["entries"] if e["kind"] == "image.tested"]

    def test_an_image_that_passes_is_published(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        self.ask_for(GOOD)
        self.kiln.set_version("1.0.0", "1.0.12")  # whose provenance no other story has written
        first = self.kiln.run("bake", "--json")
        baked = json.loads(first.stdout)
        self.assertTrue(baked["ami"].startswith("ami-"))
        self.assertTrue(baked["test"]["passed"])
        self.assertEqual(len(baked["test"]["checks"]), 12)
        (entry,) = self.entries()
        self.assertEqual((entry["body"]["passed"], entry["body"]["digest"]), (True, baked["digest"]))
        self.kiln.run("verify", "web@1.0.12", "--export", str(self.kiln.home / "proofs"), check=False)
        documents = [file.read_text() for file in (self.kiln.home / "proofs").iterdir() if file.suffix == ".json"]
        self.assertTrue(any('"passed":true' in text.replace(" ", "") and "nginx.service" in text for text in documents),
                        "the provenance names the tests")
        again = self.kiln.run("bake")
        self.assertIn("tested before", again.stderr)
        self.assertEqual(len(self.entries()), 1)

    def test_an_image_that_fails_is_neither_recorded_nor_published_nor_deployed(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        self.ask_for("  test:\n    - unit: nope\n")
        refused = self.kiln.run("bake", check=False)
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("web@1.0.0 failed 1 of 3 checks: unit nope.service", refused.stderr)
        self.assertIn("the console's last lines:", refused.stderr)
        self.assertEqual(self.kiln.json("images")["images"], [])
        self.assertEqual(self.kiln.aws("ec2", "describe-images", "--owners", "self")["Images"], [])
        # The version is still free: what was mended takes it.
        self.ask_for(GOOD)
        self.kiln.run("bake", "--no-publish")
        self.ask_for("  test:\n    - file: /etc/nope\n")
        self.assertEqual(self.kiln.run("test", check=False).returncode, 1)
        for command in ("plan", "deploy"):
            refused = self.kiln.run(command, check=False)
            self.assertEqual(refused.returncode, 1, refused.stderr)
            self.assertIn("failed its tests on ", refused.stderr)
            self.assertIn("/etc/nope", refused.stderr)
        self.assertEqual(self.kiln.aws("ec2", "describe-images", "--owners", "self")["Images"], [])
        self.ask_for(GOOD)
        self.kiln.run("test")
        self.kiln.run("plan")

    def test_each_check_says_what_is_wrong(self) -> None:
        self.ask_for(GOOD)
        self.kiln.run("bake")
        self.ask_for("  test:\n" + "".join(f"    - {check}\n" for check, _ in BAD))
        junit = self.kiln.home / "junit.xml"
        result = self.kiln.run("test", "--json", "--junit", str(junit), check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        checks = json.loads(result.stdout)["checks"]
        self.assertEqual([c["name"] for c in checks[:2]], ["boot", "no failed units"])
        self.assertTrue(checks[0]["passed"] and checks[1]["passed"], checks[:2])
        for (asked, said), check in zip(BAD, checks[2:], strict=True):
            self.assertFalse(check["passed"], check)
            self.assertIn(said, check["said"], asked)
        suite = xml.etree.ElementTree.parse(junit).getroot().find("testsuite")
        self.assertEqual((suite.get("tests"), suite.get("failures")), (str(len(BAD) + 2), str(len(BAD))))

    def test_what_an_image_must_not_hold(self) -> None:
        self.kiln.edit("kiln.yaml", "    - enable: nginx", """    - enable: nginx
    - run:
        - mkdir -p /root/.ssh && echo ssh-ed25519 AAAA >/root/.ssh/authorized_keys
        - printf '[Service]\\nExecStart=/bin/false\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/bad.service
        - systemctl enable bad""")
        self.kiln.edit("kiln.yaml", "  writable:", "  # writable:")
        self.ask_for("  test:\n    - no_secrets: true\n    - read_only: true\n")
        result = self.kiln.run("bake", "--json", check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        boot, units, secrets, root = json.loads(result.stdout)["test"]["checks"]
        self.assertTrue(boot["passed"], boot)
        self.assertIn("bad.service: Failed with result 'exit-code'", units["said"])
        self.assertEqual(secrets["said"], "/root/.ssh/authorized_keys: keys that may log in")
        self.assertIn("could be written: / ", root["said"])

    def test_an_image_with_cloud_init_boots_where_no_metadata_service_is(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        debian = self.kiln.aws("ec2", "describe-images", "--owners", "136693071363")["Images"][0]["ImageId"]
        (self.kiln.app / "kiln.yaml").write_text(
            f"app: bastion\nimage:\n  from: {{ami: {debian}}}\n  version: 1.0.0\n"
            "  steps:\n    - run: echo welcome > /etc/motd\n"
            "  test:\n    - unit: ssh\n    - port: 22\n    - run: cloud-init status --wait\n    - boot: 30s\n"
            "environments:\n  local: {endpoint: local}\n")
        baked = json.loads(self.kiln.run("bake", "--json").stdout)
        self.assertTrue(baked["test"]["passed"], baked["test"])

    def test_a_kept_instance_has_a_way_in(self) -> None:
        self.ask_for(GOOD)
        self.kiln.run("bake")
        said = self.kiln.run("test", "--keep").stderr
        (kept,) = self.kiln.json("test", "--list")["kept"]
        self.assertIn(f"kiln test --shell {kept['name']}", said)
        self.assertEqual(kept["image"], "web@1.0.0")
        # The next test leaves it alone.
        self.kiln.run("test")
        inside = subprocess.run([world.PROGRAM, "test", "--shell", kept["name"]], input="hostname; systemctl is-active nginx",
                                env=self.kiln.environment(), cwd=self.kiln.app, capture_output=True, text=True, timeout=60)
        self.assertEqual(inside.stdout, "ip-172-31-0-10\nactive\n", inside.stderr)
        self.kiln.run("test", "--end", kept["name"])
        self.assertEqual(self.kiln.run("test", "--shell", kept["name"], check=False).returncode, 1)

    def test_nothing_of_a_test_stays_however_it_ends(self) -> None:
        self.ask_for(GOOD)
        self.kiln.run("bake")
        self.ask_for("  test:\n    - run: sleep 100\n")
        for sign in (signal.SIGINT, signal.SIGKILL):
            child = self.kiln.start("test")
            world.wait_until("the instance has booted", lambda: self.booted(), budget=60)
            time.sleep(0.2)
            child.send_signal(sign)
            child.wait(timeout=30)
            if sign == signal.SIGINT:
                self.assertEqual(child.returncode, 130)
                self.assertEqual(self.stands(), [])
        self.assertEqual(len(self.stands()), 1)
        self.assertNotEqual(world.mounts(str(self.kiln.home)), [])
        self.ask_for(GOOD)
        self.kiln.run("test")
        self.assertEqual(self.stands(), [])
        self.assertEqual(world.leftovers(str(self.kiln.home), set()), [])

    def booted(self) -> bool:
        return any("Reached target multi-user" in p.read_text(errors="replace")
                   for p in (self.kiln.home / "trials").glob("*/instances/*/console.log"))

    def test_wrong_words_change_nothing(self) -> None:
        self.ask_for("  test:\n    - ports: [80, x]\n")
        refused = self.kiln.run("bake", check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("kiln.yaml:13:19: 'ports' must be a whole number from 1 to 65535", refused.stderr)
        self.ask_for(GOOD)
        for words, code, said in [(("test",), 1, "has not been baked"), (("test", "web@9.9.9"), 1, "no image"),
                                  (("test", "--end", "x"), 1, "no instance 'x' was kept"), (("test", "--lst"), 2, "--list")]:
            refused = self.kiln.run(*words, check=False)
            self.assertEqual((refused.returncode, said in refused.stderr), (code, True), refused.stderr)
        self.assertFalse((self.kiln.home / "trials").exists() and self.stands())


if __name__ == "__main__":
    unittest.main()
