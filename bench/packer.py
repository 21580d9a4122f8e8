"""Packer builds examples/packer/web.json in the region; time by phase, beside the packages' installation alone."""
import datetime
import re
import subprocess

import measure
import world

PHASES = [("starting the builder, until ssh answers", r"Launching a source AWS instance", r"Connected to SSH"),
          ("provisioning: cloud-init's end, apt-get update and install nginx", r"Connected to SSH", r"Stopping the source instance"),
          ("stopping the builder", r"Stopping the source instance", r"Creating AMI"),
          ("creating the AMI", r"Creating AMI", r"Terminating the source AWS instance"),
          ("cleaning up", r"Terminating the source AWS instance", r"Build '.*' finished")]


def build(kiln: world.Kiln) -> dict[str, float]:
    child = subprocess.Popen(["packer", "build", "-color=false", str(measure.ROOT / "examples/packer/web.json")],
                             env=kiln.aws_environment() | {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(kiln.home / "packer")},
                             stdout=subprocess.PIPE, text=True)
    lines = [(datetime.datetime.now(), line) for line in child.stdout]
    assert child.wait() == 0, "".join(line for _, line in lines)

    def when(pattern: str) -> datetime.datetime:
        return next(at for at, line in lines if re.search(pattern, line))

    times = {name: (when(end) - when(begin)).total_seconds() for name, begin, end in PHASES}
    times["in all"] = (lines[-1][0] - lines[0][0]).total_seconds()
    return times


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("region", "start", "--port", "0")
        build(kiln)  # the base image is made on its first use
        runs = [build(kiln) for _ in range(3)]
        for name in runs[0]:
            median = measure.row(name, [run[name] for run in runs])
        provisioning = sorted(run[PHASES[1][0]] for run in runs)[1]
        measure.ratio("the whole build / its provisioning", median, provisioning)


if __name__ == "__main__":
    main()
