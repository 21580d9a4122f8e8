"""What is said about an image, and whether to believe it: SBOMs that their own validators take, signatures that openssl
checks, and each way to tamper with an image, found by name."""
import base64
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import world

PYTHON = str(world.ROOT / "build/venv/bin/python3")

SPDX = """
import sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
document = parse_file(sys.argv[1])
problems = [message.validation_message for message in validate_full_spdx_document(document, "SPDX-2.3")]
print(len(document.packages), problems)
sys.exit(1 if problems else 0)
"""
CYCLONEDX = """
import json, sys
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1]).read()
problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
print(len(Bom.from_json(json.loads(text)).components), problem)
sys.exit(1 if problem else 0)
"""
ATTESTATIONS = """
import json, pathlib, sys
import in_toto_attestation.predicates.provenance.v1.provenance_pb2 as provenance
import in_toto_attestation.v1.statement_pb2 as statement
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.json_format import Parse, ParseDict
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
folder, *keys = map(pathlib.Path, sys.argv[1:])
text = (folder / "provenance.json").read_text()
Statement.copy_from_pb(Parse(text, statement.Statement())).validate()
ParseDict(json.loads(text)["predicate"], provenance.Provenance())
for name in keys:
    key = SSlibKey.from_crypto(load_pem_public_key(name.read_bytes()))
    verified = 0
    for file in folder.glob("*.dsse.json"):
        envelope = json.loads(file.read_text())
        for signature in envelope["signatures"]:
            signature["keyid"] = key.keyid  # a hint, which each tool makes in its own way
        try:
            verified += len(Envelope.from_dict(envelope).verify([key], 1))
        except Exception:
            pass
    print(name.stem, verified)
"""


class Proof(world.Story):
    def setUp(self) -> None:
        super().setUp()
        # A store of its own: what is broken here must not break other stories.
        (self.kiln.home / "store").unlink()
        shutil.copytree(world.CACHE / "store", self.kiln.home / "store", copy_function=os.link,
                        ignore=shutil.ignore_patterns("tmp", "lock"))
        index = self.kiln.home / "store/index.json"
        if index.exists():
            content = json.loads(index.read_text()) | {"manifests": []}
            index.unlink()
            index.write_text(json.dumps(content))

    def verify(self, status: int, *words: str) -> dict[str, list[str]]:
        """What did not hold, by the check's name."""
        result = self.kiln.run("verify", *words, "--json", check=False)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        answer = json.loads(result.stdout)
        self.assertEqual(answer["passed"], status == 0)
        found: dict[str, list[str]] = {}
        for check in answer["checks"]:
            if not check["passed"]:
                found.setdefault(check["check"], []).append(check["said"])
        return found

    def replace(self, digest: str, change) -> pathlib.Path:
        """A blob with other bytes under its old name, as an intruder leaves it; the test cache has a copy of its own."""
        blob = self.kiln.home / "store/blobs/sha256" / digest.removeprefix("sha256:")
        content = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(change(content))
        return blob

    def entries(self, kind: str) -> list[dict]:
        manifests = json.loads((self.kiln.home / "store/index.json").read_text())["manifests"]
        return [entry for entry in manifests if entry.get("artifactType") == kind]

    def without(self, kind: str) -> None:
        index = self.kiln.home / "store/index.json"
        content = json.loads(index.read_text())
        content["manifests"] = [entry for entry in content["manifests"] if entry.get("artifactType") != kind]
        index.write_text(json.dumps(content))

    def blob_of(self, manifest: dict) -> str:
        return json.loads(self.read(manifest["digest"]))["layers"][0]["digest"]

    def read(self, digest: str) -> bytes:
        return (self.kiln.home / "store/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def test_sboms_are_what_their_own_validators_take(self) -> None:
        self.kiln.edit("kiln.yaml", "  steps:\n", "  steps:\n    - run: echo changed >> /etc/bash.bashrc; rm /etc/issue.net\n")
        self.kiln.run("bake", "--no-publish")
        for form, program in (("spdx", SPDX), ("cyclonedx", CYCLONEDX)):
            file = self.kiln.home / f"{form}.json"
            self.kiln.run("sbom", "web@1.0.0", "--format", form, "--output", str(file))
            self.assertEqual(self.kiln.run("sbom", "--format", form).stdout, file.read_text(), "the same on stdout")
            result = subprocess.run([PYTHON, "-c", program, str(file)], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stdout[-3000:] + result.stderr[-3000:])
        spdx = json.loads((self.kiln.home / "spdx.json").read_text())
        nginx = next(package for package in spdx["packages"] if package["name"] == "nginx")
        self.assertRegex(nginx["externalRefs"][0]["referenceLocator"],
                         r"^pkg:deb/debian/nginx@1\.[0-9].*\?arch=(amd64|arm64)&distro=debian-12$")
        files = {file["fileName"]: file for file in spdx["files"]}
        page = (self.kiln.app / "site/index.html").read_bytes()
        sums = {one["algorithm"]: one["checksumValue"] for one in files["./var/www/html/index.html"]["checksums"]}
        self.assertEqual(sums, {"SHA1": hashlib.sha1(page).hexdigest(), "SHA256": hashlib.sha256(page).hexdigest()})
        self.assertIn("bash", files["./etc/bash.bashrc"]["comment"], "a package's file that a step changed")
        self.assertNotIn("./etc/issue.net", files, "what a layer removes is not there")
        self.assertNotIn("./usr/bin/bash", files, "what a package owns is told by its package")
        # The same image gives the same bytes, from nothing but its layers.
        self.without("application/spdx+json")
        shutil.rmtree(self.kiln.home / "cache/contents")
        self.assertEqual(self.kiln.run("sbom", "web@1.0.0").stdout, (self.kiln.home / "spdx.json").read_text())
        self.assertEqual(world.mounts(str(self.kiln.home)), [])

    def test_what_is_signed_is_checked_by_openssl(self) -> None:
        for kind in ("ecdsa", "ed25519"):
            self.kiln.run("keys", "new", kind, "--type", kind)
        keys = self.kiln.home / "keys"
        self.assertEqual((keys / "ecdsa.pem").stat().st_mode & 0o777, 0o600)
        baked = self.kiln.json("bake", "--no-publish")
        self.assertEqual(self.verify(6, "web@1.0.0"), {"signature": ["nobody has signed it"]})
        for kind in ("ecdsa", "ed25519"):
            self.assertTrue(self.kiln.json("sign", "web@1.0.0", "--key", str(keys / f"{kind}.pem"))["signed"])
            self.assertFalse(self.kiln.json("sign", "web@1.0.0", "--key", str(keys / f"{kind}.pem"))["signed"])
            self.verify(0, "web@1.0.0", "--key", str(keys / f"{kind}.pub"))
        out = self.kiln.home / "out"
        self.kiln.run("verify", "web@1.0.0", "--export", str(out))
        checked = {"ecdsa": 0, "ed25519": 0}
        for kind in checked:
            digest = ["-digest", "sha256"] if kind == "ecdsa" else []
            for signature in out.glob("*.sig"):
                signed = next(path for end in (".pae", ".payload.json") if (path := signature.with_suffix(end)).exists())
                result = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys / f"{kind}.pub", "-rawin",
                                         "-in", signed, "-sigfile", signature, *digest], capture_output=True)
                checked[kind] += result.returncode == 0
        self.assertEqual(checked, {"ecdsa": 4, "ed25519": 4}, "each key: the image and its three documents")
        result = subprocess.run([PYTHON, "-c", ATTESTATIONS, out, keys / "ecdsa.pub", keys / "ed25519.pub"],
                                capture_output=True, text=True)
        self.assertEqual(result.stdout.split(), ["ecdsa", "3", "ed25519", "3"], result.stderr)
        payload = json.loads((out / "signature-1.payload.json").read_text())
        self.assertEqual(payload["critical"]["image"]["docker-manifest-digest"], baked["digest"])
        predicates = set()
        for file in out.glob("*.dsse.json"):
            envelope = json.loads(file.read_text())
            self.assertEqual(envelope["payloadType"], "application/vnd.in-toto+json")
            statement = json.loads(base64.b64decode(envelope["payload"]))
            self.assertEqual(statement["subject"][0]["digest"]["sha256"], baked["digest"].removeprefix("sha256:"))
            predicates.add(statement["predicateType"])
        self.assertEqual(predicates, {"https://slsa.dev/provenance/v1", "https://spdx.dev/Document", "https://cyclonedx.org/bom"})
        signed = [entry for entry in self.kiln.run("ledger", "export").stdout.splitlines() if '"image.signed"' in entry]
        self.assertEqual(len(signed), 2)

    def test_each_way_to_tamper_is_found(self) -> None:
        self.kiln.run("keys", "new")
        self.kiln.run("keys", "new", "other")
        (self.kiln.home / "keys/other.pub").rename(self.kiln.home / "other.pub")
        baked = self.kiln.json("bake", "--no-publish")
        shown = self.kiln.json("keys", "show")
        self.assertEqual((baked["signed_by"], shown["type"]), (shown["id"], "ecdsa-p256"))
        self.assertEqual(self.verify(0, "web@1.0.0"), {}, "signed by the default key as it was baked")
        self.assertEqual(self.kiln.json("bake", "--no-publish")["digest"], baked["digest"])
        self.assertEqual(len(self.entries("application/vnd.in-toto+json")), 1, "the same bake again says nothing new")

        self.assertRegex(self.verify(6, "web@1.0.0", "--key", str(self.kiln.home / "other.pub"))["signature"][0],
                         "signed, but not by key")

        top = baked["layers"][-1]["digest"]
        whole = self.read(top)
        blob = self.replace(top, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
        self.assertRegex(self.verify(6, "web@1.0.0")["content"][0], re.escape(top))
        blob.write_bytes(whole)

        document = self.blob_of(self.entries("application/spdx+json")[0])
        blob = self.replace(document, lambda content: content.replace(b"nginx", b"ngiNx"))
        self.assertRegex(self.verify(6, "web@1.0.0")["content"][0], re.escape(document))
        blob.write_bytes(self.read(document).replace(b"ngiNx", b"nginx"))
        self.assertEqual(self.verify(0, "web@1.0.0"), {})

        index = self.kiln.home / "store/index.json"
        before = index.read_text()
        self.without("application/vnd.dev.cosign.artifact.sig.v1+json")
        self.assertRegex(" ".join(self.verify(6, "web@1.0.0")["signature"]), "the ledger says .* it was removed.*nobody has signed")
        index.write_text(before)
        self.without("application/vnd.dsse.envelope.v1+json")
        self.assertRegex(self.verify(6, "web@1.0.0")["provenance"][0], "not signed by a key that is trusted")
        index.write_text(before)
        self.without("application/vnd.in-toto+json")
        self.without("application/vnd.dsse.envelope.v1+json")
        self.assertRegex(self.verify(6, "web@1.0.0")["provenance"][0], "there is no provenance about this image")
        index.write_text(before)

        # Another image's provenance under this one's name: a manifest whose subject is this image, a statement about that.
        self.kiln.set_version("1.0.0", "1.1.0")
        self.kiln.run("bake", "--no-publish")
        manifests = [json.loads(self.read(entry["digest"])) for entry in self.entries("application/vnd.in-toto+json")]
        ours, theirs = sorted(manifests, key=lambda manifest: manifest["subject"]["digest"] != baked["digest"])
        forged = json.dumps(ours | {"layers": theirs["layers"]}).encode()
        name = hashlib.sha256(forged).hexdigest()
        (self.kiln.home / "store/blobs/sha256" / name).write_bytes(forged)
        content = json.loads(index.read_text())
        content["manifests"].append({"digest": f"sha256:{name}", "size": len(forged), "artifactType": "application/vnd.in-toto+json",
                                     "mediaType": "application/vnd.oci.image.manifest.v1+json"})
        index.write_text(json.dumps(content))
        self.assertRegex(self.verify(6, "web@1.0.0")["provenance"][0], "is about another image, " + theirs["subject"]["digest"])
        self.assertEqual(self.verify(0, "web@1.1.0"), {})

    def test_a_policy_says_what_else_must_hold(self) -> None:
        self.kiln.run("keys", "new")
        self.kiln.run("bake", "--no-publish")
        policy = self.kiln.home / "policy.yaml"
        policy.write_text("signed_by: keys/default.pub\nbuilder: urn:kiln:builder\nmax_age: 1d\nbase: debian:bookworm\n"
                          "packages: {forbidden: [telnetd], minimum: {nginx: '1.22'}}\n")
        self.assertEqual(self.verify(0, "web@1.0.0", "--policy", str(policy)), {})
        policy.write_text("tests: passed\ncommit: required\nbase: debian:trixie\npackages: {forbidden: nginx, minimum: {bash: '99'}}\n")
        self.assertEqual(sorted(self.verify(6, "web@1.0.0", "--policy", str(policy))),
                         ["policy.base", "policy.commit", "policy.packages", "policy.tests"])
        policy.write_text("tests: passed\nsigned-by: x\n")
        result = self.kiln.run("verify", "web@1.0.0", "--policy", str(policy), check=False)
        self.assertEqual(result.returncode, 2, result.stdout)
        self.assertIn("policy.yaml:2:1: unknown key 'signed-by'", result.stderr)

    def test_only_what_is_signed_is_deployed_where_kiln_yaml_asks_for_it(self) -> None:
        self.kiln.edit("kiln.yaml", "size: 4", "size: 1")
        self.kiln.edit("kiln.yaml", "deploy:\n", "deploy:\n  requires: [signed]\n")
        self.kiln.run("region", "start", "--port", "0")
        self.kiln.run("bake")

        def refuse(*words: str) -> str:
            result = self.kiln.run(*words, check=False)
            self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
            self.assertIn("web@1.0.0 is not deployed: kiln.yaml asks for 'signed'", result.stderr)
            return result.stderr

        # No key is trusted; then one that has not signed; then a signature of a key that nobody trusts.
        self.assertIn("no key is trusted here", refuse("deploy"))
        self.kiln.run("keys", "new", "release")
        self.assertIn("none of the 1 keys", refuse("plan"))
        self.assertIn("kiln sign web@1.0.0", refuse("deploy"))
        stranger = self.kiln.home / "stranger.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", stranger], check=True, capture_output=True)
        self.kiln.run("sign", "web@1.0.0", "--key", str(stranger))
        refuse("deploy")
        self.assertEqual([entry for entry in self.kiln.json("ledger")["entries"] if entry["kind"].startswith("deployment")], [])

        self.kiln.run("sign", "web@1.0.0", "--key", str(self.kiln.home / "keys/release.pem"))
        self.kiln.run("plan")
        self.kiln.run("deploy")
        # What was signed and whose signature was taken away since is refused like what never was; so is an altered one.
        index = self.kiln.home / "store/index.json"
        before = index.read_text()
        self.without("application/vnd.dev.cosign.artifact.sig.v1+json")
        refuse("plan")
        index.write_text(before)
        self.kiln.run("plan")
        for entry in self.entries("application/vnd.dev.cosign.artifact.sig.v1+json"):
            self.replace(self.blob_of(entry), lambda content: content.replace(b"1.0.0", b"1.0.1"))
        refuse("plan")
        # An environment says for itself what it asks for.
        self.kiln.edit("kiln.yaml", "local: {endpoint: local}", "local: {endpoint: local, deploy: {requires: []}}")
        self.kiln.run("plan")

    def test_a_key_that_cannot_sign_changes_nothing(self) -> None:
        rsa = self.kiln.home / "rsa.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", rsa], check=True, capture_output=True)
        for words, says in ((("bake", "--no-publish", "--key", str(rsa)), "type RSA"),
                            (("bake", "--no-publish", "--key", "/nonexistent"), "/nonexistent"),
                            (("sign", "web@1.0.0"), "kiln keys new"),
                            (("keys", "new", "../x"), "no name for a key"),
                            (("keys", "make"), "kiln keys new"),
                            (("sbom", "web@1.0.0", "--format", "swid"), "cyclonedx")):
            result = self.kiln.run(*words, check=False)
            self.assertIn(result.returncode, (1, 2), result.stdout + result.stderr)
            self.assertIn(says, result.stderr)
        self.assertEqual(self.kiln.json("images")["images"], [])
        self.kiln.run("keys", "new")
        self.assertEqual(self.kiln.run("keys", "new", check=False).returncode, 1, "a key is never replaced")


if __name__ == "__main__":
    unittest.main()
