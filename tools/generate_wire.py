#!/usr/bin/env python3
"""Writes C++ from a pinned model: the structures and the tables that describe them (src/wire/shape.h).

usage: generate_wire.py MODEL OUTPUT_FOLDER [PARTS]

MODEL is src/wire/models/<namespace>.json; <namespace>.h and <namespace>.1.cc to <namespace>.PARTS.cc are written into
OUTPUT_FOLDER: a large service in several parts is compiled side by side.
"""
import json
import pathlib
import re
import sys

KINDS = {"string": "string", "blob": "blob", "boolean": "boolean", "integer": "integer", "long": "integer", "float": "real",
         "double": "real", "timestamp": "timestamp", "list": "list", "map": "map", "structure": "structure"}
SCALARS = {"string": "std::string", "blob": "std::string", "boolean": "bool", "integer": "std::int64_t", "real": "double",
           "timestamp": "Time"}
# Words of C++ that a member may not be called.
KEYWORDS = {"and", "auto", "break", "case", "class", "default", "delete", "do", "enum", "explicit", "export", "for", "goto",
            "if", "int", "namespace", "new", "not", "operator", "or", "private", "public", "register", "return", "static",
            "switch", "this", "throw", "union", "using", "virtual"}


def snake(name):
    """ImageId → image_id, VPCId → vpc_id, DNSName → dns_name, TargetGroupARNs → target_group_arns."""
    name = re.sub(r"([A-Z]+)s(?=[A-Z]|$)", lambda m: m.group(1).capitalize() + "s" if len(m.group(1)) > 1 else m.group(0), name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).replace("-", "_").lower()
    return name + "_" if name in KEYWORDS else name


class Generator:
    def __init__(self, namespace, model):
        self.namespace = namespace
        self.metadata = model["metadata"]
        self.operations = model["operations"]
        self.shapes = model["shapes"]
        self.protocol = self.metadata["protocol"]

    def kind(self, name):
        return KINDS[self.shapes[name]["type"]]

    def type_of(self, name):
        kind = self.kind(name)
        if kind == "list":
            return f"std::vector<{self.type_of(self.shapes[name]['member']['shape'])}>"
        if kind == "map":
            return f"std::map<std::string, {self.type_of(self.shapes[name]['value']['shape'])}>"
        return name if kind == "structure" else SCALARS[kind]

    def member_type(self, shape):
        text = self.type_of(shape)
        return text if self.kind(shape) in ("list", "map") else f"std::optional<{text}>"

    def structures(self):
        """In an order in which each comes after those that it holds; a structure that holds itself is refused."""
        done, path, order = set(), [], []

        def visit(name):
            kind = self.kind(name)
            if kind in ("list", "map"):
                return visit(self.shapes[name]["member" if kind == "list" else "value"]["shape"])
            if kind != "structure" or name in done:
                return None
            if name in path:
                sys.exit(f"generate_wire.py: {' → '.join(path + [name])} holds itself; leave the member out of the list")
            path.append(name)
            for member in self.shapes[name]["members"].values():
                visit(member["shape"])
            path.pop()
            done.add(name)
            order.append(name)

        for name in sorted(self.shapes):
            visit(name)
        return order

    def header(self):
        version = self.metadata["apiVersion"]
        out = [f"// {self.metadata['serviceId']} {version}: its messages. Made by tools/generate_wire.py.", "#pragma once", "",
               '#include "wire/shape.h"', "", f"namespace kiln::wire::{self.namespace} {{", ""]
        for name in self.structures():
            out.append(f"struct {name} {{")
            for member, traits in self.shapes[name]["members"].items():
                out.append(f"  {self.member_type(traits['shape'])} {snake(member)};")
            out += ["};", ""]
        for name, operation in self.operations.items():
            out += [f"struct {name} {{", f"  using Input = {operation.get('input', 'Empty')};",
                    f"  using Output = {operation.get('output', 'Empty')};",
                    "  static const Operation& operation();", "};", ""]
        out += ["extern const Service kService;", "", f"}}  // namespace kiln::wire::{self.namespace}", ""]
        return "\n".join(out)

    def param(self, member, traits):
        if self.protocol == "ec2":
            if "queryName" in traits:
                return traits["queryName"]
            name = traits.get("locationName", member)
            return name[0].upper() + name[1:]
        return traits.get("locationName", member)

    def shape_table(self, name):
        shape, kind = self.shapes[name], self.kind(name)
        out = []
        if kind == "structure":
            rows = []
            for member, traits in shape["members"].items():
                xml = traits.get("locationName", member)
                required = "true" if member in shape.get("required", []) else "false"
                access = f"Access<&{name}::{snake(member)}>"
                rows.append(f'    {{"{member}", "{self.param(member, traits)}", "{xml}", &k{traits["shape"]}, {required}, '
                            f"{access}::get, {access}::make}},")
            if rows:
                out += [f"const Member kMembersOf{name}[] = {{", *rows, "};"]
        if "enum" in shape:
            values = ", ".join(json.dumps(value) for value in shape["enum"])
            out.append(f"const std::string_view kValuesOf{name}[] = {{{values}}};")
        members = f"kMembersOf{name}" if kind == "structure" and shape["members"] else "{}"
        values = f"kValuesOf{name}" if "enum" in shape else "{}"
        fields = [f'"{name}"', f"Kind::{kind}", members, values]
        if kind == "list":
            element = shape["member"]
            flat = self.protocol == "ec2"
            fields += [f"&k{element['shape']}", '""' if flat else f'"{element.get("locationName", "member")}"',
                       f'"{element.get("locationName", "item" if flat else "member")}"']
            access = f"ListAccess<{self.type_of(element['shape'])}>"
            fields += [f"{access}::size", f"{access}::at", f"{access}::append", "nullptr", "nullptr"]
        elif kind == "map":
            access = f"MapAccess<{self.type_of(shape['value']['shape'])}>"
            fields += [f"&k{shape['value']['shape']}", '"entry"', '"entry"', "nullptr", "nullptr", "nullptr",
                       f"{access}::each", f"{access}::insert"]
        else:
            fields += ["nullptr", '""', '""', "nullptr", "nullptr", "nullptr", "nullptr", "nullptr"]
        out.append(f"extern const Shape k{name} = {{{', '.join(fields)}}};")
        return out

    def described(self):
        """The shapes that a table points at: all but the keys of maps, which are strings."""
        names = {operation[side] for operation in self.operations.values() for side in ("input", "output")
                 if side in operation}
        for shape in self.shapes.values():
            names |= {traits["shape"] for traits in shape.get("members", {}).values()}
            names |= {shape[part]["shape"] for part in ("member", "value") if part in shape}
        return names

    def source(self, part, parts):
        """The tables of one part (from 1); the last one has the operations too."""
        described = sorted(self.described())
        out = [f"// {self.metadata['serviceId']}: the tables of its messages. Made by tools/generate_wire.py.",
               f'#include "wire/{self.namespace}.h"', "", f"namespace kiln::wire::{self.namespace} {{", "namespace table {", ""]
        out += [f"extern const Shape k{name};" for name in described]
        out += ["", "namespace {", ""]
        own = described[len(described) * (part - 1) // parts:len(described) * part // parts]
        tables = [self.shape_table(name) for name in own]
        out += [line for lines in tables for line in lines[:-1]]
        out += ["", "}  // namespace", ""]
        out += [lines[-1] for lines in tables]
        out += ["", "}  // namespace table", ""]
        if part == parts:
            out += self.operation_table()
        out += [f"}}  // namespace kiln::wire::{self.namespace}", ""]
        return "\n".join(out)

    def operation_table(self):
        out = ["namespace {", ""]
        if any(side not in operation for operation in self.operations.values() for side in ("input", "output")):
            out.append('const Shape kEmpty = {"Empty", Kind::structure, {}, {}, nullptr, "", "", nullptr, nullptr, nullptr, nullptr, '
                       "nullptr};")
        out += ["", "const Operation kOperations[] = {"]
        for name, operation in self.operations.items():
            def shape(side):
                return f"table::k{operation[side]}" if side in operation else "kEmpty"
            out.append(f'    {{"{name}", &kService, &{shape("input")}, &{shape("output")}, make_shape<{name}::Input>, '
                       f"make_shape<{name}::Output>}},")
        meta = self.metadata
        xml_namespace = meta.get("xmlNamespace", "")
        # EC2 answers with a slash at the end; the model leaves it out.
        if self.protocol == "ec2" and not xml_namespace.endswith("/"):
            xml_namespace += "/"
        out += ["};", "", "}  // namespace", "", "extern const Service kService = {",
                f'    "{self.namespace}", "{meta["serviceId"]}", "{meta["endpointPrefix"]}",',
                f'    "{meta.get("signingName", meta["endpointPrefix"])}", "{meta["apiVersion"]}", Protocol::{self.protocol},',
                f'    "{xml_namespace}", "{meta.get("targetPrefix", "")}", "{meta.get("jsonVersion", "")}",',
                "    kOperations};", ""]
        for index, name in enumerate(self.operations):
            out.append(f"const Operation& {name}::operation() {{ return kOperations[{index}]; }}")
        return out + [""]


def write(path, text):
    """Leaves a file alone that says the same already, so that nothing is compiled again for it."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main():
    model_path, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    generator = Generator(model_path.stem, json.loads(model_path.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{model_path.stem}.h", generator.header())
    parts = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    for part in range(1, parts + 1):
        write(folder / f"{model_path.stem}.{part}.cc", generator.source(part, parts))


if __name__ == "__main__":
    main()
