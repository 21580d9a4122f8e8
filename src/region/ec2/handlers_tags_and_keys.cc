// Handlers of EC2: tags and key pairs.
#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

void tags(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateTags>([&ec2](const Call&, const w::CreateTagsRequest& input) {
    ec2.create_tags(input.resources, from_wire(input.tags));
    return wire::Empty{};
  });
  handlers.on<w::DeleteTags>([&ec2](const Call&, const w::DeleteTagsRequest& input) {
    std::map<std::string, std::optional<std::string>> wanted;
    for (const w::Tag& tag : input.tags) wanted[tag.key.value_or("")] = tag.value;
    ec2.delete_tags(input.resources, wanted);
    return wire::Empty{};
  });
  handlers.on<w::DescribeTags>([&ec2](const Call&, const w::DescribeTagsRequest& input) {
    only<w::DescribeTags>(input, {"Filters", "MaxResults", "NextToken"});
    std::map<std::string, w::TagDescription> sorted;
    for (const Ec2::Tagged& thing : ec2.tagged()) {
      for (const auto& tag : *thing.tags) {
        auto values = [&](const std::string& name) -> std::optional<Values> {
          if (name == "key") return Values{tag.first};
          if (name == "value") return Values{tag.second};
          if (name == "resource-id") return Values{thing.resource_id};
          if (name == "resource-type") return Values{thing.resource_type};
          return std::nullopt;
        };
        if (!matches(input.filters, {{tag.first, tag.second}}, values)) continue;
        w::TagDescription& out = sorted[thing.resource_id + " " + tag.first];
        out.key = tag.first;
        out.value = tag.second;
        out.resource_id = thing.resource_id;
        out.resource_type = thing.resource_type;
      }
    }
    w::DescribeTagsResult answer;
    Page page(input.max_results, input.next_token);
    for (auto& [key, tag] : sorted) {
      if (page.takes(key)) answer.tags.push_back(std::move(tag));
    }
    answer.next_token = page.next_token();
    return answer;
  });
}

void key_pairs(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateKeyPair>([&ec2](const Call&, const w::CreateKeyPairRequest& input) {
    only<w::CreateKeyPair>(input, {"KeyName", "KeyType", "KeyFormat", "TagSpecifications"});
    if (input.key_format.value_or("pem") != "pem") {
      throw ApiError("UnsupportedOperation", "Key format ppk is not supported by this region");
    }
    Ec2::NewKeyPair made = ec2.create_key_pair(input.key_name.value_or(""), input.key_type.value_or("rsa"),
                                               tags_for(input.tag_specifications, "key-pair"));
    w::KeyPair answer;
    answer.key_pair_id = made.pair->id;
    answer.key_name = made.pair->name;
    answer.key_fingerprint = made.pair->fingerprint;
    answer.key_material = made.private_key;
    answer.tags = to_wire(made.pair->tags);
    return answer;
  });
  handlers.on<w::ImportKeyPair>([&ec2](const Call&, const w::ImportKeyPairRequest& input) {
    const KeyPair& made = ec2.import_key_pair(input.key_name.value_or(""), input.public_key_material.value_or(""),
                                              tags_for(input.tag_specifications, "key-pair"));
    w::ImportKeyPairResult answer;
    answer.key_pair_id = made.id;
    answer.key_name = made.name;
    answer.key_fingerprint = made.fingerprint;
    answer.tags = to_wire(made.tags);
    return answer;
  });
  handlers.on<w::DeleteKeyPair>([&ec2](const Call&, const w::DeleteKeyPairRequest& input) {
    std::optional<KeyPair> gone = ec2.delete_key_pair(input.key_name.value_or(""), input.key_pair_id.value_or(""));
    w::DeleteKeyPairResult answer;
    answer.return_ = true;
    if (gone) answer.key_pair_id = gone->id;
    return answer;
  });
  handlers.on<w::DescribeKeyPairs>([&ec2](const Call&, const w::DescribeKeyPairsRequest& input) {
    only<w::DescribeKeyPairs>(input, {"KeyNames", "KeyPairIds", "Filters", "IncludePublicKey"});
    auto known = [&](auto&& test) {
      return std::any_of(ec2.key_pairs().begin(), ec2.key_pairs().end(),
                         [&](const auto& one) { return test(one.second); });
    };
    for (const std::string& name : input.key_names) {
      if (!known([&](const KeyPair& pair) { return pair.name == name; })) {
        throw ApiError("InvalidKeyPair.NotFound", fmt::format("The key pair '{}' does not exist", name));
      }
    }
    for (const std::string& id : input.key_pair_ids) {
      if (!known([&](const KeyPair& pair) { return pair.id == id; })) {
        throw ApiError("InvalidKeyPair.NotFound", fmt::format("The key pair ID '{}' does not exist", id));
      }
    }
    w::DescribeKeyPairsResult answer;
    for (const auto& [name, pair] : ec2.key_pairs()) {
      const KeyPair& one = pair;
      auto values = [&](const std::string& filter) -> std::optional<Values> {
        if (filter == "key-name") return Values{one.name};
        if (filter == "key-pair-id") return Values{one.id};
        if (filter == "fingerprint") return Values{one.fingerprint};
        return std::nullopt;
      };
      auto in = [](const std::vector<std::string>& list, const std::string& value) {
        return std::find(list.begin(), list.end(), value) != list.end();
      };
      bool named = input.key_names.empty() && input.key_pair_ids.empty();
      if (!named && !in(input.key_names, one.name) && !in(input.key_pair_ids, one.id)) continue;
      if (!matches(input.filters, one.tags, values)) continue;
      w::KeyPairInfo& out = answer.key_pairs.emplace_back();
      out.key_pair_id = one.id;
      out.key_name = one.name;
      out.key_type = one.type;
      out.key_fingerprint = one.fingerprint;
      out.create_time = one.created;
      out.tags = to_wire(one.tags);
      if (input.include_public_key.value_or(false)) out.public_key = one.public_key;
    }
    return answer;
  });
}

}  // namespace

void serve_tags_and_keys(Handlers& handlers, Ec2& ec2) {
  tags(handlers, ec2);
  key_pairs(handlers, ec2);
}

}  // namespace kiln::region::ec2
