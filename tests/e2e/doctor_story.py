"""kiln doctor: each failure that is provoked here it finds, and what it says to do next mends it."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import unittest

import world


class Doctor(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.edit("kiln.yaml", "size: 4", "size: 1")
        self.kiln.run("region", "start", "--port", "0")
        self.folder = self.kiln.home / "regions/default"

    def wrong(self) -> list[dict]:
        """Of this home: what others have on this host is not ours to be sure of."""
        found = [finding for finding in self.kiln.doctor() if finding["wrong"]]
        return [f for f in found if f["about"] != "slot" or str(self.kiln.home) in f["what"]]

    def the_one(self, *says: str) -> dict:
        found = self.wrong()
        self.assertEqual(len(found), 1, found)
        for text in says:
            self.assertIn(text, found[0]["what"] + " / " + found[0]["next"])
        return found[0]

    def is_well(self, what: str) -> None:
        world.wait_until(f"nothing is wrong {what}", lambda: not self.wrong(), budget=20)

    def haproxy(self) -> int:
        return int(json.loads((self.folder / "haproxy/haproxy.json").read_text())["process"].split("@")[0])

    def instances(self) -> list[str]:
        return sorted(i["id"] for i in self.kiln.json("status")["instances"])

    def test_what_dies_is_found_and_the_next_step_mends_it(self) -> None:
        self.kiln.run("bake")
        self.kiln.run("deploy")
        self.is_well("after a deployment")

        # A deployer that stands still holds its lock; one that is killed leaves a deployment without an end.
        self.kiln.set_version("1.0.0", "1.1.0")
        self.kiln.run("bake")
        deployer = self.kiln.start("deploy")
        next(line for line in deployer.stdout if "waiting" in line)
        deployer.send_signal(signal.SIGSTOP)
        notes = {finding["about"]: finding for finding in self.kiln.doctor() if finding["about"] in ("deployment", "lock")}
        for about in ("deployment", "lock"):
            self.assertFalse(notes[about]["wrong"])
            self.assertIn(f"'kiln deploy web 1.1.0' (process {deployer.pid}) since ", notes[about]["what"])
        deployer.kill()
        deployer.wait()
        self.the_one("deploy 1.1.0 of web was begun by ", "nobody goes on with it, its last entry is ", "`kiln deploy --image 1.1.0`")
        self.kiln.run("deploy", "--image", "1.1.0")
        self.is_well("when it has its end")

        # A control plane that hangs, and an HAProxy that it cannot start again meanwhile.
        pid, haproxy = self.kiln.region()["pid"], self.haproxy()
        os.kill(pid, signal.SIGSTOP)
        os.kill(haproxy, signal.SIGKILL)
        try:
            stuck, dead = self.wrong()
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertIn(f"runs as process {pid} since ", stuck["what"])
        self.assertIn("does not answer", stuck["what"])
        self.assertIn(f"kill -9 {pid}; kiln region start", stuck["next"])
        self.assertIn(f"HAProxy (process {haproxy}) is dead", dead["what"])
        self.is_well("when it goes on")
        self.assertNotEqual(self.haproxy(), haproxy)

        # A dead control plane, alone and with its HAProxy.
        before = self.instances()
        os.kill(pid, signal.SIGKILL)
        world.wait_until("the control plane is gone", lambda: not self.kiln.region()["running"])
        self.the_one(f"its control plane (process {pid}) is dead", ": 1 machine, 2 network namespaces, ", "kiln region start")
        os.kill(self.haproxy(), signal.SIGKILL)
        self.assertEqual([f["next"].startswith("kiln region start") or f["next"].endswith(": kiln region start") for f in self.wrong()],
                         [True, True])
        # Its record too: without it the region has other root keys, and still its instances.
        (self.folder / "region.json").write_text("{ half of it")
        unread, dead, _ = self.wrong()
        self.assertIn("region.json cannot be read", unread["what"])
        self.assertIn("goes on without it: 1 machine", dead["what"])
        subprocess.run(["sh", "-c", unread["next"].split(": ", 1)[1].replace("kiln region start", f"{world.PROGRAM} region start --port 0")],
                       env=self.kiln.environment(), check=True, capture_output=True)
        self.is_well("after the start")
        self.assertEqual(self.instances(), before)
        self.assertIn("1.1.0", world.fetch(self.kiln.url()) or "")

        # A region whose folder was removed under it.
        owned = world.slots(str(self.kiln.home))
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        for point in sorted(world.mounts(str(self.kiln.home)), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=True)
        shutil.rmtree(self.folder)
        left = self.the_one(f"slot {min(owned)} of this host belongs to {self.folder}, which is gone: 1 machine, ", "kiln doctor --clean")
        self.assertEqual(left["about"], "slot")
        self.assertIn(f"removed: slot {min(owned)} ", self.kiln.run("doctor", "--clean", check=False).stdout)
        self.assertEqual(world.leftovers(str(self.kiln.home), owned), [], "its HAProxy and its way out ended too")
        self.is_well("after --clean")

    def test_what_a_disk_lost_is_found(self) -> None:
        self.kiln.run("bake")
        self.is_well("after a bake")
        self.kiln.run("region", "stop")
        # A copy is damaged: store and cache are shared with other stories.
        store = self.kiln.home / "store"
        store.unlink()
        shutil.copytree(world.CACHE / "store", store, copy_function=os.link)
        self.is_well("in the copy")
        digest = self.kiln.json("images")["images"][0]["digest"].removeprefix("sha256:")
        layer = json.loads((store / "blobs/sha256" / digest).read_text())["layers"][-1]
        blob = store / "blobs/sha256" / layer["digest"].removeprefix("sha256:")
        blob.unlink()
        lost = [f for f in self.wrong() if f["what"].startswith("web@1.0.0")]
        self.assertIn(f"a layer of {layer['size']} bytes is missing: {blob}", lost[0]["what"])
        blob.write_bytes(b"cut")
        lost = [f for f in self.wrong() if f["what"].startswith("web@1.0.0")]
        self.assertIn(f"a layer has 3 bytes and not {layer['size']}", lost[0]["what"])
        blob.unlink()
        self.kiln.run("bake", "--no-publish")
        self.is_well("when it is baked again")

        book = sqlite3.connect(self.kiln.home / "ledger/ledger.db")
        book.executescript("DROP TRIGGER entries_are_not_changed; UPDATE entries SET actor = 'somebody' WHERE sequence = 1;")
        book.close()
        self.the_one("the ledger does not hold", "entry 1 (image.baked) altered", "kiln ledger verify")

        (self.folder / "journal.db").write_bytes(b"x" * 8192)
        self.assertIn("journal.db cannot be read", " ".join(f["what"] for f in self.wrong()))

    def test_a_disk_that_is_nearly_full_is_named(self) -> None:
        small = self.kiln.home / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], check=True)
        try:
            result = self.kiln.run("doctor", check=False, env={"KILN_HOME": str(small)})
        finally:
            subprocess.run(["umount", small], check=True)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, rf"MISSING free disk +8.0 MiB at {small}\n +next: Free at least 2.0 GiB")


if __name__ == "__main__":
    unittest.main()
