// Way back: which images deployments still need, and their AMIs' protection from deregistration.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "cli/session.h"
#include "ledger/ledger.h"

namespace kiln::cli {

// On an AMI that Kiln has protected, so that it lifts only its own protection.
inline constexpr std::string_view kTagProtected = "kiln:protected";

struct Kept {
  Digest digest;
  std::string ami;
  std::string why;
};

// Of every app and environment in the ledger: what serves, where it would go back to, and what an unfinished deployment
// is about.
std::vector<Kept> kept_by_deployments(ledger::Ledger& ledger);

// After a deployment: protects the AMIs of the app that serve or can be gone back to
// (EnableImageDeregistrationProtection), and lifts Kiln's own protection from its others. What fails is said and fails
// nothing else.
void protect_way_back(Session& session);
void unprotect(aws::Client& client, const std::string& ami);

}  // namespace kiln::cli
