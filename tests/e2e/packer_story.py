"""Packer (Debian's), which nobody here wrote, builds AMIs from the region's public image by ssh; they boot and serve."""
import os
import re
import signal
import subprocess
import threading
import unittest
import urllib.request

import world

TEMPLATES = world.ROOT / "examples/packer"
EVERYBODY = ("--cidr", "0.0.0.0/0")


class Packer(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")

    def environment(self) -> dict[str, str]:
        return self.kiln.aws_environment() | {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(self.kiln.home / "packer"),
                                              "PACKER_CONFIG_DIR": str(self.kiln.home / "packer")}

    def start(self, *words: str) -> subprocess.Popen:
        child = subprocess.Popen(["packer", "build", "-machine-readable", *words], env=self.environment(),
                                 cwd=self.kiln.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.kiln.children.append(child)
        return child

    def hcl(self) -> tuple[str, ...]:
        return ("-var", f"endpoint={self.kiln.region()['endpoint']}", str(TEMPLATES / "web.pkr.hcl"))

    def build(self, *words: str) -> dict[str, str]:
        """AMIs by region."""
        child = self.start(*words)
        said, _ = child.communicate(timeout=400)
        self.assertEqual(child.returncode, 0, said[-6000:])
        artifact = re.search(r"artifact,0,id,(\S+)", said)
        assert artifact is not None, said[-3000:]
        return dict(one.split(":") for one in artifact.group(1).split("%!(PACKER_COMMA)"))

    def until(self, child: subprocess.Popen, text: str, budget: float = 240) -> str:
        """Reads what Packer says until it says `text`."""
        said = ""
        killer = threading.Timer(budget, child.kill)
        killer.start()
        assert child.stdout is not None
        for line in child.stdout:
            said += line
            if text in line:
                killer.cancel()
                return said
        raise AssertionError(f"Packer ended without saying {text!r}\n{said[-4000:]}")

    def what_stays(self) -> dict[str, list[str]]:
        aws = self.kiln.aws
        instances = [i["InstanceId"] for r in aws("ec2", "describe-instances")["Reservations"] for i in r["Instances"]
                     if i["State"]["Name"] != "terminated"]
        return {"instances": instances,
                "images": [i["ImageId"] for i in aws("ec2", "describe-images", "--owners", "self")["Images"]],
                "snapshots": [s["SnapshotId"] for s in aws("ec2", "describe-snapshots", "--owner-ids", "self")["Snapshots"]],
                "volumes": [v["VolumeId"] for v in aws("ec2", "describe-volumes")["Volumes"]],
                "keys": [k["KeyName"] for k in aws("ec2", "describe-key-pairs")["KeyPairs"]],
                "groups": [g["GroupName"] for g in aws("ec2", "describe-security-groups")["SecurityGroups"]
                           if g["GroupName"] != "default"]}

    def serve(self, ami: str) -> str:
        """Two instances of it behind a load balancer; what a client gets."""
        aws = self.kiln.aws
        group = aws("ec2", "create-security-group", "--group-name", "web", "--description", "web")["GroupId"]
        aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80", *EVERYBODY)
        ids = [i["InstanceId"] for i in aws("ec2", "run-instances", "--image-id", ami, "--count", "2", "--instance-type",
                                            "t3.micro", "--security-group-ids", group)["Instances"]]
        vpc = aws("ec2", "describe-vpcs")["Vpcs"][0]["VpcId"]
        subnets = [s["SubnetId"] for s in aws("ec2", "describe-subnets")["Subnets"]]
        targets = aws("elbv2", "create-target-group", "--name", "web", "--protocol", "HTTP", "--port", "80", "--vpc-id",
                      vpc)["TargetGroups"][0]["TargetGroupArn"]
        balancer = aws("elbv2", "create-load-balancer", "--name", "web", "--subnets", *subnets)["LoadBalancers"][0]
        aws("elbv2", "create-listener", "--load-balancer-arn", balancer["LoadBalancerArn"], "--protocol", "HTTP", "--port",
            "80", "--default-actions", f"Type=forward,TargetGroupArn={targets}")
        aws("ec2", "wait", "instance-running", "--instance-ids", *ids)
        named = [f"Id={one}" for one in ids]
        aws("elbv2", "register-targets", "--target-group-arn", targets, "--targets", *named)
        aws("elbv2", "wait", "target-in-service", "--target-group-arn", targets, "--targets", *named)
        with urllib.request.urlopen(f"http://{balancer['DNSName']}/", timeout=10) as answer:
            return answer.read().decode()

    def test_a_legacy_template_builds_an_image_that_serves(self) -> None:
        amis = self.build(str(TEMPLATES / "web.json"))
        image = self.kiln.aws("ec2", "describe-images", "--image-ids", amis["us-east-1"])["Images"][0]
        self.assertRegex(image["Name"], r"^web-\d{10}$")
        tags = {t["Key"]: t["Value"] for t in image["Tags"]}
        self.assertEqual(tags["Name"], "web")
        self.assertRegex(tags["Source"], r"^debian-12-amd64-")
        snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        stays = self.what_stays()
        self.assertEqual(stays, {"instances": [], "images": [image["ImageId"]], "snapshots": [snapshot], "volumes": [],
                                 "keys": [], "groups": []})
        self.assertIn("made by Packer", self.serve(image["ImageId"]))

    def test_hcl2_encrypts_tags_and_copies_to_a_second_region(self) -> None:
        amis = self.build(*self.hcl())
        self.assertEqual(sorted(amis), ["us-east-1", "us-east-2"])
        for region, ami in amis.items():
            image = self.kiln.aws("--region", region, "ec2", "describe-images", "--image-ids", ami)["Images"][0]
            self.assertEqual(image["State"], "available")
            self.assertTrue(image["BlockDeviceMappings"][0]["Ebs"]["Encrypted"])
            self.assertIn({"Key": "Made", "Value": "by HCL2"}, image["Tags"])
            owned = self.kiln.aws("--region", region, "ec2", "describe-images", "--owners", "self")["Images"]
            self.assertEqual([i["ImageId"] for i in owned], [ami], "the unencrypted one in between is gone")
        self.assertEqual(self.what_stays()["instances"], [])

    def test_a_surrogates_volume_becomes_an_ami_that_serves(self) -> None:
        for template in ((str(TEMPLATES / "surrogate.json"),),
                         ("-var", f"endpoint={self.kiln.region()['endpoint']}", str(TEMPLATES / "surrogate.pkr.hcl"))):
            (ami,) = self.build(*template).values()
            image = self.kiln.aws("ec2", "describe-images", "--image-ids", ami)["Images"][0]
            (root,) = image["BlockDeviceMappings"]
            self.assertEqual((image["RootDeviceName"], root["DeviceName"], root["Ebs"]["VolumeSize"]), ("/dev/xvda", "/dev/xvda", 3))
            stays = self.what_stays()
            self.assertEqual(stays, {"instances": [], "images": [ami], "snapshots": [root["Ebs"]["SnapshotId"]], "volumes": [],
                                     "keys": [], "groups": []})
            last = ami
            if template[0].endswith(".json"):
                self.kiln.aws("ec2", "deregister-image", "--image-id", ami, "--delete-associated-snapshots")
        self.assertIn("from a surrogate", self.serve(last))

    def test_ctrl_c_leaves_nothing(self) -> None:
        child = self.start(str(TEMPLATES / "web.json"))
        self.until(child, "Connected to SSH")
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        said, _ = child.communicate(timeout=120)
        self.assertNotEqual(child.returncode, 0, said[-2000:])
        self.assertEqual(self.what_stays(), {"instances": [], "images": [], "snapshots": [], "volumes": [], "keys": [],
                                             "groups": []})

    def test_the_control_plane_is_killed_while_packer_builds(self) -> None:
        child = self.start(str(TEMPLATES / "web.json"))
        self.until(child, "Connected to SSH")
        before = self.kiln.region()
        os.kill(before["pid"], signal.SIGKILL)
        world.wait_until("it is gone", lambda: not self.kiln.region()["running"])
        self.kiln.run("region", "start")
        said, _ = child.communicate(timeout=300)
        stays = self.what_stays()
        if child.returncode == 0:
            self.assertEqual(len(stays["images"]), 1)
        else:
            self.assertEqual(stays["images"], [], said[-3000:])
        self.assertEqual([stays[kind] for kind in ("instances", "volumes", "keys", "groups")], [[], [], [], []],
                         said[-3000:])


if __name__ == "__main__":
    unittest.main()
