"""Bakes: nothing changed, one file changed, one package added, all cold; beside mmdebstrap and apt doing it alone."""
import os
import shutil
import subprocess
import tempfile
import time

import measure
import world

MMDEBSTRAP = ["mmdebstrap", "--quiet", "--variant=apt", "--include=systemd,systemd-sysv,dbus,iproute2,ca-certificates,gpgv",
              "bookworm", "/dev/null", "deb http://deb.debian.org/debian bookworm main",
              "deb http://deb.debian.org/debian-security bookworm-security main"]

with measure.Bench() as kiln:
    kiln.run("bake", "--no-publish")
    nothing = measure.row("bake, nothing changed (whole command)",
                          [measure.timed(lambda: kiln.run("bake", "--no-publish")) for _ in range(7)], aim="< 0.1")
    changed = []
    for number in range(7):
        # Never seen before, also not by the cache that benches share.
        kiln.edit("kiln.yaml", f"1.0.{number}", f"1.0.{number + 1}")
        (kiln.app / "site/index.html").write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
        changed.append(measure.timed(lambda: kiln.run("bake", "--no-publish")))
    one_file = measure.row("bake, one file changed (whole command)", changed, aim="< 1")
    spawn = measure.row("the limit: starting a process and reading 4 KiB", [
        measure.timed(lambda: subprocess.run(["/bin/true"], check=True)) for _ in range(20)])
    measure.ratio("nothing changed / starting a process", nothing, spawn)

    # To an AMI of the region that an instance can be launched from.
    kiln.run("region", "start", "--port", "0")
    kiln.json("bake")
    to_an_ami = []
    for number in range(7, 14):
        kiln.edit("kiln.yaml", f"1.0.{number}", f"1.0.{number + 1}")
        (kiln.app / "site/index.html").write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
        to_an_ami.append(measure.timed(lambda: kiln.run("bake")))
    measure.row("bake, one file changed, to an AMI (whole command)", to_an_ami, aim="< 1")
    kiln.run("region", "stop")

    # One package more, beside apt in the very root that the step has: the same lists, the same archive.
    root = tempfile.mkdtemp(prefix="kiln-bench-")
    subprocess.run([*MMDEBSTRAP[:5], root, *MMDEBSTRAP[6:]], check=True, stderr=subprocess.DEVNULL)
    shutil.copy("/etc/resolv.conf", f"{root}/etc/resolv.conf")
    recipe = (kiln.app / "kiln.yaml").read_text()
    added, alone = [], []
    for number, package in enumerate(("tree", "rsync", "jq")):
        script = f"apt-get -q update && apt-get -q -y --no-install-recommends install {package}"
        alone.append(measure.timed(lambda: subprocess.run(["chroot", root, "/bin/sh", "-c", script], check=True,
                                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)))
        # Behind what is there, as a person adds one; never seen by the cache, because the page is new.
        (kiln.app / "kiln.yaml").write_text(recipe.replace("  writable", f"    - packages: [{package}]\n  writable")
                                            .replace("version: 1.0.14", f"version: 1.1.{number}"))
        added.append(measure.timed(lambda: kiln.run("bake", "--no-publish")))
    shutil.rmtree(root)
    (kiln.app / "kiln.yaml").write_text(recipe)
    with_apt = measure.row("bake, one package added (whole command)", added)
    apt = measure.row("apt alone: update and install, in a root like it", alone)
    measure.row("the bake's own time above apt's", [with_apt - apt], aim="< 2")
    measure.ratio("one package added / apt alone", with_apt, apt)

    # Cold: a home whose cache and store are empty.
    cold_home = tempfile.mkdtemp(prefix="kiln-bench-")
    cold = measure.timed(lambda: kiln.run("bake", "--no-publish", env={"KILN_HOME": cold_home}))
    shutil.rmtree(cold_home)
    peer = measure.timed(lambda: subprocess.run(MMDEBSTRAP, check=True, stderr=subprocess.DEVNULL,
                                                env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}))
    measure.row("bake, cold, with nginx", [cold])
    measure.row("mmdebstrap alone, base without nginx", [peer])
    measure.ratio("cold bake / mmdebstrap alone", cold, peer)
    measure.ratio("mmdebstrap alone / one file changed", peer, one_file)
