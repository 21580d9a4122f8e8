"""The demo tells its whole story, no request fails, and it leaves nothing behind."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import world


class Demo(unittest.TestCase):
    def setUp(self) -> None:
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="kiln-e2e-"))
        (self.home / "demo").mkdir()
        for shared in ("cache", "store"):
            (world.CACHE / shared).mkdir(parents=True, exist_ok=True)
            (self.home / "demo" / shared).symlink_to(world.CACHE / shared)
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def test_it_deploys_replaces_goes_back_and_cleans_up(self) -> None:
        namespaces = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
        result = subprocess.run([world.PROGRAM, "demo"], env=os.environ | {"KILN_HOME": str(self.home)}, capture_output=True,
                                text=True, timeout=600, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0, result.stdout[-5000:] + result.stderr[-3000:])
        sent, failed = map(int, re.search(r"requests\s+(\d+) sent, (\d+) failed", result.stdout).groups())
        self.assertGreater(sent, 5000)
        self.assertEqual(failed, 0)
        self.assertRegex(result.stdout, r"1\.2\.0 .*(rolled back|500)")
        for version in ("1.0.0", "1.1.0"):
            self.assertRegex(result.stdout, rf"\d+ answered by {version}")
        self.assertNotRegex(result.stdout, r"answered by 1\.2\.0")
        self.assertEqual(world.leftovers(str(self.home)), [])
        after = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
        self.assertEqual(after - namespaces, set())


if __name__ == "__main__":
    unittest.main()
