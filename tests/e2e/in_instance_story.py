"""A recipe is baked in an instance by AWS calls alone; whatever ends the bake, nothing of it stays."""
import json
import re
import shutil
import signal
import subprocess
import unittest

import world


SURROGATE = """app: web
image:
  packer: {template: surrogate.pkr.hcl, variables: {endpoint: unused}}
  version: 1.0.0
  test:
    - unit: page
    - http: {path: /, status: 200, body: from a surrogate}
"""


class InInstance(world.Story):
    def bake(self) -> subprocess.Popen:
        return self.kiln.start("bake", "--in-instance")

    def instances(self, *states: str) -> list[str]:
        found = self.kiln.aws("ec2", "describe-instances", "--filters", "Name=tag-key,Values=kiln:builder",
                              f"Name=instance-state-name,Values={','.join(states)}")
        return [i["InstanceId"] for r in found["Reservations"] for i in r["Instances"]]

    def left(self) -> list[str]:
        """What builders have made, without the AMIs of the catalog and their snapshots."""
        tag = ("--filters", "Name=tag-key,Values=kiln:builder")
        known = {p["ami"] for i in self.kiln.json("images")["images"] for p in i["placements"]}
        images = self.kiln.aws("ec2", "describe-images", "--owners", "self")["Images"]
        snapshots = {m["Ebs"]["SnapshotId"] for i in images if i["ImageId"] in known for m in i["BlockDeviceMappings"]}
        left = self.instances("pending", "running", "shutting-down", "stopping", "stopped")
        left += [g["GroupId"] for g in self.kiln.aws("ec2", "describe-security-groups", *tag)["SecurityGroups"]]
        left += [i["ImageId"] for i in images if i["ImageId"] not in known]
        left += [s["SnapshotId"] for s in self.kiln.aws("ec2", "describe-snapshots", "--owner-ids", "self")["Snapshots"]
                 if s["SnapshotId"] not in snapshots]
        left += self.kiln.aws("ec2", "describe-key-pairs")["KeyPairs"]
        return left

    def tests(self, *checks: str) -> None:
        """kiln.yaml's image gets these tests, instead of those that it has."""
        text = (self.kiln.app / "kiln.yaml").read_text()
        text = re.sub(r"  test:\n(    - .*\n)+", "", text)
        lines = "".join(f"    - {check}\n" for check in checks)
        (self.kiln.app / "kiln.yaml").write_text(text.replace("\nfleet:", f"  test:\n{lines}\nfleet:", 1))

    def test_a_recipe_becomes_an_ami_that_serves(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        # kill -9 while the first step runs: the next bake removes what is left, and bakes.
        killed = self.bake()
        world.wait_until("a builder runs", lambda: self.instances("running"), budget=120)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        (old,) = self.instances("running")
        self.assertEqual(len(self.left()), 2)
        (dead,) = self.kiln.doctor("left")
        self.assertIn("builder run ", dead["what"])

        self.tests("unit: nginx", "only_ports: [22, 80]", "http: {path: /, status: 200, body: 'web 1\\.0\\.0', headers: {Server: nginx}}",
                   "run: {command: 'echo {{braces}}; nginx -t', output: '^.*braces'}", "file: {path: /var/www/html, mode: 0755}",
                   "memory: 400MiB", "boot: 2m", "no_secrets: true")
        self.kiln.run("keys", "new")
        baked = self.kiln.run("bake", "--in-instance", timeout=400)
        ami = re.search(r"baked web@1\.0\.0 as (ami-[0-9a-f]+)", baked.stdout)[1]
        self.assertRegex(baked.stderr, rf"removed: instance {old}, security group sg-")
        self.assertEqual(self.left(), [])
        (image,) = self.kiln.aws("ec2", "describe-images", "--image-ids", ami)["Images"]
        tags = {t["Key"]: t["Value"] for t in image["Tags"]}
        self.assertIn("ok      http :80/ 200", baked.stderr)
        self.assertNotIn("FAILED", baked.stderr)
        (known,) = self.kiln.json("images")["images"]
        self.assertEqual((tags["kiln:app"], tags["kiln:version"], tags["kiln:digest"]), ("web", "1.0.0", known["digest"]))

        self.prove(known["digest"], ami)

        self.kiln.edit("kiln.yaml", "size: 4", "size: 1")
        self.kiln.run("deploy")
        self.assertIn("web 1.0.0", world.fetch(self.kiln.url() + "/") or "")

        # The version is taken; nothing is launched to find that out.
        taken = self.kiln.run("bake", "--in-instance", check=False)
        self.assertEqual(taken.returncode, 1)
        self.assertIn("a version never moves to another image", taken.stderr)

        # A step that fails is quoted, and the builder goes; Ctrl-C removes it too.
        self.kiln.set_version("1.0.0", "1.1.0")
        self.kiln.edit("kiln.yaml", "packages: [nginx]", "run: echo because >&2; exit 7")
        failed = self.kiln.run("bake", "--in-instance", check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("kiln.yaml:7:7: run echo because >&2; exit 7 failed", failed.stderr)
        self.assertIn("it ended with status 7 (Failed):\nbecause", failed.stderr)
        self.assertEqual(self.left(), [])
        self.kiln.edit("kiln.yaml", "run: echo because >&2; exit 7", "run: sleep 300")
        stopped = self.bake()
        world.wait_until("a builder runs", lambda: self.instances("running"), budget=120)
        stopped.send_signal(signal.SIGINT)
        out, _ = stopped.communicate(timeout=60)
        self.assertEqual(stopped.returncode, 130, out)
        self.assertEqual(self.left(), [])

    def prove(self, digest: str, ami: str) -> None:
        """An image that only AWS has answers as any other."""
        shown = self.kiln.json("show", "web@1.0.0")
        self.assertGreater(shown["size_bytes"], 1 << 20)
        self.assertEqual(len(shown["signed_by"]), 1)
        self.assertEqual((shown["tests"][0]["passed"], shown["tests"][0]["checks"]), (True, 10))
        self.assertEqual([p["ami"] for p in shown["placements"]], [ami])
        sbom = json.loads(self.kiln.run("sbom", "web@1.0.0").stdout)
        packages = {p["name"]: p.get("versionInfo", "") for p in sbom["packages"]}
        self.assertTrue(packages["nginx"].startswith("1.22"), packages.get("nginx"))
        self.assertIn("/var/www/html/index.html", {f["fileName"].lstrip(".") for f in sbom["files"]})
        for what in ("nginx", "/var/www/html/index.html"):
            (found,) = self.kiln.json("search", what)["images"]
            self.assertEqual(found["image"], "web@1.0.0")
        verified = self.kiln.json("verify", "web@1.0.0")
        self.assertTrue(verified["passed"], verified)
        self.assertEqual({c["check"] for c in verified["checks"]}, {"content", "signature", "provenance", "sbom"})
        folder = self.kiln.home / "proof"
        self.kiln.run("verify", "web@1.0.0", "--export", str(folder))
        predicate = json.loads((folder / "provenance.json").read_text())["predicate"]
        definition = predicate["buildDefinition"]
        self.assertEqual(definition["buildType"], "urn:kiln:bake-in-instance:v1")
        self.assertEqual(definition["internalParameters"]["ami"], ami)
        names = [d.get("name", "") for d in definition["resolvedDependencies"]]
        self.assertIn("step: packages nginx", names)
        self.assertIn("test: unit nginx.service", [b["name"] for b in predicate["runDetails"]["byproducts"]])

    def test_an_ami_that_fails_its_tests_is_no_image(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        self.kiln.edit("kiln.yaml", "size: 4", "size: 1")
        self.kiln.edit("kiln.yaml", "    - enable: nginx\n", "")
        self.kiln.edit("kiln.yaml", "packages: [nginx]", "run: mkdir -p /root/.ssh /srv && echo x >/root/.netrc && echo it >/srv/it")
        self.tests("port: 80", "file: {path: /srv/it, contains: it}", "http: {timeout: 1s}", "no_secrets: true")
        failed = self.kiln.run("bake", "--in-instance", "--keep", check=False, timeout=400)
        self.assertEqual(failed.returncode, 1, failed.stderr)
        self.assertIn("web@1.0.0 failed 3 of 6 checks: port 80, http :80/ 200 within 1s, no secrets", failed.stderr)
        self.assertIn("/root/.netrc: passwords", failed.stderr)
        self.assertEqual(self.kiln.json("images")["images"], [])
        self.assertEqual(self.kiln.aws("ec2", "describe-images", "--owners", "self")["Images"], [])
        self.assertEqual(self.kiln.run("deploy", check=False).returncode, 1)

        # The instance was kept, with a way in, and the next bake leaves it alone.
        (kept,) = self.kiln.json("test", "--list")["kept"]
        self.assertEqual(self.instances("running"), [kept["name"]])
        self.assertEqual(kept["image"], "web@1.0.0")
        shell = subprocess.run([world.PROGRAM, "test", "--shell", kept["name"]], cwd=self.kiln.app, text=True, timeout=60,
                               env=self.kiln.environment(), input="cat /srv/it\nid -u; exit 3\n", capture_output=True)
        self.assertEqual(shell.stdout, "it\n0\n", shell.stderr)
        self.assertEqual(shell.returncode, 1)
        self.assertIn("status 3", shell.stderr)
        self.tests("file: {path: /srv/it, contains: it}")
        self.kiln.run("bake", "--in-instance", timeout=400)
        self.assertEqual(self.instances("running"), [kept["name"]])
        self.kiln.run("test", "--end", kept["name"])
        self.assertEqual(self.left(), [])
        self.assertEqual(self.kiln.doctor("left"), [])

        # It is tested again as an instance of its AMI; one that fails now is not deployed.
        self.assertTrue(self.kiln.json("test")["passed"])
        self.tests("file: {path: /srv/it, absent: true}")
        self.assertEqual(self.kiln.run("test", check=False).returncode, 1)
        refused = self.kiln.run("deploy", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("failed its tests", refused.stderr)
        self.assertEqual(self.left(), [])

        # kill -9 while an AMI is tested: nothing of it counts, and --clean removes it.
        self.kiln.set_version("1.0.0", "1.1.0")
        self.tests("run: sleep 300")
        killed = self.bake()
        world.wait_until("an AMI is tested", lambda: len(self.instances("running")) == 1 and len(
            self.kiln.aws("ec2", "describe-images", "--owners", "self")["Images"]) == 2, budget=240)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        self.assertEqual([i["version"] for i in self.kiln.json("images")["images"]], ["1.0.0"])
        self.assertEqual(len(self.kiln.doctor("left")), 1)
        self.kiln.run("doctor", "--clean")
        self.assertEqual(self.left(), [])

    def test_a_surrogates_volume_becomes_the_image(self) -> None:
        for name in ("surrogate.pkr.hcl", "surrogate.sh"):
            shutil.copy(world.ROOT / "examples/packer" / name, self.kiln.app / name)
        (self.kiln.app / "kiln.yaml").write_text(SURROGATE + world.FLEET_OF_ONE)
        offline = self.kiln.run("bake", check=False)
        self.assertEqual(offline.returncode, 2)
        self.assertIn("surrogate.pkr.hcl:11:1: 'amazon-ebssurrogate' fills a volume of its own", offline.stderr)
        self.assertIn("kiln bake --in-instance", offline.stderr)

        self.kiln.run("region", "start", "--port", "0")
        # kill -9 while the AMI is made of the volume's snapshot: the next bake removes both, and bakes.
        killed = self.bake()
        world.wait_until("a snapshot is made", lambda: self.snapshots(), budget=180, pause=0.05)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        baked = self.kiln.run("bake", "--in-instance", timeout=400)
        self.assertRegex(baked.stderr, r"removed: .*snapshot snap-")
        self.assertIn("ok      http :80/ 200", baked.stderr)
        self.assertEqual(self.left(), [])
        self.assertEqual(self.kiln.aws("ec2", "describe-volumes")["Volumes"], [])
        ami = re.search(r"baked web@1\.0\.0 as (ami-[0-9a-f]+)", baked.stdout)[1]
        (image,) = self.kiln.aws("ec2", "describe-images", "--image-ids", ami)["Images"]
        (root,) = image["BlockDeviceMappings"]
        self.assertEqual((image["RootDeviceName"], root["Ebs"]["VolumeSize"]), ("/dev/xvda", 3))
        # What is known of the image is what is on the volume.
        self.assertEqual(self.kiln.json("search", "/srv/page/index.html")["images"][0]["image"], "web@1.0.0")
        sbom = json.loads(self.kiln.run("sbom", "web@1.0.0").stdout)
        self.assertIn("systemd", {p["name"] for p in sbom["packages"]})
        self.kiln.run("deploy")
        self.assertIn("from a surrogate", world.fetch(self.kiln.url() + "/") or "")

    def snapshots(self) -> list[str]:
        found = self.kiln.aws("ec2", "describe-snapshots", "--filters", "Name=tag-key,Values=kiln:builder")["Snapshots"]
        return [one["SnapshotId"] for one in found]

    def test_what_an_instance_cannot_bake_is_refused_before_it_is_launched(self) -> None:
        self.kiln.run("region", "start", "--port", "0", "--machines", "simulated")
        self.tests("read_only: true")
        refused = self.kiln.run("bake", "--in-instance", check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("can be written", refused.stderr)
        self.kiln.edit("kiln.yaml", "from: site/", "from: sites/")
        refused = self.kiln.run("bake", "--in-instance", "--no-test", check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("'sites/' does not exist", refused.stderr)
        self.assertEqual(self.left(), [])
        self.assertEqual(self.kiln.run("bake", "--subnet", "subnet-1", check=False).returncode, 2)


if __name__ == "__main__":
    unittest.main()
