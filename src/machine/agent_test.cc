// What an agent is told, and what it writes down.
#include "machine/agent.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln::machine {
namespace {

TEST(AgentRecords, ACommandIsReadAsItWasWritten) {
  Command command;
  command.id = "8c1f0c5e-0000-4000-8000-000000000000";
  command.script = std::string("echo \"$1\"\n\0\xFF", 12);
  command.environment = {{"A", "b c"}};
  command.directory = "/srv";
  command.delivery = Duration(1'500);
  command.timeout = Duration(2'500);
  const Command read = parse_command(render_command(command));
  EXPECT_EQ(read.id, command.id);
  EXPECT_EQ(read.script, command.script);
  EXPECT_EQ(read.environment, command.environment);
  EXPECT_EQ(read.directory, command.directory);
  EXPECT_EQ(read.delivery, command.delivery);
  EXPECT_EQ(read.timeout, command.timeout);
}

TEST(AgentRecords, AnEndIsReadAsItWasWritten) {
  CommandEnd end;
  end.how = CommandEnd::How::timed_out;
  end.status = 137;
  end.out = std::string("\0\xFF out", 6);
  end.err = "err";
  end.out_cut = true;
  end.started = Time(Duration(1));
  end.ended = Time(Duration(2));
  const CommandEnd read = parse_end(render_end(end));
  EXPECT_EQ(read.how, end.how);
  EXPECT_EQ(read.status, end.status);
  EXPECT_EQ(read.out, end.out);
  EXPECT_EQ(read.err, end.err);
  EXPECT_TRUE(read.out_cut);
  EXPECT_FALSE(read.err_cut);
  EXPECT_EQ(read.started, end.started);
  EXPECT_EQ(read.ended, end.ended);
}

TEST(AgentRecords, WhatIsCutShortIsNoRecord) {
  const std::string command = render_command(Command{});
  const std::string end = render_end(CommandEnd{});
  for (std::size_t size = 0; size < command.size(); ++size) EXPECT_THROW(parse_command(command.substr(0, size)), Error);
  for (std::size_t size = 0; size < end.size(); ++size) EXPECT_THROW(parse_end(end.substr(0, size)), Error);
  EXPECT_THROW(parse_end("{\"how\": 17}"), Error);
}

}  // namespace
}  // namespace kiln::machine
