"""From the RunInstances request to the instance's first HTTP 200; beside systemd-nspawn by hand on the same layers."""
import json
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import measure
import world


def first_200(address: str, port: int, budget: float = 30) -> None:
    end = time.monotonic() + budget
    while time.monotonic() < end:
        try:
            with socket.create_connection((address, port), timeout=0.5) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if connection.recv(64).split(b" ")[1:2] == [b"200"]:
                    return
        except OSError:
            time.sleep(0.005)
    raise AssertionError(f"{address}:{port} did not answer")


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("region", "start", "--port", "0")
        ami = kiln.json("bake")["ami"]
        group = kiln.aws("ec2", "create-security-group", "--group-name", "bench", "--description", "bench")["GroupId"]
        kiln.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80", "--cidr",
                 "0.0.0.0/0")
        runs = []
        client = Client(kiln)
        for _ in range(11):
            began = time.monotonic()
            instance = client.run(ami, group)
            address = client.public_address(instance)
            first_200(address, 80)
            runs.append(time.monotonic() - began)
            client.terminate(instance)
        by_hand = ByHand(kiln)
        floor = measure.row("systemd-nspawn by hand: the same layers, /bin/true",
                            [measure.timed(by_hand.enter) for _ in range(11)])
        by_hand.close()
        ours = measure.row("RunInstances → first HTTP 200", runs, aim="< 1.5")
        measure.ratio("launch, boot and HTTP 200 / systemd-nspawn by hand", ours, floor)


class ByHand:
    """The image's own layers, mounted and entered with systemd-nspawn by hand, without a boot: what starting an instance
    costs at least."""

    def __init__(self, kiln: world.Kiln) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kiln-bench-"))
        blobs = kiln.home / "store/blobs/sha256"
        digest = kiln.json("images")["images"][0]["digest"].removeprefix("sha256:")
        self.layers = []
        for layer in json.loads((blobs / digest).read_text())["layers"]:
            point = self.folder / f"layer-{len(self.layers)}"
            point.mkdir()
            run("mount", "-t", "erofs", "-o", "loop,ro", blobs / layer["digest"].removeprefix("sha256:"), point)
            self.layers.append(point)

    def enter(self) -> None:
        root, upper, work = (pathlib.Path(tempfile.mkdtemp(dir=self.folder)) for _ in range(3))
        run("mount", "-t", "overlay", "overlay", "-o",
            f"lowerdir={':'.join(map(str, reversed(self.layers)))},upperdir={upper},workdir={work}", root)
        run("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", f"--directory={root}", "/bin/true")
        run("umount", root)

    def close(self) -> None:
        for point in self.layers:
            run("umount", point)
        shutil.rmtree(self.folder)


def run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stderr=subprocess.DEVNULL)


class Client:
    """boto3 of build/venv in a process of its own, so that its start-up time is not counted."""

    PROGRAM = """
import boto3, json, sys
ec2 = boto3.client("ec2")
for line in sys.stdin:
    call, arguments = json.loads(line)
    print(json.dumps(getattr(ec2, call)(**arguments), default=str), flush=True)
"""

    def __init__(self, kiln: world.Kiln) -> None:
        self.child = subprocess.Popen([str(measure.ROOT / "build/venv/bin/python"), "-c", self.PROGRAM], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, env=kiln.aws_environment())
        kiln.children.append(self.child)
        self.call("describe_regions", {})

    def call(self, name: str, arguments: dict) -> dict:
        self.child.stdin.write(json.dumps([name, arguments]) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def run(self, ami: str, group: str) -> str:
        answer = self.call("run_instances", {"ImageId": ami, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
                                             "SecurityGroupIds": [group]})
        return answer["Instances"][0]["InstanceId"]

    def public_address(self, instance: str) -> str:
        while True:
            found = self.call("describe_instances", {"InstanceIds": [instance]})["Reservations"][0]["Instances"][0]
            if found.get("PublicIpAddress"):
                return found["PublicIpAddress"]
            time.sleep(0.01)

    def terminate(self, instance: str) -> None:
        self.call("terminate_instances", {"InstanceIds": [instance]})


if __name__ == "__main__":
    main()
