"""One template, baked by Packer itself (Debian's) in the region and by Kiln on this machine: the images answer alike."""
import hashlib
import json
import pathlib
import re
import subprocess
import tarfile
import unittest
import uuid

import registry_story
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
variable "maker" { default = "kiln" }
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
  ami_name      = "alike-${var.maker}-${formatdate("YYYYMMDDhhmmss", timestamp())}"
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


SECRET = "swordfish-4711"

SENSITIVE = r"""
variable "token" { sensitive = true }
source "amazon-ebs" "quiet" {
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }
  ami_name        = "quiet ${formatdate("YYYYMMDDhhmmss", timestamp())}"
  ami_description = "made with ${var.token}"
  ami_users       = ["210987654321"]
  region          = "us-east-1"
  ami_regions     = ["us-east-1", "us-east-2"]
  ssh_username    = "debian"
  dynamic "tag" {
    for_each = { Token = var.token, Base = "{{ .SourceAMIName }}", Made = md5("kiln") }
    content {
      key   = tag.key
      value = tag.value
    }
  }
}
build {
  sources = ["amazon-ebs.quiet"]
  provisioner "shell-local" { inline = ["echo here ${var.token}"] }
  provisioner "shell" {
    environment_vars = ["TOKEN=${var.token}"]
    inline           = ["echo login with ${var.token}", "printf %s \"$TOKEN\" | sha256sum > /srv/proof", "# STEP"]
  }
}
"""

# The region here is where these AMIs are: Debian's public one, then what was baked on it.
LEGACY = r"""
{
  "variables": {"base": null},
  "builders": [{"type": "amazon-ebs", "name": "%s", "region": "us-east-1", "ami_name": "%s {{timestamp}}",
                "instance_type": "t3.micro", "ssh_username": "debian", %s}],
  "provisioners": [{"type": "shell", "inline": ["echo %s >> /srv/chain"]}]
}
"""

APP = """
app: shop
image:
  packer: {template: shop.pkr.hcl, variables: {greeting: hello}}
  version: VERSION
""" + world.FLEET_OF_ONE

SHOP = r"""
variable "greeting" {}
data "amazon-ami" "debian" {
  filters     = { name = "debian-12-amd64-*" }
  owners      = ["136693071363"]
  most_recent = true
}
source "amazon-ebs" "shop" {
  source_ami   = data.amazon-ami.debian.id
  ami_name     = "the-shop"
  ssh_username = "debian"
}
build {
  sources = ["amazon-ebs.shop"]
  provisioner "shell" { inline = ["apt-get update -q", "apt-get install -q -y --no-install-recommends nginx"] }
  provisioner "shell" { script = "page.sh" }
  provisioner "shell" {
    environment_vars = ["GREETING=${var.greeting}"]
    script           = "greet.sh"
  }
}
"""

PLAYBOOK = """
- hosts: all
  become: false
  vars: {colour: "{{ lookup('env', 'NOTHING') | default('green', true) }}"}
  roles: [page]
  tasks:
    - name: Who asked
      copy: {dest: /srv/who, content: "{{ packer_build_name }} {{ packer_builder_type }} {{ extra }}\\n", mode: "0640"}
"""

ANSIBLE = r"""
source "amazon-ebs" "played" {
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }
  ami_name     = "played"
  ssh_username = "debian"
}
build {
  sources = ["amazon-ebs.played"]
  provisioner "shell" { inline = ["apt-get update -q", "apt-get install -q -y --no-install-recommends ansible-core"] }
  provisioner "ansible-local" {
    playbook_file   = "play.yml"
    role_paths      = ["roles/page"]
    extra_arguments = ["--extra-vars", "extra=more"]
  }
  provisioner "shell" { inline = ["cat /srv/page /srv/who > /srv/both"] }
}
"""

CONTAINER = r"""
variable "registry" {}
source "docker" "box" {
  image  = "${var.registry}/base:1"
  commit = true
}
build {
  sources = ["docker.box"]
  provisioner "shell" { inline = ["echo made by kiln > /made", "echo $PACKER_BUILDER_TYPE >> /made"] }
  post-processors {
    post-processor "docker-tag" {
      repository = "${var.registry}/team/box"
      tags       = ["1.0", "latest"]
    }
    post-processor "docker-push" {}
  }
}
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
                               "-var", "maker=packer", "web.pkr.hcl"], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
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

    def make(self, name: str, files: dict[str, str]) -> pathlib.Path:
        folder = pathlib.Path(self.kiln.home) / name
        for file, content in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content)
        return folder

    def bake(self, folder: pathlib.Path, *words: str, env: dict[str, str] | None = None) -> dict:
        return json.loads(self.kiln.run("bake", *words, "--json", folder=folder, env=env).stdout)

    def content(self, ami: str, *paths: str) -> list[str]:
        """Of files of an instance of it."""
        aws = self.kiln.aws
        instance = aws("ec2", "run-instances", "--image-id", ami, "--instance-type", "t3.micro")["Instances"][0]["InstanceId"]
        world.wait_until("it can be asked", lambda: aws("ssm", "describe-instance-information", "--filters",
                                                        f"Key=InstanceIds,Values={instance}").get("InstanceInformationList"), budget=120)
        said = []
        for path in paths:
            command = aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", instance, "--parameters",
                          json.dumps({"commands": [f"cat {path}"]}))["Command"]["CommandId"]
            said.append(self.output(command, instance))
        return said

    def holding(self, text: str) -> list[str]:
        """The files of this Kiln that hold it: logs, ledger, region; and of the shared cache and store all but layers."""
        cache = [f"cache/{one.name}" for one in (self.kiln.home / "cache").iterdir() if one.name != "apt"]
        below = [".", *cache, "store/index.json"]
        return subprocess.run(["grep", "-rl", text, *below], cwd=self.kiln.home, capture_output=True, text=True,
                              check=False).stdout.splitlines()

    def test_sensitive_values_are_shown_nowhere_and_the_ami_is_as_the_template_says(self) -> None:
        unique = f"{SECRET}-{self.kiln.home.name}"
        folder = self.make("quiet", {"quiet.pkr.hcl": SENSITIVE})
        told = self.kiln.run("bake", "quiet.pkr.hcl", "--verbose", "--no-publish", folder=folder, env={"PKR_VAR_token": unique})
        self.assertNotIn(unique, told.stdout + told.stderr)
        self.assertIn("login with ***", told.stderr)
        baked = self.bake(folder, "quiet.pkr.hcl", env={"PKR_VAR_token": unique})
        self.assertNotIn(unique, json.dumps(baked))
        log = "".join(path.read_text() for path in (self.kiln.home / "logs/bake").glob("*/*.log"))
        self.assertIn("here ***", log)
        self.assertIn("login with ***", log)
        # A step that fails is quoted, and its last lines are.
        (folder / "quiet.pkr.hcl").write_text(SENSITIVE.replace("# STEP", "echo it was ${var.token} >&2; exit 3"))
        failed = self.kiln.run("bake", "quiet.pkr.hcl", folder=folder, env={"PKR_VAR_token": unique}, check=False)
        self.assertEqual(failed.returncode, 1, failed.stderr)
        self.assertNotIn(unique, failed.stdout + failed.stderr)
        self.assertIn("it was ***", failed.stderr)
        self.assertEqual(self.holding(unique), [])
        # The step had the value itself.
        (proof,) = self.content(baked["ami"], "/srv/proof")
        self.assertEqual(proof.split()[0], hashlib.sha256(unique.encode()).hexdigest())

        # What the template says of the AMI.
        image = self.kiln.aws("ec2", "describe-images", "--image-ids", baked["ami"])["Images"][0]
        self.assertRegex(image["Name"], r"^quiet \d{14}$")
        self.assertEqual(image["Description"], "made with ***")
        tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        self.assertEqual((tags["Token"], tags["Made"]), ("***", hashlib.md5(b"kiln").hexdigest()))
        self.assertTrue(tags["Base"].startswith("debian-12-amd64-"), tags)
        self.assertEqual([key for key in tags if key.startswith("kiln:ami-")], [])
        allowed = self.kiln.aws("ec2", "describe-image-attribute", "--image-id", baked["ami"], "--attribute", "launchPermission")
        self.assertEqual(allowed["LaunchPermissions"], [{"UserId": "210987654321"}])
        copies = self.kiln.aws("ec2", "describe-images", "--owners", "self", "--region", "us-east-2")["Images"]
        self.assertEqual([(copy["Name"], copy["Description"]) for copy in copies], [(image["Name"], "made with ***")])
        shown = self.kiln.json("images")["images"]
        quiet = next(one for one in shown if (one["app"], one["version"]) == ("quiet", baked["version"]))
        self.assertEqual(sorted((one["region"], one["ami"]) for one in quiet["placements"]),
                         [("us-east-1", baked["ami"]), ("us-east-2", copies[0]["ImageId"])])

    def test_an_ami_of_the_region_is_a_base_by_its_id_and_by_a_filter(self) -> None:
        debian = self.kiln.aws("ec2", "describe-images", "--owners", "136693071363")["Images"][0]["ImageId"]
        by_id = '"source_ami": "{{user `base`}}"'
        by_filter = '"source_ami_filter": {"filters": {"name": "second *"}, "owners": ["self"], "most_recent": true}'
        folder = self.make("chain", {"first.json": LEGACY % ("first", "first", by_id, "one"),
                                     "second.json": LEGACY % ("second", "second", by_id, "two"),
                                     "third.json": LEGACY % ("third", "third", by_filter, "three")})
        first = self.bake(folder, "first.json", "-var", f"base={debian}")
        second = self.bake(folder, "second.json", "-var", f"base={first['ami']}")
        third = self.bake(folder, "third.json", "-var", "base=unused")
        (chain,) = self.content(third["ami"], "/srv/chain")
        self.assertEqual(chain, "one\ntwo\nthree\n")
        self.assertEqual(self.bake(folder, "third.json", "-var", "base=unused")["digest"], third["digest"])
        refused = self.kiln.run("bake", "second.json", "-var", "base=ami-0123456789abcdef0", folder=folder, check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("second.json:", refused.stderr)
        self.assertIn("ami-0123456789abcdef0", refused.stderr)

    def test_a_template_in_kiln_yaml_is_baked_and_deployed_and_one_script_changes_one_layer(self) -> None:
        page = "#!/bin/sh\nprintf 'a page' > /var/www/html/index.html\n"
        folder = self.make("shop", {"kiln.yaml": APP.replace("VERSION", "1.0.0"), "shop.pkr.hcl": SHOP, "page.sh": page,
                                    "greet.sh": "#!/bin/sh\nprintf ' says %s' \"$GREETING\" >> /var/www/html/index.html\n"})
        first = self.bake(folder)
        self.assertEqual(first["version"], "1.0.0")
        name = self.kiln.aws("ec2", "describe-images", "--image-ids", first["ami"])["Images"][0]["Name"]
        self.assertEqual(name, "the-shop")
        self.kiln.run("deploy", folder=folder, timeout=400)
        url = json.loads(self.kiln.run("status", "--json", folder=folder).stdout)["url"]
        self.assertEqual(world.fetch(url), "a page says hello")

        another = f"another page {uuid.uuid4().hex}"  # which no earlier run has left in the cache
        (folder / "page.sh").write_text(page.replace("a page", another))
        (folder / "kiln.yaml").write_text(APP.replace("VERSION", "1.0.1"))
        second = self.bake(folder)
        made = [layer["step"] for layer in second["layers"] if not layer["reused"]]
        self.assertEqual(made, ["shell page.sh", "shell greet.sh"], "what stands on it, and nothing else")
        # The template's name is taken by the version before, which is the way back: this one has Kiln's own.
        name = self.kiln.aws("ec2", "describe-images", "--image-ids", second["ami"])["Images"][0]["Name"]
        self.assertEqual(name, "shop-1.0.1")
        self.kiln.run("deploy", folder=folder, timeout=400)
        self.assertEqual(world.fetch(url), another + " says hello")
        # The last script alone is one layer.
        (folder / "greet.sh").write_text("#!/bin/sh\nprintf ' greets with %s' \"$GREETING\" >> /var/www/html/index.html\n")
        (folder / "kiln.yaml").write_text(APP.replace("VERSION", "1.0.2"))
        third = self.bake(folder)
        self.assertEqual([layer["step"] for layer in third["layers"] if not layer["reused"]], ["shell greet.sh"])

    def test_ansible_plays_in_the_image(self) -> None:
        folder = self.make("played", {
            "played.pkr.hcl": ANSIBLE, "play.yml": PLAYBOOK,
            "roles/page/tasks/main.yml": "- template: {src: page.j2, dest: /srv/page, owner: www-data, mode: '0600'}\n",
            "roles/page/templates/page.j2": "the page is {{ colour }}\n"})
        baked = self.bake(folder, "played.pkr.hcl")
        (both,) = self.content(baked["ami"], "/srv/both")
        self.assertEqual(both, "the page is green\nplayed amazon-ebs more\n")
        self.assertTrue(all(layer["reused"] for layer in self.bake(folder, "played.pkr.hcl")["layers"]))
        # A file of the role is part of the step's key, and a play that fails says why.
        (folder / "roles/page/tasks/main.yml").write_text("- fail: {msg: the play gives up}\n")
        failed = self.kiln.run("bake", "played.pkr.hcl", folder=folder, check=False)
        self.assertEqual(failed.returncode, 1, failed.stderr)
        self.assertIn("the play gives up", failed.stderr)

    def test_a_docker_build_is_tagged_and_pushed_to_a_registry(self) -> None:
        folder = self.make("box", {"box.pkr.hcl": CONTAINER})
        registry = registry_story.Registry(folder)
        self.addCleanup(registry.close)
        # Whoever pulls the base is told that this registry speaks plain HTTP.
        conf = folder / ".config/containers/registries.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text(f'[[registry]]\nlocation = "{registry.name}"\ninsecure = true\n')
        env = {"HOME": str(folder)}
        self.push_base(registry.name)
        words = ("box.pkr.hcl", "-var", f"registry={registry.name}")
        baked = self.bake(folder, *words, env=env)
        self.assertIsNone(baked["ami"])
        layout = folder / "pulled"
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
                        f"docker://{registry.name}/team/box:latest", f"oci:{layout}:box"], check=True, timeout=120)
        config = json.loads(subprocess.run(["skopeo", "inspect", "--config", f"oci:{layout}:box"], check=True, timeout=60,
                                           capture_output=True, text=True).stdout)
        self.assertEqual((config["config"]["Cmd"], config["config"]["Env"]), (["/bin/hello"], ["A=b"]))
        files = {}
        for blob in (layout / "blobs/sha256").iterdir():
            if tarfile.is_tarfile(blob):
                with tarfile.open(blob) as tar:
                    files |= {one.name.lstrip("./"): tar.extractfile(one).read() for one in tar if one.isfile()}
        self.assertEqual(files["made"], b"made by kiln\ndocker\n")
        # Nothing changed: nothing is sent.
        writes = [registry.requests(verb) for verb in ("POST", "PATCH")]
        self.assertEqual(self.bake(folder, *words, env=env)["digest"], baked["digest"])
        self.assertEqual([registry.requests(verb) for verb in ("POST", "PATCH")], writes)
        # Of a machine's image it is refused, with its line, before anything is done.
        (self.folder / "web.pkr.hcl").write_text(TEMPLATE.replace(
            'post-processor "manifest" {', 'post-processors {\n    post-processor "docker-tag" { repository = "r/n" }\n'
            '    post-processor "docker-push" {}\n  }\n  post-processor "manifest" {'))
        refused = self.kiln.run("bake", "web.pkr.hcl", "-var", "endpoint=unused", folder=self.folder, check=False)
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("this bake makes a machine's image", refused.stderr)
        self.assertIn("web.pkr.hcl:", refused.stderr)

    def push_base(self, registry: str) -> None:
        """Debian as somebody else's image, with a command and an environment of its own."""
        base = self.make("base", {"kiln.yaml": "app: base\nimage: {from: \"debian:bookworm\", version: 1.0.0, steps: [{run: ldconfig}]}\n"})
        self.kiln.run("bake", "--no-publish", folder=base)
        self.kiln.run("export", "base@1.0.0", "--oci", "layout", "--compression", "none", folder=base)
        blobs = base / "layout/blobs/sha256"

        def put(document: dict) -> dict:
            content = json.dumps(document).encode()
            digest = hashlib.sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            return {"digest": f"sha256:{digest}", "size": len(content)}

        def read(entry: dict) -> dict:
            return json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_text())

        index = json.loads((base / "layout/index.json").read_text())
        manifest = read(index["manifests"][0])
        config = read(manifest["config"]) | {"config": {"Cmd": ["/bin/hello"], "Env": ["A=b"]}}
        manifest["config"] |= put(config)
        index["manifests"] = [index["manifests"][0] | put(manifest) | {"annotations": {"org.opencontainers.image.ref.name": "1"}}]
        (base / "layout/index.json").write_text(json.dumps(index))
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{base}/layout:1",
                        f"docker://{registry}/base:1"], check=True, timeout=120)


if __name__ == "__main__":
    unittest.main()
