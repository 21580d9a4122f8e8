"""Bakes: nothing changed, one file changed, all cold; beside mmdebstrap making the same base alone."""
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
                          [measure.timed(lambda: kiln.run("bake", "--no-publish")) for _ in range(7)], aim="< 0.2")
    changed = []
    for number in range(7):
        # Never seen before, also not by the cache that benches share.
        kiln.edit("kiln.yaml", f"1.0.{number}", f"1.0.{number + 1}")
        (kiln.app / "site/index.html").write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
        changed.append(measure.timed(lambda: kiln.run("bake", "--no-publish")))
    one_file = measure.row("bake, one file changed (whole command)", changed, aim="< 2")
    spawn = measure.row("the limit: starting a process and reading 4 KiB", [
        measure.timed(lambda: subprocess.run(["/bin/true"], check=True)) for _ in range(20)])
    measure.ratio("nothing changed / starting a process", nothing, spawn)

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
