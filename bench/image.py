"""From the CreateImage request of a running instance to an available image; beside mkfs.erofs alone on what it has written."""
import pathlib
import re
import subprocess
import tempfile
import time

import launch
import measure

RUNS = 7
WRITTEN_MB = 100


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("region", "start", "--port", "0")
        ami = kiln.json("bake")["ami"]
        client = launch.Client(kiln)
        group = client.call("describe_security_groups", {"GroupNames": ["default"]})["SecurityGroups"][0]["GroupId"]
        instance = client.run(ami, group)
        client.public_address(instance)
        folder = kiln.home / "regions/default/instances" / instance
        time.sleep(2)  # it has booted, and written what a boot writes

        def image(no_reboot: bool) -> None:
            made = client.call("create_image", {"InstanceId": instance, "Name": f"image {time.monotonic_ns()}",
                                                "NoReboot": no_reboot})["ImageId"]
            while client.call("describe_images", {"ImageIds": [made]})["Images"][0]["State"] == "pending":
                time.sleep(0.005)
            client.call("deregister_image", {"ImageId": made, "DeleteAssociatedSnapshots": True})

        little = [measure.timed(lambda: image(True)) for _ in range(RUNS)]
        floor = measure.row("mkfs.erofs alone: a boot's writes", [measure.timed(lambda: erofs(folder)) for _ in range(RUNS)])
        ours = measure.row("CreateImage, NoReboot → available: a boot's writes", little, aim="< 1")
        measure.ratio("CreateImage / mkfs.erofs alone", ours, floor)

        write(folder, WRITTEN_MB)
        much = [measure.timed(lambda: image(True)) for _ in range(RUNS)]
        floor = measure.row(f"mkfs.erofs alone: {WRITTEN_MB} MB more", [measure.timed(lambda: erofs(folder)) for _ in range(RUNS)])
        ours = measure.row(f"CreateImage, NoReboot → available: {WRITTEN_MB} MB more", much)
        measure.ratio("CreateImage / mkfs.erofs alone", ours, floor)
        measure.row("CreateImage with a reboot → available", [measure.timed(lambda: image(False)) for _ in range(RUNS)])


def write(folder: pathlib.Path, megabytes: int) -> None:
    """Random bytes, by the guest."""
    init = re.search(r"init=(\d+)@", (folder / "status").read_text())[1]
    subprocess.run(["nsenter", "-t", init, "-a", "sh", "-c",
                    f"for i in $(seq {megabytes}); do head -c 1000000 /dev/urandom > /var/log/nginx/$i; done"], check=True)


def erofs(folder: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as work:
        subprocess.run(["mkfs.erofs", "--quiet", f"{work}/layer.erofs", folder / "disk/upper"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
