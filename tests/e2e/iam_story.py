"""IAM and STS as the AWS CLI uses them: a user's key signs until it may not, a role is assumed and called as, an instance
has a profile, and a death of the control plane takes none of it away."""
import json
import os
import signal
import unittest

import world

ACCOUNT = "123456789012"


def trust(principal: dict) -> str:
    return json.dumps({"Version": "2012-10-17",
                       "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}]})


def signed_by(keys: dict) -> dict[str, str]:
    """The environment that signs with what CreateAccessKey or AssumeRole answered."""
    return {"AWS_ACCESS_KEY_ID": keys["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys.get("SessionToken", "")}


class Iam(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")

    def refusal(self, *words: str, env: dict[str, str] | None = None) -> str:
        result = self.kiln.aws(*words, check=False, env=env)
        self.assertNotEqual(result.returncode, 0, f"aws {' '.join(words)} was to be refused")
        return result.stderr

    def who(self, env: dict[str, str] | None = None) -> str:
        return self.kiln.aws("sts", "get-caller-identity", env=env)["Arn"]

    def user_with_key(self, name: str) -> dict:
        self.kiln.aws("iam", "create-user", "--user-name", name)
        return self.kiln.aws("iam", "create-access-key", "--user-name", name)["AccessKey"]

    def test_a_users_key_signs_until_it_is_inactive(self) -> None:
        self.assertEqual(self.who(), f"arn:aws:iam::{ACCOUNT}:root")
        key = self.user_with_key("ann")
        ann = signed_by(key)
        self.assertEqual(self.who(ann), f"arn:aws:iam::{ACCOUNT}:user/ann")
        self.assertTrue(self.kiln.aws("ec2", "describe-regions", env=ann)["Regions"])
        self.assertEqual(self.kiln.aws("iam", "get-user", env=ann)["User"]["UserName"], "ann")
        change = ("iam", "update-access-key", "--user-name", "ann", "--access-key-id", key["AccessKeyId"], "--status")
        self.kiln.aws(*change, "Inactive")
        self.assertIn("InvalidClientTokenId", self.refusal("sts", "get-caller-identity", env=ann))
        self.assertIn("AuthFailure", self.refusal("ec2", "describe-regions", env=ann))
        self.kiln.aws(*change, "Active")
        self.assertEqual(self.who(ann), f"arn:aws:iam::{ACCOUNT}:user/ann")
        self.assertIn("DeleteConflict", self.refusal("iam", "delete-user", "--user-name", "ann"))

    def test_a_role_is_assumed_and_outlives_the_control_plane(self) -> None:
        ann = signed_by(self.user_with_key("ann"))
        bob = signed_by(self.user_with_key("bob"))
        self.kiln.aws("iam", "create-role", "--role-name", "deploy", "--assume-role-policy-document",
                      trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"}))
        assume = ("sts", "assume-role", "--role-arn", f"arn:aws:iam::{ACCOUNT}:role/deploy", "--role-session-name", "laptop")
        self.assertIn("AccessDenied", self.refusal(*assume, env=bob))
        self.assertIn("Roles may not be assumed by root accounts", self.refusal(*assume))
        answer = self.kiln.aws(*assume, env=ann)
        session = signed_by(answer["Credentials"])
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/laptop"
        self.assertEqual(answer["AssumedRoleUser"]["Arn"], arn)
        self.assertEqual(self.who(session), arn)
        self.assertTrue(self.kiln.aws("ec2", "describe-vpcs", env=session)["Vpcs"])
        self.assertIn("InvalidClientTokenId",
                      self.refusal("sts", "get-caller-identity", env=session | {"AWS_SESSION_TOKEN": "another"}))

        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        self.kiln.run("region", "start")
        self.assertEqual(self.who(session), arn)
        self.assertEqual(self.who(ann), f"arn:aws:iam::{ACCOUNT}:user/ann")

    def test_a_profile_of_the_aws_cli_assumes_its_role(self) -> None:
        key = self.user_with_key("ann")
        self.kiln.aws("iam", "create-role", "--role-name", "deploy", "--assume-role-policy-document", trust({"AWS": ACCOUNT}))
        config = self.kiln.home / "aws-config"
        config.write_text(f"[profile ann]\naws_access_key_id={key['AccessKeyId']}\n"
                          f"aws_secret_access_key={key['SecretAccessKey']}\n"
                          f"[profile deploy]\nrole_arn=arn:aws:iam::{ACCOUNT}:role/deploy\nsource_profile=ann\n"
                          "role_session_name=from-profile\n")
        env = {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "deploy", "HOME": str(self.kiln.home)}
        self.assertEqual(self.who(env | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
                         f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/from-profile")

    def test_what_is_written_is_read_back(self) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::bucket/a+b %2F*"}]})
        policy = self.kiln.aws("iam", "create-policy", "--policy-name", "read", "--policy-document", document,
                               "--tags", "Key=team,Value=web")["Policy"]
        version = self.kiln.aws("iam", "get-policy-version", "--policy-arn", policy["Arn"], "--version-id", "v1")
        self.assertEqual(version["PolicyVersion"]["Document"], json.loads(document))
        self.kiln.aws("iam", "create-role", "--role-name", "web", "--assume-role-policy-document",
                      trust({"Service": "ec2.amazonaws.com"}), "--description", "of the web fleet")
        role = self.kiln.aws("iam", "get-role", "--role-name", "web")["Role"]
        self.assertEqual(role["AssumeRolePolicyDocument"], json.loads(trust({"Service": "ec2.amazonaws.com"})))
        for arn in (policy["Arn"], "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"):
            self.kiln.aws("iam", "attach-role-policy", "--role-name", "web", "--policy-arn", arn)
        attached = self.kiln.aws("iam", "list-attached-role-policies", "--role-name", "web")["AttachedPolicies"]
        self.assertEqual({p["PolicyName"] for p in attached}, {"read", "AmazonSSMManagedInstanceCore"})
        for i in range(3):
            self.kiln.aws("iam", "create-user", "--user-name", f"user-{i}")
        users = self.kiln.aws("iam", "list-users", "--page-size", "2")["Users"]
        self.assertEqual([u["UserName"] for u in users], ["user-0", "user-1", "user-2"])
        self.assertIn("MalformedPolicyDocument",
                      self.refusal("iam", "create-role", "--role-name", "x", "--assume-role-policy-document", "{}"))
        self.assertIn("NoSuchEntity", self.refusal("iam", "get-role", "--role-name", "none"))
        self.kiln.aws("iam", "wait", "role-exists", "--role-name", "web")

    def test_an_instance_has_its_profile(self) -> None:
        ami = self.kiln.json("bake")["ami"]
        run = ("ec2", "run-instances", "--image-id", ami, "--instance-type", "t3.micro", "--iam-instance-profile", "Name=web")
        self.assertIn("Invalid IAM Instance Profile name", self.refusal(*run))
        self.kiln.aws("iam", "create-role", "--role-name", "web", "--assume-role-policy-document",
                      trust({"Service": "ec2.amazonaws.com"}))
        profile = self.kiln.aws("iam", "create-instance-profile", "--instance-profile-name", "web")["InstanceProfile"]
        self.kiln.aws("iam", "add-role-to-instance-profile", "--instance-profile-name", "web", "--role-name", "web")
        instance = self.kiln.aws(*run)["Instances"][0]
        self.kiln.aws("ec2", "wait", "instance-running", "--instance-ids", instance["InstanceId"])
        shown = self.kiln.aws("ec2", "describe-instances", "--instance-ids", instance["InstanceId"])
        self.assertEqual(shown["Reservations"][0]["Instances"][0]["IamInstanceProfile"]["Arn"], profile["Arn"])
        association = self.kiln.aws("ec2", "describe-iam-instance-profile-associations")["IamInstanceProfileAssociations"][0]
        self.assertEqual(association["State"], "associated")
        self.kiln.aws("ec2", "disassociate-iam-instance-profile", "--association-id", association["AssociationId"])
        self.kiln.aws("ec2", "associate-iam-instance-profile", "--instance-id", instance["InstanceId"],
                      "--iam-instance-profile", f"Arn={profile['Arn']}")


class Accounts(world.Story):
    def test_the_environment_of_another_account_and_region(self) -> None:
        self.kiln.run("region", "start", "--port", "0", "--machines", "simulated")
        own = self.kiln.json("region", "env")
        other = self.kiln.json("region", "env", "--account", "210987654321", "--region", "eu-west-1")
        self.assertEqual(other["AWS_REGION"], "eu-west-1")
        self.assertNotEqual(other["AWS_ACCESS_KEY_ID"], own["AWS_ACCESS_KEY_ID"])
        self.assertEqual(other, self.kiln.json("region", "env", "--account", "210987654321", "--region", "eu-west-1"))
        self.assertEqual(self.kiln.json("region", "env", "--account", ACCOUNT), own)
        info = self.kiln.aws("sts", "get-access-key-info", "--access-key-id", other["AWS_ACCESS_KEY_ID"])
        self.assertEqual(info["Account"], "210987654321")
        self.assertEqual((self.kiln.home / "regions/default/region.json").stat().st_mode & 0o777, 0o600)
        for words in (("--account", "12"), ("--account", "21098765432x"), ("--region", "Europe")):
            self.assertEqual(self.kiln.run("region", "env", *words, check=False).returncode, 2, words)


if __name__ == "__main__":
    unittest.main()
