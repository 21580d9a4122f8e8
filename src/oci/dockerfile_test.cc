// Dockerfile: what buildah says, in the terms of the file; and what a build depends on.
#include "oci/dockerfile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
namespace kiln::oci {
namespace {

using testing::failure;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kFile = R"(# a comment
FROM oci:base:latest AS build
ARG VERSION=1
RUN apt-get update && \
    # in between
    apt-get install -y   nginx
COPY site/ /var/www/html/
RUN echo ${VERSION} > /version
run exit 3
)";

TEST(DockerfileTest, AStepIsFoundByItsTextWhateverItsLines) {
  EXPECT_EQ(line_of_step(kFile, "FROM oci:base:latest AS build"), 2);
  EXPECT_EQ(line_of_step(kFile, "RUN apt-get update && apt-get install -y nginx"), 4);
  EXPECT_EQ(line_of_step(kFile, "COPY site/ /var/www/html/"), 7);
  EXPECT_EQ(line_of_step(kFile, "RUN echo 1 > /version"), 8);
  EXPECT_EQ(line_of_step(kFile, "RUN exit 3"), 9);
  EXPECT_EQ(line_of_step(kFile, "EXPOSE 80"), 0);
}

TEST(DockerfileTest, AnErrorNamesTheLineAndQuotesIt) {
  const Error error = build_error("app/Dockerfile", kFile,
                                  "STEP 1/5: FROM oci:base:latest AS build\n"
                                  "error building at STEP \"RUN exit 3\": error while running runtime: exit status 3\n",
                                  125);
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.message(), HasSubstr("app/Dockerfile:9: buildah ended with status 125"));
  EXPECT_THAT(error.message(), HasSubstr("9 | run exit 3"));
  EXPECT_THAT(error.message(), HasSubstr("exit status 3"));
}

TEST(DockerfileTest, WithoutAStepInTheMessageTheLastOneThatBeganIsMeant) {
  const Error error = build_error("Dockerfile", kFile, "STEP 3/5: COPY site/ /var/www/html/\nError: no such file\n", 1);
  EXPECT_THAT(error.message(), HasSubstr("Dockerfile:7:"));
}

TEST(DockerfileTest, ARegistryThatDoesNotAnswerIsUnavailable) {
  const Error error = build_error("Dockerfile", "FROM debian\n", "dial tcp: lookup docker.io: no such host", 125);
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
}

class InputsTest : public ::testing::Test {
 protected:
  InputsTest() {
    host::make_folders(folder_.path() / "context/site");
    host::write_file(folder_.path() / "context/Dockerfile", "FROM scratch\n");
    host::write_file(folder_.path() / "context/site/index.html", "hello");
  }
  Dockerfile dockerfile() const { return {folder_.path() / "context/Dockerfile", folder_.path() / "context", "", {}}; }
  host::TemporaryFolder folder_{"kiln-dockerfile-"};
};

TEST_F(InputsTest, AreAllThatTheBuildReads) {
  const Digest before = inputs_of(dockerfile());
  EXPECT_EQ(inputs_of(dockerfile()), before);
  Dockerfile other = dockerfile();
  other.args = {{"A", "1"}};
  EXPECT_NE(inputs_of(other), before);
  other = dockerfile();
  other.target = "build";
  EXPECT_NE(inputs_of(other), before);
  host::write_file(folder_.path() / "context/site/index.html", "hallo");
  EXPECT_NE(inputs_of(dockerfile()), before);
}

TEST_F(InputsTest, ALayoutThatFromNamesIsOneOfThem) {
  host::make_folders(folder_.path() / "base");
  host::write_file(folder_.path() / "base/index.json", "1");
  Dockerfile by_argument = dockerfile();
  by_argument.args = {{"BASE", "oci:../base:one"}};
  host::write_file(folder_.path() / "context/Dockerfile.base", "FROM oci:../base:one AS build\n");
  Dockerfile by_name = dockerfile();
  by_name.file = folder_.path() / "context/Dockerfile.base";
  const Digest argument = inputs_of(by_argument), name = inputs_of(by_name);
  host::write_file(folder_.path() / "base/index.json", "2");
  EXPECT_NE(inputs_of(by_argument), argument);
  EXPECT_NE(inputs_of(by_name), name);
}

TEST_F(InputsTest, MissingOnesAreNamed) {
  Dockerfile missing = dockerfile();
  missing.file = folder_.path() / "Dockerfile.prod";
  const Error error = failure([&] { inputs_of(missing); });
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("Dockerfile.prod"));
}

}  // namespace
}  // namespace kiln::oci
