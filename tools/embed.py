#!/usr/bin/env python3
"""Writes a C++ source that holds the help pages and the example app, so that the program needs no files beside it.

usage: embed.py OUTPUT HELP_FOLDER EXAMPLE_FOLDER
"""
import pathlib
import sys


def literal(text: str) -> str:
    # Pieces: a compiler must take only 65,536 characters of one literal, and MSVC's limit is no concern here.
    return 'R"kiln(' + text + ')kiln"'


def main() -> None:
    output, pages, example = (pathlib.Path(p) for p in sys.argv[1:4])
    lines = ["// Embedded: help pages and the example app; made by tools/embed.py.", '#include "cli/embedded.h"', "",
             "namespace kiln::cli {", "", "const std::vector<EmbeddedFile>& help_pages() {",
             "  static const std::vector<EmbeddedFile> kFiles = {"]
    for page in sorted(pages.glob("*.md")):
        lines.append(f'      {{"{page.stem}", {literal(page.read_text())}}},')
    lines += ["  };", "  return kFiles;", "}", "", "const std::vector<EmbeddedFile>& example_app() {",
              "  static const std::vector<EmbeddedFile> kFiles = {"]
    for path in sorted(p for p in example.rglob("*") if p.is_file()):
        lines.append(f'      {{"{path.relative_to(example)}", {literal(path.read_text())}}},')
    lines += ["  };", "  return kFiles;", "}", "", "}  // namespace kiln::cli", ""]
    output.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
