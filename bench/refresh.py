"""A rolling replacement of four instances under 500 requests a second, two seconds of draining; beside what it must take."""
import time

import measure
import world

with measure.Bench() as kiln:
    kiln.run("region", "start", "--port", "0")
    kiln.run("bake")
    first = measure.timed(lambda: kiln.run("deploy"))
    load = world.Load(kiln, kiln.url())
    times = []
    for number in range(5):
        kiln.set_version(f"1.0.{number}", f"1.0.{number + 1}")
        kiln.run("bake")
        times.append(measure.timed(lambda: kiln.run("deploy")))
    report = load.end()
    measure.row("first deployment of 4 instances", [first])
    refresh = measure.row("replacement of 4 instances under load (whole command)", times, aim="< 15")
    measure.ratio("to its limit: the first deployment, and a drain of 2 s", refresh, first + 2)
    print(f"  {report['sent']} requests, {report['failed']} failed, p99 {report['p99_ms']:.1f} ms")
