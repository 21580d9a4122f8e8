// Run Command on simulated machines: who is asked, in which order, and what is told of it.
#include <fmt/format.h>

#include "region/ssm/testing/ssm_world.h"

namespace kiln::region::ssm {
namespace {

using testing::CommandWorld;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

namespace w = wire::ssm;
namespace api = wire::ec2;

using RunCommand = CommandWorld;

TEST_F(RunCommand, AnInstanceIsAManagedNodeOnceItsAgentHasAnswered) {
  plan = [](const machine::Command& command) {
    machine::CommandRun run;
    if (command.id == "agent") run.out = "Debian GNU/Linux\n12\nip-172-31-0-10\n";
    return run;
  };
  const std::string id = run_one(image);
  EXPECT_THAT(information(), IsEmpty()) << "it boots";
  ASSERT_TRUE(online(id));
  const auto one = information().at(0);
  EXPECT_EQ(one.instance_id, id);
  EXPECT_EQ(one.ping_status, "Online");
  EXPECT_EQ(one.platform_type, "Linux");
  EXPECT_EQ(one.platform_name, "Debian GNU/Linux");
  EXPECT_EQ(one.platform_version, "12");
  EXPECT_EQ(one.computer_name, "ip-172-31-0-10");
  EXPECT_EQ(one.ip_address, life->ec2.instance(id).private_address);
  EXPECT_EQ(one.resource_type, "EC2Instance");
}

TEST_F(RunCommand, AMachineWithoutAnAgentIsNoManagedNode) {
  policy = [](const machine::Spec&, host::Random&) {
    machine::Behaviour behaviour;
    behaviour.agent = false;
    return behaviour;
  };
  const std::string id = run_one(image);
  loop.run_for(Duration(600'000));
  EXPECT_THAT(information(), IsEmpty());
  EXPECT_EQ(refusal<w::SendCommand>(shell({id}, "true")), "InvalidInstanceId");
  EXPECT_THAT(last_message, HasSubstr("not in a valid state for account"));
}

TEST_F(RunCommand, AStoppedInstanceHasLostItsConnectionAndATerminatedOneIsNoNode) {
  const std::string id = node();
  stop(id);
  EXPECT_EQ(information().at(0).ping_status, "ConnectionLost");
  EXPECT_THAT(information({{"PingStatus", {"Online"}}}), IsEmpty());
  terminate(id);
  EXPECT_THAT(information(), IsEmpty());
}

TEST_F(RunCommand, InformationIsFilteredInBothFormsAndPaged) {
  std::vector<std::string> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(node());
  std::sort(ids.begin(), ids.end());
  EXPECT_THAT(information({{"InstanceIds", {ids[2]}}}), SizeIs(1));
  life->ec2.create_tags({ids[3]}, {{"role", "web"}});
  EXPECT_THAT(information({{"tag:role", {"web"}}, {"PlatformTypes", {"Linux"}}}), SizeIs(1));
  EXPECT_THAT(information({{"tag-key", {"role", "none"}}}), SizeIs(1));
  w::DescribeInstanceInformationRequest request;
  auto& older = request.instance_information_filter_list.emplace_back();
  older.key = "InstanceIds";
  older.value_set = {ids[1], ids[4]};
  EXPECT_THAT(call<w::DescribeInstanceInformation>(request).instance_information_list, SizeIs(2));
  auto& newer = request.filters.emplace_back();
  newer.key = "PingStatus";
  newer.values = {"Online"};
  EXPECT_EQ(refusal<w::DescribeInstanceInformation>(request), "ValidationException");
  w::DescribeInstanceInformationRequest paged;
  paged.max_results = 5;
  const auto first = call<w::DescribeInstanceInformation>(paged);
  EXPECT_THAT(first.instance_information_list, SizeIs(5));
  paged.next_token = first.next_token;
  const auto second = call<w::DescribeInstanceInformation>(paged);
  ASSERT_THAT(second.instance_information_list, SizeIs(1));
  EXPECT_EQ(second.instance_information_list[0].instance_id, ids[5]);
  EXPECT_FALSE(second.next_token);
  paged.max_results = 4;
  EXPECT_EQ(refusal<w::DescribeInstanceInformation>(paged), "ValidationException");
}

TEST_F(RunCommand, ASuccessfulCommandTellsItsOutputAndItsCode) {
  plan = [](const machine::Command&) {
    machine::CommandRun run;
    run.out = "hello\n";
    run.err = "a word\n";
    return run;
  };
  const std::string id = node();
  w::SendCommandRequest request = shell({id}, "echo hello");
  request.comment = "say hello";
  request.parameters["workingDirectory"] = {"/srv"};
  const w::Command sent = call<w::SendCommand>(request).command.value();
  EXPECT_EQ(sent.status, "Pending");
  EXPECT_EQ(sent.status_details, "Pending");
  EXPECT_EQ(sent.target_count, 1);
  EXPECT_EQ(sent.document_name, "AWS-RunShellScript");
  EXPECT_EQ(sent.document_version, "$DEFAULT");
  EXPECT_EQ(sent.max_concurrency, "50");
  EXPECT_EQ(sent.max_errors, "0");
  EXPECT_EQ(sent.timeout_seconds, 3600);
  EXPECT_EQ(*sent.expires_after - *sent.requested_date_time, std::chrono::seconds(7200));
  const std::string command = sent.command_id.value();

  ASSERT_TRUE(settles(command, id));
  const auto one = invocation(command, id);
  EXPECT_EQ(one.status, "Success");
  EXPECT_EQ(one.status_details, "Success");
  EXPECT_EQ(one.response_code, 0);
  EXPECT_EQ(one.plugin_name, "aws:runShellScript");
  EXPECT_EQ(one.standard_output_content, "hello\n");
  EXPECT_EQ(one.standard_error_content, "a word\n");
  EXPECT_EQ(one.execution_elapsed_time, "PT0.050S");
  EXPECT_EQ(one.comment, "say hello");
  const machine::Command ran = machines.commands(id).back();
  EXPECT_EQ(ran.script, "echo hello\n");
  EXPECT_EQ(ran.directory, "/srv");
  EXPECT_EQ(ran.environment.at("AWS_SSM_INSTANCE_ID"), id);
  EXPECT_EQ(ran.timeout, Duration(3'600'000));
  const w::Command after = listed(command);
  EXPECT_EQ(after.status, "Success");
  EXPECT_EQ(after.completed_count, 1);
  EXPECT_EQ(after.error_count, 0);
}

TEST_F(RunCommand, LinesOfACommandAreOneScript) {
  const std::string id = node();
  w::SendCommandRequest request = shell({id}, "a=1");
  request.parameters["commands"] = {"a=1", "echo $a"};
  ASSERT_TRUE(settles(send(request), id));
  EXPECT_EQ(machines.commands(id).back().script, "a=1\necho $a\n");
}

TEST_F(RunCommand, BeforeItsEndAnInvocationHasNoCodeYet) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 60'000); };
  const std::string id = node();
  const std::string command = send(shell({id}, "sleep 60"));
  loop.run_for(Duration(5'000));
  const auto one = invocation(command, id);
  EXPECT_EQ(one.status, "InProgress");
  EXPECT_EQ(one.response_code, -1);
  EXPECT_EQ(one.execution_end_date_time, "");
  EXPECT_EQ(one.standard_output_content, "");
  EXPECT_FALSE(own->commands.settled(command, id));
  EXPECT_EQ(listed(command).status, "InProgress");
}

TEST_F(RunCommand, ACodeThatIsNotZeroIsAFailureOfPluginInvocationAndCommand) {
  plan = [](const machine::Command& command) { return ends_with(command.id == "agent" ? 0 : 3); };
  const std::string id = node();
  const std::string command = send(shell({id}, "exit 3"));
  ASSERT_TRUE(settles(command, id));
  EXPECT_EQ(invocation(command, id).status, "Failed");
  EXPECT_EQ(invocation(command, id).response_code, 3);
  EXPECT_EQ(listed(command).status, "Failed");
  EXPECT_EQ(listed(command).status_details, "Failed");
  EXPECT_EQ(listed(command).error_count, 1);
  w::ListCommandInvocationsRequest request;
  request.command_id = command;
  request.details = true;
  const auto all = call<w::ListCommandInvocations>(request).command_invocations;
  ASSERT_THAT(all, SizeIs(1));
  ASSERT_THAT(all[0].command_plugins, SizeIs(1));
  EXPECT_EQ(all[0].command_plugins[0].status, "Failed");
  EXPECT_EQ(all[0].command_plugins[0].response_code, 3);
  EXPECT_EQ(all[0].command_plugins[0].name, "aws:runShellScript");
  request.details = false;
  EXPECT_THAT(call<w::ListCommandInvocations>(request).command_invocations[0].command_plugins, IsEmpty());
}

TEST_F(RunCommand, AnExecutionTimeoutEndsItWithItsOwnStatus) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 60'000); };
  const std::string id = node();
  w::SendCommandRequest request = shell({id}, "sleep 60");
  request.parameters["executionTimeout"] = {"2"};
  const std::string command = send(request);
  ASSERT_TRUE(settles(command, id));
  EXPECT_EQ(invocation(command, id).status, "TimedOut");
  EXPECT_EQ(invocation(command, id).status_details, "ExecutionTimedOut");
  EXPECT_EQ(listed(command).status, "TimedOut");
  EXPECT_EQ(listed(command).status_details, "ExecutionTimedOut");
  EXPECT_EQ(listed(command).error_count, 1) << "it counts against MaxErrors";
}

TEST_F(RunCommand, ACommandWaitsForAStoppedInstanceUntilItsDeliveryTimeout) {
  const std::string waits = node();
  const std::string starts = node();
  stop(waits);
  stop(starts);
  w::SendCommandRequest request = shell({waits, starts}, "true");
  request.timeout_seconds = 60;
  const std::string command = send(request);
  loop.run_for(Duration(1'000));
  EXPECT_EQ(invocation(command, waits).status, "Delayed");
  EXPECT_EQ(invocation(command, waits).response_code, -1);
  api::StartInstancesRequest start;
  start.instance_ids = {starts};
  call<api::StartInstances>(start);
  ASSERT_TRUE(settles(command, starts));
  EXPECT_EQ(invocation(command, starts).status, "Success");
  loop.run_for(Duration(60'000));
  EXPECT_EQ(invocation(command, waits).status, "TimedOut");
  EXPECT_EQ(invocation(command, waits).status_details, "DeliveryTimedOut");
  const w::Command after = listed(command);
  EXPECT_EQ(after.error_count, 0) << "delivery timeouts do not count against MaxErrors";
  EXPECT_EQ(after.delivery_timed_out_count, 1);
  EXPECT_EQ(after.status_details, "DeliveryTimedOut");
}

TEST_F(RunCommand, WhatCannotBeDeliveredToATerminatedInstanceIsUndeliverable) {
  const std::string id = node();
  stop(id);
  const std::string command = send(shell({id}, "true"));
  terminate(id);
  ASSERT_TRUE(settles(command, id));
  EXPECT_EQ(invocation(command, id).status_details, "Undeliverable");
  EXPECT_EQ(listed(command).status, "Failed") << "when all invocations are";
  EXPECT_EQ(refusal<w::SendCommand>(shell({id}, "true")), "InvalidInstanceId");
}

TEST_F(RunCommand, AnInstanceThatEndsUnderACommandFailsIt) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 60'000); };
  const std::string id = node();
  const std::string command = send(shell({id}, "sleep 60"));
  loop.run_for(Duration(1'000));
  machines.kill(id, "killed");
  ASSERT_TRUE(settles(command, id));
  EXPECT_EQ(invocation(command, id).status, "Failed");
  EXPECT_EQ(invocation(command, id).response_code, -1);
}

TEST_F(RunCommand, CancelEndsWhatRunsAndWhatWaits) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 60'000); };
  const std::string runs = node();
  const std::string waits = node();
  stop(waits);
  const std::string command = send(shell({runs, waits}, "sleep 60"));
  loop.run_for(Duration(1'000));
  w::CancelCommandRequest request;
  request.command_id = command;
  call<w::CancelCommand>(request);
  ASSERT_TRUE(settles(command, runs));
  EXPECT_EQ(invocation(command, runs).status, "Cancelled");
  EXPECT_EQ(invocation(command, runs).response_code, 137);
  EXPECT_EQ(invocation(command, waits).status, "Cancelled");
  EXPECT_EQ(invocation(command, waits).response_code, -1);
  EXPECT_EQ(listed(command).status, "Cancelled");
  call<w::CancelCommand>(request);  // of one that has ended: nothing
  request.command_id = "00000000-0000-0000-0000-000000000000";
  EXPECT_EQ(refusal<w::CancelCommand>(request), "InvalidCommandId");
}

TEST_F(RunCommand, MaxConcurrencyHoldsAndTargetsAreApproachedInGrowingSteps) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 10'000); };
  std::vector<std::string> ids;
  for (int i = 0; i < 8; ++i) ids.push_back(node("web"));
  w::SendCommandRequest request = shell({}, "true");
  target(request, "tag:role", {"web"});
  request.max_concurrency = "3";
  const std::string command = send(request);
  std::vector<std::int64_t> at_once;
  for (int i = 0; i < 5; ++i) {
    loop.run_for(Duration(1'000));
    at_once.push_back(count(command, "InProgress"));
    loop.run_for(Duration(9'100));
  }
  // One, then two, then as many as MaxConcurrency lets.
  EXPECT_THAT(at_once, ElementsAre(1, 2, 3, 2, 0));
  EXPECT_EQ(listed(command).status, "Success");
}

TEST_F(RunCommand, InstancesThatAreNamedAreAskedAtOnceUpToMaxConcurrency) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 10'000); };
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(node());
  w::SendCommandRequest request = shell(ids, "true");
  request.max_concurrency = "50%";
  const std::string command = send(request);
  loop.run_for(Duration(1'000));
  EXPECT_EQ(count(command, "InProgress"), 2);
  EXPECT_EQ(count(command, "Pending"), 2);
}

TEST_F(RunCommand, AnInstanceRunsFiveCommandsAtOnceAsAwssAgentDoes) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 10'000); };
  const std::string id = node();
  std::vector<std::string> sent;
  for (int i = 0; i < 8; ++i) sent.push_back(send(shell({id}, "true")));
  loop.run_for(Duration(5'000));
  EXPECT_THAT(machines.commands(id), SizeIs(1 + 5));
  w::CancelCommandRequest cancel;
  cancel.command_id = sent[5];  // one that waits
  call<w::CancelCommand>(cancel);
  loop.run_for(Duration(10'000));
  EXPECT_THAT(machines.commands(id), SizeIs(1 + 7));
  for (const std::string& each : sent) ASSERT_TRUE(settles(each, id));
  EXPECT_EQ(invocation(sent[5], id).status, "Cancelled");
  EXPECT_EQ(invocation(sent[7], id).status, "Success");
}

TEST_F(RunCommand, MoreThanMaxErrorsTerminatesWhatHasNotBegun) {
  plan = [](const machine::Command& command) { return ends_with(command.id == "agent" ? 0 : 1); };
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(node());
  w::SendCommandRequest request = shell(ids, "false");
  request.max_concurrency = "1";
  request.max_errors = "1";
  const std::string command = send(request);
  loop.run_for(Duration(10'000));
  // One error is allowed, the second one stops it.
  EXPECT_EQ(details(command, "Failed"), 2);
  EXPECT_EQ(details(command, "Terminated"), 3);
  EXPECT_EQ(listed(command).status, "Failed");
  EXPECT_EQ(listed(command).completed_count, 5);
}

TEST_F(RunCommand, FailuresWithinMaxErrorsLeaveACommandIncomplete) {
  int asked = 0;
  plan = [&](const machine::Command& command) { return ends_with(command.id == "agent" ? 0 : (asked++ == 0 ? 1 : 0)); };
  const std::vector<std::string> ids = {node(), node()};
  w::SendCommandRequest request = shell(ids, "maybe");
  request.max_errors = "50%";
  const std::string command = send(request);
  loop.run_for(Duration(10'000));
  EXPECT_EQ(listed(command).status_details, "Incomplete");
  EXPECT_EQ(listed(command).error_count, 1);
}

TEST_F(RunCommand, TargetsMeetAllCriteriaAndAnyOfTheirValues) {
  const std::string web = node("web");
  const std::string db = node("db");
  const std::string none = node();
  const auto asked = [&](std::vector<std::pair<std::string, std::vector<std::string>>> criteria) {
    w::SendCommandRequest request = shell({}, "true");
    for (auto& [key, values] : criteria) target(request, key, values);
    std::vector<std::string> ids;
    w::ListCommandInvocationsRequest list;
    list.command_id = send(request);
    for (const auto& one : call<w::ListCommandInvocations>(list).command_invocations) {
      ids.push_back(one.instance_id.value());
    }
    return ids;
  };
  EXPECT_THAT(asked({{"tag:role", {"web", "db"}}}), UnorderedElementsAre(web, db));
  EXPECT_THAT(asked({{"tag-key", {"role"}}}), UnorderedElementsAre(web, db));
  EXPECT_THAT(asked({{"InstanceIds", {none, web}}, {"tag-key", {"role"}}}), ElementsAre(web));
  w::SendCommandRequest request = shell({}, "true");
  target(request, "tag:role", {"nobody"});
  const w::Command empty = call<w::SendCommand>(request).command.value();
  EXPECT_EQ(listed(*empty.command_id).status_details, "NoInstancesInTag");
  EXPECT_EQ(empty.target_count, 0);
}

TEST_F(RunCommand, WhatIsAskedWronglyIsRefused) {
  const std::string id = node();
  const auto with = [&](const std::function<void(w::SendCommandRequest&)>& change) {
    w::SendCommandRequest request = shell({id}, "true");
    change(request);
    return refusal<w::SendCommand>(request);
  };
  EXPECT_EQ(with([](auto& r) { r.document_name = "AWS-RunRemoteScript"; }), "InvalidDocument");
  EXPECT_EQ(with([](auto& r) { r.document_version = "7"; }), "InvalidDocumentVersion");
  EXPECT_EQ(with([](auto& r) { r.document_name = "arn:aws:ssm:us-east-1::document/AWS-RunShellScript"; }), "");
  EXPECT_EQ(with([](auto& r) { r.parameters.clear(); }), "InvalidParameters");
  EXPECT_EQ(with([](auto& r) { r.parameters["sourceType"] = {"S3"}; }), "InvalidParameters");
  EXPECT_EQ(with([](auto& r) { r.parameters["executionTimeout"] = {"172801"}; }), "InvalidParameters");
  EXPECT_EQ(with([](auto& r) { r.parameters["executionTimeout"] = {"soon"}; }), "InvalidParameters");
  EXPECT_EQ(with([](auto& r) { r.max_concurrency = "0"; }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.max_concurrency = "101%"; }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.max_errors = "-1"; }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.max_errors = "0%"; }), "");
  EXPECT_EQ(with([](auto& r) { r.timeout_seconds = 29; }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.timeout_seconds = 2'592'001; }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.instance_ids.clear(); }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { target(r, "tag:a", {"b"}); }), "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.instance_ids = std::vector<std::string>(51, r.instance_ids[0]); }),
            "ValidationException");
  EXPECT_EQ(with([](auto& r) { r.instance_ids = {"i-00000000000000000"}; }), "InvalidInstanceId");
  EXPECT_EQ(with([](auto& r) { r.output_s3_bucket_name = "logs"; }), "UnsupportedOperation");
  EXPECT_EQ(with([](auto& r) { r.notification_config.emplace().notification_arn = "arn:aws:sns:x"; }),
            "UnsupportedOperation");
  w::SendCommandRequest resource = shell({}, "true");
  target(resource, "resource-groups:Name", {"x"});
  EXPECT_EQ(refusal<w::SendCommand>(resource), "InvalidTarget");
}

TEST_F(RunCommand, AnInvocationIsFoundByBothIdsAndThePluginsName) {
  const std::string id = node();
  const std::string command = send(shell({id}, "true"));
  w::GetCommandInvocationRequest request;
  request.command_id = command;
  request.instance_id = "i-00000000000000000";
  EXPECT_EQ(refusal<w::GetCommandInvocation>(request), "InvocationDoesNotExist");
  request.instance_id = id;
  request.plugin_name = "aws:runPowerShellScript";
  EXPECT_EQ(refusal<w::GetCommandInvocation>(request), "InvalidPluginName");
  request.plugin_name = "aws:runShellScript";
  EXPECT_EQ(refusal<w::GetCommandInvocation>(request), "");
  request.command_id = "no-uuid";
  EXPECT_EQ(refusal<w::GetCommandInvocation>(request), "InvalidCommandId");
}

TEST_F(RunCommand, ListsAreFilteredAndPagedTheNewestFirst) {
  const std::string id = node();
  std::vector<std::string> sent;
  for (int i = 0; i < 3; ++i) {
    sent.insert(sent.begin(), send(shell({id}, "true")));
    loop.run_for(Duration(1'000));
  }
  w::ListCommandsRequest request;
  request.max_results = 2;
  auto page = call<w::ListCommands>(request);
  ASSERT_THAT(page.commands, SizeIs(2));
  EXPECT_EQ(page.commands[0].command_id, sent[0]);
  EXPECT_EQ(page.commands[1].command_id, sent[1]);
  send(shell({id}, "true"));  // while the list is read
  request.next_token = page.next_token;
  page = call<w::ListCommands>(request);
  ASSERT_THAT(page.commands, SizeIs(1));
  EXPECT_EQ(page.commands[0].command_id, sent[2]);
  const auto filtered = [&](const std::string& key, const std::string& value) {
    w::ListCommandsRequest with;
    auto& filter = with.filters.emplace_back();
    filter.key = key;
    filter.value = value;
    return call<w::ListCommands>(with).commands.size();
  };
  loop.run_for(Duration(1'000));
  EXPECT_EQ(filtered("Status", "Success"), 4u);
  EXPECT_EQ(filtered("Status", "Failed"), 0u);
  EXPECT_EQ(filtered("ExecutionStage", "Complete"), 4u);
  EXPECT_EQ(filtered("DocumentName", "AWS-RunShellScript"), 4u);
  EXPECT_EQ(filtered("InvokedAfter", format_iso8601(listed(sent[0]).requested_date_time.value())), 2u);
  EXPECT_EQ(filtered("InvokedBefore", format_iso8601(listed(sent[0]).requested_date_time.value())), 2u);
  w::ListCommandsRequest unknown;
  unknown.command_id = "00000000-0000-0000-0000-000000000000";
  EXPECT_EQ(refusal<w::ListCommands>(unknown), "InvalidCommandId");
}

TEST_F(RunCommand, OutputIsCutAtAwssNumberOfCharactersWithItsMark) {
  plan = [](const machine::Command&) {
    machine::CommandRun run;
    run.out = std::string(30'000, 'o');
    run.err = std::string(9'000, 'e');
    return run;
  };
  const std::string id = node();
  const std::string command = send(shell({id}, "yes"));
  ASSERT_TRUE(settles(command, id));
  const auto one = invocation(command, id);
  EXPECT_EQ(one.standard_output_content->size(), 24'000u);
  EXPECT_TRUE(one.standard_output_content->ends_with("o\n---Output truncated---"));
  EXPECT_EQ(one.standard_error_content->size(), 8'000u);
  EXPECT_TRUE(one.standard_error_content->ends_with("e\n---Error truncated----"));
}

TEST_F(RunCommand, ARunningCommandSurvivesTheDeathOfTheControlPlaneAndRunsOnce) {
  plan = [](const machine::Command& command) { return slow(command.id == "agent" ? 50 : 30'000); };
  const std::string id = node();
  const std::string other = node();
  w::SendCommandRequest request = shell({id, other}, "sleep 30");
  request.max_concurrency = "1";
  const std::string command = send(request);
  loop.run_for(Duration(1'000));
  die();
  loop.run_for(Duration(60'000));  // its end is seen by nobody
  start();
  ASSERT_TRUE(settles(command, other));
  EXPECT_EQ(invocation(command, id).status, "Success");
  EXPECT_EQ(invocation(command, other).status, "Success");
  for (const std::string& each : {id, other}) {
    int ran = 0;
    for (const auto& one : machines.commands(each)) ran += one.id == command ? 1 : 0;
    EXPECT_EQ(ran, 1) << each;
  }
  EXPECT_EQ(listed(command).status, "Success");
}

TEST_F(RunCommand, WhatIsAcknowledgedIsDoneAfterADeathAtAnyCommit) {
  const std::string id = node();
  for (int survives = 0; survives < 6; ++survives) {
    std::string command;
    int commits = 0;
    struct Death {};
    journal.before_commit([&] {
      if (++commits > survives) throw Death{};
    });
    try {
      command = send(shell({id}, "true"));
      loop.run_for(Duration(10'000));
    } catch (const Death&) {
    }
    journal.before_commit({});
    die();
    start();
    if (command.empty()) continue;
    ASSERT_TRUE(settles(command, id)) << "after " << survives << " commits";
    EXPECT_EQ(invocation(command, id).status, "Success");
    int ran = 0;
    for (const auto& one : machines.commands(id)) ran += one.id == command ? 1 : 0;
    EXPECT_EQ(ran, 1);
  }
}

TEST_F(RunCommand, EndedCommandsAreForgottenAfterThirtyDays) {
  const std::string id = node();
  const std::string old = send(shell({id}, "true"));
  loop.run_for(std::chrono::hours(31 * 24));
  const std::string young = send(shell({id}, "true"));
  w::ListCommandsRequest all;
  const auto kept = call<w::ListCommands>(all).commands;
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_EQ(kept[0].command_id, young);
  w::GetCommandInvocationRequest request;
  request.command_id = old;
  request.instance_id = id;
  EXPECT_EQ(refusal<w::GetCommandInvocation>(request), "InvocationDoesNotExist");
}

}  // namespace
}  // namespace kiln::region::ssm
