"""World: what the end-to-end stories share: a Kiln of their own, a load that checks every answer, and a look at what is left."""
import importlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("KILN_PROGRAM", str(ROOT / "build/release/kiln"))
CACHE = pathlib.Path(os.environ.get("KILN_TEST_CACHE", ROOT / "build/release/test-cache"))
AWS = [str(ROOT / "build/venv/bin/python3"), "-m", "awscli"]


def boto3():
    """The newest boto3, of the clients that tools/setup.sh --test installs: (boto3, its Config, its ClientError)."""
    sys.path[:0] = [str(path) for path in (ROOT / "build/venv/lib").glob("python3*/site-packages")]
    module = importlib.import_module("boto3")
    return module, importlib.import_module("botocore.config").Config, importlib.import_module("botocore.exceptions").ClientError


class Kiln:
    """A Kiln with a home of its own. Baked layers are shared between stories, so that each bakes only what is new."""

    def __init__(self) -> None:
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="kiln-e2e-"))
        for shared in ("cache", "store"):
            (CACHE / shared).mkdir(parents=True, exist_ok=True)
            (self.home / shared).symlink_to(CACHE / shared)
        self.app = self.home / "web"
        shutil.copytree(ROOT / "examples/web", self.app)
        self.children: list[subprocess.Popen] = []
        self.aws_cli = AWS

    def environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return env | {"KILN_HOME": str(self.home)}

    def run(self, *words: str, check: bool = True, folder: pathlib.Path | None = None, timeout: float = 300,
            env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        result = subprocess.run([PROGRAM, *words], cwd=folder or self.app, env=self.environment() | (env or {}),
                                capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and result.returncode != 0:
            raise AssertionError(f"kiln {' '.join(words)} ended with {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def start(self, *words: str) -> subprocess.Popen:
        child = subprocess.Popen([PROGRAM, *words], cwd=self.app, env=self.environment(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.children.append(child)
        return child

    def json(self, *words: str) -> dict:
        return json.loads(self.run(*words, "--json").stdout)

    def doctor(self, about: str = "") -> list[dict]:
        """What `kiln doctor` found, of all kinds or of one. Its exit code says whether something is wrong."""
        result = self.run("doctor", "--json", check=False)
        answer = json.loads(result.stdout)
        wrong = not answer["fit"] or any(finding["wrong"] for finding in answer["findings"])
        assert (answer["ok"], result.returncode) == (not wrong, int(wrong)), result.stdout
        return [finding for finding in answer["findings"] if about in ("", finding["about"])]

    def region(self) -> dict:
        return self.json("region", "status")

    def aws_environment(self) -> dict[str, str]:
        env = self.environment()
        for line in self.run("region", "env").stdout.splitlines():
            if line.startswith("export "):
                for pair in line.removeprefix("export ").split():
                    name, value = pair.split("=", 1)
                    env[name] = value
        return env | {"AWS_PAGER": "", "AWS_EC2_METADATA_DISABLED": "true"}

    def aws(self, *words: str, check: bool = True, env: dict[str, str] | None = None):
        """`env` is laid over the root's environment: other keys, a profile. One attempt a call: no refusal is hidden."""
        result = subprocess.run([*self.aws_cli, *words, "--output", "json"],
                                env=self.aws_environment() | {"AWS_MAX_ATTEMPTS": "1"} | (env or {}),
                                capture_output=True, text=True, timeout=120)
        if not check:
            return result
        if result.returncode != 0:
            raise AssertionError(f"aws {' '.join(words)} ended with {result.returncode}\n{result.stderr}")
        return json.loads(result.stdout) if result.stdout.strip() else {}

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.app / name
        text = path.read_text()
        assert old in text, f"{name} does not hold {old!r}"
        path.write_text(text.replace(old, new))

    def set_version(self, old: str, new: str) -> None:
        self.edit("kiln.yaml", old, new)
        self.edit("site/index.html", old, new)

    def url(self) -> str:
        return self.json("status")["url"]

    def close(self) -> list[str]:
        """Ends all of it; returns what is left on the machine, which must be nothing."""
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        owned = slots(str(self.home))
        self.run("region", "reset", check=False)
        left = leftovers(str(self.home), owned)
        shutil.rmtree(self.home, ignore_errors=True)
        return left


def own_store(kiln: Kiln) -> None:
    """Gives the home a store of its own, with the layers that the shared cache has: what gc deletes is nobody else's."""
    for shared in ("cache", "store"):
        (kiln.home / shared).unlink()
    shutil.copytree(CACHE / "cache", kiln.home / "cache")
    blobs = kiln.home / "store/blobs/sha256"
    blobs.mkdir(parents=True)
    for note in (kiln.home / "cache/layers").glob("*"):
        name = note.read_text().split()[0].removeprefix("sha256:")
        blob = CACHE / "store/blobs/sha256" / name
        if blob.exists() and not (blobs / name).exists():
            os.link(blob, blobs / name)


def age(folder: pathlib.Path) -> None:
    """Two days older: a sweep lets what is young be."""
    old = time.time() - 2 * 86400
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))


def mounts(below: str) -> list[str]:
    """The mount points whose line names `below`."""
    return [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines() if below in line]


def slots(home: str) -> set[str]:
    """The slots that regions of this home own now: their namespaces are kiln<slot> and kiln<slot>-<instance>."""
    owned = set()
    for file in pathlib.Path("/run/kiln/slots").glob("*.owner"):
        try:
            if file.read_text().startswith(home + "/"):
                owned.add(file.stem)
        except OSError:
            continue
    return owned


def leftovers(home: str, owned: set[str]) -> list[str]:
    """Mounts, processes and loop devices that name this home, slots that it owns, and namespaces of those that it owned."""
    left = [f"mount {point}" for point in mounts(home)]
    left += [f"slot {slot}" for slot in slots(home)]
    taken = {file.stem for file in pathlib.Path("/run/kiln/slots").glob("*.owner")}
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        slot = re.fullmatch(r"kiln(\d+)(-.*)?", name)
        # A slot that was given back may be another region's by now.
        if slot and slot[1] in owned - taken:
            left.append(f"namespace {name}")
    for process in pathlib.Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if home in words:
                left.append(f"process {process.name}: {words[:120]}")
        except OSError:
            continue
    losetup = subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    left += [f"loop {line}" for line in losetup.splitlines() if home in line]
    return left


class Terminal:
    """A Kiln command on a terminal of its own, as a person has it."""

    def __init__(self, kiln: Kiln, *words: str) -> None:
        self.said = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(kiln.app)
            os.execvpe(PROGRAM, [PROGRAM, *words], kiln.environment() | {"TERM": "xterm"})

    def wait_for(self, text: str, budget: float = 60) -> str:
        end = time.monotonic() + budget
        while time.monotonic() < end:
            if text in self.said:
                return self.said
            if not self.read():
                break
        raise AssertionError(f"{text!r} was not seen; seen: {self.said[-2000:]}")

    def read(self) -> bool:
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            piece = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side is gone
            return False
        self.said += piece.decode(errors="replace")
        return bool(piece)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self, budget: float = 60) -> int:
        end = time.monotonic() + budget
        while time.monotonic() < end and self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


class Load:
    """`kiln load` beside a story; `end` gives its report."""

    def __init__(self, kiln: Kiln, url: str, rate: int = 500) -> None:
        self.child = subprocess.Popen([PROGRAM, "load", url + "/", "--rate", str(rate), "--expect", "web 1.", "--json"],
                                      env=kiln.environment(), stdout=subprocess.PIPE, text=True)
        kiln.children.append(self.child)

    def end(self) -> dict:
        self.child.send_signal(signal.SIGINT)
        out, _ = self.child.communicate(timeout=30)
        return json.loads(out)


def fetch(url: str) -> str | None:
    """The page, or None when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.read().decode()
    except OSError:
        return None


# For recipes that are deployed: a fleet of one behind a load balancer.
FLEET_OF_ONE = """
fleet:
  size: 1
  instance_type: t3.micro
  listen: {port: 80, target_port: 80}
  health: {path: /, interval: 5s}
  grace: 3m
environments:
  local: {endpoint: local}
"""


def wait_until(what: str, condition, budget: float = 60, pause: float = 0.1):
    """Polls until `condition()` is true; fails naming `what` when the budget is spent."""
    end = time.monotonic() + budget
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError(f"after {budget} s still not: {what}")


class Story(unittest.TestCase):
    """A test with a Kiln of its own, which must leave nothing behind."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.fail("end-to-end tests run real instances and need root: sudo -E make test")
        self.kiln = Kiln()
        self.addCleanup(self.take_down)

    def take_down(self) -> None:
        left = self.kiln.close()
        self.assertEqual(left, [], "left behind on the machine")

    def assert_all_served(self, report: dict) -> None:
        self.assertEqual(report["failed"], 0, report["failures"])
        self.assertGreater(report["sent"], 0)
