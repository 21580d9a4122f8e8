"""What is inside an instance of a public Debian image: ssh, metadata, user data and console are EC2's, asked with real clients."""
import json
import pathlib
import subprocess
import unittest

import world

DEBIAN = "136693071363"
METADATA = "http://169.254.169.254/latest"
USER_DATA = """#cloud-config
write_files:
  - path: /etc/told
    content: by user data
runcmd:
  - echo boot >> /var/lib/boots
"""

# The times to live of what the metadata service sends while a token is asked for.
SNIFF = """
import socket, subprocess
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
wire.settimeout(1)
subprocess.run(["curl", "-sf", "-o", "/dev/null", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60",
                "http://169.254.169.254/latest/api/token"], check=True)
seen = set()
try:
    while True:
        packet = wire.recv(65536)
        header = (packet[0] & 15) * 4
        content = int.from_bytes(packet[2:4], "big") - header - (packet[header + 12] >> 4) * 4
        if packet[12:16] == bytes([169, 254, 169, 254]) and content > 0:
            seen.add(packet[8])
except TimeoutError:
    print(sorted(seen))
"""


class Inside(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.keys = pathlib.Path(self.kiln.home)
        self.ami = self.kiln.aws("ec2", "describe-images", "--owners", DEBIAN, "--filters",
                                 "Name=name,Values=debian-12-amd64-*")["Images"][0]["ImageId"]
        self.group = self.kiln.aws("ec2", "create-security-group", "--group-name", "ssh", "--description", "ssh")["GroupId"]
        self.rule("authorize")

    def rule(self, verb: str) -> None:
        self.kiln.aws("ec2", f"{verb}-security-group-ingress", "--group-id", self.group, "--protocol", "tcp", "--port", "22",
                      "--cidr", "0.0.0.0/0")

    def create_key(self, kind: str) -> None:
        made = self.kiln.aws("ec2", "create-key-pair", "--key-name", kind, "--key-type", kind)["KeyMaterial"]
        path = self.keys / kind
        path.touch(mode=0o600)
        path.write_text(made)

    def import_key(self, kind: str) -> None:
        name = f"{kind}-imported"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(self.keys / name)], check=True)
        self.kiln.aws("ec2", "import-key-pair", "--key-name", name, "--public-key-material",
                      f"fileb://{self.keys / name}.pub")

    def launch(self, key: str, *words: str) -> str:
        return self.kiln.aws("ec2", "run-instances", "--image-id", self.ami, "--instance-type", "t3.small", "--key-name", key,
                             "--security-group-ids", self.group, *words)["Instances"][0]["InstanceId"]

    def describe(self, instance: str) -> dict:
        return self.kiln.aws("ec2", "describe-instances", "--instance-ids", instance)["Reservations"][0]["Instances"][0]

    def address(self, instance: str) -> str:
        running = world.wait_until(f"{instance} runs", lambda: self.running(instance), budget=240, pause=0.5)
        return running["PublicIpAddress"]

    def running(self, instance: str) -> dict | None:
        found = self.describe(instance)
        self.assertNotEqual(found["State"]["Name"], "terminated", found.get("StateReason"))
        return found if found["State"]["Name"] == "running" else None

    def try_ssh(self, address: str, key: str, command: str) -> subprocess.CompletedProcess:
        return subprocess.run(["ssh", "-i", str(self.keys / key), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
                               "-o", f"UserKnownHostsFile={self.keys / 'known'}", "-o", "ConnectTimeout=2", "-o",
                               "IdentitiesOnly=yes", f"debian@{address}", command], capture_output=True, text=True, timeout=60)

    def ssh(self, address: str, key: str, command: str) -> str:
        """What the command says, once the instance lets us in."""
        def answered() -> subprocess.CompletedProcess | None:
            result = self.try_ssh(address, key, command)
            return result if result.returncode != 255 else None
        result = world.wait_until(f"ssh to {address}", answered, budget=60, pause=0.2)
        self.assertEqual(result.returncode, 0, f"{command}: {result.stdout}{result.stderr}")
        return result.stdout.strip()

    def test_keys_of_every_kind_let_their_owner_in_while_the_group_does(self) -> None:
        self.create_key("rsa")
        self.create_key("ed25519")
        self.import_key("rsa")
        self.import_key("ed25519")
        instances = {key: self.launch(key) for key in ("rsa", "ed25519", "rsa-imported", "ed25519-imported")}
        for key, instance in instances.items():
            address = self.address(instance)
            self.assertEqual(self.ssh(address, key, "sudo id -un; cat /var/lib/cloud/data/instance-id"), f"root\n{instance}")
        address = self.address(instances["rsa"])
        self.assertEqual(self.try_ssh(address, "ed25519", "true").returncode, 255, "another key is refused")
        self.rule("revoke")
        world.wait_until("port 22 is closed", lambda: self.try_ssh(address, "rsa", "true").returncode == 255, budget=10)
        self.rule("authorize")
        self.assertEqual(self.ssh(address, "rsa", "hostname"), self.describe(instances["rsa"])["PrivateDnsName"].split(".")[0])

    def test_user_data_runs_once_and_the_disk_and_host_keys_stay(self) -> None:
        self.create_key("ed25519")
        data = self.keys / "user-data"
        data.write_text(USER_DATA)
        instance = self.launch("ed25519", "--user-data", f"file://{data}")
        address = self.address(instance)
        look = "cloud-init status --wait >/dev/null; sudo cat /etc/told /var/lib/boots; cat /etc/ssh/ssh_host_ed25519_key.pub"
        first = self.ssh(address, "ed25519", look)
        self.assertTrue(first.startswith("by user databoot\n"), first)
        console = self.kiln.aws("ec2", "get-console-output", "--instance-id", instance)["Output"]
        self.assertIn("BEGIN SSH HOST KEY FINGERPRINTS", console)
        self.assertIn(first.split()[-2], console, "the host key that ssh showed is the console's")
        boot = self.ssh(address, "ed25519", "cat /proc/sys/kernel/random/boot_id")
        self.kiln.aws("ec2", "reboot-instances", "--instance-ids", instance)
        world.wait_until("it has booted again", lambda: self.try_ssh(
            address, "ed25519", "cat /proc/sys/kernel/random/boot_id").stdout.strip() not in ("", boot), budget=60)
        self.assertEqual(self.ssh(address, "ed25519", look), first, "after a reboot")
        self.kiln.aws("ec2", "stop-instances", "--instance-ids", instance)
        self.kiln.aws("ec2", "wait", "instance-stopped", "--instance-ids", instance)
        self.kiln.aws("ec2", "start-instances", "--instance-ids", instance)
        self.assertEqual(self.ssh(self.address(instance), "ed25519", look), first, "after a stop and a start")
        script = self.keys / "script"
        script.write_text("#!/bin/sh\necho a script > /etc/told\n")
        second = self.launch("ed25519", "--user-data", f"file://{script}")
        self.assertEqual(self.ssh(self.address(second), "ed25519", "cloud-init status --wait >/dev/null; cat /etc/told"), "a script")

    def test_the_metadata_service_is_each_instances_own(self) -> None:
        self.create_key("ed25519")
        options = ("--metadata-options", "HttpTokens=required,InstanceMetadataTags=enabled", "--tag-specifications",
                   "ResourceType=instance,Tags=[{Key=Name,Value=one}]")
        instance = self.launch("ed25519", *options)
        other = self.launch("ed25519", "--metadata-options", "HttpPutResponseHopLimit=7")
        address = self.address(instance)
        get = (f'TOKEN=$(curl -sf -X PUT {METADATA}/api/token -H "X-aws-ec2-metadata-token-ttl-seconds: 60"); '
               f'get() {{ curl -sf -H "X-aws-ec2-metadata-token: $TOKEN" {METADATA}/$1; }}; ')
        self.assertEqual(self.ssh(address, "ed25519", get + "get meta-data/instance-id"), instance)
        self.assertEqual(self.ssh(address, "ed25519", get + "get meta-data/tags/instance/Name"), "one")
        self.assertRegex(self.ssh(address, "ed25519", "cat /sys/hypervisor/uuid"), "^ec2[0-9a-f]{5}-")
        document = json.loads(self.ssh(address, "ed25519", get + "get dynamic/instance-identity/document"))
        self.assertEqual(document["instanceId"], instance)
        self.assertEqual(document["privateIp"], self.describe(instance)["PrivateIpAddress"])
        status = "curl -s -o /dev/null -w '%{http_code}' -m 3 "
        self.assertEqual(self.ssh(address, "ed25519", status + f"{METADATA}/meta-data/"), "401", "no token, no answer")
        self.assertEqual(self.ssh(self.address(other), "ed25519", f"curl -sf {METADATA}/meta-data/instance-id"), other)
        self.assertEqual(self.ssh(address, "ed25519", status + "http://169.254.169.254:81/ || true"), "000", "port 80 only")

        # The token's answer goes no further than the hop limit says.
        self.assertEqual(self.ssh(self.address(other), "ed25519", f"sudo python3 -c '{SNIFF}'"), "[7]")

        # Another's address as the source, by a socket that root may bind to what is not its own.
        forged = ("sudo python3 -c \"import socket; s = socket.socket(); s.settimeout(3); s.setsockopt(0, 15, 1); "
                  f"s.bind(('{self.describe(other)['PrivateIpAddress']}', 0)); s.connect(('169.254.169.254', 80))\" 2>&1 | tail -1")
        self.assertRegex(self.ssh(address, "ed25519", forged), "timed out|unreachable|not permitted")

        # One that holds all the connections it can get leaves the others theirs.
        hold = ("python3 -c \"import socket, time\nheld = []\nfor i in range(200):\n    s = socket.socket(); s.settimeout(1)\n"
                "    s.connect(('169.254.169.254', 80)); held.append(s)\ntime.sleep(20)\" >/dev/null 2>&1 & sleep 1; echo held")
        self.assertEqual(self.ssh(address, "ed25519", hold), "held")
        self.assertEqual(self.ssh(self.address(other), "ed25519", f"curl -sf -m 3 {METADATA}/meta-data/instance-id"), other)
        self.kiln.aws("ec2", "modify-instance-metadata-options", "--instance-id", other, "--http-endpoint", "disabled")
        self.assertEqual(self.ssh(self.address(other), "ed25519", status + f"{METADATA}/meta-data/"), "403")


if __name__ == "__main__":
    unittest.main()
