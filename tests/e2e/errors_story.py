"""What a user meets who does something wrong: what failed, why, and what to do next; with the exit code that says so."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import unittest
from collections.abc import Iterator

import world


class Errors(world.Story):
    def fails(self, status: int, *words: str, says: tuple[str, ...], **options) -> str:
        result = self.kiln.run(*words, check=False, **options)
        said = result.stdout + result.stderr
        self.assertEqual(result.returncode, status, said)
        for text in says:
            self.assertIn(text, said)
        self.assertNotIn("terminate called", said)
        return said

    def test_words_that_are_wrong(self) -> None:
        self.fails(2, "delpoy", says=("delpoy", "kiln deploy"))
        self.fails(2, "deploy", "--imgae", "x", says=("--imgae", "--image"))
        self.fails(2, "status", folder=self.kiln.home, says=("no kiln.yaml", "kiln init"))
        self.fails(1, "status", says=("no region 'default' runs", "kiln region start"))
        self.fails(2, "-C", "/nonexistent", "bake", says=("/nonexistent",))

    def test_an_unknown_key_is_named_with_its_line_and_the_nearest_one(self) -> None:
        self.kiln.edit("kiln.yaml", "packages:", "pakages:")
        said = self.fails(2, "bake", says=("kiln.yaml:", "pakages", "packages"))
        self.assertRegex(said, r"kiln\.yaml:\d+:\d+")

    def test_a_step_that_fails_shows_its_end_and_the_way_in(self) -> None:
        self.kiln.edit("kiln.yaml", "  steps:\n", "  steps:\n    - run: echo the reason; exit 7\n")
        self.fails(1, "bake", says=("the reason", "7", "kiln bake --shell", "kiln.yaml:"))
        self.assertEqual(world.mounts(str(self.kiln.home)), [])

    def test_the_way_in_is_a_shell_before_the_step_that_failed(self) -> None:
        self.kiln.edit("kiln.yaml", "  steps:\n", "  steps:\n    - run: echo before > /etc/story\n    - run: exit 7\n")
        self.fails(1, "bake", says=("kiln bake --shell",))
        shell = world.Terminal(self.kiln, "bake", "--shell")
        shell.type("echo it says $(cat /etc/story), and has $(ls -d /etc/debian_version /etc/nginx 2>&1 | wc -l)\n")
        shell.wait_for("it says before, and has 2")
        shell.type("touch /etc/mine; exit 3\n")
        self.assertEqual(shell.end(), 3)
        self.assertEqual(world.mounts(str(self.kiln.home)), [])

    def test_without_root_it_says_who_may(self) -> None:
        os.chmod(self.kiln.home, 0o755)
        program = self.kiln.home / "kiln"
        shutil.copy(world.PROGRAM, program)
        theirs = tempfile.mkdtemp(prefix="kiln-e2e-nobody-")
        self.addCleanup(shutil.rmtree, theirs, ignore_errors=True)
        os.chown(theirs, 65534, 65534)
        result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(program), "region", "start"],
                                cwd="/", env=os.environ | {"KILN_HOME": theirs}, capture_output=True, text=True)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("root", result.stderr)

    def test_a_port_in_use_is_named(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.fails(5, "region", "start", "--port", str(port), says=(str(port),))
        self.assertEqual(world.slots(str(self.kiln.home)), set(), "nothing was made")

    def test_a_region_that_runs_is_not_moved(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        endpoint = self.kiln.region()["endpoint"]
        self.kiln.run("region", "start")
        self.kiln.run("region", "start", "--port", "0", "--machines", "nspawn")
        self.fails(2, "region", "start", "--port", "4599", says=("4599", endpoint, "kiln region stop"))
        self.fails(2, "region", "start", "--machines", "simulated", says=("simulated", "nspawn", "kiln region stop"))
        self.kiln.run("region", "stop")
        self.kiln.run("region", "start")
        self.assertEqual(self.kiln.region()["endpoint"], endpoint, "it comes back where its clients look for it")
        self.assertEqual(self.kiln.json("region", "env")["AWS_ENDPOINT_URL"], endpoint)
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        world.wait_until("the region is dead", lambda: not listens(endpoint), budget=10)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", int(endpoint.rsplit(":", 1)[1])))
            taken.listen()
            self.fails(5, "region", "start", says=(endpoint.rsplit(":", 1)[1],))
            self.kiln.run("region", "start", "--port", "0")
        self.assertNotEqual(self.kiln.region()["endpoint"], endpoint)

    def test_a_missing_program_is_named_with_its_package(self) -> None:
        self.assertTrue(json.loads(self.kiln.run("doctor", "--json", check=False).stdout)["fit"])
        for program, words in {"haproxy": "doctor", "nft": "region start --port 0", "mmdebstrap": "bake --no-cache"}.items():
            path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
            hide = ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {path} && exec "$0" {words}', world.PROGRAM]
            result = subprocess.run(hide, cwd=self.kiln.app, env=self.kiln.environment(), capture_output=True, text=True)
            self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
            package = {"nft": "nftables"}.get(program, program)
            self.assertIn(f"apt-get install {package}", result.stdout + result.stderr)

    def test_a_region_that_does_not_answer(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        world.wait_until("the region is dead", lambda: not self.kiln.region()["running"])
        self.fails(1, "status", says=("no region 'default' runs", "kiln region start"))

    def test_a_region_that_is_stuck(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        pid = self.kiln.region()["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            self.fails(1, "status", says=(str(pid), "did not answer in time", "region.log"))
            self.assertLess(time.monotonic() - begun, 30)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.fails(0, "status", says=("kiln plan",))

    def test_wrong_credentials(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        record = self.kiln.home / "regions/default/region.json"
        good = record.read_text()
        bad = json.loads(good)
        bad["secret_key"] = "wrong"
        record.write_text(json.dumps(bad))
        self.fails(1, "status", says=("SignatureDoesNotMatch",))
        record.write_text(good)

    def test_a_missing_and_an_altered_image(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        # A store of its own: what is broken here must not break other stories.
        (self.kiln.home / "store").unlink()
        shutil.copytree(world.CACHE / "store", self.kiln.home / "store", copy_function=os.link)
        self.kiln.set_version("1.0.0", "1.0.7")
        baked = self.kiln.json("bake")
        self.kiln.aws("ec2", "deregister-image", "--image-id", baked["ami"])
        again = self.kiln.json("bake")
        self.assertEqual(again["digest"], baked["digest"])
        self.assertNotEqual(again["ami"], baked["ami"], "an AMI that is gone is published again")
        self.kiln.aws("ec2", "describe-images", "--image-ids", again["ami"])

        self.kiln.set_version("1.0.7", "1.0.8")
        baked = self.kiln.json("bake", "--no-publish")
        top = baked["layers"][-1]["digest"].split(":")[1]
        blob = self.kiln.home / "store/blobs/sha256" / top
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.unlink()
        blob.write_bytes(content)
        self.fails(1, "deploy", says=(top[:12],))

    def test_a_disk_without_room_for_a_base(self) -> None:
        with self.small_home("20m") as home:
            self.fails(1, "bake", env={"KILN_HOME": str(home)}, says=("no space left for a base", "MiB are free", "KILN_HOME"))
            self.assertEqual(world.mounts(str(home)), [str(home)])

    def test_a_step_that_fills_the_disk(self) -> None:
        base = json.loads(self.kiln.run("bake", "--no-publish", "--json").stdout)["layers"][0]["digest"].removeprefix("sha256:")
        with self.small_home("400m") as home:
            (home / "cache").symlink_to(self.kiln.home / "cache")
            blobs = home / "store/blobs/sha256"
            blobs.mkdir(parents=True)
            shutil.copy(self.kiln.home / "store/blobs/sha256" / base, blobs)
            self.kiln.edit("kiln.yaml", "  steps:\n", "  steps:\n    - run: head -c 500M /dev/zero > /var/big\n")
            self.fails(1, "bake", env={"KILN_HOME": str(home)}, says=("No space left on device", "kiln.yaml:"))
            self.assertEqual(world.mounts(str(home)), [str(home)])
            self.assertEqual(list((home / "store/tmp").iterdir()), [])

    @contextlib.contextmanager
    def small_home(self, size: str) -> Iterator[pathlib.Path]:
        home = self.kiln.home / "small"
        home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(home)], check=True)
        try:
            yield home
        finally:
            subprocess.run(["umount", str(home)], check=True)

    def test_two_deployments_at_once(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        self.kiln.run("bake")
        first = self.kiln.start("deploy")
        locks = self.kiln.home / "locks"
        world.wait_until("the first one holds the fleet", lambda: locks.exists() and any(f.read_text() for f in locks.iterdir()))
        self.fails(5, "deploy", says=("kiln deploy", str(first.pid), "since"))
        out, _ = first.communicate(timeout=120)
        self.assertEqual(first.returncode, 0, out)

    def test_a_ledger_that_was_changed(self) -> None:
        self.kiln.run("bake", "--no-publish")
        self.kiln.run("ledger", "verify")
        database = sqlite3.connect(self.kiln.home / "ledger/ledger.db")
        table = database.execute("SELECT name FROM sqlite_master WHERE type='table' AND name LIKE 'entr%'").fetchone()[0]
        database.execute("PRAGMA trusted_schema=1")
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(f"UPDATE {table} SET actor='somebody@else' WHERE sequence=1")
        database.commit()
        database.close()
        self.fails(6, "ledger", "verify", says=("entry 1", "altered"))
        self.fails(2, "ledger", "verify", "--head", "x@y", says=("NUMBER@DIGEST", "x@y"))


def listens(endpoint: str) -> bool:
    host, port = endpoint.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


if __name__ == "__main__":
    unittest.main()
