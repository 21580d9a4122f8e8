"""The demo tells its whole story, no request fails, and it leaves nothing behind."""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import world


class Demo(unittest.TestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.fail("end-to-end tests run real instances and need root: sudo -E make test")
        # A space in the name, as a home folder may have one.
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="kiln-e2e demo-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        (self.home / "demo").mkdir()
        (self.home / "demo-2/regions/default").mkdir(parents=True)
        for shared in ("cache", "store"):
            (world.CACHE / shared).mkdir(parents=True, exist_ok=True)
            (self.home / "demo-2" / shared).symlink_to(world.CACHE / shared)
        # Another checkout's demo runs.
        self.held = open(self.home / "demo/demo.lock", "w")
        self.addCleanup(self.held.close)
        fcntl.flock(self.held, fcntl.LOCK_EX)
        self.slots: set[str] = set()

    def test_it_deploys_replaces_goes_back_and_cleans_up(self) -> None:
        watch = threading.Thread(target=self.watch_slots)
        watch.start()
        result = subprocess.run([world.PROGRAM, "demo", "--rate", "520"], env=os.environ | {"KILN_HOME": str(self.home)},
                                capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)
        self.over = True
        watch.join()
        self.assertEqual(result.returncode, 0, result.stdout[-5000:] + result.stderr[-3000:])
        self.assertIn(f"{self.home}/demo is another demo's", result.stdout)
        self.assertIn(f"a demo from before is still in {self.home}/demo-2", result.stdout)
        sent, failed, rate = map(int, re.search(r"requests\s+(\d+) sent, (\d+) failed; (\d+) a second",
                                                result.stdout).groups())
        self.assertGreater(sent, 5000)
        self.assertGreaterEqual(rate, 500)
        self.assertEqual(failed, 0)
        self.assertRegex(result.stdout, r"1\.2\.0 .*(rolled back|500)")
        for version in ("1.0.0", "1.1.0"):
            self.assertRegex(result.stdout, rf"\d+ answered by {version}")
        self.assertNotRegex(result.stdout, r"answered by 1\.2\.0")
        self.assertTrue(self.slots, "its region's slot was seen")
        self.assertEqual(world.leftovers(str(self.home), self.slots), [])

    over = False

    def watch_slots(self) -> None:
        while not self.over:
            self.slots |= world.slots(str(self.home))
            time.sleep(0.2)


if __name__ == "__main__":
    unittest.main()
