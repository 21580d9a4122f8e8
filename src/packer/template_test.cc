// Templates, JSON and HCL2: what becomes of each part, and what is refused.
#include "packer/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "packer/internal/test_outside.h"
#include "packer/interpolate.h"

namespace kiln::packer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Template read(TestOutside world, Request request) {
  const Outside outside = world.outside();
  return read_template(request, outside);
}

std::string json_with(const std::string& provisioners, const std::string& more = "") {
  return R"({"builders": [{"type": "amazon-ebs", "ami_name": "web-{{timestamp}}",
"source_ami": "ami-1", "ssh_username": "debian"}],
"provisioners": [)" +
         provisioners + "]" + more + "}";
}
Template legacy(const std::string& text, spec::Variables variables = {}, TestOutside world = {}) {
  world.files["t.json"] = text;
  return read(world, {.path = "t.json", .variables = std::move(variables)});
}

constexpr const char* kSource =
    "source \"amazon-ebs\" \"web\" {\n  ami_name = \"web\"\n  source_ami = \"ami-1\"\n  ssh_username = \"debian\"\n}\n";
std::string hcl_with(const std::string& inside, const std::string& before = "") {
  return before + kSource + "build {\n  sources = [\"source.amazon-ebs.web\"]\n" + inside + "\n}\n";
}
Template hcl(const std::string& text, spec::Variables variables = {}, TestOutside world = {}) {
  world.files["t.pkr.hcl"] = text;
  return read(world, {.path = "t.pkr.hcl", .variables = std::move(variables)});
}

const spec::RunStep& run_of(const Template& of, std::size_t step = 0) {
  return std::get<spec::RunStep>(of.builds.at(0).image.steps.at(step).action);
}
const spec::CopyStep& copy_of(const Template& of, std::size_t step = 0) {
  return std::get<spec::CopyStep>(of.builds.at(0).image.steps.at(step).action);
}
std::string file_of(const spec::RunStep& step, const std::string& name) {
  for (const spec::StepFile& file : step.files) {
    if (file.name == "packer/" + name) return file.content;
  }
  return "none";
}

TEST(Interpolate, FunctionsOfPacker) {
  Interpolation with;
  with.variables = {{"a", "A-b"}};
  with.has_variables = true;
  with.now = parse_iso8601("2026-11-25T09:03:06Z");
  with.build_name = "web";
  const auto made = [&](const std::string& text) { return interpolate(text, with, {}); };
  EXPECT_EQ(made("x {{user `a`}} {{ user \"a\" }} y"), "x A-b A-b y");
  EXPECT_EQ(made("{{timestamp}}"), "1795597386");
  EXPECT_EQ(made("{{isotime}}"), "2026-11-25T09:03:06Z");
  EXPECT_EQ(made("{{isotime \"20060102-150405\"}}"), "20261125-090306");
  EXPECT_EQ(made("{{isotime | clean_resource_name}}"), "2026-11-25T09-03-06Z");
  EXPECT_EQ(made("{{user `a` | lower}}-{{user `a` | upper}}"), "a-b-A-B");
  EXPECT_EQ(made("{{split `a.b` `.` 1}}x"), "bx");
}

TEST(Interpolate, RestAndMistakes) {
  Interpolation with;
  with.has_variables = true;
  with.variables = {{"region", "x"}};
  with.fields = {{"Vars", "A=1"}};
  EXPECT_EQ(interpolate("{{ .Vars }} {{`{{`}} {{/* no */}}| {{- .Vars -}} |", with, {}), "A=1 {{ |A=1|");
  const auto failed = [&](const std::string& text) { return error_of([&] { interpolate(text, with, {}); }); };
  EXPECT_THAT(failed("{{user `regoin`}}"), HasSubstr("did you mean 'region'?"));
  EXPECT_THAT(failed("{{ .Path }}"), HasSubstr("'.Path' has no value here; there is .Vars"));
  EXPECT_THAT(failed("{{timestmp}}"), HasSubstr("did you mean 'timestamp'?"));
  EXPECT_THAT(failed("{{if true}}a{{end}}"), HasSubstr("'if' in '{{ }}' is not supported"));
  EXPECT_THAT(failed("{{ user"), HasSubstr("'{{' without '}}'"));
  EXPECT_THAT(failed("{{}}"), HasSubstr("says nothing"));
  EXPECT_THAT(failed("{{env `HOME`}}"), HasSubstr("only allowed in 'variables'"));
}

TEST(Legacy, VariablesHaveDefaultsFilesAndTheCommandLine) {
  const std::string text =
      json_with(R"({"type": "shell", "inline": ["echo {{user `a`}} {{user `b`}} {{user `c`}} {{user `d`}}"]})",
                R"(, "variables": {"a": "{{env `HOME_A`}}", "b": "{{user `a`}}2", "c": "default", "d": null},
         "sensitive-variables": ["d"])");
  TestOutside world{.files = {{"vars.json", R"({"c": "file", "d": "file"})"}, {"t.json", text}},
                    .variables = {{"HOME_A", "env"}}};
  const Template out = read(world, {.path = "t.json", .variables = {{"d", "given"}}, .variable_files = {"vars.json"}});
  EXPECT_EQ(file_of(run_of(out), "script_0.sh"), "#!/bin/sh -e\necho env env2 file given\n");
  EXPECT_THAT(out.secrets, ElementsAre("given"));
}

TEST(Sensitive, ValuesAreHiddenWhereverTheyAreShown) {
  const std::string secret =
      "variable \"key\" {\n  sensitive = true\n  default = { a = \"hunter22\", b = [true, 7] }\n}\n";
  const std::string source =
      "source \"amazon-ebs\" \"web\" {\n  ami_name = \"NAME\"\n  ami_description = \"of "
      "${var.key.a}\"\n  source_ami = \"ami-1\"\n  ssh_username = \"debian\"\n  tags = { "
      "Key = var.key.a }\n}\nbuild {\n  sources = [\"source.amazon-ebs.web\"]\n";
  const std::string named = std::string(source).replace(source.find("NAME"), 4, "web");
  const Template out = hcl(secret + named + "provisioner \"shell\" { inline = [\"login ${var.key.a}\"] }\n}\n");
  EXPECT_THAT(out.secrets, ElementsAre("hunter22", "7"));
  EXPECT_EQ(out.builds.at(0).image.hidden, out.secrets);
  EXPECT_EQ(out.builds.at(0).ami->description, "of ***");
  EXPECT_EQ(out.builds.at(0).ami->tags.at("Key"), "***");
  EXPECT_THAT(out.notes, ElementsAre(HasSubstr("fewer than 4 characters is shown")));
  EXPECT_THAT(file_of(run_of(out), "script_0.sh"), HasSubstr("login hunter22")) << "the step itself has it";

  const auto said = [&](const std::string& text, spec::Variables variables = {}) {
    std::string message = error_of([&] { hcl(text, std::move(variables)); });
    EXPECT_THAT(message, testing::Not(HasSubstr("hunter22")));
    return message;
  };
  const std::string shown = std::string(source).replace(source.find("NAME"), 4, "web-${var.key.a}");
  EXPECT_THAT(said(secret + shown + "}\n"), HasSubstr("'ami_name' holds a sensitive value"));
  EXPECT_THAT(said(secret + named + "provisioner \"shell\" { scripts = [var.key.a] }\n}\n"),
              HasSubstr("there is no file '***'"));
  EXPECT_THAT(said(secret + "locals { a = parseint(var.key.a, 10) }\n" + named + "}\n"),
              HasSubstr("'***' is not a number of base 10"));
  EXPECT_THAT(said("variable \"n\" {\n  type = number\n  sensitive = true\n}\n" + named + "}\n", {{"n", "= hunter22"}}),
              HasSubstr("-var n"));
  const std::string legacy_text = json_with(R"({"type": "shell", "script": "{{user `k`}}"})",
                                            R"(, "variables": {"k": "hunter22"}, "sensitive-variables": ["k"])");
  EXPECT_THAT(error_of([&] { legacy(legacy_text); }), HasSubstr("there is no file '***'"));
}

TEST(Legacy, ShellIsRunAsPackerRunsIt) {
  const Template out = legacy(json_with(
      R"({"type": "shell", "inline": ["apt-get update", "apt-get install nginx"], "environment_vars": ["B=it's", "A=1"],
    "execute_command": "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}",
    "valid_exit_codes": [0, 3], "max_retries": 2, "timeout": "1m"})"));
  const spec::RunStep& step = run_of(out);
  EXPECT_EQ(step.title, "shell apt-get update ..");
  EXPECT_THAT(step.commands, ElementsAre("/run/kiln/files/packer/begin", "/run/kiln/files/packer/run",
                                         "/run/kiln/files/packer/end last"));
  EXPECT_THAT(file_of(step, "run"), HasSubstr("attempt ' 0 3 ' 2 60 /run/kiln/files/packer/command_"));
  std::string command;
  for (const spec::StepFile& file : step.files) {
    if (file.name.starts_with("packer/command_")) command = file.content;
  }
  EXPECT_EQ(
      command,
      "chmod +x /run/kiln/files/packer/script_0.sh; sudo env A='1' B='it'\"'\"'s' PACKER_BUILDER_TYPE='amazon-ebs' "
      "PACKER_BUILD_NAME='amazon-ebs'  /run/kiln/files/packer/script_0.sh\n");
  EXPECT_EQ(out.builds[0].image.steps[0].where.line, 3);
}

TEST(Legacy, FilesGoWhereScpPutsThem) {
  TestOutside world{.files = {{"app/a", ""}, {"app/b/c", ""}, {"x.conf", ""}}};
  const auto one = [&](const std::string& settings) {
    return copy_of(legacy(json_with(R"({"type": "file", )" + settings + "}"), {}, world));
  };
  EXPECT_EQ(one(R"("source": "app", "destination": "/srv")").to, "/srv/app/");
  EXPECT_EQ(one(R"("source": "app", "destination": "/srv")").from, "app/");
  EXPECT_EQ(one(R"("source": "app/", "destination": "/srv")").to, "/srv/");
  EXPECT_EQ(one(R"("source": "./x.conf", "destination": "/etc/x/")").to, "/etc/x/");
  EXPECT_EQ(one(R"("source": "/srv/shop/x.conf", "destination": "/etc/y.conf")").from, "x.conf");
}

TEST(Legacy, WhatLiesInTmpIsCarriedAndThenGone) {
  TestOutside world{.files = {{"x.conf", ""}}};
  const Template out = legacy(json_with(
                                  R"({"type": "file", "source": "x.conf", "destination": "/tmp/x.conf"},
    {"type": "shell", "inline": ["mv /tmp/x.conf /etc/"]},
    {"type": "shell", "inline": ["true"]}, {"type": "file", "source": "x.conf", "destination": "/tmp/y.conf"})"),
                              {}, world);
  EXPECT_EQ(copy_of(out).to, "/var/lib/kiln-carry/tmp/x.conf");
  EXPECT_EQ(run_of(out, 1).commands.back(), "/run/kiln/files/packer/end");
  ASSERT_EQ(out.builds[0].image.steps.size(), 5U);
  EXPECT_EQ(run_of(out, 4).commands.back(), "/run/kiln/files/packer/end last");
}

TEST(Legacy, OnlyExceptAndOverride) {
  const Template out = legacy(json_with(
      R"({"type": "shell", "inline": ["a"], "only": ["docker"]},
    {"type": "shell", "inline": ["b"], "except": ["docker"],
    "override": {"amazon-ebs": {"inline": ["c"]}}})"));
  ASSERT_EQ(out.builds[0].image.steps.size(), 1U);
  EXPECT_EQ(file_of(run_of(out), "script_0.sh"), "#!/bin/sh -e\nc\n");
}

TEST(Legacy, PostProcessorsAndTheirSequences) {
  const Template out = legacy(json_with("",
                                        R"(, "post-processors": ["manifest",
    [{"type": "docker-tag", "repository": "r", "tag": ["1", "2"]}, "docker-push"],
    {"type": "checksum", "checksum_types": ["sha256"], "output": "{{.BuildName}}.sum"}])"));
  const auto& all = out.builds[0].post_processors;
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0][0].output, "packer-manifest.json");
  EXPECT_THAT(all[1][0].tags, ElementsAre("1", "2"));
  EXPECT_EQ(all[1][1].kind, PostProcessor::Kind::docker_push);
}

TEST(Legacy, WhatIsNotSupportedIsRefusedWithItsLineAndTheWayRound) {
  const auto failed = [](const std::string& provisioner) { return error_of([&] { legacy(json_with(provisioner)); }); };
  EXPECT_THAT(failed(R"({"type": "shell", "inlin": ["x"]})"), HasSubstr("one of 'inline', 'script' and 'scripts'"));
  EXPECT_THAT(
      failed(R"({"type": "shell", "inline": ["x"], "enviroment_vars": []})"),
      HasSubstr(
          "t.json:3:72: the provisioner 'shell' has no setting 'enviroment_vars'; did you mean 'environment_vars'?"));
  EXPECT_THAT(failed(R"({"type": "ansible", "playbook_file": "x"})"),
              HasSubstr("the provisioner 'ansible' is not supported"));
  EXPECT_THAT(failed(R"({"type": "shel"})"), HasSubstr("did you mean 'shell'?"));
  EXPECT_THAT(failed(R"({"type": "shell", "script": "none.sh"})"), HasSubstr("there is no file 'none.sh'"));
  EXPECT_THAT(failed(R"({"type": "file", "source": "none", "destination": "/x"})"),
              HasSubstr("there is no file or folder 'none'"));
  EXPECT_THAT(failed(R"({"type": "file", "source": "../x", "destination": "/x"})"), HasSubstr("outside the folder"));
  EXPECT_THAT(failed(R"({"type": "file", "source": "x", "destination": "x"})"),
              HasSubstr("relative to the home of 'debian'"));
  EXPECT_THAT(failed(R"({"type": "file", "source": "x", "destination": "/x", "direction": "download"})"),
              HasSubstr("'download' is not supported"));
  EXPECT_THAT(failed(R"({"inline": []})"), HasSubstr("has no 'type'"));
  EXPECT_THAT(error_of([] { legacy("{\"bilders\": []}"); }),
              HasSubstr("t.json:1:13: a template has no 'bilders'; did you mean 'builders'?"));
  EXPECT_THAT(error_of([] { legacy("{\"builders\": []}"); }), HasSubstr("has no 'builders'"));
  EXPECT_THAT(error_of([] { legacy("{\"builders\": [{\"type\": \"vmware-iso\"}]}"); }),
              HasSubstr("the builder 'vmware-iso' is not supported"));
  EXPECT_THAT(error_of([] {
                legacy(
                    "{\"builders\": [{\"type\": \"amazon-ebs\", \"ami_name\": \"abc\", \"source_ami\": \"ami-1\", "
                    "\"user_data\": \"x\"}]}");
              }),
              HasSubstr("'user_data' of the builder"));
  EXPECT_THAT(error_of([] { legacy(json_with(""), {{"x", "1"}}); }), HasSubstr("the template has no variable 'x'"));
  EXPECT_THAT(error_of([] { legacy(json_with("", ", \"variables\": {\"a\": null}")); }),
              HasSubstr("the variable 'a' needs a value"));
  EXPECT_THAT(
      error_of([] { legacy(json_with("", ", \"variables\": {\"a\": \"{{user `b`}}\", \"b\": \"{{user `a`}}\"}")); }),
      HasSubstr("there is no variable"));
}

TEST(Legacy, JsonIsRefusedOrReadWhereverItIsCut) {
  const std::string text = json_with(R"({"type": "shell", "inline": ["\u00e4 \"{{timestamp}}\""]})");
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_THAT(error_of([&] { legacy(text.substr(0, size)); }),
                testing::AllOf(HasSubstr("t.json:"), testing::Not(HasSubstr("wrong code"))))
        << size;
}

TEST(Hcl2, VariablesByDefaultEnvironmentFilesAndTheCommandLine) {
  const std::string text =
      hcl_with("provisioner \"shell\" {\n inline = [join(\",\", [var.a, var.b, var.c, var.d[0], local.e])]\n}",
               "variable \"a\" {\n default = \"def\"\n}\nvariable \"b\" { type = string }\nvariable \"c\" { default = "
               "env(\"HOME_C\") }\n"
               "variable \"d\" { type = list(string) }\nlocals {\n e = \"${local.f}!\"\n f = upper(var.a)\n}\n");
  TestOutside world{.files = {{"t.pkr.hcl", text}, {"v.pkrvars.hcl", "d = [\"file\"]\nunknown = 1\n"}},
                    .variables = {{"PKR_VAR_b", "envb"}, {"HOME_C", "envc"}}};
  Template out = read(world, {.path = "t.pkr.hcl", .variable_files = {"v.pkrvars.hcl"}});
  EXPECT_EQ(file_of(run_of(out), "script_0.sh"), "#!/bin/sh -e\ndef,envb,envc,file,DEF!\n");
  out = read(world, {.path = "t.pkr.hcl", .variables = {{"a", "x"}, {"d", "[\"y\"]"}}});
  EXPECT_EQ(file_of(run_of(out), "script_0.sh"), "#!/bin/sh -e\nx,envb,envc,y,X!\n");
}

TEST(Hcl2, AFolderOfFilesWithAutomaticVariables) {
  TestOutside world{
      .files = {
          {"img/a.pkr.hcl",
           "variable \"who\" {}\nsource \"amazon-ebs\" \"web\" {\n ami_name = \"n-${var.who}\"\n source_ami = "
           "\"ami-1\"\n}\n"},
          {"img/b.pkr.hcl",
           "build {\n sources = [\"amazon-ebs.web\"]\n provisioner \"shell\" { script = \"${path.root}/x.sh\" }\n}\n"},
          {"img/x.auto.pkrvars.hcl", "who = \"me\"\n"},
          {"img/x.sh", "#!/bin/sh\r\necho x\r\n"}}};
  const Template out = read(world, {.path = "img"});
  EXPECT_EQ(out.builds[0].ami->name, "n-me");
  EXPECT_EQ(file_of(run_of(out), "script_0.sh"), "#!/bin/sh\necho x\n");
  EXPECT_EQ(out.source->file_name, "img/b.pkr.hcl");
}

TEST(Hcl2, SourcesMayBeChangedInABuild) {
  const std::string text = std::string(kSource) +
                           "build {\n name = \"all\"\n source \"amazon-ebs.web\" {\n  name = \"one\"\n  ami_name = "
                           "\"other\"\n }\n source \"source.amazon-ebs.web\" {}\n"
                           " provisioner \"shell\" {\n  only = [\"amazon-ebs.one\"]\n  inline = [\"echo ${source.name} "
                           "${build.User} {{build_name}}\"]\n }\n}\n";
  const Template out = hcl(text);
  ASSERT_EQ(out.builds.size(), 2U);
  EXPECT_EQ(out.builds[0].name, "all.amazon-ebs.one");
  EXPECT_EQ(out.builds[0].ami->name, "other");
  EXPECT_EQ(file_of(run_of(out), "script_0.sh"), "#!/bin/sh -e\necho one debian one\n");
  EXPECT_EQ(out.builds[1].name, "all.amazon-ebs.web");
  EXPECT_TRUE(out.builds[1].image.steps.empty());
  TestOutside world{.files = {{"t.pkr.hcl", text}}};
  EXPECT_EQ(read(world, {.path = "t.pkr.hcl", .only = {"*.web"}}).builds.size(), 1U);
  EXPECT_THAT(error_of([&] { read(world, {.path = "t.pkr.hcl", .only = {"all.amazon-ebs.on"}}); }),
              HasSubstr("did you mean 'all.amazon-ebs.one'?"));
}

TEST(Hcl2, FiltersTagsAndDataBecomeTheBaseAndTheWish) {
  const std::string text = R"(data "amazon-ami" "debian" {
  filters = { name = "debian-12-amd64-*", virtualization-type = "hvm" }
  owners = ["136693071363"]
  most_recent = true
}
source "amazon-ebs" "web" {
  ami_name = "web-${formatdate("YYYY", timestamp())}"
  source_ami = data.amazon-ami.debian.id
  ami_regions = ["us-east-2"]
  encrypt_boot = true
  tags = { Source = "{{ .SourceAMIName }}", Name = "web" }
  tag {
    key = "More"
    value = "yes"
  }
  instance_type = "t3.micro"
  ssh_username = "debian"
}
build { sources = ["source.amazon-ebs.web"] }
)";
  const Template out = hcl(text);
  const auto& base = std::get<spec::AmiBase>(out.builds[0].image.base);
  EXPECT_EQ(base.filters.at("name"), std::vector<std::string>{"debian-12-amd64-*"});
  EXPECT_TRUE(base.most_recent);
  const AmiWish& wish = *out.builds[0].ami;
  EXPECT_EQ(wish.name, "web-2026");
  EXPECT_TRUE(wish.encrypted);
  EXPECT_EQ(finished(wish.tags.at("Source"), {.id = "ami-1", .name = "debian-12-amd64-x"}), "debian-12-amd64-x");
  EXPECT_EQ(wish.tags.at("More"), "yes");
}

TEST(Hcl2, ShellLocalAndAnsible) {
  TestOutside world{
      .files = {{"play.yml", "- hosts: all\n"}, {"roles/web/tasks/main.yml", "x"}, {"b.sh", "#!/bin/sh\n"}}};
  const Template out = hcl(hcl_with(R"(provisioner "shell-local" {
    inline = ["echo a", "echo b"]
    inline_shebang = "/bin/bash -e"
    environment_vars = ["X=1"]
  }
  provisioner "ansible-local" {
    playbook_file = "play.yml"
    role_paths = ["roles/web"]
    extra_arguments = ["-v"]
  }
  provisioner "shell-local" { script = "b.sh" })"),
                           {}, world);
  const auto& host = std::get<spec::HostStep>(out.builds[0].image.steps.at(0).action);
  EXPECT_THAT(host.commands, ElementsAre("echo a\necho b"));
  EXPECT_THAT(host.shell, ElementsAre("/bin/bash", "-e", "-c"));
  EXPECT_EQ(host.environment.at(2).first, "X");
  EXPECT_EQ(file_of(run_of(out, 1), "ansible/roles/web/tasks/main.yml"), "x");
  EXPECT_EQ(run_of(out, 1).title, "ansible play.yml");
  EXPECT_THAT(std::get<spec::HostStep>(out.builds[0].image.steps.at(2).action).commands, ElementsAre("'./b.sh'"));
}

TEST(Hcl2, WhatIsPushedIsTaggedBeforeInTheSameSequence) {
  EXPECT_THAT(error_of([] { hcl(hcl_with("post-processor \"docker-push\" {}")); }),
              HasSubstr("t.pkr.hcl:8:1: 'docker-push' pushes what a 'docker-tag' before it has named"));
  EXPECT_EQ(error_of([] {
              hcl(hcl_with(
                  "post-processors {\n post-processor \"docker-tag\" { repository = \"r/n\" }\n post-processor "
                  "\"docker-push\" {}\n}"));
            }),
            "no error");
}

TEST(Hcl2, AnAmisNameIsOneThatEc2Takes) {
  const auto named = [](const std::string& name) {
    return error_of([&] {
      hcl(std::string(kSource).replace(std::string(kSource).find("\"web\"\n"), 5, '"' + name + '"') +
          "build { sources = [\"amazon-ebs.web\"] }\n");
    });
  };
  EXPECT_EQ(named("web (1.0)/it's_[a]@-x"), "no error");
  for (const std::string name : {"ab", "a:b", "a*b", "a\u00e4b"})
    EXPECT_THAT(named(name), HasSubstr("t.pkr.hcl:2:3: '" + name + "' cannot be an AMI's name")) << name;
  EXPECT_THAT(named(std::string(129, 'a')), HasSubstr("cannot be an AMI's name"));
}

TEST(Hcl2, DynamicBlocksAreMadeForEach) {
  const Template out = hcl(
      "locals { users = { b = \"bob\", a = \"ann\" } }\n"
      "source \"amazon-ebs\" \"web\" {\n  ami_name = \"web\"\n  source_ami = \"ami-1\"\n  dynamic \"tag\" {\n"
      "    for_each = local.users\n    content {\n      key = \"User-${tag.key}\"\n      value = tag.value\n    }\n  "
      "}\n}\n"
      "build {\n  sources = [\"source.amazon-ebs.web\"]\n  dynamic \"provisioner\" {\n    for_each = [\"x\", \"y\"]\n"
      "    labels = [\"shell\"]\n    iterator = one\n    content { inline = [\"echo ${one.key} ${one.value}\"] }\n  "
      "}\n}\n");
  EXPECT_EQ(out.builds[0].ami->tags, (std::map<std::string, std::string>{{"User-a", "ann"}, {"User-b", "bob"}}));
  ASSERT_EQ(out.builds[0].image.steps.size(), 2U);
  EXPECT_THAT(file_of(run_of(out, 0), "script_0.sh"), HasSubstr("echo 0 x"));
  EXPECT_THAT(file_of(run_of(out, 1), "script_0.sh"), HasSubstr("echo 1 y"));
  const auto failed = [](const std::string& inside) {
    return error_of([&] { hcl(hcl_with("dynamic \"provisioner\" {\n" + inside + "}")); });
  };
  EXPECT_THAT(failed("for_each = []\n"), HasSubstr("has one block 'content'"));
  EXPECT_THAT(failed("content {}\n"), HasSubstr("'dynamic' has no 'for_each'"));
  EXPECT_THAT(failed("for_each = 1\ncontent {}\n"), HasSubstr("a list or an object must be here"));
  EXPECT_THAT(failed("for_each = [1]\ncontent {}\n"), HasSubstr("is written as: provisioner \"type\""));
  EXPECT_THAT(failed("for_each = [1]\nlabel = [1]\ncontent {}\n"), HasSubstr("did you mean 'labels'?"));
}

TEST(Hcl2, Docker) {
  const Template out =
      hcl("source \"docker\" \"d\" {\n image = \"debian:12\"\n commit = true\n}\nbuild { sources = [\"docker.d\"] }\n");
  EXPECT_EQ(std::get<spec::OciBase>(out.builds[0].image.base).reference, "docker://debian:12");
  EXPECT_FALSE(out.builds[0].ami);
}

TEST(Hcl2, WhatIsNotSupportedIsRefusedWithItsLineAndTheWayRound) {
  const auto failed = [](const std::string& inside, const std::string& before = "") {
    return error_of([&] { hcl(hcl_with(inside, before)); });
  };
  EXPECT_THAT(failed("provisioner \"shell\" {\n inline = [\"x\"]\n execut_command = \"y\"\n}"),
              HasSubstr("did you mean 'execute_command'?"));
  EXPECT_THAT(failed("provisioner \"powershell\" {}"),
              HasSubstr("t.pkr.hcl:8:1: the provisioner 'powershell' is not supported"));
  EXPECT_THAT(failed("post-processor \"vagrant\" {}"), HasSubstr("the post-processor 'vagrant' is not supported"));
  EXPECT_THAT(failed("hcp_packer_registry {}"), HasSubstr("not supported"));
  EXPECT_THAT(failed("nonsense {}"), HasSubstr("'build' has no 'nonsense'"));
  EXPECT_THAT(failed("", "varable \"a\" {}\n"), HasSubstr("did you mean 'variable'?"));
  EXPECT_THAT(failed("", "variable \"a\" {}\n"), HasSubstr("the variable 'a' needs a value"));
  EXPECT_THAT(failed("", "variable \"a\" { defualt = 1 }\n"), HasSubstr("did you mean 'default'?"));
  EXPECT_THAT(failed("", "variable \"a\" {\n type = number\n default = \"x\"\n}\n"),
              HasSubstr("a number must be here"));
  EXPECT_THAT(failed("",
                     "variable \"a\" {\n default = \"x\"\n validation {\n condition = length(var.a) > 3\n "
                     "error_message = \"Too short.\"\n}\n}\n"),
              HasSubstr("is not valid: Too short."));
  EXPECT_THAT(failed("", "locals {\n a = local.b\n b = local.a\n}\n"), HasSubstr("needs itself"));
  EXPECT_THAT(failed("", "locals { a = var.nothing }\n"), HasSubstr("there is no variable 'nothing'"));
  EXPECT_THAT(failed("", "data \"amazon-secretsmanager\" \"x\" {}\n"), HasSubstr("is not supported"));
  EXPECT_THAT(error_of([] { hcl(std::string(kSource) + "build { sources = [\"source.amazon-ebs.wbe\"] }"); }),
              HasSubstr("did you mean 'amazon-ebs.web'?"));
  EXPECT_THAT(error_of([] { hcl(kSource); }), HasSubstr("has no 'build' block"));
  EXPECT_THAT(error_of([] { read({}, {.path = "none.pkr.hcl"}); }), HasSubstr("there is no file 'none.pkr.hcl'"));
}

constexpr const char* kSurrogate =
    "source \"amazon-ebssurrogate\" \"s\" {\n ami_name = \"xyz\"\n source_ami = \"ami-1\"\n"
    "launch_block_device_mappings {\n device_name = \"/dev/xvdf\"\n volume_size = 3\n volume_type = \"gp3\"\n"
    "encrypted = true\n}\n"
    "launch_block_device_mappings {\n device_name = \"/dev/xvdg\"\n snapshot_id = \"snap-1\"\n"
    "omit_from_artifact = true\n}\n"
    "ami_block_device_mappings {\n device_name = \"/dev/xvdh\"\n volume_size = \"7\"\n}\n"
    "ami_root_device {\n source_device_name = \"/dev/xvdf\"\n device_name = \"/dev/xvda\"\n"
    "delete_on_termination = true\n}\n}\n"
    "build { sources = [\"amazon-ebssurrogate.s\"] }\n";

TEST(Surrogate, HasItsVolumesAndWhichOfThemIsTheImage) {
  const Template out = hcl(kSurrogate);
  ASSERT_EQ(out.builds.size(), 1U);
  EXPECT_EQ(out.builds[0].type, "amazon-ebssurrogate");
  ASSERT_TRUE(out.builds[0].surrogate);
  const spec::Surrogate& read = *out.builds[0].surrogate;
  spec::Volume first{.device = "/dev/xvdf", .type = "gp3", .size_gib = 3, .encrypted = true};
  spec::Volume second{.device = "/dev/xvdg", .snapshot = "snap-1"};
  EXPECT_THAT(read.launched, ElementsAre(first, second));
  EXPECT_THAT(read.apart, ElementsAre("/dev/xvdg"));
  EXPECT_THAT(read.more, ElementsAre(spec::Volume{.device = "/dev/xvdh", .size_gib = 7}));
  EXPECT_EQ(read.source, "/dev/xvdf");
  EXPECT_EQ(read.root, (spec::Volume{.device = "/dev/xvda", .delete_on_termination = true}));
  EXPECT_EQ(read.architecture, "x86_64");
  EXPECT_THAT(out.notes, IsEmpty());
}

TEST(Surrogate, OfALegacyTemplateIsTheSame) {
  const Template out = legacy(R"({"builders": [{"type": "amazon-ebssurrogate", "ami_name": "xyz", "source_ami": "ami-1",
    "ami_virtualization_type": "hvm", "ami_architecture": "arm64",
    "launch_block_device_mappings": [{"device_name": "/dev/xvdf", "volume_size": "3"}],
    "ami_root_device": {"source_device_name": "/dev/xvdf", "device_name": "/dev/xvda", "volume_size": 5}}]})");
  const spec::Surrogate& read = out.builds.at(0).surrogate.value();
  EXPECT_THAT(read.launched, ElementsAre(spec::Volume{.device = "/dev/xvdf", .size_gib = 3}));
  EXPECT_EQ(read.root.size_gib, 5);
  EXPECT_EQ(read.architecture, "arm64");
}

TEST(Surrogate, WhatCannotBeIsRefusedByLine) {
  const auto refused = [](const std::string& old, const std::string& changed) {
    std::string text = kSurrogate;
    text.replace(text.find(old), old.size(), changed);
    return error_of([&] { hcl(text); });
  };
  EXPECT_THAT(refused("source_device_name = \"/dev/xvdf\"", "source_device_name = \"/dev/xvdz\""),
              HasSubstr("launched without such a volume"));
  EXPECT_THAT(refused("encrypted = true", "omit_from_artifact = true"), HasSubstr("is the root device of the AMI and"));
  EXPECT_THAT(refused("\"/dev/xvdg\"", "\"/dev/xvdf\""), HasSubstr("has the device /dev/xvdf twice"));
  EXPECT_THAT(refused("volume_size = 3", "volume_size = \"big\""),
              HasSubstr("t.pkr.hcl:6:2: 'volume_size' must be a whole number"));
  EXPECT_THAT(refused("encrypted = true", "virtual_name = \"ephemeral0\""), HasSubstr("'virtual_name' of"));
  EXPECT_THAT(refused("encrypted = true", "encryption = true"), HasSubstr("did you mean 'encrypted'?"));
  EXPECT_THAT(refused("ami_name = \"xyz\"", "ami_name = \"xyz\"\n encrypt_boot = true"),
              HasSubstr("'encrypt_boot' of"));
  EXPECT_THAT(refused("ami_name = \"xyz\"", "ami_name = \"xyz\"\n ami_architecture = \"i386\""),
              HasSubstr("'i386' is no architecture"));
  EXPECT_THAT(refused("ami_name = \"xyz\"", "ami_name = \"xyz\"\n user_data = \"x\""),
              HasSubstr("user data is Kiln's own"));
  EXPECT_THAT(refused("ami_root_device", "ami_other_device"), HasSubstr("'ami_root_device' must be here once"));
}

TEST(Manifest, IsPackersOwnAndGrows) {
  const Template out = legacy(
      json_with("", R"(, "post-processors": [{"type": "manifest", "output": "m.json", "custom_data": {"k": "v"}}])"));
  const PostProcessor& how = out.builds[0].post_processors[0][0];
  const Outcome outcome{.name = "web",
                        .type = "amazon-ebs",
                        .artifact = "us-east-1:ami-1",
                        .uuid = "u",
                        .now = parse_iso8601("2026-11-25T09:03:06Z")};
  const std::string once = manifest_of("", outcome, how);
  EXPECT_THAT(once, HasSubstr("\"build_time\": 1795597386"));
  EXPECT_THAT(once, HasSubstr("\"k\": \"v\""));
  EXPECT_EQ(kiln::split(manifest_of(once, outcome, how), '{').size(), kiln::split(once, '{').size() + 2);
  EXPECT_THAT(error_of([&] { manifest_of("[]", outcome, how); }), HasSubstr("not a manifest"));
}

}  // namespace
}  // namespace kiln::packer
