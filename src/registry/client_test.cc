// Client, against a registry that breaks off, lies and forgets.
#include "registry/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "base/testing/errors.h"
#include "registry/testing/fake_registry.h"

namespace kiln::registry {
namespace {

using testing::failure;
using ::testing::HasSubstr;
using Answer = FakeRegistry::Answer;

std::string some_bytes(std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; bytes.size() < count; ++i) bytes += sha256(std::to_string(i)).hex();
  bytes.resize(count);
  return bytes;
}

class ClientTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kChunk = 1000;

  static Connect connect() {
    Connect connect;
    connect.plain_http = true;
    connect.env = [](const char*) { return std::nullopt; };
    return connect;
  }
  Client client() { return {fake_.name(), connect(), clock_, random_, kChunk}; }
  store::Blob blob(const std::string& bytes) { return {sha256(bytes), bytes.size(), "x/y", {}}; }
  host::Path file() const { return folder_.path() / "blob"; }
  Upload upload(const std::string& bytes) {
    host::write_file(file(), bytes);
    return {blob(bytes), file(), folder_.path() / "note", {}};
  }
  // Answers blobs by `change` of what a good registry would.
  void blobs_answer(std::function<Answer(const http::Request&)> answer) {
    fake_.script = [answer = std::move(answer)](const http::Request& request) -> std::optional<Answer> {
      if (request.method != "GET" || request.path.find("/blobs/sha256") == std::string::npos) return std::nullopt;
      return answer(request);
    };
  }
  Error fetch_failure(const store::Blob& what) {
    return failure([&] { client().fetch_blob("team/web", what, file(), {}); });
  }

  FakeRegistry fake_;
  host::SimulatedClock clock_{Time(Duration(1'700'000'000'000))};
  host::SeededRandom random_{1};
  host::TemporaryFolder folder_{"registry-test-"};
};

TEST_F(ClientTest, ABlobIsFetchedAndChecked) {
  const std::string bytes = some_bytes(5000);
  fake_.add_blob("team/web", bytes);
  std::int64_t counted = 0;
  client().fetch_blob("team/web", blob(bytes), file(), [&](std::int64_t more) { counted += more; });
  EXPECT_EQ(host::read_file(file()), bytes);
  EXPECT_EQ(counted, 5000);
}

TEST_F(ClientTest, ADownloadThatIsCutGoesOnWhereItWas) {
  const std::string bytes = some_bytes(10'000);
  int asked = 0;
  blobs_answer([&](const http::Request& request) {
    Answer answer;
    answer.body = bytes;
    if (++asked == 1) {
      answer.cut_after = 6000;
      return answer;
    }
    EXPECT_EQ(request.headers.get("Range"), "bytes=6000-");
    answer.status = 206;
    answer.body = bytes.substr(6000);
    answer.headers.add("Content-Range", "bytes 6000-9999/10000");
    return answer;
  });
  client().fetch_blob("team/web", blob(bytes), file(), {});
  EXPECT_EQ(host::read_file(file()), bytes);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(fake_.sent_bytes(), 10'000U);
}

TEST_F(ClientTest, WhatAnEarlierProcessHasFetchedIsNotFetchedAgain) {
  const std::string bytes = some_bytes(10'000);
  fake_.add_blob("team/web", bytes);
  host::write_file(file(), bytes.substr(0, 9000));
  client().fetch_blob("team/web", blob(bytes), file(), {});
  EXPECT_EQ(host::read_file(file()), bytes);
  EXPECT_EQ(fake_.sent_bytes(), 1000U);
}

TEST_F(ClientTest, WhatACrashHasDamagedComesOnceMore) {
  const std::string bytes = some_bytes(10'000);
  fake_.add_blob("team/web", bytes);
  for (const std::string& left : {std::string(9000, '\0'), std::string(10'000, '\0'), std::string(20'000, 'x')}) {
    host::write_file(file(), left);
    client().fetch_blob("team/web", blob(bytes), file(), {});
    EXPECT_EQ(host::read_file(file()), bytes);
  }
}

TEST_F(ClientTest, ARegistryWithoutRangesSendsAllAgain) {
  const std::string bytes = some_bytes(10'000);
  fake_.add_blob("team/web", bytes);
  fake_.knows_ranges = false;
  host::write_file(file(), bytes.substr(0, 9000));
  client().fetch_blob("team/web", blob(bytes), file(), {});
  EXPECT_EQ(host::read_file(file()), bytes);
}

TEST_F(ClientTest, AnotherRangeThanAskedForIsNotBelieved) {
  const std::string bytes = some_bytes(10'000);
  host::write_file(file(), bytes.substr(0, 5000));
  blobs_answer([&](const http::Request& request) {
    Answer answer;
    answer.body = bytes;
    if (request.headers.has("Range")) {
      answer.status = 206;
      answer.body = bytes.substr(4000);
      answer.headers.add("Content-Range", "bytes 4000-9999/10000");
    }
    return answer;
  });
  client().fetch_blob("team/web", blob(bytes), file(), {});
  EXPECT_EQ(host::read_file(file()), bytes);
}

TEST_F(ClientTest, LiesAboutADigestASizeOrAKindAreErrorsAndLeaveNothing) {
  const std::string bytes = some_bytes(5000), other = some_bytes(6000).substr(1000);
  const auto expect_refused = [&](Answer answer, const std::string& why) {
    blobs_answer([&](const http::Request&) { return answer; });
    const Error error = fetch_failure(blob(bytes));
    EXPECT_EQ(error.code(), ErrorCode::corrupt) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(why));
    EXPECT_THAT(error.what(), HasSubstr(fake_.name() + "/team/web"));
    EXPECT_FALSE(error.next().empty());
    EXPECT_FALSE(std::filesystem::exists(file()));
  };
  Answer answer;
  answer.body = other;
  expect_refused(answer, "what came has the digest " + sha256(other).str());
  answer.body = bytes + "more";
  expect_refused(answer, "the manifest says 5000 bytes, the registry 5004");
  answer.endless = true;
  expect_refused(answer, "sends more than the 5000 bytes");
  answer = {};
  answer.body = "<html>log in first</html>";
  answer.headers.add("Content-Type", "text/html; charset=utf-8");
  expect_refused(answer, "a web page");
}

TEST_F(ClientTest, ARegistryThatAlwaysBreaksOffIsLeftAfterSomeTries) {
  blobs_answer([](const http::Request&) {
    Answer answer;
    answer.body = some_bytes(10'000);
    answer.cut_after = 0;
    return answer;
  });
  const Error error = fetch_failure(blob(some_bytes(10'000)));
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_LE(fake_.asked().size(), 10U);
  EXPECT_TRUE(std::filesystem::exists(file()));
}

TEST_F(ClientTest, ABlobThatIsNotThereIsNotFound) { EXPECT_EQ(fetch_failure(blob("x")).code(), ErrorCode::not_found); }

TEST_F(ClientTest, AWriteThatFailsIsAnErrorThatNamesTheFile) {
  // A limit on a file's size stands for the disk: the same write fails in the same place.
  const std::string bytes = some_bytes(5000);
  fake_.add_blob("team/web", bytes);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Error error = fetch_failure(blob(bytes));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.what(), HasSubstr(file().string()));
  client().fetch_blob("team/web", blob(bytes), file(), {});  // and goes on when there is room
  EXPECT_EQ(host::read_file(file()), bytes);
}

TEST_F(ClientTest, ASmallBlobGoesUpInOnePieceAndABigOneInChunks) {
  for (const std::size_t size : {0UL, 1UL, 1000UL, 1001UL, 4500UL}) {
    const std::string bytes = some_bytes(size);
    std::int64_t counted = 0;
    EXPECT_EQ(client().push_blob("team/web", upload(bytes), [&](std::int64_t more) { counted += more; }), Pushed::sent);
    EXPECT_EQ(fake_.blob("team/web", sha256(bytes).str()), bytes);
    EXPECT_EQ(counted, static_cast<std::int64_t>(size));
  }
  EXPECT_EQ(fake_.count("PATCH"), 2U + 5U);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "note"));
}

TEST_F(ClientTest, AnUploadThatIsCutGoesOnWithWhatHasArrived) {
  const std::string bytes = some_bytes(4500);
  int chunks = 0;
  fake_.cut_body = [&](const http::Request& request) -> std::optional<std::size_t> {
    if (request.method != "PATCH" || ++chunks != 2) return std::nullopt;
    return 400;
  };
  std::int64_t counted = 0;
  client().push_blob("team/web", upload(bytes), [&](std::int64_t more) { counted += more; });
  EXPECT_EQ(fake_.blob("team/web", sha256(bytes).str()), bytes);
  EXPECT_EQ(fake_.body_bytes(), 4500U);  // the 400 bytes were not sent again
  EXPECT_EQ(counted, 4500);
}

TEST_F(ClientTest, AnotherProcessGoesOnWithAnUploadThatWasKilled) {
  const std::string bytes = some_bytes(4500);
  const Upload what = upload(bytes);
  bool dead = false;
  fake_.cut_body = [&](const http::Request& request) -> std::optional<std::size_t> {
    // From the third chunk on nothing comes through any more.
    if (request.method == "PATCH" && request.headers.get("Content-Range") == "2000-2999") dead = true;
    return dead ? std::optional<std::size_t>(0) : std::nullopt;
  };
  EXPECT_EQ(failure([&] { client().push_blob("team/web", what, {}); }).code(), ErrorCode::unavailable);
  EXPECT_EQ(fake_.body_bytes(), 2000U);
  fake_.cut_body = {};
  client().push_blob("team/web", what, {});
  EXPECT_EQ(fake_.blob("team/web", sha256(bytes).str()), bytes);
  EXPECT_EQ(fake_.body_bytes(), 4500U);
}

TEST_F(ClientTest, AnUploadThatTheRegistryHasForgottenBeginsAnew) {
  const std::string bytes = some_bytes(4500);
  const Upload what = upload(bytes);
  host::write_file(what.note, "/v2/team/web/blobs/uploads/gone");
  client().push_blob("team/web", what, {});
  EXPECT_EQ(fake_.blob("team/web", sha256(bytes).str()), bytes);
}

TEST_F(ClientTest, ARegistryThatTakesNoChunksGetsItInOnePiece) {
  fake_.script = [](const http::Request& request) -> std::optional<Answer> {
    if (request.method != "PATCH") return std::nullopt;
    Answer answer;
    answer.status = 405;
    return answer;
  };
  const std::string bytes = some_bytes(4500);
  client().push_blob("team/web", upload(bytes), {});
  EXPECT_EQ(fake_.blob("team/web", sha256(bytes).str()), bytes);
}

TEST_F(ClientTest, ABlobOfANeighbourIsTakenOverWithoutSendingIt) {
  const std::string bytes = some_bytes(4500);
  fake_.add_blob("team/base", bytes);
  Upload what = upload(bytes);
  what.mount_from = "team/base";
  EXPECT_EQ(client().push_blob("team/web", what, {}), Pushed::mounted);
  EXPECT_EQ(fake_.body_bytes(), 0U);
  what.mount_from = "team/gone";
  EXPECT_EQ(client().push_blob("team/other", what, {}), Pushed::sent);
  EXPECT_EQ(fake_.blob("team/other", sha256(bytes).str()), bytes);
}

TEST_F(ClientTest, ABlobThatIsAlteredOnDiskIsNotTaken) {
  Upload what = upload(some_bytes(500));
  what.blob.digest = sha256("other");
  const Error error = failure([&] { client().push_blob("team/web", what, {}); });
  EXPECT_EQ(error.code(), ErrorCode::corrupt);
  EXPECT_THAT(error.what(), HasSubstr("DIGEST_INVALID"));
}

TEST_F(ClientTest, ARegistryThatClaimsMoreThanWasSentIsRefused) {
  fake_.script = [](const http::Request& request) -> std::optional<Answer> {
    if (request.method != "PATCH") return std::nullopt;
    Answer answer;
    answer.status = 202;
    answer.headers.add("Location", request.path);
    answer.headers.add("Range", "0-999999");
    return answer;
  };
  EXPECT_EQ(failure([&] { client().push_blob("team/web", upload(some_bytes(4500)), {}); }).code(), ErrorCode::invalid);
}

TEST_F(ClientTest, AManifestIsCheckedAgainstWhatItWasAskedBy) {
  fake_.add_manifest("team/web", "1", "{}");
  EXPECT_EQ(client().manifest("team/web", "1").digest, sha256("{}"));
  EXPECT_EQ(failure([&] { client().manifest("team/web", "2"); }).code(), ErrorCode::not_found);
  fake_.script = [](const http::Request&) {
    Answer answer;
    answer.body = "{ }";
    answer.headers.add("Docker-Content-Digest", sha256("{}").str());
    return answer;
  };
  EXPECT_EQ(failure([&] { client().manifest("team/web", "1"); }).code(), ErrorCode::corrupt);
  EXPECT_EQ(failure([&] { client().manifest("team/web", sha256("{}").str()); }).code(), ErrorCode::corrupt);
}

TEST_F(ClientTest, AManifestWithoutEndAndAWebPageAreErrorsAtOnce) {
  Answer answer;
  answer.body = std::string(100'000, ' ');
  answer.endless = true;
  fake_.script = [&](const http::Request&) { return answer; };
  const Error endless = failure([&] { client().manifest("team/web", "1"); });
  EXPECT_EQ(endless.code(), ErrorCode::corrupt);
  EXPECT_THAT(endless.what(), HasSubstr("more than 4.0 MiB"));
  EXPECT_EQ(fake_.asked().size(), 1U);
  answer = {};
  answer.body = "<html>";
  answer.headers.add("Content-Type", "text/html");
  const Error page = failure([&] { client().manifest("team/web", "1"); });
  EXPECT_EQ(page.code(), ErrorCode::corrupt);
  EXPECT_THAT(page.what(), HasSubstr("team/web"));
}

TEST_F(ClientTest, TagsComeInPages) {
  fake_.script = [](const http::Request& request) {
    Answer answer;
    answer.body = R"({"name":"team/web","tags":["2","1"]})";
    if (request.query.find("last=2") == std::string::npos) {
      answer.headers.add("Link", "</v2/team/web/tags/list?last=2&n=1000>; rel=\"next\"");
    } else {
      answer.body = R"({"name":"team/web","tags":["3"]})";
    }
    return answer;
  };
  EXPECT_THAT(client().tags("team/web"), ::testing::ElementsAre("1", "2", "3"));
}

TEST_F(ClientTest, PagesThatGoInACircleEnd) {
  fake_.script = [](const http::Request&) {
    Answer answer;
    answer.body = R"({"tags":["1"]})";
    answer.headers.add("Link", "</v2/team/web/tags/list?n=1000>; rel=next");
    return answer;
  };
  EXPECT_THAT(client().tags("team/web"), ::testing::ElementsAre("1"));
}

TEST_F(ClientTest, ATagThatLeadsElsewhereIsRefused) {
  fake_.script = [](const http::Request&) {
    Answer answer;
    answer.body = R"({"tags":["../../../x"]})";
    return answer;
  };
  EXPECT_EQ(failure([&] { client().tags("team/web"); }).code(), ErrorCode::corrupt);
}

TEST_F(ClientTest, ReferrersAreFoundByTheApiAndByTheTag) {
  const Digest subject = sha256("subject");
  const Referrer referrer{{sha256("about"), 5, std::string(kOciManifest), {}}, "a/b", {{"k", "v"}}};
  for (const bool knows : {true, false}) {
    FakeRegistry fake;
    fake.knows_referrers = knows;
    Client client(fake.name(), connect(), clock_, random_);
    EXPECT_TRUE(client.referrers("team/web", subject).empty());
    if (knows) continue;
    client.note_referrer("team/web", subject, referrer);
    client.note_referrer("team/web", subject, referrer);
    const auto found = client.referrers("team/web", subject);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].manifest.digest, referrer.manifest.digest);
    EXPECT_EQ(found[0].artifact_type, "a/b");
    EXPECT_EQ(found[0].annotations, referrer.annotations);
    EXPECT_TRUE(fake.manifest("team/web", "sha256-" + subject.hex()));
  }
}

}  // namespace
}  // namespace kiln::registry
