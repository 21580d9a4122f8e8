#!/usr/bin/env python3
"""House rules as a test: fails with one line for each place that breaks one.

Rules: every file begins with what it is; lines have at most 120 columns and files a size that one idea has; every source is
named by a CMakeLists.txt; rooms include only what their DEPS name; no promises without an owner; no `using namespace` in
headers; help, command and README's table go together; the tests that docs/conformance.md names exist; code is formatted.
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARKERS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
LINES_MAX = 600
LINES_MAX_TEST = 900
problems: list[str] = []


def problem(path: pathlib.Path, line: int, text: str) -> None:
    problems.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def tracked() -> list[pathlib.Path]:
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in out.stdout.splitlines() if (ROOT / name).is_file()]


def check_code(path: pathlib.Path) -> None:
    lines = path.read_text().splitlines()
    if not lines or not lines[0].startswith("// "):
        problem(path, 1, "the first line says what the file is: '// Name: what it is.'")
    for number, line in enumerate(lines, 1):
        if len(line) > 120:
            problem(path, number, f"{len(line)} columns; 120 are the most")
        if MARKERS.search(line):
            problem(path, number, "a promise without an owner")
        if path.suffix == ".h" and re.match(r"\s*using namespace", line):
            problem(path, number, "`using namespace` in a header")
        if "\t" in line:
            problem(path, number, "a tab")
    bound = LINES_MAX_TEST if path.stem.endswith("_test") else LINES_MAX
    if len(lines) > bound:
        problem(path, bound, f"{len(lines)} lines: split it by idea; {bound} are the most")
    if path.suffix == ".h" and "#pragma once" not in lines:
        problem(path, 1, "a header without #pragma once")


def check_named(paths: list[pathlib.Path]) -> None:
    """Every source is built by some target."""
    for path in paths:
        if path.suffix != ".cc":
            continue
        folder = path.parent
        while folder != ROOT.parent and not (folder / "CMakeLists.txt").exists():
            folder = folder.parent
        # handlers.cc is not refresh/handlers.cc, and plan.cc is not refresh_plan.cc.
        name = path.relative_to(folder).as_posix()
        if not re.search(rf"(?<![\w/.]){re.escape(name)}(?![\w.])", (folder / "CMakeLists.txt").read_text()):
            problem(path, 1, f"no target names it in {(folder / 'CMakeLists.txt').relative_to(ROOT)}")


def check_edges() -> None:
    for cmake in sorted((ROOT / "src").glob("*/CMakeLists.txt")):
        text = cmake.read_text()
        match = re.search(r"kiln_room\(\s*(\w+)(.*?)^\s*\)|kiln_room\(\s*(\w+)(.*)\)", text, re.S | re.M)
        if not match:
            continue
        body = match.group(2) or match.group(4) or ""
        deps = re.search(r"\bDEPS\b([^A-Z)]*)", body)
        names = deps.group(1).split() if deps else []
        result = subprocess.run([sys.executable, ROOT / "tools/check_edges.py", cmake.parent.name, cmake.parent, *names],
                                capture_output=True, text=True)
        problems.extend(result.stderr.splitlines())


def check_rooms() -> None:
    for forbidden in ("common", "util", "utils", "core", "helper", "helpers", "manager", "types"):
        if (ROOT / "src" / forbidden).exists():
            problems.append(f"src/{forbidden}: no room has such a name")


def check_help() -> None:
    commands = {p.stem for p in (ROOT / "src/cli/commands").glob("*.cc") if not p.stem.endswith("_test")}
    pages = {p.stem for p in (ROOT / "src/cli/help").glob("*.md")}
    for name in sorted(commands ^ pages):
        problems.append(f"src/cli: '{name}' has a command or a help page, not both")
    readme = (ROOT / "README.md").read_text()
    for name in sorted(pages):
        if not re.search(rf"^\|[^|]*`[^|]*\b{name}\b", readme, re.MULTILINE):
            problems.append(f"README.md: no table has a row for `kiln {name}`")


def check_conformance(paths: list[pathlib.Path]) -> None:
    """Every test that docs/conformance.md names as showing a rule is there."""
    tests: dict[str, set[str]] = {}
    for path in paths:
        if path.suffix in (".cc", ".h", ".py"):
            for suite, name in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", path.read_text(), re.M):
                tests.setdefault(suite, set()).add(name)
    page = ROOT / "docs/conformance.md"
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("|"):
            continue
        suite = ""
        for given, name in re.findall(r"`(\w*)\.(\w+|\*)`", line.split("|")[-2]):
            suite = given or suite
            if suite not in tests or (name != "*" and name not in tests[suite]):
                problem(page, number, f"there is no test {suite}.{name}")


def check_format(paths: list[pathlib.Path]) -> None:
    tool = shutil.which("clang-format")
    if tool is None:
        problems.append("clang-format is not installed: apt-get install clang-format")
        return
    files = [str(p) for p in paths if p.suffix in (".h", ".cc")]
    result = subprocess.run([tool, "--dry-run", "--Werror", *files], cwd=ROOT, capture_output=True, text=True)
    bad = sorted({line.split(":")[0] for line in result.stderr.splitlines() if "error:" in line})
    problems.extend(f"{pathlib.Path(name).relative_to(ROOT)}: not formatted; run: make format" for name in bad)


def main() -> int:
    paths = [p for p in tracked() if "third_party" not in p.parts]
    for path in paths:
        if path.suffix in (".h", ".cc"):
            check_code(path)
    check_named(paths)
    check_edges()
    check_rooms()
    check_help()
    check_conformance(paths)
    check_format(paths)
    for line in problems:
        print(line, file=sys.stderr)
    print(f"{len(paths)} files read, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
