"""Volumes besides the root's: block devices in a real instance, asked for with boto3 and the AWS CLI."""
import os
import signal
import unittest

import world

boto3, Config, ClientError = world.boto3()

DEBIAN = "136693071363"

class Volumes(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.connect()
        self.ami = self.ec2.describe_images(
            Owners=[DEBIAN], Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}])["Images"][0]["ImageId"]

    def connect(self) -> None:
        environment = self.kiln.aws_environment()
        self.ec2, self.ssm = (boto3.client(
            name, endpoint_url=self.kiln.region()["endpoint"], region_name="us-east-1",
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"]) for name in ("ec2", "ssm"))

    def launch(self, image: str, **more) -> str:
        launched = self.ec2.run_instances(ImageId=image, InstanceType="t3.small", MinCount=1, MaxCount=1, **more)
        instance = launched["Instances"][0]["InstanceId"]
        self.runs(instance)
        return instance

    def runs(self, instance: str) -> None:
        world.wait_until("it runs", lambda: self.state(instance) == "running", budget=240, pause=0.5)
        world.wait_until("its agent answers", lambda: self.ssm.describe_instance_information(Filters=[
            {"Key": "InstanceIds", "Values": [instance]}, {"Key": "PingStatus", "Values": ["Online"]}])
                .get("InstanceInformationList"), budget=120, pause=0.5)

    def describe(self, instance: str) -> dict:
        return self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]

    def state(self, instance: str) -> str:
        found = self.describe(instance)
        self.assertNotEqual(found["State"]["Name"], "terminated", found.get("StateReason"))
        return found["State"]["Name"]

    def volume(self, instance: str, device: str) -> str:
        return next(one["Ebs"]["VolumeId"] for one in self.describe(instance)["BlockDeviceMappings"]
                    if one["DeviceName"] == device)

    def inside(self, instance: str, script: str) -> str:
        """What a script of its guest says, run by Systems Manager."""
        sent = self.ssm.send_command(InstanceIds=[instance], DocumentName="AWS-RunShellScript",
                                     Parameters={"commands": [script]})["Command"]["CommandId"]

        def ended() -> dict | None:
            found = self.ssm.get_command_invocation(CommandId=sent, InstanceId=instance)
            return found if found["Status"] not in ("Pending", "InProgress", "Delayed") else None
        answer = world.wait_until("the command ends", ended, budget=120, pause=0.2)
        return answer["StandardOutputContent"] + answer["StandardErrorContent"]

    def refusal(self, call, **parameters) -> str:
        with self.assertRaises(ClientError) as refused:
            call(**parameters)
        return refused.exception.response["Error"]["Code"]

    def test_a_volume_goes_through_its_life(self) -> None:
        instance = self.launch(self.ami, BlockDeviceMappings=[
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "VolumeType": "gp3", "DeleteOnTermination": True}}])
        data = self.volume(instance, "/dev/sdf")
        self.assertEqual(self.inside(instance, "mkfs.ext4 -q /dev/sdf && mount /dev/xvdf /mnt && echo kept > /mnt/x && "
                                               "cat /mnt/x"), "kept\n")
        zone = self.describe(instance)["Placement"]["AvailabilityZone"]

        # Hot: it appears and goes without a reboot.
        extra = self.ec2.create_volume(AvailabilityZone=zone, Size=1, VolumeType="gp3")["VolumeId"]
        self.ec2.get_waiter("volume_available").wait(VolumeIds=[extra])
        self.ec2.attach_volume(VolumeId=extra, InstanceId=instance, Device="/dev/sdg")
        self.ec2.get_waiter("volume_in_use").wait(VolumeIds=[extra])
        self.assertEqual(self.inside(instance, "mkfs.ext4 -q /dev/xvdg && mkdir /srv/g && mount /dev/sdg /srv/g && "
                                               "echo moved > /srv/g/x && blockdev --getsize64 /dev/sdg"), "1073741824\n")
        self.assertEqual(self.refusal(self.ec2.delete_volume, VolumeId=extra), "VolumeInUse")
        self.ec2.detach_volume(VolumeId=extra)
        attachment = self.ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [extra]}])["Volumes"][0]
        self.assertIn(attachment["Attachments"][0]["State"], ("detaching", "busy"), "its guest has it mounted")
        self.inside(instance, "umount /srv/g")
        self.ec2.get_waiter("volume_available").wait(VolumeIds=[extra])
        self.assertIn("No such file", self.inside(instance, "ls /dev/sdg"))

        # A snapshot of what runs, and a volume of it in another instance.
        snapshot = self.ec2.create_snapshot(VolumeId=data)["SnapshotId"]
        self.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot])
        self.inside(instance, "echo later > /mnt/x")
        other = self.launch(self.ami, Placement={"AvailabilityZone": zone}, BlockDeviceMappings=[
            {"DeviceName": "/dev/sdh", "Ebs": {"SnapshotId": snapshot}}])
        self.assertEqual(self.inside(other, "mount /dev/sdh /mnt && cat /mnt/x"), "kept\n")
        self.ec2.attach_volume(VolumeId=extra, InstanceId=other, Device="/dev/xvdg")
        self.ec2.get_waiter("volume_in_use").wait(VolumeIds=[extra])
        self.assertEqual(self.inside(other, "mkdir /srv/g && mount /dev/xvdg /srv/g && cat /srv/g/x"), "moved\n")

        # It grows, and what is on it stays over stop and start.
        self.ec2.modify_volume(VolumeId=data, Size=3)
        world.wait_until("it has grown", lambda: self.ec2.describe_volumes_modifications(
            VolumeIds=[data])["VolumesModifications"][0]["ModificationState"] == "completed")
        self.assertEqual(self.inside(instance, "blockdev --getsize64 /dev/sdf"), "3221225472\n")
        self.ec2.stop_instances(InstanceIds=[instance])
        world.wait_until("it stops", lambda: self.state(instance) == "stopped", budget=90)
        self.ec2.start_instances(InstanceIds=[instance])
        self.runs(instance)
        self.assertEqual(self.inside(instance, "mount /dev/sdf /mnt && cat /mnt/x"), "later\n")

        # An image has both; a killed control plane goes on.
        image = self.ec2.create_image(InstanceId=instance, Name="with data")["ImageId"]
        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        self.kiln.run("region", "start", "--port", "0")
        self.connect()
        self.ec2.get_waiter("image_available").wait(ImageIds=[image])
        twin = self.launch(image)
        self.assertEqual(self.inside(twin, "mount /dev/sdf /mnt && cat /mnt/x"), "later\n")

        self.ec2.terminate_instances(InstanceIds=[instance, other, twin])
        for one in (instance, other, twin):
            self.ec2.get_waiter("instance_terminated").wait(InstanceIds=[one])
        self.ec2.get_waiter("volume_deleted").wait(VolumeIds=[data])
        left = self.kiln.aws("ec2", "describe-volumes")["Volumes"]
        self.assertEqual([(one["VolumeId"], one["State"]) for one in left], [(extra, "available")])
        self.kiln.aws("ec2", "delete-volume", "--volume-id", extra)
        self.kiln.aws("ec2", "wait", "volume-deleted", "--volume-ids", extra)


if __name__ == "__main__":
    unittest.main()
