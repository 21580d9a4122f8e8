"""examples/packer/web.json baked by Debian's Packer in the region, and by Kiln on this machine: cold, and warm."""
import subprocess
import time

import measure
import world

TEMPLATE = str(measure.ROOT / "examples/packer/web.json")


def by_packer(kiln: world.Kiln) -> float:
    begun = time.monotonic()
    subprocess.run(["packer", "build", TEMPLATE], check=True, stdout=subprocess.DEVNULL,
                   env=kiln.aws_environment() | {"CHECKPOINT_DISABLE": "1", "PACKER_CACHE_DIR": str(kiln.home / "packer")})
    return time.monotonic() - begun


def by_kiln(kiln: world.Kiln, *words: str) -> float:
    begun = time.monotonic()
    kiln.run("bake", "web.json", *words, folder=measure.ROOT / "examples/packer")
    return time.monotonic() - begun


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("region", "start", "--port", "0")
        by_packer(kiln)  # the base image is made on its first use
        packer = measure.row("Packer", [by_packer(kiln) for _ in range(3)])
        by_kiln(kiln)
        warm = measure.row("Kiln, nothing changed, to the AMI", [by_kiln(kiln) for _ in range(5)])
        measure.ratio("Kiln warm / Packer", warm, packer)


if __name__ == "__main__":
    main()
