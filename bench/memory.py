"""Memory of a bake, whatever the image's size: the most that Kiln or any program that it ran had in memory at once."""
import os
import subprocess

import measure
import world
from interrupted_story import small_root

RECIPE = """app: big
image:
  from: {archive: root.tar}
  version: 1.0.0
  steps:
    - run: 'head -c %d /dev/urandom > /big'
    - copy: {from: many/, to: /srv/many/}
"""


def peak_mib(kiln: world.Kiln, *words: str) -> float:
    """wait4(2) counts the process and all that it waited for, and of these the largest."""
    child = subprocess.Popen([world.PROGRAM, *words], cwd=kiln.app, env=kiln.environment(), stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise AssertionError(f"kiln {' '.join(words)} ended with {child.returncode}")
    return usage.ru_maxrss / 1024


def main() -> None:
    with measure.Bench() as kiln:
        # A cache of its own: layers of this size are nobody else's business.
        for shared in ("cache", "store"):
            (kiln.home / shared).unlink()
        small_root(kiln.app / "root.tar", kiln.home / "tree")
        peaks = []
        for mib, files in ((16, 100), (256, 2000), (2048, 20000)):
            many = kiln.app / "many"
            many.mkdir(exist_ok=True)
            for number in range(files):
                (many / f"file-{number}").write_text(f"{number}\n" * 50)
            (kiln.app / "kiln.yaml").write_text(RECIPE % (mib << 20))
            (kiln.app / "kiln.yaml").write_text((kiln.app / "kiln.yaml").read_text().replace("1.0.0", f"1.0.{mib}"))
            peaks.append(measure.row(f"kiln bake, {mib} MiB and {files} files: most memory",
                                     [peak_mib(kiln, "bake", "--no-publish")], "MiB", "< 200"))
        measure.ratio("the largest image / the smallest, memory", peaks[-1], peaks[0])


if __name__ == "__main__":
    main()
