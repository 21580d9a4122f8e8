"""A bake that does not come to its end: Ctrl-C, kill -9, a step that fails beside others, a disk that fills; and the next one."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import unittest

import world

# Longer than any test waits, and told apart from what others on this machine sleep.
SLEEP = f"sleep {5000 + os.getpid() % 1000}.77"

RECIPE = f"""app: web
image:
  from: debian:bookworm
  version: 1.0.0
  steps:
    - run: 'echo @STAMP@ > /first'
      name: first
    - run: 'echo begun-one; {SLEEP}'
      name: one
      after: [first]
    - run: 'trap "" INT TERM; echo begun-two; {SLEEP}'
      name: two
      after: [first]
"""


def sleepers() -> list[str]:
    found = []
    for process in pathlib.Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if process.name.isdigit() and words.startswith(SLEEP):
                found.append(process.name)
        except OSError:
            continue
    return found


class Reader:
    """What a child says, gathered while it runs."""

    def __init__(self, child: subprocess.Popen) -> None:
        self.child, self.said = child, ""
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self) -> None:
        for line in self.child.stdout:
            self.said += line

    def wait_for(self, *texts: str) -> None:
        world.wait_until(f"{texts} is said",
                         lambda: all(text in self.said for text in texts) or self.child.poll() is not None)
        for text in texts:
            assert text in self.said, self.said

    def end(self) -> int:
        status = self.child.wait(timeout=60)
        self.thread.join()
        return status


class Ended(world.Story):
    def setUp(self) -> None:
        super().setUp()
        # A layer that no cache has, so that it is seen to be kept.
        (self.kiln.app / "kiln.yaml").write_text(RECIPE.replace("@STAMP@", self.kiln.home.name))

    def begin(self) -> Reader:
        """A bake in which both steps run that never end. With one processor the second waits for the first."""
        reader = Reader(self.kiln.start("bake", "--no-publish", "--verbose"))
        wanted = min(2, os.cpu_count() or 1)
        world.wait_until("the steps run", lambda: len(sleepers()) == wanted or reader.child.poll() is not None)
        self.assertEqual(len(sleepers()), wanted, reader.said)
        return reader

    def nothing_is_left(self) -> None:
        self.assertEqual(sleepers(), [])
        self.assertEqual(world.mounts(str(self.kiln.home)), [])
        self.assertEqual(self.kiln.json("images")["images"], [])

    def goes_on(self) -> None:
        for name in ("begun-one", "begun-two"):
            self.kiln.edit("kiln.yaml", f"{name}; {SLEEP}", f"{name} {self.kiln.home.name}")
        layers = self.kiln.json("bake", "--no-publish")["layers"]
        self.assertEqual([layer["reused"] for layer in layers], [True, True, False, False])

    def test_ctrl_c_says_what_it_cut_off_and_keeps_what_was_complete(self) -> None:
        reader = self.begin()
        reader.child.send_signal(signal.SIGINT)
        self.assertEqual(reader.end(), 130, reader.said)
        self.assertRegex(reader.said, r"kiln: interrupted while 'one'( and 'two')? was made|kiln: interrupted while '")
        self.assertIn("interrupted after", reader.said)
        self.assertIn("layers that were complete are kept", reader.said)
        self.nothing_is_left()
        self.goes_on()

    def test_a_second_ctrl_c_ends_it_at_once(self) -> None:
        reader = self.begin()
        reader.child.send_signal(signal.SIGINT)
        reader.child.send_signal(signal.SIGTERM)
        self.assertEqual(reader.end(), 130, reader.said)
        world.wait_until("nothing runs", lambda: not sleepers())
        self.nothing_is_left()
        self.goes_on()

    def test_kill_9_leaves_nothing_that_runs_or_is_mounted(self) -> None:
        reader = self.begin()
        reader.child.kill()
        self.assertEqual(reader.end(), -signal.SIGKILL)
        world.wait_until("nothing runs", lambda: not sleepers())
        world.wait_until("nothing is mounted", lambda: not world.leftovers(str(self.kiln.home), set()))
        self.nothing_is_left()
        self.goes_on()

    def test_whoever_waits_for_another_bake_can_be_interrupted_too(self) -> None:
        first = self.begin()
        second = Reader(self.kiln.start("bake", "--no-publish", "--verbose"))
        second.wait_for("3/4 ")
        second.child.send_signal(signal.SIGINT)
        self.assertEqual(second.end(), 130, second.said)
        self.assertIn("kiln: interrupted", second.said)
        self.assertIsNone(first.child.poll(), "the other goes on")
        first.child.send_signal(signal.SIGINT)
        self.assertEqual(first.end(), 130)
        self.nothing_is_left()

    @unittest.skipIf((os.cpu_count() or 1) < 2, "steps run side by side from two processors on")
    def test_a_failure_is_said_at_once_and_what_runs_beside_it_is_finished(self) -> None:
        kiln = self.kiln
        stamp = kiln.home.name
        (kiln.app / "kiln.yaml").write_text(
            "app: web\nimage:\n  from: debian:bookworm\n  version: 1.0.0\n  steps:\n"
            f"    - run: 'echo {stamp}; sleep 5; echo slow > /slow'\n      name: slow\n      after: []\n"
            f"    - run: ': {stamp}; for i in $(seq 40); do echo line $i; done; echo the reason; exit 7'\n"
            "      name: bad\n      after: []\n")
        failed = kiln.run("bake", "--no-publish", check=False)
        said = failed.stderr
        self.assertEqual(failed.returncode, 1, said)
        self.assertRegex(said, r"3/3 .*  failed after .*; 1 beside it to be finished\n")
        self.assertLess(said.index("failed after"), said.index("2/3 "), "not when the other one has ended")
        self.assertIn("the step 'bad' failed with status 7", re.sub(r"the step '[^']*'", "the step 'bad'", said))
        self.assertIn("line 40\nthe reason\n", said)
        self.assertNotIn("line 15\n", said)
        log = re.search(r"the whole output is in (\S+\.log)", said)
        self.assertIn("line 1\n", pathlib.Path(log[1]).read_text())
        kiln.edit("kiln.yaml", "exit 7", "exit 0")
        layers = kiln.json("bake", "--no-publish")["layers"]
        self.assertEqual([layer["reused"] for layer in layers], [True, True, False])


def small_root(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """A root of a few programs of this machine's, as a tar archive: enough for `run` steps, and a few MiB."""
    for name in ("bin", "etc", "usr", "tmp", "proc", "sys", "dev", "run", "var"):
        (folder / name).mkdir(parents=True)
    wanted = [shutil.which(name) for name in ("sh", "ls", "cat", "rm", "mkdir", "chmod", "head", "printf")]
    files = set(wanted)
    for program in wanted:
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=30).stdout
        files |= set(re.findall(r"(/\S+)", linked))
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, arcname=".", recursive=True)
        for file in sorted(files):
            inside = f"bin/{pathlib.Path(file).name}" if file in wanted else file.lstrip("/")
            tar.add(os.path.realpath(file), arcname=inside)


class FullDisk(world.Story):
    """Homes of several sizes, each too small at another point."""

    STEPS = """app: small
image:
  from: {archive: root.tar}
  version: 1.0.0
  steps:
    - run: 'echo one > /one'
    - run: 'head -c 6000000 /dev/urandom > /big'
    - copy: {from: page, to: /page}
    - run: 'cat /big /big > /bigger'
"""

    def setUp(self) -> None:
        super().setUp()
        self.app = self.kiln.home / "small"
        self.app.mkdir()
        (self.app / "kiln.yaml").write_text(self.STEPS)
        (self.app / "page").write_bytes(os.urandom(3_000_000))
        small_root(self.app / "root.tar", self.kiln.home / "tree")

    def bake(self, home: pathlib.Path, program: str = world.PROGRAM) -> subprocess.CompletedProcess:
        return subprocess.run([program, "bake", "--no-publish", "--json"], cwd=self.app, text=True, timeout=120,
                              env=self.kiln.environment() | {"KILN_HOME": str(home)}, capture_output=True)

    def test_a_disk_that_fills_at_any_point_is_said_and_the_next_bake_goes_on(self) -> None:
        home = self.kiln.home / "tight"
        home.mkdir()
        failed = []
        for kib in (64, 512, 2048, 4096, 6144, 9216, 12288, 16384, 20480, 24576, 32768, 40960, 51200):
            with self.subTest(kib=kib):
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "kiln-e2e", str(home)], check=True)
                try:
                    failed.append(self.one_size(home))
                finally:
                    subprocess.run(["umount", str(home)], check=True)
        self.assertTrue(all(failed[:3]), "the smallest are too small")
        self.assertFalse(failed[-1], "the largest is not")

    def one_size(self, home: pathlib.Path) -> bool:
        tight = self.bake(home)
        self.assertIn(tight.returncode, (0, 1), tight.stderr)
        if tight.returncode == 1:
            self.assertRegex(tight.stderr.lower(), r"no space left")
            self.assertIn("next: ", tight.stderr)
        self.assertNotIn("terminate", tight.stderr)
        self.assertEqual([mount for mount in world.mounts(str(home)) if mount != str(home)], [])
        kept = {path.name for path in (home / "cache/layers").glob("*")}
        temporary = list((home / "store/tmp").glob("*")) if (home / "store/tmp").exists() else []
        self.assertEqual(temporary, [], "no half layer")
        subprocess.run(["mount", "-o", "remount,size=512m", str(home)], check=True)
        again = self.bake(home)
        self.assertEqual(again.returncode, 0, again.stderr)
        reused = sum(layer["reused"] for layer in json.loads(again.stdout)["layers"][1:])
        self.assertGreaterEqual(reused, len(kept), "what was complete is taken from the cache")
        return tight.returncode == 1


if __name__ == "__main__":
    unittest.main()
