#!/usr/bin/env python3
"""Imports AWS's service models, trimmed to what Kiln serves, into src/wire/models/.

usage: import_models.py [--botocore PATH] [LIST ...]

A maintainer's tool: the build only reads its output. PATH is a folder that holds botocore's data (`botocore/data` or a
folder above it); without it, the installed botocore package is used. LIST is a file `src/wire/models/<namespace>.list`
(all of them without arguments); beside each, `<namespace>.json` is written. A list holds, one a line:

    service elbv2 2015-12-01       the folder and the API version in botocore's data; once, first
    DescribeListeners              an operation to serve
    without Shape.Member ...       members that are not served: requests that carry them are refused
    # a comment

The output holds the operations, the shapes that they reach and the metadata that the codecs need, no documentation, in
a stable order: one line a shape, so that an update of botocore reads well as a diff.
"""
import argparse
import gzip
import json
import pathlib
import sys

MODELS = pathlib.Path(__file__).resolve().parent.parent / "src/wire/models"
METADATA = ["apiVersion", "endpointPrefix", "jsonVersion", "protocol", "serviceId", "signingName", "targetPrefix",
            "xmlNamespace"]
SHAPE_TRAITS = ["type", "required", "member", "key", "value", "enum", "locationName"]
MEMBER_TRAITS = ["shape", "locationName", "queryName"]
# Traits that change bytes on the wire and that the codecs do not know: better no import than a wrong one.
UNKNOWN_TRAITS = ["flattened", "timestampFormat", "xmlAttribute", "location", "streaming", "jsonvalue", "eventstream",
                  "hostLabel", "payload", "xmlOrder"]


def fail(message):
    sys.exit(f"import_models.py: {message}")


def read_list(path):
    """Returns (folder, version, operations, [(shape, member)])."""
    service, operations, without = None, [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "service" and len(words) == 3 and service is None:
            service = (words[1], words[2])
        elif words[0] == "without" and all(word.count(".") == 1 for word in words[1:]):
            without += [tuple(word.split(".")) for word in words[1:]]
        elif len(words) == 1 and words[0][0].isupper():
            if words[0] in operations:
                fail(f"{path}:{number}: {words[0]} is listed twice")
            operations.append(words[0])
        else:
            fail(f"{path}:{number}: cannot read '{line}'")
    if service is None:
        fail(f"{path}: the line 'service FOLDER VERSION' is missing")
    return *service, sorted(operations), without


def find_data(given):
    if given is None:
        try:
            import botocore
        except ImportError:
            fail("botocore is not installed; install it (pip install botocore) or give its folder with --botocore")
        return pathlib.Path(botocore.__file__).parent / "data"
    for candidate in (given, given / "data", given / "botocore/data"):
        if (candidate / "endpoints.json").exists() or (candidate / "endpoints.json.gz").exists():
            return candidate
    fail(f"{given} does not hold botocore's data")


def botocore_version(data):
    for line in (data.parent / "__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.split("'")[1] if "'" in line else line.split('"')[1]
    fail(f"{data.parent}/__init__.py does not say its version")


def load_model(data, folder, version):
    for name, opener in (("service-2.json.gz", gzip.open), ("service-2.json", open)):
        path = data / folder / version / name
        if path.exists():
            with opener(path, "rt", encoding="utf-8") as file:
                return json.load(file)
    known = sorted(p.name for p in (data / folder).glob("*")) if (data / folder).exists() else []
    fail(f"no model of {folder} {version} in {data} (versions there: {', '.join(known) or 'none'})")


def keep(traits, names, where):
    for trait in UNKNOWN_TRAITS:
        if trait in traits:
            fail(f"{where} has the trait '{trait}', which the codecs do not know")
    return {name: traits[name] for name in names if name in traits}


def trim_shape(name, shape, without):
    out = keep(shape, SHAPE_TRAITS, name)
    for reference in ("member", "key", "value"):
        if reference in out:
            out[reference] = keep(out[reference], MEMBER_TRAITS, f"{name}.{reference}")
    if "enum" in out:
        out["enum"] = sorted(set(out["enum"]))
    if shape["type"] == "structure":
        out["members"] = {member: keep(traits, MEMBER_TRAITS, f"{name}.{member}")
                          for member, traits in shape["members"].items() if (name, member) not in without}
        if "required" in out:
            out["required"] = [member for member in out["required"] if member in out["members"]]
    return out


def references(shape):
    for traits in shape.get("members", {}).values():
        yield traits["shape"]
    for reference in ("member", "key", "value"):
        if reference in shape:
            yield shape[reference]["shape"]


def trim(model, operations, without, where):
    shapes, trimmed_operations = {}, {}
    for name in operations:
        if name not in model["operations"]:
            fail(f"{where}: the model has no operation {name}")
        operation, out = model["operations"][name], {}
        for side in ("input", "output"):
            if side in operation:
                out[side] = operation[side]["shape"]
        if "resultWrapper" in operation.get("output", {}):
            out["resultWrapper"] = operation["output"]["resultWrapper"]
        trimmed_operations[name] = out
        pending = [out[side] for side in ("input", "output") if side in out]
        while pending:
            shape = pending.pop()
            if shape not in shapes:
                shapes[shape] = trim_shape(shape, model["shapes"][shape], without)
                pending += references(shapes[shape])
    for shape, member in without:
        if member not in model["shapes"].get(shape, {}).get("members", {}):
            fail(f"{where}: 'without {shape}.{member}' names no member of the model")
    return trimmed_operations, shapes


def render(metadata, operations, shapes):
    def table(entries):
        return ",\n".join(f"  {json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries))
    return (f'{{\n"metadata": {{\n{table(metadata)}\n}},\n"operations": {{\n{table(operations)}\n}},\n'
            f'"shapes": {{\n{table(shapes)}\n}}\n}}\n')


def main():
    parser = argparse.ArgumentParser(description="Imports AWS's service models, trimmed to what Kiln serves.")
    parser.add_argument("--botocore", type=pathlib.Path, help="a folder with botocore's data")
    parser.add_argument("lists", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    data = find_data(arguments.botocore)
    for path in arguments.lists or sorted(MODELS.glob("*.list")):
        folder, version, operations, without = read_list(path)
        model = load_model(data, folder, version)
        metadata = {name: model["metadata"][name] for name in METADATA if name in model["metadata"]}
        metadata.setdefault("signingName", metadata["endpointPrefix"])
        metadata["botocore"] = botocore_version(data)
        trimmed_operations, shapes = trim(model, operations, set(without), path)
        output = path.with_suffix(".json")
        output.write_text(render(metadata, trimmed_operations, shapes), encoding="utf-8")
        print(f"{output}: {len(operations)} operations, {len(shapes)} shapes")


if __name__ == "__main__":
    main()
