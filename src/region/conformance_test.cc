// docs/conformance.md lists what is served: every operation that is, and none that is not.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "host/file.h"
#include "machine/simulated.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/partition.h"

namespace kiln::region {
namespace {

using Operations = std::map<std::string, std::set<std::string>>;  // by the heading of a service: its name

// The sentence after "Served:" of each section.
Operations listed() {
  std::ifstream file(std::string(KILN_SOURCE_DIR) + "/docs/conformance.md");
  Operations operations;
  std::string section;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) section = line.substr(3);
    if (line.starts_with("Served:")) {
      inside = true;
      line = line.substr(7);
    }
    if (!inside) continue;
    static const std::regex kWord("[A-Za-z]+");
    for (std::sregex_iterator word(line.begin(), line.end(), kWord), end; word != end; ++word) {
      operations[section].insert(word->str());
    }
    inside = !line.ends_with(".");
  }
  return operations;
}

TEST(Conformance, ThePageListsWhatIsServedAndNothingElse) {
  host::SimulatedLoop loop{Time{}};
  host::SeededRandom random{1};
  MemoryJournal journal;
  machine::SimulatedMachines machines{loop, random};
  machine::SimulatedNetwork network;
  network.open();
  elb::SimulatedBalancer balancer{loop};
  elb::SimulatedProber prober(loop, [](const elb::Probe&) { return 200; });
  host::TemporaryFolder folder{"kiln-conformance-test-"};
  store::Store store{folder.path() / "store"};
  RequestLog log;
  Partition partition({loop, random, journal, store, machines, network, balancer, prober, log}, {});
  Operations served;
  for (const wire::Operation* operation : partition.handlers().served()) {
    std::string service(operation->service->id);
    if (service == "Auto Scaling") service = "EC2 Auto Scaling";
    if (service == "SSM") service = "Systems Manager";
    served[service].insert(std::string(operation->name));
  }
  const Operations page = listed();
  for (const auto& [service, operations] : served) {
    ASSERT_TRUE(page.contains(service)) << "docs/conformance.md has no section '## " << service << "' with 'Served:'";
    EXPECT_EQ(page.at(service), operations) << service;
  }
  EXPECT_EQ(page.size(), served.size());
}

}  // namespace
}  // namespace kiln::region
