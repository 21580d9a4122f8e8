"""Push and pull through Debian's docker-registry on loopback; beside skopeo copying the same image."""
import shutil
import subprocess
import sys

import measure
import world

sys.path.insert(0, str(measure.ROOT / "tests/e2e"))
import registry_story  # noqa: E402

RUNS = 5


def peak_kib(command: list[str], env: dict[str, str]) -> int:
    """The most memory that the command had, by /usr/bin/time's way: the children's own counter, in a process apart."""
    program = ("import resource, subprocess, sys\n"
               "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    return int(subprocess.run([sys.executable, "-c", program, *command], env=env, check=True, capture_output=True, text=True).stdout)


with measure.Bench() as kiln:
    kiln.run("bake", "--no-publish")
    folder = kiln.home / "registry"
    folder.mkdir()
    registry = registry_story.Registry(folder)
    skopeo = [*registry_story.SKOPEO, "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]
    layout = f"oci:{folder}/layout:web"
    other = {"KILN_HOME": str(kiln.home / "other")}
    push, pull, their_push, their_pull = [], [], [], []
    for run in range(RUNS):
        # A name of its own each time, and no neighbour known from which the registry could take the layers.
        shutil.rmtree(world.CACHE / "store/transfers", ignore_errors=True)
        shutil.rmtree(f"{folder}/data-{registry.port}", ignore_errors=True)
        place = f"{registry.name}/team/web{run}:1"
        push.append(measure.timed(lambda: kiln.run("push", "web@1.0.0", place)))
        shutil.rmtree(other["KILN_HOME"], ignore_errors=True)
        pull.append(measure.timed(lambda: kiln.run("pull", place, env=other)))
        shutil.rmtree(folder / "layout", ignore_errors=True)
        their_pull.append(measure.timed(lambda: subprocess.run([*skopeo, f"docker://{place}", layout], check=True)))
        shutil.rmtree(f"{folder}/data-{registry.port}", ignore_errors=True)
        their_push.append(measure.timed(lambda: subprocess.run([*skopeo, layout, f"docker://{place}"], check=True)))
    ours = measure.row("kiln push, nothing there", push)
    theirs = measure.row("skopeo copy, from a layout to the registry", their_push)
    measure.ratio("kiln push / skopeo", ours, theirs)
    ours = measure.row("kiln pull, into an empty home", pull)
    theirs = measure.row("skopeo copy, from the registry to a layout", their_pull)
    measure.ratio("kiln pull / skopeo", ours, theirs)
    kiln.run("push", "web@1.0.0", f"{registry.name}/team/again:1")
    again = [measure.timed(lambda: kiln.run("push", "web@1.0.0", f"{registry.name}/team/again:1")) for _ in range(RUNS)]
    measure.row("kiln push, all of it there", again)
    env = kiln.environment()
    shutil.rmtree(world.CACHE / "store/transfers", ignore_errors=True)
    shutil.rmtree(f"{folder}/data-{registry.port}", ignore_errors=True)
    memory = peak_kib([world.PROGRAM, "push", "web@1.0.0", f"{registry.name}/team/memory:1"], env | {"PWD": str(kiln.app)})
    print(f"  {'kiln push, most memory':<58} {memory / 1024:10.1f} MiB")
    shutil.rmtree(other["KILN_HOME"], ignore_errors=True)
    memory = peak_kib([world.PROGRAM, "pull", f"{registry.name}/team/memory:1"], env | other)
    print(f"  {'kiln pull, most memory':<58} {memory / 1024:10.1f} MiB")
    registry.close()
