// HCL2: syntax and functions, one expression at a time.
#include "packer/hcl.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "packer/evaluate.h"
#include "packer/internal/test_outside.h"

namespace kiln::packer {
namespace {

using testing::HasSubstr;

// The value of an expression as JSON. var.name, var.list and var.map exist.
std::string value_of(const std::string& text, TestOutside world = {}) {
  const spec::Source source{"test", text};
  const ExpressionPtr expression = read_hcl_expression(source);
  const Outside outside = world.outside();
  const Value map = Value::object({{"b", Value::of(2.0)}, {"a", Value::of(1.0)}});
  Evaluator evaluator(
      outside, [&](const std::string& root, const std::string& member, const Place& place) -> std::optional<Value> {
        if (root != "var") return std::nullopt;
        if (member == "name") return Value::of("web");
        if (member == "list") return Value::list({Value::of("x"), Value::of("y")});
        if (member == "map") return map;
        if (member == "hosts")
          return Value::list(
              {Value::object({{"ip", Value::of("10.0.0.1")}}), Value::object({{"ip", Value::of("10.0.0.2")}})});
        throw place.error("no such variable");
      });
  return to_json(evaluator.evaluate(*expression));
}

std::string failure(const std::string& text) {
  return error_of([&] { value_of(text); });
}

TEST(Hcl, NumbersAndOperatorsHaveTheirPrecedence) {
  EXPECT_EQ(value_of("1 + 2 * 3"), "7");
  EXPECT_EQ(value_of("(1 + 2) * 3"), "9");
  EXPECT_EQ(value_of("7 / 2"), "3.5");
  EXPECT_EQ(value_of("-7 % 4"), "-3");
  EXPECT_EQ(value_of("1e3"), "1000");
  EXPECT_EQ(value_of("1 < 2 && !(2 <= 1) || false"), "true");
  EXPECT_EQ(value_of("1 == 1 ? \"yes\" : \"no\""), "\"yes\"");
  EXPECT_EQ(value_of("\"1\" == 1"), "false");
}

TEST(Hcl, StringsHoldExpressionsAndEscapes) {
  EXPECT_EQ(value_of(R"x("a-${var.name}-${1 + 1}")x"), "\"a-web-2\"");
  EXPECT_EQ(value_of(R"x("\"\\\n\tA")x"), R"x("\"\\\n\tA")x");
  EXPECT_EQ(value_of(R"x("$${var.name} %%{if}")x"), R"x("${var.name} %{if}")x");
  EXPECT_EQ(value_of(R"x("${"inner ${"deep"}"}")x"), "\"inner deep\"");
  EXPECT_EQ(value_of(R"x("${var.list}")x"), R"(["x","y"])") << "alone it is the value itself";
  EXPECT_EQ(value_of(R"x("a $ b % c {")x"), R"x("a $ b % c {")x");
}

TEST(Hcl, DirectivesInStrings) {
  EXPECT_EQ(value_of(R"x("%{if var.name == "web"}W%{else}X%{endif}!")x"), "\"W!\"");
  EXPECT_EQ(value_of(R"x("%{for x in var.list}<${x}>%{endfor}")x"), R"x("\u003cx\u003e\u003cy\u003e")x");
  EXPECT_EQ(value_of(R"x("%{if true}${format("%s", "q")}%{endif}")x"), "\"q\"");
  EXPECT_EQ(value_of("<<E\n%{ for x in var.list ~}\n- ${x}\n%{ endfor ~}\nE\n"), R"x("- x\n- y\n")x");
  EXPECT_THAT(failure(R"x("%{if true}a")x"), HasSubstr("without '%{endif}'"));
  EXPECT_THAT(failure(R"x("%{endif}")x"), HasSubstr("has no beginning"));
  EXPECT_THAT(failure(R"x("%{while}")x"), HasSubstr("'if' or 'for'"));
}

TEST(Hcl, Heredocs) {
  EXPECT_EQ(value_of("<<EOT\na ${var.name}\n  b\nEOT\n"), R"x("a web\n  b\n")x");
  EXPECT_EQ(value_of("<<-EOT\n    a\n      b\n    EOT\n"), R"x("a\n  b\n")x");
  EXPECT_EQ(value_of("<<EOT\nno \\n escape \"quote\"\nEOT\n"), R"x("no \\n escape \"quote\"\n")x");
  EXPECT_THAT(failure("<<EOT\nabc\n"), HasSubstr("no line says 'EOT'"));
}

TEST(Hcl, ListsObjectsAndTheirElements) {
  EXPECT_EQ(value_of("[1, \"a\", true, null,]"), R"x([1,"a",true,null])x");
  EXPECT_EQ(value_of("{a = 1, \"b\" : 2\n (\"c${1}\") = 3}"), R"x({"a":1,"b":2,"c1":3})x");
  EXPECT_EQ(value_of("var.list[1]"), "\"y\"");
  EXPECT_EQ(value_of("var.list.0"), "\"x\"");
  EXPECT_EQ(value_of("var.map[\"a\"] + var.map.b"), "3");
  EXPECT_EQ(value_of("[[1, 2], [3]][0][1]"), "2");
  EXPECT_THAT(failure("var.list[2]"), HasSubstr("the list has 2 elements"));
  EXPECT_THAT(failure("var.map.c"), HasSubstr("there is no 'c' here"));
}

TEST(Hcl, ForAndSplat) {
  EXPECT_EQ(value_of("[for x in var.list : upper(x)]"), R"x(["X","Y"])x");
  EXPECT_EQ(value_of("[for i, x in var.list : \"${i}${x}\" if i > 0]"), R"x(["1y"])x");
  EXPECT_EQ(value_of("{for k, v in var.map : upper(k) => v * 10}"), R"x({"A":10,"B":20})x");
  EXPECT_EQ(value_of("[for k, v in var.map : k]"), R"x(["a","b"])x");
  EXPECT_EQ(value_of("{for s in [\"ab\", \"ac\", \"bd\"] : substr(s, 0, 1) => s...}"),
            R"x({"a":["ab","ac"],"b":["bd"]})x");
  EXPECT_EQ(value_of("var.hosts[*].ip"), R"x(["10.0.0.1","10.0.0.2"])x");
  EXPECT_EQ(value_of("var.hosts.*.ip"), R"x(["10.0.0.1","10.0.0.2"])x");
  EXPECT_THAT(failure("{for s in [1, 2] : \"k\" => s}"), HasSubstr("two elements have the key 'k'"));
}

TEST(Hcl, CommentsAndNewlinesInBrackets) {
  EXPECT_EQ(value_of("[ # one\n 1, // two\n /* and\n three */ 2\n]"), "[1,2]");
  EXPECT_EQ(value_of("min(\n  3,\n  2,\n)"), "2");
  EXPECT_EQ(value_of("max([1, 5, 3]...)"), "5");
}

TEST(Hcl, MistakesAreShownWhereTheyAre) {
  EXPECT_THAT(failure("[1 2]"), HasSubstr("test:1:4: '2' is where ',' must be"));
  EXPECT_THAT(failure("\"abc"), HasSubstr("this string has no end"));
  EXPECT_THAT(failure("foo"), HasSubstr("there is no 'foo' here"));
  EXPECT_THAT(failure("uper(\"a\")"), HasSubstr("did you mean 'upper'?"));
  EXPECT_THAT(failure("upper()"), HasSubstr("'upper' takes 1 argument, here are 0"));
  EXPECT_THAT(failure("\"a\" + 1"), HasSubstr("'+' needs two numbers"));
  EXPECT_THAT(failure("1 / 0"), HasSubstr("division by zero"));
  EXPECT_THAT(failure("\"${[1]}x\""), HasSubstr("a list cannot be part of a string"));
  EXPECT_THAT(failure("1 ? 2 : 3"), HasSubstr("true or false must be here"));
  EXPECT_THAT(failure("\"\\q\""), HasSubstr("there is no escape '\\q'"));
}

TEST(Hcl, NothingGrowsWithoutBound) {
  EXPECT_THAT(failure(std::string(100'000, '[')), HasSubstr("nested too deeply"));
  EXPECT_THAT(failure(std::string(100'000, '-') + "1"), HasSubstr("nested too deeply"));
  EXPECT_THAT(failure(std::string(50'000, '(')), HasSubstr("nested too deeply"));
  std::string sum = "1";
  for (int i = 0; i < 10'000; ++i) sum += "+1";
  EXPECT_THAT(failure(sum), HasSubstr("too long"));
  std::string doubled = "\"xxxxxxxxxxxxxxxx\"";
  for (int i = 0; i < 30; ++i) doubled = "replace(" + doubled + ", \"x\", \"xxxxxxxx\")";
  EXPECT_THAT(failure(doubled), HasSubstr("too l"));
  EXPECT_THAT(failure("[for a in range(1000) : [for b in range(1000) : \"" + std::string(1000, 'x') + "\"]]"),
              HasSubstr("too large"));
  // Nor what is thrown away again, and steps that make next to nothing.
  const std::string discarded = "[for a in range(1000) : length([for b in range(1000) : {}])]";
  EXPECT_THAT(failure(fmt::format(fmt::runtime(discarded), "\"" + std::string(1000, 'x') + "\"")),
              HasSubstr("the template's values become too large"));
  EXPECT_THAT(failure(fmt::format(fmt::runtime(discarded), "b")), HasSubstr("the template's values become too large"));
}

TEST(Functions, OfTexts) {
  EXPECT_EQ(value_of("lower(\"AbC\")"), "\"abc\"");
  EXPECT_EQ(value_of("title(\"hello big world\")"), "\"Hello Big World\"");
  EXPECT_EQ(value_of("join(\"-\", [\"a\", \"b\"], [\"c\"])"), "\"a-b-c\"");
  EXPECT_EQ(value_of("split(\",\", \"a,b,,c\")"), R"x(["a","b","","c"])x");
  EXPECT_EQ(value_of("replace(\"a-b-c\", \"-\", \"_\")"), "\"a_b_c\"");
  EXPECT_EQ(value_of(R"x(replace("v1.2", "/[0-9]+/", "N"))x"), "\"vN.N\"");
  EXPECT_EQ(value_of(R"x(regex_replace("john doe", "(\\w+) (\\w+)", "$2 $${1}"))x"), "\"doe john\"");
  EXPECT_EQ(value_of(R"x(regex("(\\d+)-(\\d+)", "on 12-34"))x"), R"x(["12","34"])x");
  EXPECT_EQ(value_of(R"x(regexall("[a-z]+", "ab 12 cd"))x"), R"x(["ab","cd"])x");
  EXPECT_EQ(value_of("trimspace(\"  a \\n\")"), "\"a\"");
  EXPECT_EQ(value_of("trimprefix(\"v1.2\", \"v\")"), "\"1.2\"");
  EXPECT_EQ(value_of("trimsuffix(\"a.json\", \".json\")"), "\"a\"");
  EXPECT_EQ(value_of("substr(\"hello\", 1, 3)"), "\"ell\"");
  EXPECT_EQ(value_of("substr(\"hello\", -3, -1)"), "\"llo\"");
  EXPECT_EQ(value_of("format(\"%s-%03d-%5.2f-%q-%%\", \"a\", 7, 3.14159, \"q\")"), R"x("a-007- 3.14-\"q\"-%")x");
  EXPECT_EQ(value_of("format(\"%-5s|%5s|%x\", \"ab\", \"cd\", 255)"), "\"ab   |   cd|ff\"");
  EXPECT_EQ(value_of("formatlist(\"%s.%s\", [\"a\", \"b\"], \"com\")"), R"x(["a.com","b.com"])x");
  EXPECT_EQ(value_of("indent(2, \"a\\nb\")"), R"x("a\n  b")x");
  EXPECT_THAT(failure("format(\"%s\")"), HasSubstr("fewer arguments"));
  EXPECT_THAT(failure("format(\"%9999d\", 1)"), HasSubstr("at most three digits"));
  EXPECT_THAT(failure("regex(\"(\", \"a\")"), HasSubstr("not a regular expression"));
}

TEST(Functions, OfListsAndObjects) {
  EXPECT_EQ(value_of("concat([1], [2, 3])"), "[1,2,3]");
  EXPECT_EQ(value_of("merge({a = 1, b = 2}, {b = 3})"), R"x({"a":1,"b":3})x");
  EXPECT_EQ(value_of("lookup({a = 1}, \"b\", 5)"), "5");
  EXPECT_EQ(value_of("length(\"äb\") + length([1, 2]) + length({a = 1})"), "5");
  EXPECT_EQ(value_of("flatten([[1, [2]], 3])"), "[1,2,3]");
  EXPECT_EQ(value_of("distinct([1, 2, 1])"), "[1,2]");
  EXPECT_EQ(value_of("toset([\"b\", \"a\", \"b\"])"), R"x(["a","b"])x");
  EXPECT_EQ(value_of("keys({b = 1, a = 2})"), R"x(["a","b"])x");
  EXPECT_EQ(value_of("values({b = 1, a = 2})"), "[2,1]");
  EXPECT_EQ(value_of("element([\"a\", \"b\"], 3)"), "\"b\"");
  EXPECT_EQ(value_of("contains([\"a\"], \"a\")"), "true");
  EXPECT_EQ(value_of("coalesce(null, \"\", \"x\")"), "\"x\"");
  EXPECT_EQ(value_of("compact([\"a\", \"\", null])"), R"x(["a"])x");
  EXPECT_EQ(value_of("zipmap([\"a\", \"b\"], [1, 2])"), R"x({"a":1,"b":2})x");
  EXPECT_EQ(value_of("slice([1, 2, 3, 4], 1, 3)"), "[2,3]");
  EXPECT_EQ(value_of("chunklist([1, 2, 3], 2)"), "[[1,2],[3]]");
  EXPECT_EQ(value_of("range(1, 4)"), "[1,2,3]");
  EXPECT_EQ(value_of("setintersection([1, 2], [2, 3])"), "[2]");
  EXPECT_EQ(value_of("sort([\"b\", \"a\"])"), R"x(["a","b"])x");
  EXPECT_EQ(value_of("try(var.map.zz, \"none\")"), "\"none\"");
  EXPECT_EQ(value_of("can(var.map.zz)"), "false");
  EXPECT_EQ(value_of("tonumber(\"12\") + 1"), "13");
  EXPECT_THAT(failure("tonumber(\"x\")"), HasSubstr("must be a number"));
}

TEST(Functions, OfTheOutside) {
  TestOutside world{.files = {{"a.txt", "hello\n"},
                              {"t.tpl", "%{for x in names}${x};%{endfor}"},
                              {"conf/x.conf", ""},
                              {"conf/d/y.conf", ""}}};
  EXPECT_EQ(value_of("file(\"a.txt\")", world), R"x("hello\n")x");
  EXPECT_EQ(value_of("fileexists(\"b.txt\")", world), "false");
  EXPECT_EQ(value_of("templatefile(\"t.tpl\", {names = [\"a\", \"b\"]})", world), "\"a;b;\"");
  EXPECT_EQ(value_of("fileset(\"conf\", \"*.conf\")", world), R"x(["x.conf"])x");
  EXPECT_EQ(value_of("fileset(\"conf\", \"**\")", world), R"x(["d/y.conf","x.conf"])x");
  EXPECT_EQ(value_of("timestamp()"), "\"2026-11-25T09:03:06Z\"");
  EXPECT_EQ(value_of("formatdate(\"YYYYMMDDhhmmss\", timestamp())"), "\"20261125090306\"");
  EXPECT_EQ(value_of("formatdate(\"EEE, DD MMM YYYY hh:mm:ss 'Zone' ZZZ\", timestamp())"),
            "\"Wed, 25 Nov 2026 09:03:06 Zone UTC\"");
  EXPECT_EQ(value_of("timeadd(timestamp(), \"24h\")"), "\"2026-11-26T09:03:06Z\"");
  EXPECT_EQ(value_of("legacy_isotime(\"2006-01-02\")"), "\"2026-11-25\"");
  EXPECT_EQ(value_of("basename(\"a/b.txt\")"), "\"b.txt\"");
  EXPECT_EQ(value_of("dirname(\"a/b.txt\")"), "\"a\"");
  EXPECT_EQ(value_of("abspath(\"x/../y\")"), "\"/srv/shop/y\"");
  EXPECT_EQ(value_of("jsonencode({b = [1, \"<\"], a = null})"), R"x("{\"a\":null,\"b\":[1,\"\\u003c\"]}")x");
  EXPECT_EQ(value_of("jsondecode(\"{\\\"a\\\": [1, true]}\").a[1]"), "true");
  EXPECT_EQ(value_of("base64decode(base64encode(\"hi\"))"), "\"hi\"");
  EXPECT_EQ(value_of("sha256(\"\")"), "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"");
  EXPECT_THAT(failure("file(\"none\")"), HasSubstr("there is no file 'none'"));
  EXPECT_THAT(failure("env(\"HOME\")"), HasSubstr("only allowed in a variable's default"));
  EXPECT_THAT(failure("jsondecode(\"{\")"), HasSubstr("this is not JSON"));
}

TEST(HclBody, AttributesAndBlocks) {
  const spec::Source source{"t.hcl", "a = 1\nb \"x\" y {\n  c = [\n    1,\n    2,\n  ]\n  d {}\n}\nonce { e = 2 }\n"};
  const Body body = read_hcl(source);
  ASSERT_EQ(body.blocks.size(), 2U);
  EXPECT_EQ(body.blocks[0].labels, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(body.blocks[0].place.where, (spec::Location{2, 1}));
  EXPECT_EQ(body.blocks[0].body.blocks[0].type, "d");
  EXPECT_NE(body.blocks[1].body.find("e"), nullptr);
}

TEST(HclBody, MistakesAreShownWhereTheyAre) {
  const auto failed = [](const std::string& text) {
    const spec::Source source{"t.hcl", text};
    return error_of([&] { read_hcl(source); });
  };
  EXPECT_THAT(failed("a = 1\na = 2\n"), HasSubstr("t.hcl:2:1: 'a' is here twice"));
  EXPECT_THAT(failed("a = 1 b = 2\n"), HasSubstr("must be in a line of its own"));
  EXPECT_THAT(failed("a {\n"), HasSubstr("to close the block 'a' of line 1"));
  EXPECT_THAT(failed("}\n"), HasSubstr("closes nothing"));
  EXPECT_THAT(failed("a\n"), HasSubstr("neither an attribute"));
  EXPECT_THAT(failed("a \"${1}x\" {}\n"), HasSubstr("a block's label is a plain string"));
  EXPECT_THAT(failed("/* abc"), HasSubstr("this comment has no end"));
}

TEST(HclBody, IsRefusedOrReadWhereverItIsCut) {
  const std::string text =
      "variable \"a\" {\n  default = \"x-${upper(\"y\")}-%{if true}z%{endif}\"\n}\nlocals { b = <<-E\n  q ${1}\n  "
      "E\n}\n";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const spec::Source source{"t.hcl", text.substr(0, size)};
    const std::string said = error_of([&] { read_hcl(source); });
    EXPECT_THAT(said, testing::Not(HasSubstr("wrong code"))) << size;
  }
}

}  // namespace
}  // namespace kiln::packer
