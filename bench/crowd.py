"""Thirty instances of the demo's image on one machine: how long until all answer, and what memory each takes."""
import concurrent.futures
import pathlib
import time

import launch
import measure

COUNT = 30


def available_kib() -> int:
    return int(next(line.split()[1] for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line))


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("region", "start", "--port", "0")
        ami = kiln.json("bake")["ami"]
        client = launch.Client(kiln)
        group = client.call("create_security_group", {"GroupName": "bench", "Description": "bench"})["GroupId"]
        client.call("authorize_security_group_ingress", {"GroupId": group, "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
                                                         "CidrIp": "0.0.0.0/0"})

        def start(count: int) -> tuple[list[str], float]:
            began = time.monotonic()
            ids = [i["InstanceId"] for i in client.call("run_instances", {
                "ImageId": ami, "InstanceType": "t3.micro", "MinCount": count, "MaxCount": count,
                "SecurityGroupIds": [group]})["Instances"]]
            addresses = [client.public_address(one) for one in ids]
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda address: launch.first_200(address, 80, 120), addresses))
            return ids, time.monotonic() - began

        ids, one = start(1)
        client.call("terminate_instances", {"InstanceIds": ids})
        client.call("describe_instances", {"InstanceIds": ids})  # answered when it has ended
        before = available_kib()
        ids, all_of_them = start(COUNT)
        time.sleep(5)  # what the boots need for a moment only is given back
        each = (before - available_kib()) / 1024 / COUNT
        measure.row(f"{COUNT} instances: RunInstances → the last one's first HTTP 200", [all_of_them])
        measure.row("one instance, the same way", [one])
        measure.ratio(f"{COUNT} instances / one", all_of_them, one)
        measure.row("memory that each takes (of MemAvailable)", [each], "MiB")


if __name__ == "__main__":
    main()
