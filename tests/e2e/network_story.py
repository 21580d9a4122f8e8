"""VPCs with effect, by the AWS CLI on real machines: who reaches whom is what subnets, routes, gateways and groups say."""
import http.server
import os
import signal
import subprocess
import threading
import unittest

import world


class Network(world.Story):
    def setUp(self) -> None:
        super().setUp()
        self.kiln.run("region", "start", "--port", "0")
        self.ami = self.kiln.json("bake")["ami"]
        (self.slot,) = world.slots(str(self.kiln.home))

    def ec2(self, *words: str) -> dict:
        return self.kiln.aws("ec2", *words)

    def vpc(self, *zones: str) -> tuple[str, list[str]]:
        vpc = self.ec2("create-vpc", "--cidr-block", "10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [self.ec2("create-subnet", "--vpc-id", vpc, "--cidr-block", f"10.0.{number}.0/24", "--availability-zone",
                            f"us-east-1{zone}")["Subnet"]["SubnetId"] for number, zone in enumerate(zones, 1)]
        return vpc, subnets

    def group(self, vpc: str, name: str) -> str:
        return self.ec2("create-security-group", "--group-name", name, "--description", name, "--vpc-id", vpc)["GroupId"]

    def open(self, group: str, *source: str) -> None:
        self.ec2("authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "80", *source)

    def launch(self, subnet: str, address: str, group: str, public: bool = False) -> str:
        interface = f"DeviceIndex=0,SubnetId={subnet},PrivateIpAddress={address},Groups={group}," \
                    f"AssociatePublicIpAddress={str(public).lower()},DeleteOnTermination=true"
        return self.ec2("run-instances", "--image-id", self.ami, "--instance-type", "t3.nano", "--network-interfaces",
                        interface)["Instances"][0]["InstanceId"]

    def run_until_running(self, *ids: str) -> None:
        self.ec2("wait", "instance-running", "--instance-ids", *ids)

    def instance(self, instance: str) -> dict:
        return self.ec2("describe-instances", "--instance-ids", instance)["Reservations"][0]["Instances"][0]

    def asks(self, instance: str, url: str) -> str:
        """What a client inside the instance's network is answered; empty when nobody answers."""
        return subprocess.run(["ip", "netns", "exec", f"kiln{self.slot}-{instance}", "curl", "-s", "-m", "1", url],
                              capture_output=True, text=True).stdout

    def await_answer(self, what: str, instance: str, url: str) -> None:
        world.wait_until(what, lambda: "web 1.0.0" in self.asks(instance, url), budget=60)

    def test_vpcs_are_apart_and_groups_hold_within(self) -> None:
        first, (one_subnet,) = self.vpc("a")
        second, (other_subnet,) = self.vpc("a")
        web, app, other = self.group(first, "web"), self.group(first, "app"), self.group(second, "web")
        self.open(web, "--source-group", app)
        self.open(other, "--cidr", "0.0.0.0/0")
        server = self.launch(one_subnet, "10.0.1.10", web)
        client = self.launch(one_subnet, "10.0.1.11", app)
        twin = self.launch(other_subnet, "10.0.1.10", other)
        stranger = self.launch(other_subnet, "10.0.1.12", other)
        self.run_until_running(server, client, twin, stranger)
        self.await_answer("a member of the named group is let in", client, "http://10.0.1.10/")
        self.await_answer("the twin with the same address answers in its VPC", stranger, "http://10.0.1.10/")
        self.assertEqual(self.asks(client, "http://10.0.1.12/"), "", "the stranger is in another VPC")
        self.assertEqual(self.asks(stranger, "http://10.0.1.11/"), "", "and the client is for him")

        self.ec2("revoke-security-group-ingress", "--group-id", web, "--protocol", "tcp", "--port", "80", "--source-group", app)
        world.wait_until("revoking closes", lambda: self.asks(client, "http://10.0.1.10/") == "", budget=10)
        self.assertIn("web 1.0.0", self.asks(stranger, "http://10.0.1.10/"), "the twin's rule is its own")

        os.kill(self.kiln.region()["pid"], signal.SIGKILL)
        self.assertIn("web 1.0.0", self.asks(stranger, "http://10.0.1.10/"), "it goes on without a control plane")
        self.kiln.run("region", "start")
        self.assertEqual(self.asks(client, "http://10.0.1.10/"), "", "what was revoked stays so")
        self.open(web, "--source-group", app)
        self.await_answer("and can be opened again", client, "http://10.0.1.10/")
        self.ec2("terminate-instances", "--instance-ids", twin, stranger)
        self.ec2("wait", "instance-terminated", "--instance-ids", twin, stranger)
        self.ec2("delete-security-group", "--group-id", other)
        self.ec2("delete-subnet", "--subnet-id", other_subnet)
        self.ec2("delete-vpc", "--vpc-id", second)
        world.wait_until("the VPC's network is gone", lambda: not os.path.exists(f"/run/netns/kiln{self.slot}-{second}"), budget=5)

    def test_the_way_out_is_a_route_to_a_gateway(self) -> None:
        vpc, (subnet,) = self.vpc("a")
        web = self.group(vpc, "web")
        self.open(web, "--cidr", "0.0.0.0/0")
        one = self.launch(subnet, "10.0.1.10", web, public=True)
        self.run_until_running(one)
        self.await_answer("it serves", one, "http://10.0.1.10/")
        address = self.instance(one)["PublicIpAddress"]
        with outside() as host:
            self.assertIsNone(world.fetch(f"http://{address}/"), "no route: nobody outside reaches it")
            self.assertEqual(self.asks(one, host), "", "and it reaches nobody")
            gateway = self.ec2("create-internet-gateway")["InternetGateway"]["InternetGatewayId"]
            self.ec2("attach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
            table = self.ec2("describe-route-tables", "--filters", f"Name=vpc-id,Values={vpc}")["RouteTables"][0]["RouteTableId"]
            self.assertIsNone(world.fetch(f"http://{address}/"), "a gateway alone is no route")
            self.ec2("create-route", "--route-table-id", table, "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", gateway)
            world.wait_until("the route opens the way in", lambda: world.fetch(f"http://{address}/"), budget=10)
            world.wait_until("and the way out", lambda: self.asks(one, host) == "outside", budget=10)
            self.ec2("delete-route", "--route-table-id", table, "--destination-cidr-block", "0.0.0.0/0")
            world.wait_until("without it both are closed", lambda: world.fetch(f"http://{address}/") is None, budget=10)
            self.assertEqual(self.asks(one, host), "")
            self.ec2("create-route", "--route-table-id", table, "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", gateway)

        elastic = self.ec2("allocate-address")
        self.ec2("associate-address", "--allocation-id", elastic["AllocationId"], "--instance-id", one)
        world.wait_until("the Elastic IP address leads to it", lambda: world.fetch(f"http://{elastic['PublicIp']}/"), budget=10)
        self.assertIsNone(world.fetch(f"http://{address}/"), "the one before is given up")
        self.ec2("stop-instances", "--instance-ids", one)
        self.ec2("wait", "instance-stopped", "--instance-ids", one)
        self.assertEqual(self.instance(one)["PublicIpAddress"], elastic["PublicIp"])
        self.ec2("start-instances", "--instance-ids", one)
        self.run_until_running(one)
        world.wait_until("it stays over stop and start", lambda: world.fetch(f"http://{elastic['PublicIp']}/"), budget=60)

    def test_a_load_balancer_serves_from_another_vpc_than_the_default_one(self) -> None:
        vpc, subnets = self.vpc("a", "b")
        web = self.group(vpc, "web")
        self.open(web, "--cidr", "10.0.0.0/16")
        one = self.launch(subnets[0], "10.0.1.10", web)
        balancer = self.kiln.aws("elbv2", "create-load-balancer", "--name", "front", "--subnets", *subnets)["LoadBalancers"][0]
        self.assertEqual(balancer["VpcId"], vpc)
        group = self.kiln.aws("elbv2", "create-target-group", "--name", "web", "--protocol", "HTTP", "--port", "80", "--vpc-id",
                              vpc)["TargetGroups"][0]["TargetGroupArn"]
        self.run_until_running(one)
        self.kiln.aws("elbv2", "register-targets", "--target-group-arn", group, "--targets", f"Id={one}")
        self.kiln.aws("elbv2", "create-listener", "--load-balancer-arn", balancer["LoadBalancerArn"], "--protocol", "HTTP",
                      "--port", "80", "--default-actions", f"Type=forward,TargetGroupArn={group}")
        body = world.wait_until("the load balancer answers", lambda: world.fetch(f"http://{balancer['DNSName']}/"), budget=90)
        self.assertIn("web 1.0.0", body)
        refused = self.kiln.aws("ec2", "delete-subnet", "--subnet-id", subnets[1], check=False)
        self.assertIn("DependencyViolation", refused.stderr, "the load balancer is in it")


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"outside")

    def log_message(self, *_) -> None:
        pass


class outside:
    """A server on an address of this host that is not loopback: the internet, as an instance sees it."""

    def __enter__(self) -> str:
        listed = subprocess.run(["ip", "-4", "-o", "address", "show", "scope", "global"], capture_output=True, text=True).stdout
        address = listed.split("inet ", 1)[1].split("/", 1)[0]
        self.server = http.server.ThreadingHTTPServer((address, 0), Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://{address}:{self.server.server_address[1]}/"

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    unittest.main()
