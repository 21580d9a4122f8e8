// ImageBuilder: documents become scripts, and the scripts do what AWS's documentation says. They are really run, in a
// folder of the test's own.
#include "spec/image_builder/image_builder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

namespace kiln::spec {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class ImageBuilderTestFixture : public testing::Test {
 protected:
  ImageBuilderTestFixture() {
    std::string name = fs::temp_directory_path() / "kiln-image-builder-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~ImageBuilderTestFixture() override { fs::remove_all(folder_); }

  ImageBuilderImage read(const ImageBuilderSource& source) const {
    return read_image_builder(source, {"kiln.yaml", "image:\n"}, {1, 1}, [this](const std::string& path) {
      const auto found = documents_.find(path);
      if (found == documents_.end()) throw Error(ErrorCode::not_found, "there is no " + path);
      return found->second;
    });
  }
  ImageBuilderImage read(const std::string& text, const Variables& parameters = {}) {
    documents_["component.yaml"] = text;
    return read(ImageBuilderSource{.recipe = "", .components = {"component.yaml"}, .parameters = parameters});
  }
  static std::string build(const std::string& steps) {
    return "schemaVersion: 1.0\nphases:\n  - name: build\n    steps:\n" + steps;
  }
  std::string refusal(const std::string& text, const Variables& parameters = {}) {
    try {
      read(text, parameters);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.message() + "\n" + error.next();
    }
    return "nothing was refused";
  }

  struct Ran {
    int status = 0;
    std::string output;
  };
  Ran run_step(const RunStep& step) const {
    const fs::path files = folder_ / "files";
    fs::create_directories(files);
    for (const StepFile& file : step.files) std::ofstream(files / file.name, std::ios::binary) << file.content;
    const std::string command = fmt::format("cd / && KILN_FILES={} TMPDIR={} bash {}/phase.sh 2>&1", files.string(),
                                            folder_.string(), files.string());
    FILE* pipe = ::popen(command.c_str(), "r");
    Ran ran;
    for (int c = 0; (c = std::fgetc(pipe)) != EOF;) ran.output += static_cast<char>(c);
    const int status = ::pclose(pipe);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
  }
  Ran run(const std::string& text, const Variables& parameters = {}) {
    return run_step(std::get<RunStep>(read(text, parameters).steps.at(0).action));
  }
  std::string content(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  fs::path folder_;
  std::map<std::string, std::string> documents_;
};
using ImageBuilderTests = ImageBuilderTestFixture;

TEST_F(ImageBuilderTests, CommandsRunInBashAndTheirOutputIsChained) {
  const Ran ran = run(build(R"(
      - name: Say
        action: ExecuteBash
        inputs:
          commands:
            - x=(one "it's"); echo "${x[1]}"
            - echo 'a  $NONE "b"'
      - name: Use
        action: ExecuteBash
        inputs:
          commands:
            - printf '<%s>\n' "{{ build.Say.outputs.stdout }}"
)"));
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("it's\na  $NONE \"b\"\n"));
  EXPECT_THAT(ran.output, HasSubstr("== build.Use\n<it's\na   b>"));
}

TEST_F(ImageBuilderTests, FilesAndFoldersAreMadeCopiedMovedAndDeleted) {
  const Ran ran = run(build(fmt::format(R"(
      - name: Make
        action: CreateFile
        inputs:
          - path: {0}/a/one.txt
            content: "$(touch {0}/bad) 'quoted' \\n\n"
            permissions: "640"
          - path: {0}/a/two.txt
      - name: Append
        action: AppendFile
        inputs: [{{path: "{{{{ build.Make.inputs[1].path }}}}", content: more}}]
      - name: Folder
        action: CreateFolder
        inputs: [{{path: {0}/b/, permissions: "0700"}}]
      - name: Copy
        action: CopyFile
        inputs: [{{source: {0}/a/*.txt, destination: {0}/b/}}]
      - name: CopyAll
        action: CopyFolder
        inputs: [{{source: {0}/b, destination: {0}/c/d}}]
      - name: Move
        action: MoveFile
        inputs: [{{source: {0}/c/d/two.txt, destination: {0}/moved}}]
      - name: MoveAll
        action: MoveFolder
        inputs: [{{source: {0}/c/d, destination: {0}/e/}}]
      - name: Link
        action: CreateSymlink
        inputs: [{{path: {0}/link, target: {0}/moved}}]
      - name: Delete
        action: DeleteFile
        inputs: [{{path: {0}/b/t*}}]
      - name: DeleteAll
        action: DeleteFolder
        inputs: [{{path: {0}/a, force: true}}]
      - name: Mode
        action: SetFilePermissions
        inputs: [{{path: {0}/moved, permissions: "0600"}}]
      - name: List
        action: ListFiles
        inputs: [{{path: {0}/e, recursive: true}}]
      - name: Read
        action: ReadFile
        inputs: [{{path: {0}/moved}}]
      - name: Save
        action: CreateFile
        inputs:
          - {{path: {0}/list, content: "{{{{ build.List.outputs.files }}}} {{{{ build.Read.outputs.content }}}}"}}
)",
                                        folder_.string())));
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_EQ(content("b/one.txt"), fmt::format("$(touch {}/bad) 'quoted' \\n\n", folder_.string()));
  EXPECT_FALSE(fs::exists(folder_ / "bad"));
  EXPECT_EQ(fs::status(folder_ / "b/one.txt").permissions(), fs::perms(0640));
  EXPECT_EQ(fs::status(folder_ / "b").permissions(), fs::perms(0700));
  EXPECT_FALSE(fs::exists(folder_ / "b/two.txt"));
  EXPECT_FALSE(fs::exists(folder_ / "a"));
  EXPECT_EQ(content("link"), "more");
  EXPECT_EQ(fs::status(folder_ / "moved").permissions(), fs::perms(0600));
  EXPECT_EQ(content("list"), at("e/d/one.txt") + " more");
}

TEST_F(ImageBuilderTests, WhatIsThereStaysUnlessOverwritten) {
  std::ofstream(folder_ / "file") << "old";
  const Ran ran = run(build(fmt::format(R"(
      - name: Keep
        action: CreateFile
        inputs: [{{path: {0}/file, content: new, overwrite: false}}]
)",
                                        folder_.string())));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output, HasSubstr("is there already, and 'overwrite' is false"));
  EXPECT_EQ(content("file"), "old");
}

TEST_F(ImageBuilderTests, OnFailureIsAbortContinueOrIgnore) {
  const auto failing = [&](const std::string& rule) {
    return run(build(R"(
      - {name: Fail, action: ExecuteBash, onFailure: )" +
                     rule + R"(, inputs: {commands: [exit 3]}}
      - {name: After, action: ExecuteBash, inputs: {commands: [echo went on]}}
)"));
  };
  const Ran abort = failing("Abort");
  EXPECT_EQ(abort.status, 1);
  EXPECT_THAT(abort.output, HasSubstr("build.Fail: attempt 1 of 1 ended with status 3"));
  EXPECT_THAT(abort.output, Not(HasSubstr("went on")));
  const Ran go_on = failing("Continue");
  EXPECT_EQ(go_on.status, 1);
  EXPECT_THAT(go_on.output, HasSubstr("went on"));
  const Ran ignore = failing("Ignore");
  EXPECT_EQ(ignore.status, 0);
  EXPECT_THAT(ignore.output, HasSubstr("went on"));
}

TEST_F(ImageBuilderTests, AttemptsAreMadeUntilOneSucceeds) {
  const Ran ran = run(build(fmt::format(R"(
      - name: Try
        action: ExecuteBash
        maxAttempts: 5
        inputs: {{commands: ["echo x >> {0}/tries; [ $(wc -l < {0}/tries) = 3 ]"]}}
)",
                                        folder_.string())));
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_EQ(content("tries"), "x\nx\nx\n");
}

TEST_F(ImageBuilderTests, AStepThatTakesTooLongIsEnded) {
  const Ran ran =
      run(build("      - {name: Long, action: ExecuteBash, timeoutSeconds: 1, inputs: {commands: [sleep 60]}}\n"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output, HasSubstr("it ran longer than 1 s"));
}

TEST_F(ImageBuilderTests, AskingForARebootFailsWithTheReason) {
  const Ran ran = run(build("      - {name: Boot, action: ExecuteBash, inputs: {commands: [exit 194]}}\n"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output, HasSubstr("it asks for a reboot"));
}

TEST_F(ImageBuilderTests, LoopsGoOverNumbersListsAndDelimitedTexts) {
  const Ran ran = run(R"(
schemaVersion: 1.0
constants:
  - Names: {type: string, value: "a b,c"}
phases:
  - name: build
    steps:
      - name: Numbers
        action: ExecuteBash
        loop: {for: {start: 4, end: 0, updateBy: -2}}
        inputs: {commands: ["echo n{{ loop.index }}={{ loop.value }}"]}
      - name: List
        action: ExecuteBash
        loop: {name: each, forEach: [x y, "$z"]}
        inputs: {commands: ["echo 'l{{ each.index }}={{ loop.value }}'"]}
      - name: Text
        action: ExecuteBash
        loop: {forEach: {list: "{{ Names }}", delimiter: ","}}
        inputs: {commands: ["echo t{{ loop.index }}={{ loop.value }}"]}
      - name: Outputs
        action: ExecuteBash
        inputs: {commands: ["echo '{{ build.Text.outputs.stdout }};{{ build.Text[1].outputs.stdout }}'"]}
)");
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output,
              HasSubstr("== build.Numbers (4)\nn0=4\n== build.Numbers (2)\nn1=2\n== build.Numbers (0)\nn2=0\n"));
  EXPECT_THAT(ran.output, HasSubstr("l0=x y\n"));
  EXPECT_THAT(ran.output, HasSubstr("l1=$z\n"));
  EXPECT_THAT(ran.output, HasSubstr("t0=a b\nt1=c;t1=c\n"));
}

TEST_F(ImageBuilderTests, OutputsOfTheBuildAreThereInValidationAndTests) {
  ImageBuilderImage image = read(R"(
schemaVersion: 1.0
phases:
  - name: build
    steps:
      - {name: Ask, action: ExecuteBash, inputs: {commands: ["echo \"it's\"; echo '$(two) \"lines\"'"]}}
      - {name: Each, action: ExecuteBash, loop: {forEach: [a, b]}, inputs: {commands: ["echo {{ loop.value }}"]}}
      - {name: Secret, action: ExecuteBash, inputs: {commands: [echo not for others]}}
  - name: validate
    steps:
      - {name: Is, action: ExecuteBash, inputs: {commands: ["echo 'v:{{ build.Each[1].outputs.stdout }}'"]}}
  - name: test
    steps:
      - {name: Is, action: ExecuteBash, inputs: {commands: ["cat <<'END'\n{{ build.Ask.outputs.stdout }}\nEND"]}}
)");
  ASSERT_EQ(image.steps.size(), 2U);
  const auto here = [&](std::string text) {
    const std::string there = "/var/lib/kiln/outputs";
    for (std::size_t found; (found = text.find(there)) != std::string::npos;)
      text.replace(found, there.size(), at("o"));
    return text;
  };
  const auto run_here = [&](const Step& step) {
    RunStep run = std::get<RunStep>(step.action);
    for (StepFile& file : run.files) file.content = here(file.content);
    return run_step(run);
  };
  const Ran built = run_here(image.steps[0]);
  EXPECT_EQ(built.status, 0) << built.output;
  EXPECT_THAT(content("o/component-1"), Not(HasSubstr("not for others")));
  const Ran validated = run_here(image.steps[1]);
  EXPECT_THAT(validated.output, HasSubstr("v:b\n"));
  const RunCheck& check = std::get<RunCheck>(image.tests.at(0).action);
  RunStep test;
  test.files = {{"phase.sh", here(check.commands.at(0)), 0755}};
  const Ran tested = run_step(test);
  EXPECT_EQ(tested.status, 0) << tested.output;
  EXPECT_THAT(tested.output, HasSubstr("it's\n$(two) \"lines\"\n"));
}

TEST_F(ImageBuilderTests, OutputsOfOtherPhasesThanTheBuildAreRefused) {
  const std::string text = R"(
schemaVersion: 1.0
phases:
  - {name: validate, steps: [{name: V, action: ExecuteBash, inputs: {commands: [date]}}]}
  - {name: test, steps: [{name: T, action: ExecuteBash, inputs: {commands: ["{{ validate.V.outputs.stdout }}"]}}]}
)";
  EXPECT_THAT(refusal(text), HasSubstr("an output of the phase 'validate', which runs apart"));
}

TEST_F(ImageBuilderTests, ParametersAndConstantsAreFilledIn) {
  const std::string text = R"(
schemaVersion: 1.0
parameters:
  - Version: {type: string, default: "1.0"}
constants:
  - Name: {type: string, value: nginx}
phases:
  - name: build
    steps:
      - {name: Say, action: ExecuteBash, inputs: {commands: ["echo {{ Name }}={{Version}} '{{.State}}' '{{ end }}'"]}}
)";
  EXPECT_THAT(run(text).output, HasSubstr("nginx=1.0 {{.State}} {{ end }}"));
  EXPECT_THAT(run(text, {{"Version", "2.0"}}).output, HasSubstr("nginx=2.0"));
  EXPECT_THAT(refusal(text, {{"Versoin", "2.0"}}), HasSubstr("no parameter 'Versoin'; did you mean 'Version'?"));
}

TEST_F(ImageBuilderTests, ConditionsDecideWhatRuns) {
  std::ofstream(folder_ / "there") << "x";
  const Ran ran = run(build(fmt::format(R"(
      - {{name: A, action: ExecuteBash, if: {{fileExists: {0}/there}}, inputs: {{commands: [echo ran-a]}}}}
      - {{name: B, action: ExecuteBash, if: {{fileExists: {0}/none}}, inputs: {{commands: [echo ran-b]}}}}
      - name: C
        action: ExecuteBash
        if:
          and:
            - binaryExists: bash
            - not: {{stringEquals: a, value: b}}
            - or:
                - {{numberGreaterThan: "10", value: "9.5"}}
                - {{folderExists: {0}/none}}
        inputs: {{commands: [echo ran-c]}}
      - name: D
        action: ExecuteBash
        if: {{patternMatches: '^\d+\.\d+$', value: "12.5", then: Skip, else: Execute}}
        inputs: {{commands: [echo ran-d]}}
      - name: E
        action: ExecuteBash
        loop: {{forEach: [1, 2]}}
        if: {{stringIsEmpty: ""}}
        inputs: {{commands: ["echo ran-e{{{{ loop.value }}}}"]}}
)",
                                        folder_.string())));
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("ran-a"));
  EXPECT_THAT(ran.output, HasSubstr("== build.B: skipped, by its condition"));
  EXPECT_THAT(ran.output, HasSubstr("ran-c"));
  EXPECT_THAT(ran.output, Not(HasSubstr("ran-d")));
  EXPECT_THAT(ran.output, HasSubstr("ran-e1\n== build.E (2)\nran-e2"));
}

TEST_F(ImageBuilderTests, AnAssertionThatDoesNotHoldFails) {
  const auto asserting = [&](const std::string& value) {
    return run(build(R"(
      - {name: Say, action: ExecuteBash, inputs: {commands: [echo 2.1.1]}}
      - {name: Is, action: Assert, inputs: {stringEquals: ')" +
                     value + R"(', value: '{{ build.Say.outputs.stdout }}'}}
)"));
  };
  EXPECT_EQ(asserting("2.1.1").status, 0);
  EXPECT_EQ(asserting("2.1.2").status, 1);
  EXPECT_THAT(asserting("2.1.2").output, HasSubstr("the assertion does not hold"));
}

TEST_F(ImageBuilderTests, DocumentsRunDocuments) {
  documents_["one.yaml"] = R"(
schemaVersion: 1.0
parameters:
  - Who: {type: string}
phases:
  - name: build
    steps:
      - {name: Hello, action: ExecuteBash, inputs: {commands: ["echo hello {{ Who }}"]}}
  - name: validate
    steps:
      - {name: Never, action: ExecuteBash, inputs: {commands: [exit 9]}}
)";
  const Ran ran = run(build(R"(
      - name: Nested
        action: ExecuteDocument
        loop: {forEach: [one]}
        inputs:
          document: "{{ loop.value }}.yaml"
          phases: build
          parameters: [{name: Who, value: "you {{ loop.index }}"}]
)"));
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("hello you 0"));
  documents_["one.yaml"] = build("      - {name: N, action: ExecuteDocument, inputs: {document: component.yaml}}\n");
  EXPECT_THAT(refusal(build("      - {name: N, action: ExecuteDocument, inputs: {document: one.yaml}}\n")),
              HasSubstr("'component.yaml' runs itself"));
  EXPECT_THAT(refusal(build("      - {name: N, action: ExecuteDocument, inputs: {document: s3://b/k.yaml}}\n")),
              HasSubstr("is not on this machine"));
}

TEST_F(ImageBuilderTests, PhasesGoWhereTheyBelong) {
  const ImageBuilderImage image = read(R"(
name: web
schemaVersion: 1.0
phases:
  - {name: build, steps: [{name: A, action: ExecuteBash, inputs: {commands: ["true"]}}]}
  - {name: validate, steps: [{name: B, action: ExecuteBash, inputs: {commands: ["true"]}}]}
  - {name: test, steps: [{name: C, action: ExecuteBash, inputs: {commands: [echo of web; exit 4]}}]}
)");
  ASSERT_EQ(image.steps.size(), 2U);
  EXPECT_EQ(std::get<RunStep>(image.steps[0].action).title, "component web: build");
  EXPECT_THAT(std::get<RunStep>(image.steps[1].action).commands[0], HasSubstr("apart.sh"));
  ASSERT_EQ(image.tests.size(), 1U);
  EXPECT_THAT(image.tests[0].text(), testing::StartsWith("component web: test ("));
  RunStep test;
  test.files = {{"phase.sh", std::get<RunCheck>(image.tests[0].action).commands.at(0), 0755}};
  const Ran ran = run_step(test);
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.output, HasSubstr("web"));
}

TEST_F(ImageBuilderTests, ARecipeNamesComponentsByArn) {
  documents_["ib/web.yaml"] = R"(
schemaVersion: 1.0
parameters: [{Port: {type: string}}]
phases:
  - {name: build, steps: [{name: A, action: ExecuteBash, inputs: {commands: ["echo port {{ Port }}"]}}]}
)";
  documents_["ib/recipe.json"] = R"({"name": "web", "semanticVersion": "1.0.0", "parentImage": "ami-0123456789abcdef0",
  "workingDirectory": "/var/tmp", "components": [
    {"componentArn": "arn:aws:imagebuilder:eu-west-1:123456789012:component/web/1.0.0/1",
     "parameters": [{"name": "Port", "value": ["8080"]}]}]})";
  const ImageBuilderImage image =
      read(ImageBuilderSource{.recipe = "ib/recipe.json", .components = {}, .parameters = {}});
  EXPECT_EQ(image.base, Base(AmiBase{.id = "ami-0123456789abcdef0", .owners = {}, .filters = {}}));
  EXPECT_THAT(run_step(std::get<RunStep>(image.steps.at(0).action)).output, HasSubstr("port 8080"));
  documents_.erase("ib/web.yaml");
  try {
    read(ImageBuilderSource{.recipe = "ib/recipe.json", .components = {}, .parameters = {}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("ib/recipe.json:3:"));
    EXPECT_THAT(error.next(), HasSubstr("get-component"));
  }
}

TEST_F(ImageBuilderTests, WhatIsNotServedIsRefusedByNameLineAndWayRound) {
  const auto action = [&](const std::string& name) {
    return refusal(build("      - {name: A, action: " + name + ", inputs: [{source: s3://b/k, destination: /x}]}\n"));
  };
  EXPECT_THAT(action("S3Download"), HasSubstr("component.yaml:5:"));
  EXPECT_THAT(action("S3Download"), HasSubstr("WebDownload with a pre-signed URL"));
  EXPECT_THAT(action("Reboot"), HasSubstr("nothing is booted"));
  EXPECT_THAT(action("ExecutePowerShell"), HasSubstr("use ExecuteBash"));
  EXPECT_THAT(action("ExecuteBsah"), HasSubstr("did you mean 'ExecuteBash'?"));
}

TEST_F(ImageBuilderTests, MistakesAreQuoted) {
  EXPECT_THAT(refusal("schemaVersion: 2.0\nphases: []\n"), HasSubstr("component.yaml:1:16: schemaVersion 2.0"));
  EXPECT_THAT(refusal("schemaVersion: 1.0\nphases: []\n"), HasSubstr("at least one phase"));
  EXPECT_THAT(refusal("[]"), HasSubstr("must be a mapping"));
  EXPECT_THAT(refusal("schemaVersion: 1.0\nphases: [{name: deploy, steps: [{name: A, action: UpdateOS}]}]\n"),
              HasSubstr("the phase 'deploy' is not run by Kiln"));
  EXPECT_THAT(refusal(build("      - {name: A, action: ExecuteBash}\n")), HasSubstr("needs 'inputs'"));
  EXPECT_THAT(refusal(build("      - {name: A, action: ExecuteBash, inputs: {comands: []}}\n")),
              HasSubstr("did you mean 'commands'?"));
  EXPECT_THAT(refusal(build("      - {name: A, action: CreateFile, inputs: [{content: x}]}\n")),
              HasSubstr("CreateFile needs 'path'"));
  EXPECT_THAT(refusal(build("      - {name: A, action: UpdateOS}\n      - {name: A, action: UpdateOS}\n")),
              HasSubstr("two steps are named 'A'"));
  EXPECT_THAT(refusal(build("      - {name: A, action: UpdateOS, loop: {for: {start: 1, end: 5, updateBy: -1}}}\n")),
              HasSubstr("does not end"));
  EXPECT_THAT(
      refusal(build("      - {name: A, action: ExecuteBash, inputs: {commands: ['{{ build.B.outputs.x }}']}}\n")),
      HasSubstr("no step 'B'"));
  EXPECT_THAT(
      refusal(build("      - {name: A, action: ExecuteBash, inputs: {commands: ['{{ build.A.outputs.x }}']}}\n")),
      HasSubstr("has not run yet"));
  EXPECT_THAT(refusal("schemaVersion: 1.0\nparameters: [{P: {type: string}}]\n"
                      "phases: [{name: build, steps: [{name: A, action: UpdateOS}]}]\n"),
              HasSubstr("the parameter 'P' has no default"));
  EXPECT_THAT(refusal(build("      - {name: A, action: CreateFile, inputs: [{path: '{{ build.A.inputs[0].content }}', "
                            "content: '{{ build.A.inputs[0].path }}'}]}\n")),
              HasSubstr("in a circle"));
}

}  // namespace
}  // namespace kiln::spec
