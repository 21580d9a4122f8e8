#!/usr/bin/env python3
"""Fails when a room includes a room that its CMake file does not name.

usage: check_edges.py ROOM FOLDER [DEP ...]
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([a-z_]+)/([^"]+)"')


def main() -> int:
    room, folder, deps = sys.argv[1], pathlib.Path(sys.argv[2]), set(sys.argv[3:])
    rooms = {p.name for p in folder.parent.iterdir() if p.is_dir()}
    bad = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            other, rest = match.groups()
            if other not in rooms or other == room:
                continue
            if other not in deps:
                print(f"{path}:{number}: room '{room}' includes '{other}', which its DEPS do not name", file=sys.stderr)
                bad += 1
            elif rest.startswith("internal/"):
                print(f"{path}:{number}: '{other}/{rest}' is private to its room", file=sys.stderr)
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
