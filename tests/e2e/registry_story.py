"""Debian's docker-registry and skopeo, which nobody here wrote: images go up, come down, and are the same."""
import base64
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import unittest
import urllib.request

import world
from registries import ConnectProxy, Gate, Registry, TokenService, certificate

SKOPEO = ["skopeo", "--insecure-policy"]


class Registries(world.Story):
    def setUp(self) -> None:
        super().setUp()
        world.own_store(self.kiln)  # what others have signed in the shared one would travel too
        self.folder = self.kiln.home / "registries"
        self.folder.mkdir()
        self.image = json.loads(self.kiln.run("bake", "--no-publish", "--json").stdout)

    def registry(self, **words: str) -> Registry:
        registry = Registry(self.folder, **words)
        self.addCleanup(registry.close)
        return registry

    def elsewhere(self, name: str = "elsewhere") -> dict[str, str]:
        """Another Kiln, with an empty home."""
        return {"KILN_HOME": str(self.kiln.home / name)}

    def skopeo(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        result = subprocess.run([*SKOPEO, *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        if check:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def said(self, *words: str, env: dict[str, str] | None = None) -> dict:
        return json.loads(self.kiln.run(*words, "--json", env=env).stdout)

    def blobs(self, env: dict[str, str]) -> dict[str, int]:
        folder = pathlib.Path(env["KILN_HOME"]) / "store/blobs/sha256"
        return {file.name: file.stat().st_size for file in folder.iterdir()}

    def test_an_image_travels_with_what_is_said_about_it(self) -> None:
        registry = self.registry()
        place = f"{registry.name}/team/web"
        pushed = self.said("push", "web@1.0.0", place)
        self.assertEqual(pushed["digest"], self.image["digest"])
        self.assertGreaterEqual(len(pushed["referrers"]), 1)  # its name in the catalog, at least
        self.assertTrue(pushed["reference"].startswith(f"{place}:1.0.0@sha256:"))

        # A second push sends nothing at all.
        writes = [registry.requests(verb) for verb in ("PUT", "POST", "PATCH")]
        again = self.said("push", "web@1.0.0", place)
        self.assertEqual((again["bytes_moved"], again["bytes_there"]), (0, again["bytes_total"]))
        self.assertEqual([registry.requests(verb) for verb in ("PUT", "POST", "PATCH")], writes)

        # The registry is one more place where the image is.
        listed = self.said("images")["images"][0]["copies"]
        self.assertEqual([copy["reference"] for copy in listed], [f"{place}:1.0.0"])
        self.assertIn(f"{place}:1.0.0", self.kiln.run("show", "web@1.0.0").stdout)

        # Into an empty home: the same image under the same name, which a region could run.
        other = self.elsewhere()
        pulled = self.said("pull", f"{place}:1.0.0", env=other)
        self.assertEqual(pulled["digest"], self.image["digest"])
        self.assertEqual(pulled["images"], [{"app": "web", "version": "1.0.0", "signed_by": []}])
        listed = self.said("images", env=other)["images"]
        self.assertEqual(listed[0]["imported_from"], f"{place}:1.0.0@{self.image['digest']}")
        kinds = [entry["kind"] for entry in self.said("ledger", env=other)["entries"]]
        self.assertEqual(kinds, ["image.imported"])
        self.assertEqual([(one["version"], one["digest"]) for one in listed], [("1.0.0", self.image["digest"])])
        gets = registry.requests("GET /v2/team/web/blobs/")
        self.assertEqual(self.said("pull", f"{place}:1.0.0", env=other)["bytes_moved"], 0)
        self.assertEqual(registry.requests("GET /v2/team/web/blobs/"), gets)

        # To a neighbour the registry takes the layers over by itself; a mirror brings the referrers along.
        patches = registry.requests("PATCH")
        self.assertEqual(self.said("push", "web@1.0.0", f"{registry.name}/copy/web")["bytes_moved"], 0)
        second = self.registry()
        mirrored = self.said("mirror", place, f"{second.name}/far/web", "--all-tags", env=self.elsewhere("third"))["images"]
        self.assertEqual([one["digest"] for one in mirrored], [self.image["digest"]])
        self.assertEqual(mirrored[0]["referrers"], pushed["referrers"])
        self.assertEqual(registry.requests("PATCH"), patches)
        self.assertEqual(self.blobs(self.elsewhere("third")), {})

        # skopeo reads what Kiln wrote, and Kiln what skopeo wrote.
        raw = self.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{second.name}/far/web:1.0.0").stdout
        self.assertEqual(json.loads(raw)["artifactType"], "application/vnd.kiln.machine.v1")
        layout = f"oci:{self.folder}/layout:web"
        self.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{second.name}/far/web:1.0.0", layout)
        self.skopeo("copy", "-q", "--dest-tls-verify=false", layout, f"docker://{second.name}/skopeo/web:1")
        fourth = self.elsewhere("fourth")
        self.assertEqual(self.said("pull", f"{second.name}/skopeo/web:1", env=fourth)["digest"], self.image["digest"])
        # The same bytes but for the name, which skopeo 1.9 does not copy.
        self.assertTrue(set(self.blobs(fourth)) < set(self.blobs(other)))
        self.assertIn(self.image["digest"].removeprefix("sha256:"), self.blobs(fourth))

    def killed(self, gate: Gate, *words: str, env: dict[str, str] | None = None) -> None:
        """Runs it through the gate and kills it with -9 when the gate has stopped."""
        child = subprocess.Popen([world.PROGRAM, *words], cwd=self.kiln.app, env=self.kiln.environment() | (env or {}),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.kiln.children.append(child)
        if not gate.stopped.wait(60):
            child.kill()
            self.fail(f"never came to the gate: {child.communicate()[0]}")
        child.send_signal(signal.SIGKILL)
        child.communicate()
        self.kiln.children.remove(child)
        gate.stop_up = gate.stop_down = None

    def test_what_was_killed_goes_on_with_what_has_arrived(self) -> None:
        registry = self.registry()
        gate = Gate(registry.port)
        self.addCleanup(gate.close)
        total = self.image["size_bytes"]
        biggest = max(layer["size_bytes"] for layer in self.image["layers"])
        chunk = 16 << 20
        self.assertGreater(biggest, 3 * chunk)

        gate.stop_up = 3 * chunk
        self.killed(gate, "push", "web@1.0.0", f"{gate.name}/team/web:1", "--parallel", "1")
        self.assertGreater(gate.up, 2 * chunk)
        self.said("push", "web@1.0.0", f"{gate.name}/team/web:1")
        self.assertLess(gate.up, total + (1 << 20))  # nothing went twice

        other = self.elsewhere()
        gate.stop_down = biggest // 2
        self.killed(gate, "pull", f"{gate.name}/team/web:1", "--parallel", "1", env=other)
        pulled = self.said("pull", f"{gate.name}/team/web:1", env=other)
        self.assertEqual(pulled["digest"], self.image["digest"])
        # What was in the sockets when it died comes again, no more.
        self.assertLess(gate.down, total + (16 << 20))
        self.assertGreater(gate.down, total - (1 << 20))
        self.assertEqual(os.listdir(pathlib.Path(other["KILN_HOME"]) / "store/transfers/incoming"), [])

    def test_passwords_and_certificates(self) -> None:
        ca, key = certificate(self.folder, "registry", "IP:127.0.0.1")
        passwords = self.folder / "htpasswd"
        passwords.write_text(subprocess.run(["htpasswd", "-nbB", "ana", "secret"], check=True, capture_output=True,
                                            text=True).stdout)
        registry = self.registry(http_extra=f"  tls: {{certificate: {ca}, key: {key}}}\n",
                                 auth=f"auth:\n  htpasswd: {{realm: here, path: {passwords}}}\n")
        place = f"{registry.name}/team/web:1"
        push = ("push", "web@1.0.0", place)
        login = self.folder / "auth.json"
        who = {"REGISTRY_AUTH_FILE": str(login)}

        untrusted = self.kiln.run(*push, check=False, env=who)
        self.assertEqual(untrusted.returncode, 1)
        self.assertIn("certificate that is not trusted", untrusted.stderr)
        trusted = {"KILN_REGISTRY_CA": str(ca)} | who
        anonymous = self.kiln.run(*push, check=False, env=trusted)
        self.assertEqual(anonymous.returncode, 1)
        self.assertIn("without credentials", anonymous.stderr)
        login.write_text(json.dumps({"auths": {registry.name: {"auth": base64.b64encode(b"ana:wrong").decode()}}}))
        wrong = self.kiln.run(*push, check=False, env=trusted)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn(str(login), wrong.stderr)
        self.assertNotIn("wrong", wrong.stderr.replace("went wrong", ""))  # no password on the screen
        self.skopeo("login", "--authfile", str(login), "--tls-verify=false", "-u", "ana", "-p", "secret", registry.name)
        self.assertEqual(self.said(*push, env=trusted)["digest"], self.image["digest"])
        self.assertEqual(self.said("pull", place, "--ca-file", str(ca), env=who | self.elsewhere())["digest"], self.image["digest"])

    def test_who_signed_an_image_is_found_out_where_it_arrives(self) -> None:
        registry = self.registry()
        place = f"{registry.name}/team/web:1.0.0"
        for name in ("ours", "theirs"):
            self.kiln.run("keys", "new", name)
        keys = self.kiln.home / "keys"
        ours = self.said("keys", "show", "ours")["id"]
        self.said("push", "web@1.0.0", place)
        insists = ("pull", place, "--key")

        # Nobody has signed it, or somebody else: nothing is named, nothing is in the catalog.
        for signer, says in ((None, "nobody has signed it"), ("theirs", "not by key")):
            if signer:
                self.said("sign", "web@1.0.0", "--key", str(keys / f"{signer}.pem"))
                self.said("push", "web@1.0.0", place)
            home = self.elsewhere(f"refuses {signer}")
            refused = self.kiln.run(*insists, str(keys / "ours.pub"), check=False, env=home)
            self.assertEqual(refused.returncode, 6, refused.stdout + refused.stderr)
            self.assertIn(says, refused.stdout)
            self.assertEqual(self.said("images", env=home)["images"], [])
            index = json.loads((pathlib.Path(home["KILN_HOME"]) / "store/index.json").read_text())
            self.assertEqual(index["manifests"], [])

        # Signed by the key that is asked for: all that is said about it came along and holds.
        self.said("sign", "web@1.0.0", "--key", str(keys / "ours.pem"))
        self.said("push", "web@1.0.0", place)
        home = self.elsewhere()
        pulled = self.said(*insists, str(keys / "ours.pub"), env=home)
        self.assertEqual(pulled["images"], [{"app": "web", "version": "1.0.0", "signed_by": [ours]}])
        self.assertEqual(self.said("images", env=home)["images"][0]["signed_by"], [ours])
        self.assertTrue(self.said("verify", "web@1.0.0", "--key", str(keys / "ours.pub"), env=home)["passed"])
        sbom = self.kiln.run("sbom", "web@1.0.0", env=home).stdout
        self.assertEqual(sbom, self.kiln.run("sbom", "web@1.0.0").stdout)

        usage = self.kiln.run("pull", place, "--no-referrers", "--key", str(keys / "ours.pub"), check=False, env=home)
        self.assertEqual(usage.returncode, 2)

        # A mirror brings the tag along in which cosign looks; so cosign, or who does what it does, finds both signatures.
        second = self.registry()
        self.said("mirror", f"{registry.name}/team/web", f"{second.name}/far/web", "--all-tags")
        for where in (f"{registry.name}/team/web", f"{second.name}/far/web"):
            for name in ("ours", "theirs"):
                self.verify_as_cosign_does(where, "1.0.0", keys / f"{name}.pub")

    def get(self, place: str, kind: str, reference: str) -> bytes:
        registry, _, repository = place.partition("/")
        request = urllib.request.Request(f"http://{registry}/v2/{repository}/{kind}/{reference}",
                                         headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def verify_as_cosign_does(self, place: str, tag: str, key: pathlib.Path) -> None:
        """cosign's SIGNATURE_SPEC.md step by step, the signature itself checked by openssl; and cosign, where there is one."""
        digest = "sha256:" + hashlib.sha256(self.get(place, "manifests", tag)).hexdigest()
        manifest = json.loads(self.get(place, "manifests", digest.replace(":", "-") + ".sig"))
        self.assertEqual(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json")
        config = json.loads(self.get(place, "blobs", manifest["config"]["digest"]))
        self.assertEqual(config["rootfs"]["diff_ids"], [layer["digest"] for layer in manifest["layers"]])
        held = 0
        for layer in manifest["layers"]:
            self.assertEqual(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json")
            payload, signature = self.folder / "payload", self.folder / "signature"
            payload.write_bytes(self.get(place, "blobs", layer["digest"]))
            signature.write_bytes(base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"]))
            critical = json.loads(payload.read_bytes())["critical"]
            self.assertEqual(critical["type"], "cosign container image signature")
            self.assertEqual(critical["image"]["docker-manifest-digest"], digest)
            result = subprocess.run(["openssl", "dgst", "-sha256", "-verify", key, "-signature", signature, payload],
                                    capture_output=True)
            held += result.returncode == 0
        self.assertEqual(held, 1, f"of {len(manifest['layers'])} signatures one is that key's")
        cosign = os.environ.get("KILN_TEST_COSIGN") or shutil.which("cosign")
        for more in ([], ["--experimental-oci11"]) if cosign else ():
            result = subprocess.run([cosign, "verify", "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry", *more,
                                     f"{place}:{tag}"], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(digest, result.stdout)

    def test_folders_that_skopeo_reads_and_writes(self) -> None:
        registry = self.registry()
        place, folder = f"{registry.name}/team/web", self.folder / "images"
        self.said("push", "web@1.0.0", f"oci:{folder}:web")
        raw = self.skopeo("inspect", "--raw", f"oci:{folder}:web").stdout
        self.assertEqual("sha256:" + hashlib.sha256(raw.encode()).hexdigest(), self.image["digest"])
        self.skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{folder}:web", f"docker://{place}:skopeo")
        self.skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{place}:skopeo", f"oci:{self.folder}/theirs:web")

        # Out of a folder, past the store; what skopeo's lacks is only what is said about the image.
        pushed = self.said("push", f"oci:{self.folder}/theirs:web", f"{place}:again", env=self.elsewhere("past"))
        self.assertEqual((pushed["digest"], pushed["bytes_moved"], pushed["referrers"]), (self.image["digest"], 0, []))
        self.assertEqual(self.blobs(self.elsewhere("past")), {})
        ours = self.said("push", f"oci:{folder}:web", f"{place}:ours", env=self.elsewhere("past"))
        self.assertGreater(len(ours["referrers"]), 0)
        back = self.said("pull", f"{place}:ours", f"oci:{self.folder}/back", env=self.elsewhere("past"))
        self.assertEqual(back["folder"], f"oci:{self.folder}/back:ours")
        self.assertEqual(self.blobs(self.elsewhere("past")), {})

        # Into store and catalog, by its name; from a folder of one image without one.
        home = self.elsewhere()
        pulled = self.said("pull", f"oci:{self.folder}/back", env=home)
        self.assertEqual([image["version"] for image in pulled["images"]], ["1.0.0"])
        self.assertTrue(self.said("images", env=home)["images"][0]["imported_from"].startswith(f"oci:{self.folder}/back@sha256:"))
        self.kiln.run("show", "web@1.0.0", env=home)
        for words, code, text in ((("pull", f"oci:{folder}:wep"), 1, "web"), (("pull", "oci:nowhere"), 2, "index.json"),
                                  (("push", "web@1.0.0", f"oci:{self.kiln.app}:x"), 2, "is not empty"),
                                  (("push", f"oci:{folder}", f"oci:{self.folder}/y"), 2, "skopeo copy")):
            result = self.kiln.run(*words, check=False)
            self.assertEqual(result.returncode, code, f"{words}: {result.stderr}")
            self.assertIn(text, result.stderr)

    def test_the_registry_itself_checks_the_token(self) -> None:
        tokens = TokenService(self.folder, {"ana": "secret"})
        self.addCleanup(tokens.close)
        registry = self.registry(auth=tokens.auth())
        place, public = f"{registry.name}/team/web:1", f"{registry.name}/public/web:1"
        login = self.folder / "auth.json"
        who = {"REGISTRY_AUTH_FILE": str(login)}

        # A token that grants nothing is what somebody without a name gets.
        anonymous = self.kiln.run("push", "web@1.0.0", place, check=False, env=who)
        self.assertEqual(anonymous.returncode, 1)
        self.assertIn("without credentials", anonymous.stderr)
        self.assertEqual(tokens.issued[-1]["access"][0]["actions"], [])
        login.write_text(json.dumps({"auths": {registry.name: {"auth": base64.b64encode(b"ana:wrong").decode()}}}))
        wrong = self.kiln.run("push", "web@1.0.0", place, check=False, env=who)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("wrong user or password", wrong.stderr)
        login.write_text(json.dumps({"auths": {registry.name: {"auth": base64.b64encode(b"ana:secret").decode()}}}))
        tokens.issued.clear()
        for target in (place, public):
            self.assertEqual(self.said("push", "web@1.0.0", target, env=who)["digest"], self.image["digest"])
        # One for each set of scopes, and for each blob that was under way when there was none yet; not one for each request.
        self.assertLess(len(tokens.issued), 12)
        self.assertGreater(registry.requests(""), 4 * len(tokens.issued))
        self.assertEqual({claims["sub"] for claims in tokens.issued}, {"ana"})

        # What is public comes without a name; what is not, with one.
        home = self.elsewhere()
        self.assertEqual(self.said("pull", public, env=home)["digest"], self.image["digest"])
        self.assertEqual(self.kiln.run("pull", place, check=False, env=home).returncode, 1)
        self.assertEqual(self.said("pull", place, env=home | who)["digest"], self.image["digest"])

        # A token that somebody else has signed is worth nothing there, and Kiln does not ask for ever.
        other = self.folder / "other"
        other.mkdir()
        tokens.certificate, tokens.key = certificate(other, "tokens", "DNS:tokens.test", "rsa")
        tokens.issued.clear()
        forged = self.kiln.run("push", "web@1.0.0", f"{registry.name}/team/again:1", check=False, env=who)
        self.assertEqual(forged.returncode, 1)
        self.assertIn("invalid_token", forged.stderr)
        self.assertLess(len(tokens.issued), 4)

    def test_a_proxy_is_asked_for_all_but_what_is_near(self) -> None:
        pem, key = certificate(self.folder, "registry", "DNS:registry.test")
        registry = self.registry(http_extra=f"  tls: {{certificate: {pem}, key: {key}}}\n")
        # Only the proxy knows where that name leads.
        proxy = ConnectProxy({"registry.test:443": registry.port})
        self.addCleanup(proxy.close)
        way = {"HTTPS_PROXY": proxy.address, "NO_PROXY": "", "KILN_REGISTRY_CA": str(pem)}
        place = "registry.test/team/web:1"
        self.assertEqual(self.said("push", "web@1.0.0", place, env=way)["digest"], self.image["digest"])
        pulled = self.said("pull", place, env=way | self.elsewhere())
        self.assertEqual(pulled["digest"], self.image["digest"])
        self.assertEqual(set(proxy.asked), {"CONNECT registry.test:443"})

        # NO_PROXY names it, or a domain above it: then the proxy is not asked, and nobody else knows the name.
        for near in ("registry.test", ".test", "*"):
            proxy.asked.clear()
            direct = self.kiln.run("pull", place, check=False, env=way | self.elsewhere("near") | {"NO_PROXY": near})
            self.assertEqual(direct.returncode, 1)
            self.assertEqual(proxy.asked, [], near)
        # Loopback is never asked for through a proxy.
        plain = self.registry()
        self.said("push", "web@1.0.0", f"{plain.name}/team/web:1", env=way | {"HTTP_PROXY": proxy.address, "http_proxy": proxy.address})
        self.assertEqual(proxy.asked, [])
        # A proxy that refuses, and one that is not there, are named as what stands in the way.
        refused = self.kiln.run("pull", "elsewhere.test/team/web:1", check=False, env=way | self.elsewhere("far"))
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr, "403.*(\n.*)*proxy")
        nobody = self.kiln.run("pull", place, check=False,
                               env=way | self.elsewhere("far") | {"HTTPS_PROXY": "http://127.0.0.1:1"})
        self.assertEqual(nobody.returncode, 1)
        self.assertIn("proxy", nobody.stderr)

    def test_a_mistake_is_named_and_changes_nothing(self) -> None:
        registry = self.registry()
        for words, code, text in ((("push", "web@1.0.0", "web:1"), 2, "no registry before the name"),
                                  (("push", "web@9.9", f"{registry.name}/web"), 1, "9.9"),
                                  (("push", "web@1.0.0", f"{registry.name}/Web"), 2, "small letters"),
                                  (("pull", f"{registry.name}/web:1"), 1, "has no 1 in web"),
                                  (("pull", "127.0.0.1:1/web:1"), 1, "nobody answers"),
                                  (("mirror", f"{registry.name}/web:1", f"{registry.name}/x", "--all-tags"), 2, "--all-tags")):
            result = self.kiln.run(*words, check=False)
            self.assertEqual(result.returncode, code, f"{words}: {result.stderr}")
            self.assertIn(text, result.stderr)
        self.assertEqual(registry.requests("P"), 0)


if __name__ == "__main__":
    unittest.main()
