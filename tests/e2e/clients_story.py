"""What AWS's own client libraries rely on, with the newest boto3: tokens, pages, dry runs, waiters, throttling, late news."""
import threading
import unittest

import world

boto3, Config, ClientError = world.boto3()


class Clients(world.Story):
    """On simulated machines: what is asked here does not depend on what an instance does."""

    def region(self, *options: str) -> None:
        self.kiln.run("region", "start", "--port", "0", "--machines", "simulated", *options)
        self.ami = self.client().register_image(Name="web", ImageLocation="kiln:" + self.digest())["ImageId"]

    def digest(self) -> str:
        return self.kiln.json("bake")["digest"]

    def client(self, service: str = "ec2", attempts: int = 1, region: str = "us-east-1"):
        env = self.kiln.aws_environment()
        return boto3.client(service, endpoint_url=env["AWS_ENDPOINT_URL"], region_name=region,
                            aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
                            config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}))

    def code(self, call) -> str:
        with self.assertRaises(ClientError) as refused:
            call()
        return refused.exception.response["Error"]["Code"]

    def launch(self, ec2, count: int = 1, **more) -> list[str]:
        answer = ec2.run_instances(ImageId=self.ami, InstanceType="t3.nano", MinCount=count, MaxCount=count, **more)
        return [i["InstanceId"] for i in answer["Instances"]]

    def test_a_token_makes_a_call_that_is_repeated_the_same_call(self) -> None:
        self.region()
        ec2 = self.client()
        first = self.launch(ec2, ClientToken="one")
        self.assertEqual(self.launch(ec2, ClientToken="one"), first)
        self.assertEqual(self.code(lambda: self.launch(ec2, 2, ClientToken="one")), "IdempotentParameterMismatch")
        template = dict(LaunchTemplateName="web", LaunchTemplateData={"ImageId": self.ami}, ClientToken="two")
        made = ec2.create_launch_template(**template)["LaunchTemplate"]["LaunchTemplateId"]
        self.assertEqual(ec2.create_launch_template(**template)["LaunchTemplate"]["LaunchTemplateId"], made)

    def test_a_dry_run_changes_nothing(self) -> None:
        self.region()
        ec2 = self.client()
        self.assertEqual(self.code(lambda: self.launch(ec2, DryRun=True)), "DryRunOperation")
        self.assertEqual(self.code(lambda: ec2.create_security_group(GroupName="web", Description="web", DryRun=True)),
                         "DryRunOperation")
        self.assertEqual(ec2.describe_instances()["Reservations"], [])
        self.assertEqual(len(ec2.describe_security_groups()["SecurityGroups"]), 1)

    def test_pages_miss_nothing_that_stays_while_others_come_and_go(self) -> None:
        self.region()
        ec2 = self.client()
        stay = set(self.launch(ec2, 60))
        ended = threading.Event()

        def churn() -> None:
            other = self.client()
            while not ended.is_set():
                other.terminate_instances(InstanceIds=self.launch(other, 3))

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(5):
                seen: list[str] = []
                for page in ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 7}):
                    seen += [i["InstanceId"] for r in page["Reservations"] for i in r["Instances"]]
                self.assertEqual(len(seen), len(set(seen)), "nothing comes twice")
                self.assertLessEqual(stay, set(seen))
        finally:
            ended.set()
            thread.join()

    def test_waiters_end_at_their_first_look(self) -> None:
        self.region()
        ec2 = self.client()
        looks: list[str] = []
        ec2.meta.events.register("before-call.ec2", lambda model, **_: looks.append(model.name))

        def first_look(waiter: str, **names) -> None:
            looks.clear()
            ec2.get_waiter(waiter).wait(**names)
            self.assertEqual(len(looks), 1, f"{waiter}: {looks}")

        ids = self.launch(ec2, 3)
        first_look("instance_running", InstanceIds=ids)
        first_look("instance_status_ok", InstanceIds=ids)
        ec2.stop_instances(InstanceIds=ids)
        first_look("instance_stopped", InstanceIds=ids)
        image = ec2.create_image(InstanceId=ids[0], Name="copy")["ImageId"]
        first_look("image_available", ImageIds=[image])
        snapshot = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        first_look("snapshot_completed", SnapshotIds=[snapshot])
        volume = ec2.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"][0]["BlockDeviceMappings"][0]["Ebs"]
        first_look("volume_in_use", VolumeIds=[volume["VolumeId"]])
        ec2.terminate_instances(InstanceIds=ids)
        first_look("instance_terminated", InstanceIds=ids)

    def test_calls_beyond_aws_rates_are_refused_and_a_client_that_waits_gets_through(self) -> None:
        self.region("--throttle")
        ec2 = self.client()

        def until_refused() -> str:
            for _ in range(300):
                try:
                    ec2.describe_key_pairs()
                except ClientError as error:
                    return error.response["Error"]["Code"]
            return "never"

        self.assertEqual(until_refused(), "RequestLimitExceeded")
        self.client(attempts=10).describe_key_pairs()
        self.assertIn("RequestLimitExceeded", self.kiln.run("region", "log").stdout)

    def test_what_was_just_made_is_not_described_at_once_when_that_is_asked_for(self) -> None:
        self.region("--describe-delay", "2s")
        ec2 = self.client()
        one = self.launch(ec2)[0]
        self.assertEqual(self.code(lambda: ec2.describe_instances(InstanceIds=[one])), "InvalidInstanceID.NotFound")
        self.assertEqual(ec2.describe_instances()["Reservations"], [])
        ec2.get_waiter("instance_exists").wait(InstanceIds=[one], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        ec2.terminate_instances(InstanceIds=[one])
        state = ec2.describe_instances(InstanceIds=[one])["Reservations"][0]["Instances"][0]["State"]["Name"]
        self.assertIn(state, ("pending", "running"), "its end is news that comes late too")
        world.wait_until("its end is seen", lambda: ec2.describe_instances(InstanceIds=[one])["Reservations"][0][
            "Instances"][0]["State"]["Name"] == "terminated", budget=30)

    def test_every_region_is_a_region_of_its_own(self) -> None:
        self.region()
        east, west = self.client(), self.client(region="eu-west-1")
        self.launch(east)
        self.assertEqual(west.describe_instances()["Reservations"], [])
        self.assertNotEqual(east.describe_vpcs()["Vpcs"][0]["VpcId"], west.describe_vpcs()["Vpcs"][0]["VpcId"])
        self.assertEqual(west.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"], "eu-west-1a")


if __name__ == "__main__":
    unittest.main()
