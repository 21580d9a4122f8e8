#!/usr/bin/env python3
"""Writes src/wire/testdata/golden/: messages of every served operation, as botocore sends and reads them.

usage: make_wire_golden.py     (with a Python that has botocore; tools/import_models.py says which version is pinned)

A maintainer's tool: the tests only read its output. <service>.jsonl holds one operation a line:

    operation, input, request     the input as JSON, and the body that botocore's serializer makes of it
    output, response              the output as JSON, and an answer that botocore's parser reads as just that
    error, response               an error that botocore's parser reads as such

In `input` and `output` blobs are Base64 and times are seconds since the epoch. Every structure is full where a service's
messages first hold it, so that every name of every member is seen; later it holds only what is required or comes first.
"""
import base64
import datetime
import json
import pathlib
import sys
import urllib.parse
from xml.sax.saxutils import escape

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize

MODELS = pathlib.Path(__file__).resolve().parent.parent / "src/wire/models"
GOLDEN = MODELS.parent / "testdata/golden"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
TEXTS = ["plain", "a b&c=d%2B+", "<é> \"quoted\" & 'more'", "two\nlines"]


class Filler:
    """Values for shapes, the same on every run."""

    def __init__(self, pinned):
        self.pinned = pinned
        self.seen = set()
        self.count = 0

    def value(self, shape):
        self.count += 1
        match shape.type_name:
            case "structure":
                return self.structure(shape)
            case "list":
                return [self.value(shape.member), self.value(shape.member)]
            case "map":
                return {"a": self.value(shape.value), "b & c": self.value(shape.value)}
            case "string":
                return shape.enum[self.count % len(shape.enum)] if shape.enum else TEXTS[self.count % len(TEXTS)]
            case "blob":
                return b"\x00\xff&<blob"
            case "boolean":
                return self.count % 2 == 0
            case "integer":
                return self.count
            case "long":
                return 5_000_000_000 + self.count
            case "float" | "double":
                return self.count + 0.25
            case "timestamp":
                return EPOCH + datetime.timedelta(seconds=1_700_000_000 + self.count, milliseconds=125)
        sys.exit(f"make_wire_golden.py: no values of type {shape.type_name}")

    def structure(self, shape):
        members = {name: member for name, member in shape.members.items() if name in self.pinned[shape.name]["members"]}
        if shape.name in self.seen:
            first = next((n for n, m in members.items() if m.type_name not in ("structure", "list", "map")),
                         next(iter(members), None))
            members = {n: m for n, m in members.items() if n == first or n in shape.required_members}
        self.seen.add(shape.name)
        filled = {name: self.value(member) for name, member in members.items()}
        # A structure with nothing in it leaves no trace in a form.
        return {name: value for name, value in filled.items() if value != {} and value != [{}, {}]}


def plain(value):
    """As JSON can hold it."""
    if isinstance(value, dict):
        return {name: plain(held) for name, held in value.items()}
    if isinstance(value, list):
        return [plain(held) for held in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return (value - EPOCH).total_seconds()
    return value


def without_empty_lists(value):
    if isinstance(value, dict):
        return {name: without_empty_lists(held) for name, held in value.items() if held != []}
    return [without_empty_lists(held) for held in value] if isinstance(value, list) else value


def text(shape, value):
    if shape.type_name == "timestamp":
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
    if shape.type_name == "boolean":
        return "true" if value else "false"
    return escape(plain(value) if isinstance(value, bytes) else str(value), {'"': "&quot;"})


def element(shape, value, name, protocol):
    if shape.type_name == "structure":
        inner = members(shape, value, protocol)
    elif shape.type_name == "list":
        default = "item" if protocol == "ec2" else "member"
        inner = "".join(element(shape.member, held, shape.member.serialization.get("name", default), protocol)
                        for held in value)
    elif shape.type_name == "map":
        inner = "".join(f"<entry><key>{escape(key)}</key>{element(shape.value, held, 'value', protocol)}</entry>"
                        for key, held in value.items())
    else:
        inner = text(shape, value)
    return f"<{name}>{inner}</{name}>"


def members(shape, value, protocol):
    out = ""
    for name, member in shape.members.items():
        tag = member.serialization.get("name", name)
        if name in value:
            out += element(member, value[name], tag, protocol)
        elif member.type_name == "list":
            out += f"<{tag}/>"
    return out


def answer(service, operation, output):
    """An answer as AWS writes it. The shapes that were left out of the pinned model hold nothing here either."""
    protocol = service.metadata["protocol"]
    if protocol == "json":
        return json.dumps(plain(output))
    name, shape = operation.name, operation.output_shape
    namespace = service.metadata["xmlNamespace"]
    body = members(shape, output, protocol) if shape and shape.members else ""
    if protocol == "ec2":
        namespace = namespace.rstrip("/") + "/"
        inner = "<requestId>golden-id</requestId>" + (body or ("" if shape and shape.members else "<return>true</return>"))
    else:
        if shape and shape.members:
            result = f"<{name}Result>{body}</{name}Result>"
        else:
            result = f"<{name}Result/>" if shape else ""
        inner = result + "<ResponseMetadata><RequestId>golden-id</RequestId></ResponseMetadata>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name}Response xmlns="{namespace}">{inner}</{name}Response>'


def error_answer(service, code, message):
    match service.metadata["protocol"]:
        case "ec2":
            return ('<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
                    f"<Code>{code}</Code><Message>{escape(message)}</Message></Error></Errors>"
                    "<RequestID>golden-id</RequestID></Response>")
        case "query":
            return (f'<?xml version="1.0" encoding="UTF-8"?>\n<ErrorResponse xmlns="{service.metadata["xmlNamespace"]}">'
                    f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
                    "<RequestId>golden-id</RequestId></ErrorResponse>")
    return json.dumps({"__type": code, "message": message})


def parse(service, shape, status, body):
    parser = botocore.parsers.ResponseParserFactory().create_parser(service.metadata["protocol"])
    headers = {"x-amzn-requestid": "golden-id"}
    return parser.parse({"status_code": status, "headers": headers, "body": body.encode(), "context": {}}, shape)


def check(condition, message):
    if not condition:
        sys.exit(f"make_wire_golden.py: {message}")


def operation_line(service, operation, fillers):
    serializer = botocore.serialize.create_serializer(service.metadata["protocol"], include_validation=False)
    given = fillers[0].value(operation.input_shape) if operation.input_shape else {}
    body = serializer.serialize_to_request(given, operation)["body"]
    request = body.decode() if isinstance(body, bytes) else urllib.parse.urlencode(body)
    output = fillers[1].value(operation.output_shape) if operation.output_shape else {}
    response = answer(service, operation, output)
    read = parse(service, operation.output_shape, 200, response)
    read.pop("ResponseMetadata")
    check(without_empty_lists(plain(read)) == without_empty_lists(plain(output)),
          f"botocore reads another {operation.name} than was written:\n{read}\n{output}")
    return {"operation": operation.name, "input": plain(given), "request": request, "output": plain(output),
            "response": response}


def error_line(service):
    code, message = "InvalidParameterValue", "Value (<t9.huge>) & more"
    response = error_answer(service, code, message)
    read = parse(service, None, 400, response)
    check((read["Error"]["Code"], read["Error"]["Message"]) == (code, message), f"botocore reads {read['Error']}")
    check(read["ResponseMetadata"]["RequestId"] == "golden-id", f"botocore reads {read['ResponseMetadata']}")
    return {"error": {"code": code, "message": message}, "response": response}


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for path in sorted(MODELS.glob("*.json")):
        pinned = json.loads(path.read_text())
        folder = next(line.split()[1] for line in path.with_suffix(".list").read_text().splitlines()
                      if line.startswith("service "))
        loaded = botocore.loaders.Loader().load_service_model(folder, "service-2", pinned["metadata"]["apiVersion"])
        service = botocore.model.ServiceModel(loaded, folder)
        fillers = Filler(pinned["shapes"]), Filler(pinned["shapes"])
        lines = [operation_line(service, service.operation_model(name), fillers) for name in pinned["operations"]]
        lines.append(error_line(service))
        output = GOLDEN / f"{path.stem}.jsonl"
        output.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        print(f"{output}: {len(lines)} lines, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
