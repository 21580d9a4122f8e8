"""The catalog: a first look into an image, then 200 images listed, shown, compared and searched; beside coreutils, diff, grep."""
import pathlib
import shutil
import subprocess
import tempfile
import time

import measure

IMAGES = 200
RUNS = 5


def blobs(image: str) -> list[pathlib.Path]:
    """The image's layers, lowest first."""
    return [kiln.home / "store/blobs/sha256" / layer["digest"].removeprefix("sha256:")
            for layer in kiln.json("show", image)["layers"]]


def in_mounts_of_their_own(script: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return measure.timed(lambda: subprocess.run(["unshare", "--mount", "sh", "-ec", script], cwd=folder, check=True,
                                                    stdout=subprocess.DEVNULL))


def hash_alone(image: str) -> float:
    """What a first look cannot do without: every layer hashed, and every file in it."""
    return in_mounts_of_their_own("".join(
        f"sha256sum {blob}; mkdir {n}; mount -t erofs -o loop,ro {blob} {n}; find {n} -type f -print0 | xargs -0r sha256sum;"
        for n, blob in enumerate(blobs(image))))


def diff_alone(one: str, other: str) -> float:
    """diff -r on the two images, mounted."""
    script = ""
    for name, image in (("a", one), ("b", other)):
        layers = blobs(image)
        for n, blob in enumerate(layers):
            script += f"mkdir {name}{n}; mount -t erofs -o loop,ro {blob} {name}{n};"
        lower = ":".join(f"{name}{n}" for n in reversed(range(len(layers))))
        script += f"mkdir {name}; mount -t overlay -o ro,lowerdir={lower} none {name};"
    return in_mounts_of_their_own(script + "diff -rq --no-dereference a b || test $? = 1")


def timed(*words: str) -> list[float]:
    kiln.run(*words)  # what is read the first time is kept
    return [measure.timed(lambda: kiln.run(*words)) for _ in range(RUNS)]


with measure.Bench() as kiln:
    kiln.run("bake", "--no-publish")
    kept = kiln.home / "cache/contents"
    first, alone = [], []
    for _ in range(3):
        shutil.rmtree(kept)
        first.append(measure.timed(lambda: kiln.run("search", "nginx")))
        alone.append(hash_alone("web@1.0.0"))
    ours = measure.row("search, one image, nothing read before", first)
    theirs = measure.row("its layers and their files through sha256sum", alone)
    measure.ratio("first look / sha256sum", ours, theirs)

    for number in range(1, IMAGES):
        kiln.edit("kiln.yaml", f"1.0.{number - 1}", f"1.0.{number}")
        (kiln.app / "site/index.html").write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
        kiln.run("bake", "--no-publish")
    newest = f"web@1.0.{IMAGES - 1}"
    measure.row(f"images, {IMAGES} of them", timed("images"), aim="< 1")
    measure.row(f"show, one of {IMAGES}", timed("show", newest), aim="< 1")
    ours = measure.row("diff, two images", timed("diff", "web@1.0.0", newest), aim="< 1")
    theirs = measure.row("diff -r, both mounted", [diff_alone("web@1.0.0", newest) for _ in range(RUNS)])
    measure.ratio("diff / diff -r", ours, theirs)
    package = measure.row(f"search for a package, {IMAGES} images", timed("search", "nginx", "1.22"), aim="< 1")
    measure.row(f"search for a file, {IMAGES} images", timed("search", "/var/www/html/index.html"), aim="< 1")
    measure.row(f"search for a digest, {IMAGES} images", timed("search", "sha256:0123456789"), aim="< 1")
    files = [str(kept / blob.name) for number in range(IMAGES) for blob in blobs(f"web@1.0.{number}")]
    grep = measure.row("grep -c over what is kept of each image's layers", [
        measure.timed(lambda: subprocess.run(["grep", "-ac", "^Package: nginx$", *files], check=True, stdout=subprocess.DEVNULL))
        for _ in range(RUNS)])
    measure.ratio("search for a package / grep", package, grep)
