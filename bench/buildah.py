"""The example's page onto the example's image: `buildah build` with a warm cache, beside Kiln; nothing and one file changed."""
import shutil
import subprocess
import time

import measure


def main() -> None:
    with measure.Bench() as kiln:
        kiln.run("bake", "--no-publish")
        layout, storage = kiln.home / "layout", kiln.home / "storage"
        kiln.run("export", "web@1.0.0", "--oci", str(layout), "--compression", "none")
        (kiln.app / "Dockerfile").write_text(f"FROM oci:{layout}:web-1.0.0\nRUN systemctl enable nginx\nCOPY site/ /var/www/html/\n")
        page = kiln.app / "site/index.html"

        def buildah() -> float:
            return measure.timed(lambda: subprocess.run(
                ["buildah", "--root", str(storage), "--runroot", str(storage / "run"), "--storage-driver", "vfs", "build",
                 "--layers", "--isolation", "chroot", "-t", "web", str(kiln.app)], check=True, capture_output=True))

        try:
            buildah()
            theirs = measure.row("buildah build, nothing changed", [buildah() for _ in range(3)])
            ours = measure.row("kiln bake, nothing changed",
                               [measure.timed(lambda: kiln.run("bake", "--no-publish")) for _ in range(5)])
            measure.ratio("Kiln / buildah, nothing changed", ours, theirs)
            changed = []
            for _ in range(3):
                page.write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
                changed.append(buildah())
            theirs = measure.row("buildah build, one file changed", changed)
            changed = []
            for number in range(5):
                kiln.edit("kiln.yaml", f"1.0.{number}", f"1.0.{number + 1}")
                page.write_text(f"web 1.0.0, changed at {time.time_ns()}\n")
                changed.append(measure.timed(lambda: kiln.run("bake", "--no-publish")))
            ours = measure.row("kiln bake, one file changed", changed)
            measure.ratio("Kiln / buildah, one file changed", ours, theirs)
        finally:
            subprocess.run(["buildah", "--root", str(storage), "--runroot", str(storage / "run"), "--storage-driver", "vfs",
                            "rmi", "--all", "--force"], capture_output=True)
            shutil.rmtree(storage, ignore_errors=True)


if __name__ == "__main__":
    main()
