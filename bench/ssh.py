"""From RunInstances of the region's public Debian image to the answer of a command by ssh; beside booting the same by hand."""
import pathlib
import subprocess
import time

import launch
import measure


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("region", "start", "--port", "0")
        client = launch.Client(kiln)
        images = client.call("describe_images", {"Owners": ["136693071363"], "Filters": [
            {"Name": "name", "Values": ["debian-12-amd64-*"]}]})["Images"]
        ami = max(images, key=lambda image: image["CreationDate"])["ImageId"]
        key = pathlib.Path(kiln.home / "key")
        key.write_text(client.call("create_key_pair", {"KeyName": "bench", "KeyType": "ed25519"})["KeyMaterial"])
        key.chmod(0o600)
        group = client.call("create_security_group", {"GroupName": "ssh", "Description": "ssh"})["GroupId"]
        client.call("authorize_security_group_ingress", {"GroupId": group, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
                                                         "CidrIp": "0.0.0.0/0"})

        def ssh(address: str) -> None:
            while subprocess.run(["ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                                  "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=2", f"debian@{address}", "true"],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
                time.sleep(0.05)

        def start() -> tuple[str, float]:
            began = time.monotonic()
            one = client.call("run_instances", {"ImageId": ami, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1,
                                                "KeyName": "bench", "SecurityGroupIds": [group]})["Instances"][0]["InstanceId"]
            address = client.public_address(one)
            ssh(address)
            took = time.monotonic() - began
            again = measure.timed(lambda: ssh(address))
            client.terminate(one)
            return took, again

        start()  # makes the base image
        runs = [start() for _ in range(10)]
        ours = measure.row("RunInstances → a command by ssh has ended", [took for took, _ in runs])
        floor = measure.row("the same command once the instance is up", [again for _, again in runs])
        measure.ratio("until ssh answers / one ssh command", ours, floor)


if __name__ == "__main__":
    main()
