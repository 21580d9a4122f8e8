"""Kill -9 of any Kiln process at any moment: instances and balancer go on serving, and the same command gets to the same end."""
import os
import pathlib
import random
import signal
import time
import unittest

import world


class Kills(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.kiln.run("bake")
        self.kiln.run("deploy")
        self.kiln.set_version("1.0.0", "1.1.0")
        self.kiln.run("bake")

    def versions(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for instance in self.kiln.json("status")["instances"]:
            if instance["lifecycle"] == "InService" and instance["target"] == "healthy":
                counts[instance["version"]] = counts.get(instance["version"], 0) + 1
        return counts

    def kill_region(self) -> None:
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)

    def test_the_deployer_killed_at_random_moments_gets_to_the_same_end(self) -> None:
        seed = random.SystemRandom().randrange(10**6)
        print(f"seed {seed}")
        chance = random.Random(seed)
        load = world.Load(self.kiln, self.kiln.url())
        for _ in range(6):
            child = self.kiln.start("deploy")
            time.sleep(chance.uniform(0.02, 2.0))
            child.kill()
            child.wait()
        self.kiln.run("deploy")
        self.assert_all_served(load.end())
        self.assertEqual(self.versions(), {"1.1.0": 4})
        refreshes = self.kiln.aws("autoscaling", "describe-instance-refreshes", "--auto-scaling-group-name", "kiln-web")
        self.assertEqual([r["Status"] for r in refreshes["InstanceRefreshes"]], ["Successful"], "one refresh, gone on with")
        versions = self.kiln.aws("ec2", "describe-launch-template-versions", "--launch-template-name", "kiln-web")
        self.assertEqual(len(versions["LaunchTemplateVersions"]), 2)
        entries = self.kiln.json("ledger", "--limit", "1000")["entries"]
        started = {e["subject"] for e in entries if e["kind"] == "deployment.started"}
        finished = {e["subject"] for e in entries if e["kind"] == "deployment.finished"}
        self.assertEqual(started, finished)
        self.kiln.run("ledger", "verify")

    def test_the_control_plane_killed_at_random_moments_loses_no_request(self) -> None:
        seed = random.SystemRandom().randrange(10**6)
        print(f"seed {seed}")
        chance = random.Random(seed)
        load = world.Load(self.kiln, self.kiln.url())
        for _ in range(4):
            child = self.kiln.start("deploy")
            time.sleep(chance.uniform(0.1, 2.0))
            self.kill_region()
            time.sleep(chance.uniform(0.0, 0.5))
            self.kiln.run("region", "start", "--port", "0")
            child.kill()
            child.wait()
        self.kiln.run("deploy")
        self.assert_all_served(load.end())
        self.assertEqual(self.versions(), {"1.1.0": 4})

    def test_a_killed_instance_is_replaced_and_the_balancer_goes_on(self) -> None:
        before = {i["id"] for i in self.kiln.json("status")["instances"]}
        victim = sorted(before)[0]
        pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and self.runs(p, victim)]
        self.assertTrue(pids, "the instance's own processes are found")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

        def replaced() -> bool:
            instances = self.kiln.json("status")["instances"]
            healthy = [i for i in instances if i["target"] == "healthy"]
            return len(healthy) == 4 and victim not in {i["id"] for i in healthy}

        world.wait_until("four healthy instances without the killed one", replaced, budget=60)
        causes = self.kiln.aws("autoscaling", "describe-scaling-activities", "--auto-scaling-group-name", "kiln-web")
        self.assertTrue(any("health check" in a["Cause"] for a in causes["Activities"]), causes)

    def runs(self, pid: str, instance: str) -> bool:
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            return instance.encode() in words and str(self.kiln.home).encode() in words
        except OSError:
            return False


if __name__ == "__main__":
    unittest.main()
