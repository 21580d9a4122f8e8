"""Systems Manager with the real AWS CLI: scripts in real instances without ssh or a port, and parameters that name images."""
import json
import os
import signal
import time
import unittest

import world


class Ssm(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.ami = self.kiln.json("bake")["ami"]

    def launch(self, image: str, count: int = 1) -> list[str]:
        made = self.kiln.aws("ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro", "--count", str(count),
                             "--tag-specifications", "ResourceType=instance,Tags=[{Key=role,Value=web}]")
        ids = [i["InstanceId"] for i in made["Instances"]]
        self.kiln.aws("ec2", "wait", "instance-running", "--instance-ids", *ids)
        world.wait_until("their agents answer", lambda: self.online() >= set(ids), budget=60)
        return ids

    def online(self) -> set[str]:
        found = self.kiln.aws("ssm", "describe-instance-information", "--filters", "Key=PingStatus,Values=Online")
        return {i["InstanceId"] for i in found["InstanceInformationList"]}

    def send(self, script: str, *targets: str, **parameters: list[str]) -> str:
        asked = {"commands": script.split("\n"), **parameters}
        return self.kiln.aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--parameters", json.dumps(asked),
                             *targets)["Command"]["CommandId"]

    def invocation(self, command: str, instance: str) -> dict:
        return self.kiln.aws("ssm", "get-command-invocation", "--command-id", command, "--instance-id", instance)

    def ended(self, command: str, instance: str) -> dict:
        def look():
            found = self.invocation(command, instance)
            return found if found["Status"] not in ("Pending", "InProgress", "Delayed", "Cancelling") else None
        return world.wait_until("the command ends", look, budget=60)

    def test_commands_in_real_instances(self) -> None:
        first, second = self.launch(self.ami, 2)
        information = self.kiln.aws("ssm", "describe-instance-information", "--filters", f"Key=InstanceIds,Values={first}")
        node = information["InstanceInformationList"][0]
        self.assertEqual((node["PlatformName"], node["PlatformVersion"], node["PlatformType"]),
                         ("Debian GNU/Linux", "12", "Linux"))

        command = self.send("echo hello\nhostname\necho no >&2", "--instance-ids", first)
        self.kiln.aws("ssm", "wait", "command-executed", "--command-id", command, "--instance-id", first)
        one = self.invocation(command, first)
        self.assertEqual((one["Status"], one["ResponseCode"], one["StandardErrorContent"]), ("Success", 0, "no\n"))
        self.assertEqual(one["StandardOutputContent"], f"hello\n{node['ComputerName']}\n")

        command = self.send("exit 3", "--targets", "Key=tag:role,Values=web", "--max-errors", "1")
        for instance in (first, second):
            self.assertEqual((self.ended(command, instance)["Status"], self.invocation(command, instance)["ResponseCode"]),
                             ("Failed", 3))
        self.assertEqual(self.kiln.aws("ssm", "list-commands", "--command-id", command)["Commands"][0]["ErrorCount"], 2)
        listed = self.kiln.aws("ssm", "list-command-invocations", "--command-id", command, "--details")["CommandInvocations"]
        self.assertEqual({i["CommandPlugins"][0]["ResponseCode"] for i in listed}, {3})

        command = self.send("sleep 600", "--instance-ids", first, executionTimeout=["1"])
        self.assertEqual(self.ended(command, first)["StatusDetails"], "ExecutionTimedOut")
        command = self.send("sleep 600", "--instance-ids", first)
        world.wait_until("it runs", lambda: self.invocation(command, first)["Status"] == "InProgress", budget=20)
        self.kiln.aws("ssm", "cancel-command", "--command-id", command)
        self.assertEqual(self.ended(command, first)["Status"], "Cancelled")
        refused = self.kiln.aws("ssm", "send-command", "--document-name", "AWS-RunRemoteScript", "--instance-ids", first,
                                check=False)
        self.assertIn("InvalidDocument", refused.stderr)

    def test_a_command_outlives_the_control_plane(self) -> None:
        (instance,) = self.launch(self.ami)
        command = self.send("sleep 3\necho survived", "--instance-ids", instance)
        world.wait_until("it runs", lambda: self.invocation(command, instance)["Status"] == "InProgress", budget=20)
        time.sleep(0.3)
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        self.kiln.run("region", "start", "--port", "0")
        one = self.ended(command, instance)
        self.assertEqual((one["Status"], one["StandardOutputContent"]), ("Success", "survived\n"))

    def test_parameters(self) -> None:
        put = ("ssm", "put-parameter", "--name", "/golden/web", "--type", "String", "--data-type", "aws:ec2:image", "--value")
        self.assertEqual(self.kiln.aws(*put, self.ami)["Version"], 1)
        (instance,) = self.launch("resolve:ssm:/golden/web")
        found = self.kiln.aws("ec2", "describe-instances", "--instance-ids", instance)["Reservations"][0]["Instances"][0]
        self.assertEqual(found["ImageId"], self.ami)
        self.kiln.aws("ssm", "put-parameter", "--name", "/app/secret", "--type", "SecureString", "--value", "hunter2")
        journal = b"".join(p.read_bytes() for p in (self.kiln.home / "regions/default").glob("journal.db*"))
        self.assertIn(b"/app/secret", journal)
        self.assertNotIn(b"hunter2", journal)
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        self.kiln.run("region", "start", "--port", "0")
        secret = self.kiln.aws("ssm", "get-parameter", "--name", "/app/secret", "--with-decryption")["Parameter"]
        self.assertEqual(secret["Value"], "hunter2")
        below = self.kiln.aws("ssm", "get-parameters-by-path", "--path", "/", "--recursive")["Parameters"]
        self.assertEqual([p["Name"] for p in below], ["/app/secret", "/golden/web"])


if __name__ == "__main__":
    unittest.main()
