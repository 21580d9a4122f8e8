"""What a user meets who does something wrong: what failed, why, and what to do next; with the exit code that says so."""
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import unittest

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

    def test_without_root_it_says_who_may(self) -> None:
        os.chmod(self.kiln.home, 0o755)
        program = self.kiln.home / "kiln"
        shutil.copy(world.PROGRAM, program)
        result = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(program), "region", "start"],
                                cwd="/", env=os.environ | {"KILN_HOME": "/tmp/kiln-e2e-nobody"}, capture_output=True, text=True)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("root", result.stderr)
        shutil.rmtree("/tmp/kiln-e2e-nobody", ignore_errors=True)

    def test_a_port_in_use_is_named(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.fails(5, "region", "start", "--port", str(port), says=(str(port),))

    def test_a_missing_program_is_named_with_its_package(self) -> None:
        empty = self.kiln.home / "bin"
        empty.mkdir()
        doctor = self.kiln.run("doctor", check=False)
        self.assertEqual(doctor.returncode, 0, doctor.stdout)
        hide = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$(command -v haproxy || echo /usr/sbin/haproxy)" && '
                'exec "$0" doctor', world.PROGRAM]
        result = subprocess.run(hide, env=self.kiln.environment(), capture_output=True, text=True)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("apt-get install haproxy", result.stdout)

    def test_a_region_that_does_not_answer(self) -> None:
        self.kiln.run("region", "start", "--port", "0")
        pid = self.kiln.region()["pid"]
        os.kill(pid, signal.SIGKILL)
        world.wait_until("the region is dead", lambda: not self.kiln.region()["running"])
        self.fails(1, "status", says=("no region 'default' runs", "kiln region start"))

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
        self.fails(1, "deploy", says=(baked["ami"],))

        self.kiln.set_version("1.0.7", "1.0.8")
        baked = self.kiln.json("bake", "--no-publish")
        top = baked["layers"][-1]["digest"].split(":")[1]
        blob = self.kiln.home / "store/blobs/sha256" / top
        content = bytearray(blob.read_bytes())
        content[len(content) // 2] ^= 1
        blob.unlink()
        blob.write_bytes(content)
        self.fails(1, "deploy", says=(top[:12],))

    def test_a_full_disk(self) -> None:
        small = self.kiln.home / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(small)], check=True)
        try:
            said = self.fails(1, "bake", env={"KILN_HOME": str(small)}, says=())
            self.assertRegex(said.lower(), "no space|space left|disk full")
            self.assertEqual(world.mounts(str(small)), [str(small)])
        finally:
            subprocess.run(["umount", str(small)], check=True)

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


if __name__ == "__main__":
    unittest.main()
