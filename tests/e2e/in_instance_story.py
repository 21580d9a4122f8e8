"""A recipe is baked in an instance by AWS calls alone; whatever ends the bake, nothing of it stays."""
import re
import signal
import subprocess
import unittest

import world


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

    def test_a_recipe_becomes_an_ami_that_serves(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        # kill -9 while the first step runs: the next bake removes what is left, and bakes.
        killed = self.bake()
        world.wait_until("a builder runs", lambda: self.instances("running"), budget=120)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        (old,) = self.instances("running")
        self.assertEqual(len(self.left()), 2)

        baked = self.kiln.run("bake", "--in-instance", timeout=400)
        ami = re.search(r"baked web@1\.0\.0 as (ami-[0-9a-f]+)", baked.stdout)[1]
        self.assertRegex(baked.stderr, rf"removed: instance {old}, security group sg-")
        self.assertEqual(self.left(), [])
        (image,) = self.kiln.aws("ec2", "describe-images", "--image-ids", ami)["Images"]
        tags = {t["Key"]: t["Value"] for t in image["Tags"]}
        (known,) = self.kiln.json("images")["images"]
        self.assertEqual((tags["kiln:app"], tags["kiln:version"], tags["kiln:digest"]), ("web", "1.0.0", known["digest"]))

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

    def test_what_an_instance_cannot_bake_is_refused_before_it_is_launched(self) -> None:
        self.kiln.run("region", "start", "--port", "0", "--machines", "simulated")
        self.kiln.edit("kiln.yaml", "\nfleet:", "  test:\n    - unit: nginx\n\nfleet:")
        refused = self.kiln.run("bake", "--in-instance", check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("--no-test", refused.stderr)
        self.kiln.edit("kiln.yaml", "from: site/", "from: sites/")
        refused = self.kiln.run("bake", "--in-instance", "--no-test", check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("'sites/' does not exist", refused.stderr)
        self.assertEqual(self.left(), [])
        self.assertEqual(self.kiln.run("bake", "--subnet", "subnet-1", check=False).returncode, 2)


if __name__ == "__main__":
    unittest.main()
