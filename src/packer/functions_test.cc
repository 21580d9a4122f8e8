// Functions of HCL2: formats, digests, networks and sets, by the examples of their documentation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "packer/evaluate.h"
#include "packer/hcl.h"
#include "packer/internal/test_outside.h"

namespace kiln::packer {
namespace {

using testing::HasSubstr;

// The value of an expression as JSON.
std::string value_of(const std::string& text) {
  const spec::Source source{"test", text};
  const ExpressionPtr expression = read_hcl_expression(source);
  const TestOutside world{.files = {}, .variables = {{"HOME", "/home/me"}}};
  const Outside outside = world.outside();
  Evaluator evaluator(outside, [](const std::string&, const std::string&, const Place&) { return std::nullopt; });
  return to_json(evaluator.evaluate(*expression));
}

std::string failure(const std::string& text) {
  return error_of([&] { value_of(text); });
}

// What `text`, in YAML, says.
std::string yaml(const std::string& text) { return value_of("yamldecode(" + to_json(Value::of(text)) + ")"); }

TEST(Functions, Digests) {
  EXPECT_EQ(value_of("md5(\"hello world\")"), "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
  EXPECT_EQ(value_of("sha1(\"hello world\")"), "\"2aae6c35c94fcfb415dbe95f408b9ce91ee846ed\"");
  EXPECT_EQ(value_of("sha256(\"hello world\")"),
            "\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"");
  EXPECT_THAT(value_of("sha512(\"hello world\")"),
              HasSubstr("309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca"));
  EXPECT_EQ(value_of("uuidv5(\"dns\", \"www.terraform.io\")"), "\"a5008fae-b28c-5ba5-96cd-82b4c53552d6\"");
  EXPECT_EQ(value_of("uuidv5(\"url\", \"https://www.terraform.io/\")"), "\"9db6f67c-dd95-5ea0-aa5b-e70e5c5f7cf5\"");
  EXPECT_EQ(value_of("uuidv5(\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\", \"www.terraform.io\")"),
            value_of("uuidv5(\"dns\", \"www.terraform.io\")"));
  EXPECT_THAT(failure("uuidv5(\"nothing\", \"a\")"), HasSubstr("not a namespace"));
}

TEST(Functions, YamlIsRead) {
  EXPECT_EQ(yaml("a: 1\nb: [x, \"2\", 3.5, true, ~, 0x1f, yes]\nc:\n  d: |-\n    two\n    lines\n"),
            R"({"a":1,"b":["x","2",3.5,true,null,31,"yes"],"c":{"d":"two\nlines"}})");
  EXPECT_EQ(yaml("base: &b {x: 1}\nagain: *b\n"), R"({"again":{"x":1},"base":{"x":1}})");
  EXPECT_EQ(yaml(""), "null");
  EXPECT_THAT(failure("yamldecode(\"a: [\")"), HasSubstr("this is not YAML"));
  EXPECT_THAT(failure("yamldecode(\"a: 1\\n---\\nb: 2\")"), HasSubstr("several documents"));
  EXPECT_THAT(failure("yamldecode(\"a: !!binary aGk=\")"), HasSubstr("the tag 'tag:yaml.org,2002:binary'"));
  std::string bomb = "a0: &a0 x\n";
  for (int i = 1; i < 40; ++i)
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + ", *a" +
            std::to_string(i - 1) + "]\n";
  EXPECT_THAT(error_of([&] { yaml(bomb); }), HasSubstr("becomes too large"));
}

TEST(Functions, YamlIsWrittenAsPackerWritesIt) {
  EXPECT_EQ(
      value_of("yamlencode({foo = [1, {a = \"b\", c = \"d\"}, 3], bar = \"baz\", e = [], t = \"x\\ny\\n\"})"),
      R"("\"bar\": \"baz\"\n\"e\": []\n\"foo\":\n- 1\n- \"a\": \"b\"\n  \"c\": \"d\"\n- 3\n\"t\": |\n  x\n  y\n")");
  EXPECT_EQ(value_of("yamlencode({a = {b = {c = null}}, l = [[1], [true]]})"),
            R"("\"a\":\n  \"b\":\n    \"c\": null\n\"l\":\n- - 1\n- - true\n")");
  for (const std::string text : {"a", "a\n", "a\n\n", "a\n  b\n\nc", " a\nb", "\n", "# a\nb", "a\tb\n- c"}) {
    const std::string json = to_json(Value::of(text));
    EXPECT_EQ(value_of("yamldecode(yamlencode([{k = " + json + "}, " + json + "]))"),
              R"([{"k":)" + json + "}," + json + "]");
  }
}

TEST(Functions, Csv) {
  EXPECT_EQ(value_of(R"x(csvdecode("a,b,c\n1,\"2,\"\"two\"\"\",3\r\n4,5,6\n"))x"),
            R"([{"a":"1","b":"2,\"two\"","c":"3"},{"a":"4","b":"5","c":"6"}])");
  EXPECT_THAT(failure(R"(csvdecode("a,b\n1\n"))"), HasSubstr("has 2 columns, and 1 in its line 2"));
  EXPECT_THAT(failure(R"(csvdecode("a\n\"x"))"), HasSubstr("has no end"));
}

TEST(Functions, Networks) {
  EXPECT_EQ(value_of("cidrhost(\"10.12.112.0/20\", 16)"), "\"10.12.112.16\"");
  EXPECT_EQ(value_of("cidrhost(\"10.12.112.0/20\", 268)"), "\"10.12.113.12\"");
  EXPECT_EQ(value_of("cidrhost(\"10.12.112.0/20\", -1)"), "\"10.12.127.255\"");
  EXPECT_EQ(value_of("cidrhost(\"fd00:fd12:3456:7890:00a2::/72\", 34)"), "\"fd00:fd12:3456:7890::22\"");
  EXPECT_EQ(value_of("cidrnetmask(\"172.16.0.0/12\")"), "\"255.240.0.0\"");
  EXPECT_EQ(value_of("cidrnetmask(\"0.0.0.0/0\")"), "\"0.0.0.0\"");
  EXPECT_EQ(value_of("cidrsubnet(\"172.16.0.0/12\", 4, 2)"), "\"172.18.0.0/16\"");
  EXPECT_EQ(value_of("cidrsubnet(\"10.1.2.0/24\", 4, 15)"), "\"10.1.2.240/28\"");
  EXPECT_EQ(value_of("cidrsubnet(\"fd00:fd12:3456:7890::/56\", 16, 162)"), "\"fd00:fd12:3456:7800:a200::/72\"");
  EXPECT_EQ(value_of("cidrsubnets(\"10.1.0.0/16\", 4, 4, 8, 4)"),
            R"(["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"])");
  EXPECT_EQ(value_of("cidrsubnets(\"fd00:fd12:3456:7890::/56\", 16, 16, 16, 32)"),
            R"(["fd00:fd12:3456:7800::/72","fd00:fd12:3456:7800:100::/72","fd00:fd12:3456:7800:200::/72",)"
            R"("fd00:fd12:3456:7800:300::/88"])");
  EXPECT_THAT(failure("cidrhost(\"10.0.0.0/30\", 4)"), HasSubstr("has no address of the number 4"));
  EXPECT_THAT(failure("cidrhost(\"10.0.0/8\", 1)"), HasSubstr("'10.0.0/8' is not a network"));
  EXPECT_THAT(failure("cidrhost(\"10.0.0.0/33\", 1)"), HasSubstr("is not a network"));
  EXPECT_THAT(failure("cidrnetmask(\"fd00::/48\")"), HasSubstr("only networks of IPv4"));
  EXPECT_THAT(failure("cidrsubnet(\"10.0.0.0/30\", 4, 0)"), HasSubstr("cannot be divided by 4 more bits"));
  EXPECT_THAT(failure("cidrsubnet(\"10.0.0.0/24\", 4, 16)"), HasSubstr("have no network of the number 16"));
  EXPECT_THAT(failure("cidrsubnets(\"10.0.0.0/24\", 1, 1, 1)"), HasSubstr("no room for all"));
}

TEST(Functions, SetsAndSums) {
  EXPECT_EQ(value_of("setproduct([\"a\", \"b\"], [1, 2])"), R"([["a",1],["a",2],["b",1],["b",2]])");
  EXPECT_EQ(value_of("setproduct([1], [])"), "[]");
  EXPECT_THAT(failure("setproduct(range(1000), range(1000))"), HasSubstr("at most 4096"));
  EXPECT_EQ(
      value_of("[sum([1, 2.5, \"3\"]), alltrue([true, true]), alltrue([]), anytrue([false, \"true\"]), anytrue([])]"),
      "[6.5,true,true,true,false]");
  EXPECT_THAT(failure("sum([])"), HasSubstr("not empty"));
  EXPECT_EQ(value_of("[pathexpand(\"~/.ssh\"), pathexpand(\"/a\"), pathexpand(\"~other\")]"),
            R"(["/home/me/.ssh","/a","~other"])");
}

TEST(Functions, ThoseThatAreRefusedSayTheWayRound) {
  for (const std::string name : {"vault", "consul_key", "aws_secretsmanager", "aws_secretsmanager_raw", "rsadecrypt",
                                 "bcrypt", "base64gzip", "convert", "textencodebase64", "textdecodebase64"}) {
    try {
      value_of(name + "(\"a\", \"b\")");
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), HasSubstr("the function '" + name + "' is not supported"));
      EXPECT_THAT(error.message(), testing::Not(HasSubstr("did you mean")));
      EXPECT_GT(error.next().size(), 20U) << name;
    }
  }
}

}  // namespace
}  // namespace kiln::packer
