// Command: one verb of `kiln`. Each has a file under commands/ and a page of the same name under help/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/context.h"

namespace kiln::cli {

struct Command {
  std::string_view name;
  std::string_view summary;  // one line for `kiln help`
  int (*run)(Context& context, const std::vector<std::string>& words);
};

struct CommandGroup {
  std::string_view purpose;  // "to replace fleets"
  std::vector<Command> commands;
};

// In the order in which a user meets them; README.md's tables are the same.
const std::vector<CommandGroup>& command_groups();
// What `kiln help` says. It fits 80 columns, as every page does.
std::string help_overview();
// The help page of a command, or empty.
std::string_view help_page(std::string_view command);

int run_init(Context& context, const std::vector<std::string>& words);
int run_bake(Context& context, const std::vector<std::string>& words);
int run_test(Context& context, const std::vector<std::string>& words);
int run_promote(Context& context, const std::vector<std::string>& words);
int run_deprecate(Context& context, const std::vector<std::string>& words);
int run_disable(Context& context, const std::vector<std::string>& words);
int run_revoke(Context& context, const std::vector<std::string>& words);
int run_restore(Context& context, const std::vector<std::string>& words);
int run_gc(Context& context, const std::vector<std::string>& words);
int run_show(Context& context, const std::vector<std::string>& words);
int run_diff(Context& context, const std::vector<std::string>& words);
int run_search(Context& context, const std::vector<std::string>& words);
int run_import(Context& context, const std::vector<std::string>& words);
int run_images(Context& context, const std::vector<std::string>& words);
int run_export(Context& context, const std::vector<std::string>& words);
int run_sbom(Context& context, const std::vector<std::string>& words);
int run_sign(Context& context, const std::vector<std::string>& words);
int run_verify(Context& context, const std::vector<std::string>& words);
int run_keys(Context& context, const std::vector<std::string>& words);
int run_push(Context& context, const std::vector<std::string>& words);
int run_pull(Context& context, const std::vector<std::string>& words);
int run_mirror(Context& context, const std::vector<std::string>& words);
int run_plan(Context& context, const std::vector<std::string>& words);
int run_deploy(Context& context, const std::vector<std::string>& words);
int run_status(Context& context, const std::vector<std::string>& words);
int run_rollback(Context& context, const std::vector<std::string>& words);
int run_destroy(Context& context, const std::vector<std::string>& words);
int run_region(Context& context, const std::vector<std::string>& words);
int run_ledger(Context& context, const std::vector<std::string>& words);
int run_load(Context& context, const std::vector<std::string>& words);
int run_doctor(Context& context, const std::vector<std::string>& words);
int run_demo(Context& context, const std::vector<std::string>& words);

}  // namespace kiln::cli
