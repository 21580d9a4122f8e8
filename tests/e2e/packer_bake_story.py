"""One template, baked by Packer itself (Debian's) in the region and by Kiln on this machine: the images answer alike."""
import json
import pathlib
import re
import subprocess
import unittest

import world

# Whatever the template touched, and what is installed. A machine that has booted differs from an image only in its name,
# keys and logs, none of which is here.
LOOK = r"""
curl -s http://127.0.0.1/
echo == packages
dpkg-query -W -f '${Package} ${Version} ${Status}\n'
echo == files
find /var/www /etc/nginx /usr/share/nginx /etc/systemd/system/multi-user.target.wants /opt/app -xdev \
  \( -type f -printf '%p %m %u:%g ' -exec sh -c 'sha256sum < "$1"' - {} \; \) -o -printf '%p %m %u:%g %l\n' | sort
echo == units
systemctl is-active nginx
"""

TEMPLATE = r"""
variable "endpoint" {}
variable "greeting" { default = "made by either" }
locals {
  colours = [for c in ["red", "green"] : upper(c)]
  page    = "<p>${var.greeting}: %{for c in local.colours}${c};%{endfor}</p>"
}
source "amazon-ebs" "web" {
  custom_endpoint_ec2 = var.endpoint
  region        = "us-east-1"
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*", virtualization-type = "hvm" }
    owners      = ["136693071363"]
    most_recent = true
  }
  instance_type = "t3.micro"
  ssh_username  = "debian"
  ami_name      = "alike-${formatdate("YYYYMMDDhhmmss", timestamp())}"
}
build {
  sources = ["source.amazon-ebs.web"]
  provisioner "file" {
    source      = "files/"
    destination = "/tmp"
  }
  provisioner "shell" {
    inline = [
      "cloud-init status --wait",
      "while [ ! -f /var/lib/cloud/instance/boot-finished ]; do sleep 1; done",
      "sudo apt-get update -q",
    ]
  }
  provisioner "shell" {
    environment_vars = ["WHERE=/opt/app", "DEBIAN_FRONTEND=noninteractive"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    scripts          = ["${path.root}/install.sh"]
  }
  provisioner "shell" {
    inline = [
      "printf %s '${local.page}' | sudo tee /var/www/html/index.html >/dev/null",
      "echo \"$PACKER_BUILD_NAME by $PACKER_BUILDER_TYPE\" | sudo tee /opt/app/built >/dev/null",
      "sudo systemctl restart nginx",
    ]
  }
  post-processor "manifest" {
    output = "manifest.json"
  }
}
"""

INSTALL = """#!/bin/bash
set -eu
apt-get install -q -y --no-install-recommends nginx
install -D -m 0640 -g www-data /tmp/app.conf "$WHERE/app.conf"
"""


class PackerBake(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.folder = pathlib.Path(self.kiln.home) / "template"
        (self.folder / "files").mkdir(parents=True)
        (self.folder / "web.pkr.hcl").write_text(TEMPLATE)
        (self.folder / "install.sh").write_text(INSTALL)
        (self.folder / "files/app.conf").write_text("key = value\n")

    def by_packer(self) -> str:
        environment = self.kiln.aws_environment() | {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(self.kiln.home / "packer"),
                                                     "PACKER_CONFIG_DIR": str(self.kiln.home / "packer")}
        said = subprocess.run(["packer", "build", "-machine-readable", "-var", f"endpoint={self.kiln.region()['endpoint']}",
                               "web.pkr.hcl"], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400, check=False)
        self.assertEqual(said.returncode, 0, said.stdout[-6000:])
        artifact = re.search(r"artifact,0,id,(\S+)", said.stdout)
        assert artifact is not None, said.stdout[-3000:]
        return artifact.group(1).split(":")[1]

    def by_kiln(self, *words: str) -> dict:
        return json.loads(self.kiln.run("bake", "web.pkr.hcl", "-var", "endpoint=unused", "--json", *words,
                                        folder=self.folder).stdout)

    def look_inside(self, ami: str) -> str:
        aws = self.kiln.aws
        instance = aws("ec2", "run-instances", "--image-id", ami, "--instance-type", "t3.micro")["Instances"][0]["InstanceId"]
        world.wait_until("it can be asked", lambda: aws("ssm", "describe-instance-information", "--filters",
                                                        f"Key=InstanceIds,Values={instance}").get("InstanceInformationList"), budget=120)
        command = aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", instance, "--parameters",
                      json.dumps({"commands": ["cloud-init status --wait >/dev/null",
                                               "cat > /run/look <<'KILN_END'", *LOOK.split("\n"), "KILN_END",
                                               "sh /run/look > /run/seen", "split -b 20000 /run/seen /run/part.",
                                               "ls /run/part.*"]}))["Command"]["CommandId"]
        parts = self.output(command, instance).split()
        seen = ""
        for part in parts:
            seen += self.output(aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", instance,
                                    "--parameters", json.dumps({"commands": [f"cat {part}"]}))["Command"]["CommandId"], instance)
        return seen

    def output(self, command: str, instance: str) -> str:
        def ended():
            found = self.kiln.aws("ssm", "get-command-invocation", "--command-id", command, "--instance-id", instance)
            return found if found["Status"] not in ("Pending", "InProgress", "Delayed", "Cancelling") else None
        found = world.wait_until("the command ends", ended, budget=120)
        self.assertEqual(found["Status"], "Success", found)
        return found["StandardOutputContent"]

    def test_packer_and_kiln_make_images_that_answer_alike(self) -> None:
        kilns = self.by_kiln()
        manifest = json.loads((self.folder / "manifest.json").read_text())
        self.assertEqual([b["artifact_id"] for b in manifest["builds"]], [f"us-east-1:{kilns['ami']}"])
        again = self.by_kiln()
        self.assertTrue(all(layer["reused"] for layer in again["layers"]), again)
        self.assertEqual(again["digest"], kilns["digest"])
        packers = self.look_inside(self.by_packer())
        self.assertEqual(len(json.loads((self.folder / "manifest.json").read_text())["builds"]), 3, "each adds to Packer's file")
        ours = self.look_inside(kilns["ami"])
        self.assertTrue(ours.startswith("<p>made by either: RED;GREEN;</p>"), ours[:300])
        for text in ("/opt/app/app.conf 640 root:www-data", "/opt/app/built 644", "\nnginx 1.", "== units\nactive"):
            self.assertIn(text, ours)
        self.assertEqual(ours.splitlines(), packers.splitlines())

    def test_what_is_wrong_is_shown_with_its_line_and_changes_nothing(self) -> None:
        before = self.kiln.json("images")
        for old, new, said in (("environment_vars", "enviroment_vars", "did you mean 'environment_vars'?"),
                               ("formatdate", "formatdat", "did you mean 'formatdate'?"), ("files/", "none/", "there is no file or folder 'none/'"),
                               ("136693071363", "123456789012", "--in-instance")):
            (self.folder / "web.pkr.hcl").write_text(TEMPLATE.replace(old, new))
            failed = self.kiln.run("bake", "web.pkr.hcl", "-var", "endpoint=unused", folder=self.folder, check=False)
            self.assertEqual(failed.returncode, 2, failed.stderr)
            self.assertIn(said, failed.stderr)
            self.assertIn("web.pkr.hcl:", failed.stderr)
        self.assertEqual(self.kiln.json("images"), before)


if __name__ == "__main__":
    unittest.main()
