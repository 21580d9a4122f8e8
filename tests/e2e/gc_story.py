"""kiln gc: killed at every step it leaves a whole catalog, and beside a bake, a push or a deployment it takes nothing away."""
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import unittest

import world
from registries import Gate, Registry

APP = """
app: small
image:
  from: {image: web@1.0.0}
  version: VERSION
  steps:
    - copy: {from: site, to: /srv}
environments:
  local: {endpoint: local}
"""
AT_ONCE = ("--keep", "1", "--older", "0s", "--grace", "0s", "--yes")


def commands_that_run() -> set[bytes]:
    """The words of every process, each ended by a zero."""
    found = set()
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(process.read_bytes())
        except OSError:  # it has just ended
            continue
    return found


class Gc(world.Story):
    def setUp(self) -> None:
        super().setUp()
        world.own_store(self.kiln)  # what goes here must be nobody else's
        self.app = self.kiln.home / "small"
        (self.app / "site").mkdir(parents=True)
        self.kiln.run("bake", "--no-publish")
        self.killer = self.kiln.home / "kill_at.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.killer, world.ROOT / "tests/e2e/kill_at.c"], check=True)

    def bake(self, version: str, *words: str) -> dict:
        (self.app / "kiln.yaml").write_text(APP.replace("VERSION", version))
        (self.app / "site/page").write_text(version)
        return json.loads(self.kiln.run("bake", "--json", *words, folder=self.app).stdout)

    def run_small(self, *words: str, check: bool = True, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return self.kiln.run(*words, folder=self.app, check=check, env=env)

    def said(self, *words: str) -> dict:
        return json.loads(self.run_small(*words, "--json").stdout)

    def images(self) -> list[dict]:
        return self.said("images", "small")["images"]

    def fates(self, *words: str) -> dict[str, tuple[str, str]]:
        return {one["image"]: (one["fate"], one["why"]) for one in self.said("gc", *words)["images"]}

    def age(self) -> None:
        for folder in ("store", "cache"):
            world.age(self.kiln.home / folder)

    def killed(self, at: int, calls: str, *words: str) -> bool:
        """Whether the program died before its call of that number; else it has come to its end."""
        result = self.run_small(*words, check=False, env={"LD_PRELOAD": str(self.killer), "KILL_AT": str(at), "KILL_CALLS": calls})
        if result.returncode == -9:
            return True
        self.assertEqual(result.returncode, 0, result.stderr)
        return False

    def blobs(self) -> set[str]:
        return set(os.listdir(self.kiln.home / "store/blobs/sha256"))

    def assert_whole(self) -> list[str]:
        """The ledger verifies, and of what the store names every blob is there. Returns the versions that can be deployed."""
        self.run_small("ledger", "verify")
        blobs = self.kiln.home / "store/blobs/sha256"
        named = {entry["digest"] for entry in json.loads((self.kiln.home / "store/index.json").read_text())["manifests"]}
        for digest in named:
            content = (blobs / digest.removeprefix("sha256:")).read_bytes()
            self.assertEqual("sha256:" + hashlib.sha256(content).hexdigest(), digest)
            manifest = json.loads(content)
            for part in [manifest["config"], *manifest["layers"]]:
                self.assertEqual((blobs / part["digest"].removeprefix("sha256:")).stat().st_size, part["size"])
        usable = [image for image in self.images() if image["standing"] == "usable"]
        for image in usable:
            self.assertIn(image["digest"], named, "an image that can be deployed has its bytes")
        return [image["version"] for image in usable]

    def test_killed_before_any_change_it_leaves_a_whole_store_and_the_next_one_finishes(self) -> None:
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            self.bake(version, "--no-publish")
        self.age()
        self.run_small("gc", "--keep", "3", "--older", "0s", "--grace", "0s", "--yes")  # layers that the cache alone knows
        saved = self.kiln.home / "saved"
        state = ("ledger", "store", "cache/layers")  # all that gc changes here; blobs are never changed in place

        def copy(source: pathlib.Path, target: pathlib.Path) -> None:
            for name in state:
                shutil.rmtree(target / name, ignore_errors=True)
                shutil.copytree(source / name, target / name, copy_function=os.link if name == "store" else shutil.copy2)

        copy(self.kiln.home, saved)

        self.run_small("gc", *AT_ONCE)
        clean = self.blobs()
        self.assertEqual([image["version"] for image in self.images()], ["1.2.0"])
        step = 1
        while True:
            copy(saved, self.kiln.home)
            died = self.killed(step, "files", "gc", *AT_ONCE)
            self.assertIn("1.2.0", self.assert_whole())
            self.run_small("gc", *AT_ONCE)
            self.assertEqual(self.assert_whole(), ["1.2.0"])
            self.assertEqual(self.blobs(), clean, f"killed at step {step}")
            if not died:
                break
            step += 1
        self.assertGreater(step, 20, "it writes, renames and removes more than that")

    def test_killed_between_any_two_calls_to_aws_the_next_one_finishes(self) -> None:
        self.kiln.run("region", "start", "--port", "0", "--machines", "simulated")
        step = 1
        self.bake("1.0.0")
        while True:
            gone = self.images()[0]["placements"][-1]["ami"]
            self.bake(f"1.0.{step}")
            died = self.killed(step, "send", "gc", *AT_ONCE)
            self.assert_whole()
            self.run_small("gc", *AT_ONCE)
            images = self.images()
            self.assertEqual([image["version"] for image in images], [f"1.0.{step}"])
            left = self.kiln.aws("ec2", "describe-images", "--owners", "self", "--include-disabled")["Images"]
            self.assertEqual([image["ImageId"] for image in left], [images[0]["placements"][-1]["ami"]], f"killed at step {step}")
            self.assertNotEqual(left[0]["ImageId"], gone)
            if not died:
                break
            step += 1
        self.assertGreater(step, 3, "it looks, and deregisters")
        self.assertEqual(len(self.kiln.aws("ec2", "describe-snapshots", "--owner-ids", "self")["Snapshots"]), 1)

    def test_beside_a_push_what_is_sent_stays(self) -> None:
        folder = self.kiln.home / "registry"
        folder.mkdir()
        registry = Registry(folder)
        self.addCleanup(registry.close)
        gate = Gate(registry.port)
        self.addCleanup(gate.close)
        digest = self.bake("1.0.0", "--no-publish")["digest"]
        self.bake("1.1.0", "--no-publish")
        self.age()
        self.assertEqual(self.fates(*AT_ONCE[:-1])["small@1.0.0"][0], "remove")
        gate.hold = threading.Event()
        push = subprocess.Popen([world.PROGRAM, "push", "small@1.0.0", f"{gate.name}/team/small"], cwd=self.app,
                                env=self.kiln.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        self.kiln.children.append(push)
        self.assertTrue(gate.held.wait(60), "the push has come to the registry")
        fate, why = self.fates(*AT_ONCE)["small@1.0.0"]
        self.assertEqual(fate, "keep")
        self.assertRegex(why, r"kiln push small@1.0.0 \(process [0-9]+\) uses it now")
        gate.hold.set()
        said, _ = push.communicate(timeout=60)
        self.kiln.children.remove(push)
        self.assertEqual(push.returncode, 0, said)
        self.assert_whole()

        # When nobody uses it any more it goes, and the plan says what stays elsewhere; from there it comes back.
        copy = f"{gate.name}/team/small:1.0.0"
        self.assertIn(f"; {copy} stays", self.run_small("gc", *AT_ONCE[:-1]).stdout)
        self.assertEqual(self.fates(*AT_ONCE)["small@1.0.0"][0], "remove")
        gone = self.run_small("show", "small@1.0.0", check=False)
        self.assertIn(f"kiln pull {copy}@{digest}", gone.stderr)
        self.run_small("pull", f"{copy}@{digest}")
        self.assertEqual(self.said("show", "small@1.0.0")["digest"], digest)
        self.assert_whole()

    def test_beside_a_bake_its_base_and_its_old_layers_stay(self) -> None:
        kiln = self.kiln
        kiln.run("bake", "--no-publish")
        for name in ("kiln.yaml", "site/index.html"):  # a newer one, so that the base is not kept as the newest
            kiln.edit(name, "1.0.0", "1.1.0")
        kiln.run("bake", "--no-publish")
        child = kiln.home / "child"
        child.mkdir()
        (child / "kiln.yaml").write_text("app: child\nimage:\n  from: {image: web@1.0.0}\n  version: 1.0.0\n"
                                         "  steps:\n    - run: sleep 1.25; echo child > /srv/child\n")
        bake = subprocess.Popen([world.PROGRAM, "bake", "--no-publish", "--no-cache", "--json"], cwd=child, env=kiln.environment(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        kiln.children.append(bake)
        # The newest stays: the image of a bake that has just ended is anybody's to remove.
        rules = ("--keep", "1", "--older", "0s", "--grace", "0s", "--yes")
        world.wait_until("its step runs", lambda: b"sleep\0001.25\0" in commands_that_run())
        bake.send_signal(signal.SIGSTOP)  # now, as it waits for its step
        self.assertIsNone(bake.poll())
        base = {one["image"]: one for one in kiln.json("gc", *rules)["images"]}["web@1.0.0"]
        self.assertEqual(base["fate"], "keep", base["why"])
        bake.send_signal(signal.SIGCONT)
        said, errors = bake.communicate()
        kiln.children.remove(bake)
        self.assertEqual(bake.returncode, 0, errors)
        digest = json.loads(said)["digest"]
        self.assert_whole()
        self.assertEqual(self.kiln.json("show", "child@1.0.0")["digest"], digest)
        self.assertEqual(self.kiln.run("bake", "--no-publish", folder=child).returncode, 0)

    def test_beside_a_deployment_what_it_launches_stays(self) -> None:
        kiln = self.kiln
        kiln.edit("kiln.yaml", "size: 4", "size: 1")
        kiln.run("region", "start", "--port", "0")
        kiln.run("bake")
        kiln.set_version("1.0.0", "1.1.0")
        kiln.run("bake")
        rules = ("--keep", "0", "--older", "0s", "--grace", "0s", "--yes")
        deploy = kiln.start("deploy", "--image", "web@1.0.0")
        leases = kiln.home / "store/leases"
        world.wait_until("the deployment has a lease on its image", lambda: leases.is_dir() and os.listdir(leases))
        first = None
        while deploy.poll() is None:
            first = {one["image"]: one for one in kiln.json("gc", *rules)["images"]}["web@1.0.0"]
            self.assertEqual(first["fate"], "keep", first["why"])
        said, _ = deploy.communicate()
        kiln.children.remove(deploy)
        self.assertEqual(deploy.returncode, 0, said)
        self.assertIsNotNone(first)
        self.assertIn("1.0.0", world.fetch(kiln.url() + "/") or "")


if __name__ == "__main__":
    unittest.main()
