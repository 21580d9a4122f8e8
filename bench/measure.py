"""Measure: what the benchmarks share. Medians, because these machines are noisy; ratios, because they differ."""
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))
import world  # noqa: E402


def timed(work) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def row(what: str, values: list[float], unit: str = "s", aim: str = "") -> float:
    median = statistics.median(values)
    print(f"  {what:<58} {median:10.3f} {unit}  (min {min(values):.3f}, max {max(values):.3f}, {len(values)} runs)"
          + (f"  aim {aim}" if aim else ""))
    return median


def ratio(what: str, ours: float, theirs: float) -> None:
    print(f"  ratio: {what:<51} {ours / theirs:10.2f}")


class Bench:
    """A Kiln of its own for the length of a `with`."""

    def __enter__(self) -> world.Kiln:
        self.kiln = world.Kiln()
        return self.kiln

    def __exit__(self, *_) -> None:
        left = self.kiln.close()
        if left:
            print("left behind:", left)
