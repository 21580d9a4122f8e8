"""The example's image without a kernel: mkosi (Debian's), first and again from its incremental cache, beside Kiln."""
import shutil
import subprocess
import time

import measure


def main() -> None:
    if shutil.which("mkosi") is None or shutil.which("debootstrap") is None:
        print("  mkosi or debootstrap is not installed: apt-get install --no-install-recommends mkosi debootstrap")
        return
    with measure.Bench() as kiln:
        work = kiln.home / "mkosi"
        (work / "cache").mkdir(parents=True)
        page = kiln.app / "site/index.html"
        # Where /run is no tmpfs, systemd-nspawn does not remove what it made in /run/systemd/nspawn.
        command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs kiln /run/systemd/nspawn && exec \"$@\"", "sh", "mkosi",
                   "--nspawn-keep-unit", "--distribution=debian", "--release=bookworm", "--format=directory", "--bootable=no",
                   "--package=nginx", "--package=systemd-sysv", "--package=dbus", f"--cache={work}/cache", "--incremental",
                   f"--extra-tree={work}/extra", f"--output={work}/image", "--force", "build"]

        def mkosi() -> float:
            target = work / "extra/var/www/html"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(kiln.app / "site", target)
            return measure.timed(lambda: subprocess.run(command, cwd=work, check=True, capture_output=True))

        first = measure.row("mkosi, first", [mkosi()])
        changed = []
        for _ in range(3):
            page.write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
            changed.append(mkosi())
        theirs = measure.row("mkosi --incremental, one file changed", changed)
        cold_home = kiln.home / "cold"
        cold_home.mkdir()
        cold = measure.row("kiln bake, cold", [measure.timed(
            lambda: kiln.run("bake", "--no-publish", env={"KILN_HOME": str(cold_home)}))])
        measure.ratio("Kiln / mkosi, cold", cold, first)
        kiln.run("bake", "--no-publish")
        changed = []
        for number in range(5):
            kiln.edit("kiln.yaml", f"1.0.{number}", f"1.0.{number + 1}")
            page.write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
            changed.append(measure.timed(lambda: kiln.run("bake", "--no-publish")))
        ours = measure.row("kiln bake, one file changed", changed)
        measure.ratio("Kiln / mkosi, one file changed", ours, theirs)


if __name__ == "__main__":
    main()
