"""What others made becomes machines: Dockerfiles, OCI images, root archives, Image Builder's components; and back."""
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import textwrap

import world

TAIL = """
  writable: [/var/log/nginx, /var/lib/nginx]
""" + world.FLEET_OF_ONE

COMPONENT = """
name: greeting
schemaVersion: 1.0
parameters:
  - Greeting: {type: string, default: hello}
phases:
  - name: build
    steps:
      - name: Ask
        action: ExecuteBash
        inputs: {commands: ["echo {{ Greeting }} from $(. /etc/os-release; echo $ID)"]}
      - name: Write
        action: CreateFile
        loop: {name: file, forEach: [one, two]}
        inputs:
          - path: "/srv/{{ file.value }}"
            content: "{{ build.Ask.outputs.stdout }} {{ file.index }}"
            permissions: "0640"
  - name: validate
    steps:
      - {name: Change, action: CreateFile, inputs: [{path: /srv/three}]}
      - {name: Is, action: Assert, inputs: {fileExists: /srv/one}}
      - {name: Same, action: Assert, inputs: {stringEquals: servus from debian, value: "{{ build.Ask.outputs.stdout }}"}}
  - name: test
    steps:
      - name: Booted
        action: ExecuteBash
        inputs:
          commands:
            - '[ "$(cat /srv/two)" = "servus from debian 1" ]'
            - '[ "{{ build.Ask.outputs.stdout }}" = "servus from debian" ]'
            - '[ ! -e /srv/three ] && [ "$(cat /proc/1/comm)" = systemd ]'
"""


class Imports(world.Story):
    def make(self, name: str, image: str, files: dict[str, str]) -> pathlib.Path:
        folder = self.kiln.home / name
        folder.mkdir()
        text = f"app: {name}\nimage:\n" + textwrap.indent(textwrap.dedent(image).strip(), "  ") + TAIL
        for path, content in files.items() | {"kiln.yaml": text}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        return folder

    def refused(self, folder: pathlib.Path, *words: str) -> str:
        result = self.kiln.run("bake", "--no-publish", *words, folder=folder, check=False)
        self.assertIn(result.returncode, (1, 2), result.stdout)
        return result.stderr

    def bake(self, folder: pathlib.Path, *words: str) -> dict:
        return json.loads(self.kiln.run("bake", "--no-publish", "--json", *words, folder=folder).stdout)

    def export_web(self) -> str:
        """The example's image as an OCI image, by its reference."""
        self.bake(self.kiln.app)
        # buildah makes a name of the path, and refuses one with an underscore at a part's end.
        self.layout = pathlib.Path(tempfile.gettempdir()) / f"kiln-e2e-layout-{os.getpid()}"
        self.addCleanup(shutil.rmtree, self.layout, ignore_errors=True)
        self.kiln.run("export", "web@1.0.0", "--oci", str(self.layout), "--compression", "none")
        return f"oci:{self.layout}:web-1.0.0"

    def answer(self, folder: pathlib.Path, path: str) -> str | None:
        self.kiln.run("region", "start", "--port", "0")
        self.kiln.run("deploy", folder=folder)
        url = json.loads(self.kiln.run("status", "--json", folder=folder).stdout)["url"]
        return world.fetch(url.rstrip("/") + path)

    def test_a_dockerfile_becomes_a_machine_and_a_container(self) -> None:
        base = self.export_web()
        folder = self.make("shop", f"""
            dockerfile: {{file: Dockerfile, args: {{BASE: "{base}", GREETING: servus}}}}
            version: 1.0.0
            """, {"Dockerfile": "ARG BASE\nFROM $BASE\nARG GREETING=hi\nCOPY site/ /var/www/html/\n"
                                "RUN echo $GREETING > /var/www/html/greeting && \\\n    rm /var/www/html/healthz\n",
                  "site/page.html": "from a Dockerfile"})
        first = self.bake(folder)
        self.assertEqual(self.answer(folder, "/page.html"), "from a Dockerfile")
        self.assertEqual(world.fetch(self.kiln_url(folder) + "/greeting"), "servus\n")
        self.assertIsNone(world.fetch(self.kiln_url(folder) + "/healthz"), "what the Dockerfile removed")
        again = self.bake(folder)
        self.assertEqual(again["digest"], first["digest"])

        kept = json.loads(self.kiln.run("bake", "--container", "--json", folder=folder).stdout)
        self.kiln.run("export", kept["name"], "--oci", str(self.kiln.home / "container.tar"), folder=folder)
        config = subprocess.run(["skopeo", "inspect", "--config",
                                 f"oci-archive:{self.kiln.home}/container.tar:{kept['name']}"],
                                capture_output=True, text=True, check=True, timeout=60).stdout
        self.assertEqual(json.loads(config)["os"], "linux")

    def kiln_url(self, folder: pathlib.Path) -> str:
        return json.loads(self.kiln.run("status", "--json", folder=folder).stdout)["url"].rstrip("/")

    def test_a_dockerfile_that_cannot_be_a_machine_says_why(self) -> None:
        files = {"Dockerfile": "FROM scratch\nCOPY hello /hello\n", "hello": "x"}
        folder = self.make("tiny", "dockerfile: Dockerfile\nversion: 1.0.0", files)
        said = self.refused(folder)
        self.assertIn("has no init", said)
        self.assertIn("systemd-sysv", said)
        self.kiln.run("bake", "--container", folder=folder)

        (folder / "Dockerfile").write_text("FROM scratch\n\nCOPY missing /x\n")
        self.assertIn("Dockerfile:3:", self.refused(folder))
        (folder / "Dockerfile").write_text("FROM scratch\nCOPIE hello /\n")
        self.assertIn("COPIE", self.refused(folder))
        self.assertEqual(json.loads(self.kiln.run("images", "--json").stdout)["images"], [])

    def test_an_oci_image_and_an_archive_are_bases(self) -> None:
        base = self.export_web()
        tar = self.kiln.home / "copy.tar"
        subprocess.run(["skopeo", "copy", "-q", base, f"oci-archive:{tar}:web"], check=True, timeout=120)
        folder = self.make("from-oci", f"from: {{oci: 'oci-archive:{tar}:web'}}\nversion: 1.0.0\nsteps:\n"
                                       "  - copy: {from: page.html, to: /var/www/html/}",
                           {"page.html": "on an OCI image"})
        self.bake(folder)
        self.assertEqual(self.answer(folder, "/page.html"), "on an OCI image")

        layout = self.layout
        index = json.loads((layout / "index.json").read_text())
        manifest = json.loads(self.blob(layout, index["manifests"][0]["digest"]).read_text())
        root = self.blob(layout, manifest["layers"][0]["digest"])
        folder = self.make("from-tar", "from: {archive: root.tar}\nversion: 1.0.0\nsteps:\n"
                                       "  - run: echo fine > /etc/from-an-archive", {})
        (folder / "root.tar").symlink_to(root)
        first = self.bake(folder)
        for cached in (self.kiln.home / "cache/imports").rglob("*.json"):
            cached.unlink()
        self.assertEqual(self.bake(folder, "--no-cache")["digest"], first["digest"])

    @staticmethod
    def blob(layout: pathlib.Path, digest: str) -> pathlib.Path:
        return layout / "blobs/sha256" / digest.removeprefix("sha256:")

    def test_hostile_archives_change_nothing(self) -> None:
        folder = self.make("evil", "from: {archive: root.tar}\nversion: 1.0.0\nsteps:\n  - run: 'true'", {})
        outside = self.kiln.home / "outside"
        outside.mkdir()
        way = tarfile.TarInfo("way")
        way.type, way.linkname = tarfile.SYMTYPE, str(outside)
        for names, why in (([tarfile.TarInfo("../../up")], "has '..' in its name"),
                           ([tarfile.TarInfo("/etc/passwd")], "has an absolute name"),
                           ([way, tarfile.TarInfo("way/in")], "is a link, and other entries are below it"),
                           ([tarfile.TarInfo("a"), tarfile.TarInfo("./a")], "comes twice")):
            with tarfile.open(folder / "root.tar", "w") as tar:
                for entry in names:
                    tar.addfile(entry, io.BytesIO(b""))
            self.assertIn(why, self.refused(folder))
        whole = self.tar({"one": "1", "two": "2"})
        (folder / "root.tar").write_bytes(whole[:1024])
        self.assertIn("cut after 1 entries", self.refused(folder))
        (folder / "root.tar").write_bytes(b"not a tar")
        self.assertIn("no whole tar archive", self.refused(folder))
        self.assertEqual(list(outside.iterdir()), [])
        self.assertEqual(json.loads(self.kiln.run("images", "--json").stdout)["images"], [])

    @staticmethod
    def tar(files: dict[str, str]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content.encode()))
        return out.getvalue()

    def test_a_base_without_programs_says_what_its_steps_lack(self) -> None:
        folder = self.make("bare", "from: {archive: root.tar}\nversion: 1.0.0\nsteps:\n  - run: 'true'", {})
        (folder / "root.tar").write_bytes(self.tar({"etc/os-release": "ID=bare\n", "usr/share/x": "x"}))
        said = self.refused(folder)
        self.assertIn("kiln.yaml:6:", said)
        self.assertIn("the image has no /bin/sh here: the step 'run true' needs a shell", said)
        text = (folder / "kiln.yaml").read_text()
        (folder / "kiln.yaml").write_text(text.replace("run: 'true'", "packages: [nginx]"))
        self.assertIn("needs a shell", self.refused(folder))

    def layout_of(self, name: str, layers: list[bytes], ids: list[bytes]) -> str:
        """An OCI layout with these tars as layers; its config names the digests of `ids`."""
        folder = self.kiln.home / name
        blobs = folder / "blobs/sha256"
        blobs.mkdir(parents=True)

        def put(content: bytes, kind: str) -> dict:
            digest = hashlib.sha256(content).hexdigest()
            (blobs / digest).write_bytes(content)
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

        diffs = ["sha256:" + hashlib.sha256(one).hexdigest() for one in ids]
        config = put(json.dumps({"os": "linux", "architecture": "amd64",
                                 "rootfs": {"type": "layers", "diff_ids": diffs}}).encode(), "config.v1+json")
        manifest = put(json.dumps({"schemaVersion": 2, "config": config, "layers": [
            put(layer, "layer.v1.tar") for layer in layers]}).encode(), "manifest.v1+json")
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
        return f"oci:{folder}"

    def test_layers_that_images_share_are_unpacked_once_and_must_be_what_the_config_says(self) -> None:
        lower = self.tar({"etc/os-release": f"ID=shared\nHOME={self.kiln.home.name}\n"})
        first, second = self.tar({"srv/a": "a"}), self.tar({"srv/b": "b"})
        memory = self.kiln.home / "cache/imports/layers"
        before = set(memory.glob("*"))

        def import_of(layers: list[bytes], ids: list[bytes]) -> str:
            number = len(list(self.kiln.home.glob("layout-*")))
            reference = self.layout_of(f"layout-{number}", layers, ids)
            folder = self.make(f"app-{number}", f"from: {{oci: '{reference}'}}\nversion: 1.0.0\nsteps:\n"
                                                "  - copy: {from: kiln.yaml, to: /srv/}", {})
            return self.refused(folder)

        # Both are imported before the last layer, "fit for machines", finds no shell.
        self.assertIn("needs a shell", import_of([lower, first], [lower, first]))
        made = set(memory.glob("*")) - before
        self.assertEqual(len(made), 2)
        times = {path: path.stat().st_mtime_ns for path in made}
        self.assertIn("needs a shell", import_of([lower, second], [lower, second]))
        self.assertEqual({path: path.stat().st_mtime_ns for path in made}, times, "the lower layer was not made again")
        self.assertEqual(len(set(memory.glob("*")) - before), 3)
        for layers, ids in (([lower, second], [lower, first]), ([second, lower], [second, first])):
            self.assertIn("and the image's config names sha256:", import_of(layers, ids))
        self.assertIn("1 diff_ids for 2 layers", import_of([lower, first], [lower]))

    def test_an_image_builder_component_is_baked_validated_and_tested(self) -> None:
        folder = self.make("built", """
            from: debian:bookworm
            version: 1.0.0
            image_builder: {components: [greeting.yaml], parameters: {Greeting: servus}}
            """, {"greeting.yaml": COMPONENT})
        self.kiln.run("region", "start", "--port", "0")
        made = self.bake(folder)
        self.assertIn("component greeting: test", json.dumps(made["test"]))
        (folder / "greeting.yaml").write_text(COMPONENT.replace("fileExists: /srv/one", "fileExists: /srv/none"))
        said = self.refused(folder)
        self.assertIn("component greeting: validate", said)
        self.assertIn("the assertion does not hold", said)
        (folder / "greeting.yaml").write_text(COMPONENT.replace("action: Assert", "action: Reboot"))
        said = self.refused(folder)
        self.assertIn("greeting.yaml:22:", said)
        self.assertIn("nothing is booted while an image is baked", said)


if __name__ == "__main__":
    world.unittest.main()
