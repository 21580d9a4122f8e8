"""The region itself: start, idle memory, DescribeInstances of 100 instances on one keep-alive connection; beside moto's server."""
import os
import pathlib
import socket
import subprocess
import sys
import time

import measure
import world

PYTHON = str(measure.ROOT / "build/venv/bin/python")
CALLS = """
import boto3, sys, time
from botocore.config import Config
ec2 = boto3.client("ec2", config=Config(retries={"max_attempts": 0}))
image = ec2.describe_images(Owners=["self"])["Images"][0]["ImageId"] if sys.argv[1] == "kiln" else "ami-12c6146b"
left = 100
while left:
    ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=min(left, 50), MaxCount=min(left, 50))
    left -= min(left, 50)
"""


def resident_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def signed_request(endpoint: str, env: dict) -> bytes:
    """One signed DescribeInstances, as bytes that can be sent again and again for five minutes."""
    program = """
import os, sys
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
url = sys.argv[1] + "/"
body = "Action=DescribeInstances&Version=2016-11-15"
request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
SigV4Auth(Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]), "ec2", "us-east-1").add_auth(request)
prepared = request.prepare()
host = sys.argv[1].split("//")[1]
lines = [f"POST / HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
lines += [f"{k}: {v.decode() if isinstance(v, bytes) else v}" for k, v in prepared.headers.items() if k != "Content-Length"]
sys.stdout.write("\\r\\n".join(lines) + "\\r\\n\\r\\n" + body)
"""
    return subprocess.run([PYTHON, "-c", program, endpoint], env=env, capture_output=True, check=True).stdout


def read_answer(stream) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])
    length = 0
    while (line := stream.readline().strip()) != b"":
        name, value = line.split(b":", 1)
        if name.lower() == b"content-length":
            length = int(value)
    return status, stream.read(length)


def describes_a_second(endpoint: str, request: bytes, seconds: float) -> float:
    host, port = endpoint.split("//")[1].split(":")
    count, began = 0, time.monotonic()
    connection = None
    while time.monotonic() - began < seconds:
        if connection is None:
            connection = socket.create_connection((host, int(port)))
            stream = connection.makefile("rb")
        connection.sendall(request)
        status, body = read_answer(stream)
        assert status == 200 and body.count(b"<instanceId>") >= 100, (status, body[:300])
        count += 1
    return count / (time.monotonic() - began)


def kiln_figures() -> tuple[float, float, float]:
    with measure.Bench() as kiln:
        starts = []
        for _ in range(7):
            starts.append(measure.timed(lambda: kiln.run("region", "start", "--port", "0")))
            idle = resident_mib(kiln.region()["pid"])
            kiln.run("region", "reset")
        start = measure.row("region start, real machines (whole command)", starts, aim="< 0.2")
        kiln.run("region", "start", "--port", "0", "--machines", "simulated")
        kiln.run("bake")
        env = kiln.aws_environment()
        subprocess.run([PYTHON, "-c", CALLS, "kiln"], env=env, check=True)
        request = signed_request(kiln.region()["endpoint"], env)
        rate = describes_a_second(kiln.region()["endpoint"], request, 5)
        measure.row("region, idle memory", [idle], unit="MiB", aim="< 30")
        measure.row("DescribeInstances of 100, one keep-alive client", [rate], unit="a second")
        return start, idle, rate


def moto_figures() -> tuple[float, float, float]:
    subprocess.run([PYTHON, "-m", "pip", "-q", "install", "--disable-pip-version-check", "moto[server]"], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    began = time.monotonic()
    server = subprocess.Popen([PYTHON, "-c", f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.01)
        start = time.monotonic() - began
        idle = resident_mib(server.pid)
        env = os.environ | {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        subprocess.run([PYTHON, "-c", CALLS, "moto"], env=env, check=True)
        request = signed_request(endpoint, env).replace(b"POST / HTTP/1.1", b"POST / HTTP/1.0")
        count, began = 0, time.monotonic()
        while time.monotonic() - began < 5:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
                status, body = read_answer(connection.makefile("rb"))
                assert status == 200, (status, body[:300])
                count += 1
        rate = count / (time.monotonic() - began)
    finally:
        server.terminate()
        server.wait()
    measure.row("moto server: start", [start])
    measure.row("moto server: idle memory", [idle], unit="MiB")
    measure.row("moto server: DescribeInstances of 100", [rate], unit="a second")
    return start, idle, rate


ours, theirs = kiln_figures(), moto_figures()
measure.ratio("start, Kiln / moto", ours[0], theirs[0])
measure.ratio("idle memory, Kiln / moto", ours[1], theirs[1])
measure.ratio("DescribeInstances a second, Kiln / moto", ours[2], theirs[2])
