"""The real AWS CLI, PyPI's newest and Debian's, builds and replaces a fleet in the region: the client that nobody here wrote."""
import json
import subprocess
import unittest
import urllib.request

import world


class AwsCli(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")

    def code_of(self, *words: str) -> str:
        result = self.kiln.aws(*words, check=False)
        self.assertNotEqual(result.returncode, 0, f"aws {' '.join(words)} was to be refused")
        return result.stderr

    def test_who_are_we(self) -> None:
        self.assertRegex(self.kiln.aws("sts", "get-caller-identity")["Account"], r"^\d{12}$")

    def test_what_is_not_served_is_refused_as_aws_does(self) -> None:
        self.assertIn("InvalidAction", self.code_of("ec2", "describe-flow-logs"))
        self.assertIn("InvalidAction", self.code_of("autoscaling", "describe-policies"))
        self.assertIn("InvalidAction", self.code_of("elbv2", "describe-rules", "--listener-arn", "x"))

    def test_the_default_network(self) -> None:
        vpc = self.kiln.aws("ec2", "describe-vpcs", "--filters", "Name=isDefault,Values=true")["Vpcs"][0]
        subnets = self.kiln.aws("ec2", "describe-subnets", "--filters", f"Name=vpc-id,Values={vpc['VpcId']}")["Subnets"]
        self.assertEqual(len({s["AvailabilityZone"] for s in subnets}), 3)
        zones = self.kiln.aws("ec2", "describe-availability-zones")["AvailabilityZones"]
        self.assertEqual(len(zones), 3)
        self.assertIn("us-east-1", [r["RegionName"] for r in self.kiln.aws("ec2", "describe-regions")["Regions"]])
        micro = self.kiln.aws("ec2", "describe-instance-types", "--instance-types", "t3.micro")["InstanceTypes"][0]
        self.assertEqual(micro["MemoryInfo"]["SizeInMiB"], 1024)

    def test_an_instances_life(self) -> None:
        ami = self.kiln.json("bake")["ami"]
        group = self.kiln.aws("ec2", "create-security-group", "--group-name", "web", "--description", "web")["GroupId"]
        run = ("ec2", "run-instances", "--image-id", ami, "--instance-type", "t3.micro", "--security-group-ids", group,
               "--client-token", "token-1", "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=one}]")
        first = self.kiln.aws(*run)["Instances"][0]["InstanceId"]
        self.assertEqual(self.kiln.aws(*run)["Instances"][0]["InstanceId"], first, "the same token is the same instance")
        self.kiln.aws("ec2", "wait", "instance-running", "--instance-ids", first)
        found = self.kiln.aws("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=o*")["Reservations"]
        instance = found[0]["Instances"][0]
        self.assertEqual(instance["InstanceId"], first)
        address = instance["PublicIpAddress"]

        with self.assertRaises(OSError):
            urllib.request.urlopen(f"http://{address}/", timeout=2)
        self.kiln.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80",
                      "--cidr", "0.0.0.0/0")
        body = world.wait_until("the opened port answers", lambda: world.fetch(f"http://{address}/"), budget=30)
        self.assertIn("web 1.0.0", body)
        self.kiln.aws("ec2", "revoke-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80",
                      "--cidr", "0.0.0.0/0")
        world.wait_until("the closed port does not answer", lambda: world.fetch(f"http://{address}/") is None, budget=10)

        self.kiln.aws("ec2", "reboot-instances", "--instance-ids", first)
        self.kiln.aws("ec2", "stop-instances", "--instance-ids", first)
        self.kiln.aws("ec2", "wait", "instance-stopped", "--instance-ids", first)
        self.assertIn("IncorrectInstanceState", self.code_of("ec2", "reboot-instances", "--instance-ids", first))
        self.kiln.aws("ec2", "start-instances", "--instance-ids", first)
        self.kiln.aws("ec2", "wait", "instance-running", "--instance-ids", first)
        console = world.wait_until("there is console output", lambda: self.kiln.aws(
            "ec2", "get-console-output", "--instance-id", first).get("Output"), budget=30)
        self.assertIn("ystemd", console)
        self.kiln.aws("ec2", "terminate-instances", "--instance-ids", first)
        self.kiln.aws("ec2", "wait", "instance-terminated", "--instance-ids", first)

    def test_errors_have_aws_own_codes(self) -> None:
        for expected, words in {
            "InvalidInstanceID.NotFound": ("ec2", "describe-instances", "--instance-ids", "i-0123456789abcdef0"),
            "InvalidInstanceID.Malformed": ("ec2", "describe-instances", "--instance-ids", "nonsense"),
            "InvalidAMIID.NotFound": ("ec2", "run-instances", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro"),
            "InvalidLaunchTemplateName.NotFoundException": ("ec2", "describe-launch-templates", "--launch-template-names", "none"),
            "DryRunOperation": ("ec2", "describe-instances", "--dry-run"),
            "TargetGroupNotFound": ("elbv2", "describe-target-groups", "--names", "no"),
            "LoadBalancerNotFound": ("elbv2", "describe-load-balancers", "--names", "no"),
            "ValidationError": ("autoscaling", "set-desired-capacity", "--auto-scaling-group-name", "no", "--desired-capacity", "1"),
        }.items():
            self.assertIn(expected, self.code_of(*words))

    def test_a_fleet_by_hand_and_an_instance_refresh_with_the_newest_members(self) -> None:
        aws = self.kiln.aws
        first = self.kiln.json("bake")["ami"]
        self.kiln.set_version("1.0.0", "1.1.0")
        second = self.kiln.json("bake")["ami"]
        vpc = aws("ec2", "describe-vpcs")["Vpcs"][0]["VpcId"]
        subnets = [s["SubnetId"] for s in aws("ec2", "describe-subnets")["Subnets"]]
        group = aws("ec2", "create-security-group", "--group-name", "fleet", "--description", "fleet")["GroupId"]
        aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80", "--cidr",
            "172.31.0.0/16")

        def data(ami: str) -> str:
            return json.dumps({"ImageId": ami, "InstanceType": "t3.micro", "SecurityGroupIds": [group]})

        aws("ec2", "create-launch-template", "--launch-template-name", "fleet", "--launch-template-data", data(first))
        self.assertEqual(aws("ec2", "create-launch-template-version", "--launch-template-name", "fleet",
                             "--launch-template-data", data(second))["LaunchTemplateVersion"]["VersionNumber"], 2)
        targets = aws("elbv2", "create-target-group", "--name", "fleet", "--protocol", "HTTP", "--port", "80", "--vpc-id", vpc,
                      "--health-check-path", "/healthz", "--health-check-interval-seconds", "5",
                      "--health-check-timeout-seconds", "2")["TargetGroups"][0]["TargetGroupArn"]
        aws("elbv2", "modify-target-group-attributes", "--target-group-arn", targets, "--attributes",
            "Key=deregistration_delay.timeout_seconds,Value=1")
        balancer = aws("elbv2", "create-load-balancer", "--name", "fleet", "--subnets", *subnets)["LoadBalancers"][0]
        aws("elbv2", "create-listener", "--load-balancer-arn", balancer["LoadBalancerArn"], "--protocol", "HTTP", "--port", "8081",
            "--default-actions", f"Type=forward,TargetGroupArn={targets}")
        aws("autoscaling", "create-auto-scaling-group", "--auto-scaling-group-name", "fleet", "--min-size", "2", "--max-size",
            "4", "--desired-capacity", "2", "--vpc-zone-identifier", ",".join(subnets), "--target-group-arns", targets,
            "--health-check-type", "ELB", "--health-check-grace-period", "60", "--launch-template",
            "LaunchTemplateName=fleet,Version=1")
        aws("elbv2", "wait", "load-balancer-available", "--names", "fleet")
        url = f"http://{balancer['DNSName']}:8081/"
        world.wait_until("two targets are healthy", lambda: [
            t["TargetHealth"]["State"] for t in aws("elbv2", "describe-target-health", "--target-group-arn",
                                                    targets)["TargetHealthDescriptions"]] == ["healthy"] * 2)
        self.assertIn("web 1.0.0", world.fetch(url))

        refresh = aws("autoscaling", "start-instance-refresh", "--auto-scaling-group-name", "fleet", "--desired-configuration",
                      json.dumps({"LaunchTemplate": {"LaunchTemplateName": "fleet", "Version": "2"}}), "--preferences",
                      json.dumps({"MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "InstanceWarmup": 0,
                                  "SkipMatching": True, "AutoRollback": True, "BakeTime": 1,
                                  "ScaleInProtectedInstances": "Ignore", "StandbyInstances": "Ignore"}))["InstanceRefreshId"]
        self.assertIn("InstanceRefreshInProgress",
                      self.code_of("autoscaling", "start-instance-refresh", "--auto-scaling-group-name", "fleet"))

        def status() -> str:
            return aws("autoscaling", "describe-instance-refreshes", "--auto-scaling-group-name", "fleet",
                       "--instance-refresh-ids", refresh)["InstanceRefreshes"][0]["Status"]

        world.wait_until("the refresh is successful", lambda: status() == "Successful", budget=60)
        self.assertIn("web 1.1.0", world.fetch(url))
        instances = aws("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"][0]["Instances"]
        self.assertEqual({i["LaunchTemplate"]["Version"] for i in instances}, {"2"})
        self.assertIn("ActiveInstanceRefreshNotFound",
                      self.code_of("autoscaling", "rollback-instance-refresh", "--auto-scaling-group-name", "fleet"))

        aws("autoscaling", "set-desired-capacity", "--auto-scaling-group-name", "fleet", "--desired-capacity", "3")
        world.wait_until("three in service", lambda: [
            i["LifecycleState"] for i in aws("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"][0]["Instances"]
        ] == ["InService"] * 3)
        self.names_and_pages()
        self.standby_and_replacement()
        self.refreshes_that_do_not_go_through()
        self.weights(balancer["LoadBalancerArn"], targets, first, group, vpc, url)
        aws("autoscaling", "delete-auto-scaling-group", "--auto-scaling-group-name", "fleet", "--force-delete")
        world.wait_until("the group is gone", lambda: not aws("autoscaling", "describe-auto-scaling-groups")["AutoScalingGroups"])

    def members(self) -> dict[str, dict]:
        groups = self.kiln.aws("autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", "fleet")
        return {i["InstanceId"]: i for i in groups["AutoScalingGroups"][0]["Instances"]}

    def three_serve(self) -> bool:
        return [i["LifecycleState"] for i in self.members().values()] == ["InService"] * 3

    def names_and_pages(self) -> None:
        aws = self.kiln.aws
        ids = sorted(self.members())
        self.assertIn("PRIVATE KEY", aws("ec2", "create-key-pair", "--key-name", "ana")["KeyMaterial"])
        self.assertEqual([k["KeyName"] for k in aws("ec2", "describe-key-pairs")["KeyPairs"]], ["ana"])
        aws("ec2", "delete-key-pair", "--key-name", "ana")
        self.assertIn("InvalidKeyPair.NotFound", self.code_of("ec2", "describe-key-pairs", "--key-names", "ana"))
        aws("ec2", "create-tags", "--resources", *ids, "--tags", "Key=team,Value=shop")
        tagged = aws("ec2", "describe-tags", "--filters", "Name=key,Values=team")["Tags"]
        self.assertEqual(sorted(t["ResourceId"] for t in tagged), ids)
        aws("ec2", "delete-tags", "--resources", *ids, "--tags", "Key=team")
        self.assertEqual(aws("ec2", "describe-tags", "--filters", "Name=key,Values=team")["Tags"], [])
        statuses = aws("ec2", "describe-instance-status", "--instance-ids", *ids)["InstanceStatuses"]
        self.assertEqual([s["InstanceState"]["Name"] for s in statuses], ["running"] * 3)
        pages = aws("ec2", "describe-launch-template-versions", "--launch-template-name", "fleet", "--page-size", "1")
        self.assertEqual(sorted(v["VersionNumber"] for v in pages["LaunchTemplateVersions"]), [1, 2])
        pages = aws("autoscaling", "describe-auto-scaling-instances", "--page-size", "1")["AutoScalingInstances"]
        self.assertEqual(sorted(i["InstanceId"] for i in pages), ids)
        template = aws("ec2", "modify-launch-template", "--launch-template-name", "fleet", "--default-version", "2")
        self.assertEqual(template["LaunchTemplate"]["DefaultVersionNumber"], 2)

    def standby_and_replacement(self) -> None:
        one = sorted(self.members())[0]
        group = ("--auto-scaling-group-name", "fleet")
        self.kiln.aws("autoscaling", "enter-standby", *group, "--instance-ids", one, "--should-decrement-desired-capacity")
        world.wait_until("it stands by", lambda: self.members()[one]["LifecycleState"] == "Standby")
        self.kiln.aws("autoscaling", "exit-standby", *group, "--instance-ids", one)
        world.wait_until("it serves again", self.three_serve)
        self.kiln.aws("autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", one,
                      "--no-should-decrement-desired-capacity")
        world.wait_until("another one serves in its place", lambda: one not in self.members() and self.three_serve())

    def refreshes_that_do_not_go_through(self) -> None:
        aws = self.kiln.aws
        group = ("--auto-scaling-group-name", "fleet")

        def start() -> str:
            return aws("autoscaling", "start-instance-refresh", *group, "--desired-configuration",
                       json.dumps({"LaunchTemplate": {"LaunchTemplateName": "fleet", "Version": "1"}}), "--preferences",
                       json.dumps({"MinHealthyPercentage": 100, "MaxHealthyPercentage": 134, "InstanceWarmup": 1,
                                   "SkipMatching": True}))["InstanceRefreshId"]

        def status(refresh: str) -> str:
            return aws("autoscaling", "describe-instance-refreshes", *group, "--instance-refresh-ids",
                       refresh)["InstanceRefreshes"][0]["Status"]

        refresh = start()
        self.assertEqual(aws("autoscaling", "cancel-instance-refresh", *group)["InstanceRefreshId"], refresh)
        world.wait_until("the refresh is cancelled", lambda: status(refresh) == "Cancelled")
        self.assertIn("ActiveInstanceRefreshNotFound", self.code_of("autoscaling", "cancel-instance-refresh", *group))

        # What a refresh had launched before it was cancelled stays; a rollback takes back its own refresh only.
        world.wait_until("three serve", self.three_serve)
        stays = self.of_version_one()
        refresh = start()
        world.wait_until("one instance is replaced", lambda: self.of_version_one() - stays)
        self.assertEqual(aws("autoscaling", "rollback-instance-refresh", *group)["InstanceRefreshId"], refresh)
        world.wait_until("the refresh is rolled back", lambda: status(refresh) == "RollbackSuccessful")
        world.wait_until("three serve", self.three_serve)
        self.assertEqual(self.of_version_one(), stays)
        for one in stays:
            aws("autoscaling", "terminate-instance-in-auto-scaling-group", "--instance-id", one,
                "--no-should-decrement-desired-capacity")
        world.wait_until("all are of the second version", lambda: not stays & set(self.members()) and self.three_serve())

    def of_version_one(self) -> set[str]:
        return {name for name, one in self.members().items()
                if one["LaunchTemplate"]["Version"] == "1" and one["LifecycleState"] == "InService"}

    def weights(self, balancer: str, fleet: str, ami: str, group: str, vpc: str, url: str) -> None:
        aws = self.kiln.aws
        single = aws("ec2", "run-instances", "--image-id", ami, "--instance-type", "t3.micro", "--security-group-ids",
                     group)["Instances"][0]["InstanceId"]
        aws("ec2", "wait", "instance-running", "--instance-ids", single)
        other = aws("elbv2", "create-target-group", "--name", "other", "--protocol", "HTTP", "--port", "80", "--vpc-id", vpc,
                    "--health-check-path", "/healthz", "--health-check-interval-seconds", "5", "--health-check-timeout-seconds",
                    "2")["TargetGroups"][0]["TargetGroupArn"]
        aws("elbv2", "register-targets", "--target-group-arn", other, "--targets", f"Id={single}")
        listener = aws("elbv2", "describe-listeners", "--load-balancer-arn", balancer)["Listeners"][0]["ListenerArn"]

        def weigh(here: int, there: int) -> None:
            aws("elbv2", "modify-listener", "--listener-arn", listener, "--default-actions", json.dumps(
                [{"Type": "forward", "ForwardConfig": {"TargetGroups": [
                    {"TargetGroupArn": fleet, "Weight": here}, {"TargetGroupArn": other, "Weight": there}]}}]))

        def versions() -> set[str]:
            return {(world.fetch(url) or "nothing")[:len("web 1.0.0")].strip() for _ in range(40)}

        weigh(50, 50)
        world.wait_until("both groups answer", lambda: versions() == {"web 1.0.0", "web 1.1.0"})
        weigh(0, 100)
        world.wait_until("only the other one answers", lambda: versions() == {"web 1.0.0"})
        weigh(100, 0)
        world.wait_until("only the fleet answers", lambda: versions() == {"web 1.1.0"})
        aws("ec2", "terminate-instances", "--instance-ids", single)


class DebiansAwsCli(world.Story):
    """Version 2.9: it knows no AWS_ENDPOINT_URL, and sends what the CLI sent in 2023."""

    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.kiln.aws_cli = ["/usr/bin/aws", "--endpoint-url", self.kiln.region()["endpoint"]]

    test_an_instances_life = AwsCli.test_an_instances_life
    test_errors_have_aws_own_codes = AwsCli.test_errors_have_aws_own_codes
    code_of = AwsCli.code_of

    def test_it_is_debians(self) -> None:
        version = subprocess.run(["/usr/bin/aws", "--version"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(version, r"^aws-cli/2\.9\.")

    def test_a_command_by_ssm(self) -> None:
        ami = self.kiln.json("bake")["ami"]
        one = self.kiln.aws("ec2", "run-instances", "--image-id", ami, "--instance-type", "t3.micro")["Instances"][0]["InstanceId"]
        world.wait_until("the agent answers", lambda: self.kiln.aws(
            "ssm", "describe-instance-information")["InstanceInformationList"], budget=60)
        command = self.kiln.aws("ssm", "send-command", "--instance-ids", one, "--document-name", "AWS-RunShellScript",
                                "--parameters", "commands=nginx -v 2>&1")["Command"]["CommandId"]
        self.kiln.aws("ssm", "wait", "command-executed", "--command-id", command, "--instance-id", one)
        told = self.kiln.aws("ssm", "get-command-invocation", "--command-id", command, "--instance-id", one)
        self.assertIn("nginx/", told["StandardOutputContent"])
        held = self.kiln.region()["inventory"][0]["held"]
        self.assertEqual(held["instances"], {one: "running"}, "kiln region status shows what is there")


if __name__ == "__main__":
    unittest.main()
