// Partition: see partition.h.
#include "region/partition.h"

#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include "region/aws_regions.h"
#include "region/ec2/ec2.h"

#include "base/error.h"
#include "machine/ruleset.h"
#include "region/front/front_door.h"
#include "region/region.h"
#include "region/shares.h"

namespace kiln::region {
namespace {

constexpr const char* kRegionTable = "region";  // "<account>/<name>" of each that was called, home too

constexpr const char* kAccountTable = "account";
constexpr int kMetadataPort = 80;

using Name = std::pair<std::string, std::string>;  // account, region

std::string text_of(const Name& name) { return name.first + "/" + name.second; }

Name name_of(const std::string& text) {
  const std::size_t slash = text.find('/');
  return {text.substr(0, slash), text.substr(slash + 1)};
}

}  // namespace

struct Partition::State {
  State(const PartitionParts& with, const PartitionOptions& options)
      : parts(with),
        home(options.account, options.home),
        parameter_key(options.parameter_key),
        describe_delay(options.describe_delay),
        addresses([&network = with.network](int number) { return network.loopback_address(number); }),
        networks(with.network),
        balancers(with.balancer),
        keyring(options.root_seed),
        door(
            {with.loop, with.random, with.journal, with.log}, add(home).handlers(),
            [this](const std::string& account, const std::string& region) -> const Handlers& {
              return of({account, region}).handlers();
            },
            keyring) {
    keyring.put(options.access_key, {{options.secret_key, "", std::nullopt}, iam::root_of(options.account)});
    if (options.throttle) door.throttle();
  }

  // What an account has in all regions.
  struct Account {
    Account(State& all, const std::string& id)
        : tables(all.parts.journal, id == all.home.first ? "" : id + "/"),
          iam(all.parts.loop, all.parts.random, tables, all.keyring, id) {
      iam.open();
    }
    PrefixedTables tables;
    iam::Iam iam;
  };

  // One account's services in one region, and its tables.
  struct Place {
    Place(State& all, const Name& name)
        : tables(all.parts.journal, name == all.home ? "" : text_of(name) + "/"),
          region({all.parts.loop, all.parts.random, tables, all.parts.store, all.parts.machines, all.networks.add(),
                  all.balancers.add(), all.parts.prober, all.addresses, all.iam_of(name.first), all.keyring,
                  [&all](const std::string& account) { return all.find_iam(account); }, all.parts.base_images,
                  all.parts.say, all.parts.tell, all.parameter_key, all.describe_delay},
                 name.first, name.second) {}
    PrefixedTables tables;
    Region region;
  };

  // Null when nobody has called with a key of that account.
  iam::Iam* find_iam(const std::string& account) {
    const auto found = accounts.find(account);
    return found == accounts.end() ? nullptr : &found->second.iam;
  }

  iam::Iam& iam_of(const std::string& account) {
    if (iam::Iam* known = find_iam(account)) return *known;
    parts.journal.put(kAccountTable, account, "{}");
    return accounts.try_emplace(account, *this, account).first->second.iam;
  }

  Region& add(const Name& name) {
    Region& made = places.try_emplace(name, *this, name).first->second.region;
    made.look_at(
        [this, name] {
          std::vector<const ec2::Image*> shared;
          for (const auto& [other, place] : places) {
            if (other.second != name.second || other.first == name.first) continue;
            const auto theirs = place.region.ec2().images_shared_with(name.first);
            shared.insert(shared.end(), theirs.begin(), theirs.end());
          }
          return shared;
        },
        [this, name](const std::string& region) -> const ec2::Ec2* {
          return find_aws_region(region) == nullptr ? nullptr : &of({name.first, region}).ec2();
        });
    return made;
  }

  Region& of(const Name& name) {
    const auto found = places.find(name);
    if (found != places.end()) return found->second.region;
    parts.journal.put(kRegionTable, text_of(name), "{}");
    Region& made = add(name);
    made.load();
    made.connect();
    made.resume({});
    return made;
  }

  // Whoever has the VPC serves its metadata inside of it.
  void network_changed(const std::string& vpc, bool there) {
    for (auto& [name, place] : places) {
      try {
        place.region.network_changed(vpc, there, [this](const std::string& id) {
          return parts.network.listen(id, machine::kMetadataAddress, kMetadataPort);
        });
      } catch (const Error& error) {
        parts.say(fmt::format("instances of {} have no metadata: {}", vpc, error.what()));
      }
    }
  }

  PartitionParts parts;
  Name home;
  std::string parameter_key;
  Duration describe_delay;
  LoopbackPool addresses;
  NetworkShares networks;
  BalancerShares balancers;
  iam::Keyring keyring;
  std::map<std::string, Account> accounts;
  std::map<Name, Place> places;
  FrontDoor door;
};

Partition::Partition(const PartitionParts& parts, const PartitionOptions& options)
    : state_(std::make_unique<State>(parts, options)) {}
Partition::~Partition() = default;

void Partition::open() {
  State& s = *state_;
  // Their keys sign, also before anybody calls a region of theirs.
  for (const auto& [account, nothing] : s.parts.journal.load(kAccountTable)) s.iam_of(account);
  for (const auto& [text, nothing] : s.parts.journal.load(kRegionTable)) s.add(name_of(text));
  for (auto& [name, place] : s.places) place.region.load();
  for (auto& [name, place] : s.places) place.region.connect();
  s.parts.network.on_change([&s](const std::string& vpc, bool there) { s.network_changed(vpc, there); });
  s.networks.open();
  s.balancers.open();
  s.parts.machines.on_exit([&s](const machine::Exit& exit) {
    for (auto& [name, place] : s.places) place.region.machine_ended(exit);
  });
  // The rules are in force before machines are looked at: one that died meanwhile is started again under them.
  for (auto& [name, place] : s.places) place.region.connect();
  std::vector<machine::Spec> known;
  for (const auto& [name, place] : s.places) {
    for (machine::Spec& spec : place.region.machines()) known.push_back(std::move(spec));
  }
  const std::vector<std::string> alive = s.parts.machines.adopt(known);
  if (!known.empty()) s.parts.say(fmt::format("{} of {} machines run from before", alive.size(), known.size()));
  std::vector<std::string> volumes;
  for (const auto& [name, place] : s.places) {
    for (std::string& id : place.region.host_volumes()) volumes.push_back(std::move(id));
  }
  s.parts.machines.keep_volumes(volumes);
  for (auto& [name, place] : s.places) place.region.resume(alive);
}

void Partition::handle(http::Request request, std::function<void(http::Response)> answer) {
  state_->door.handle(std::move(request), std::move(answer));
}

const Handlers& Partition::handlers() const { return state_->places.at(state_->home).region.handlers(); }

}  // namespace kiln::region
