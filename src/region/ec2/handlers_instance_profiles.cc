// Handlers of EC2: associations of instances with instance profiles.
#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

w::IamInstanceProfileAssociation to_wire(const ProfileAssociation& association, const std::string& instance,
                                         const char* state) {
  w::IamInstanceProfileAssociation out;
  out.association_id = association.id;
  out.instance_id = instance;
  out.iam_instance_profile.emplace();
  out.iam_instance_profile->arn = association.arn;
  out.iam_instance_profile->id = association.profile_id;
  out.state = state;
  return out;
}

w::DescribeIamInstanceProfileAssociationsResult describe(
    const Ec2& ec2, const w::DescribeIamInstanceProfileAssociationsRequest& input) {
  only<w::DescribeIamInstanceProfileAssociations>(input, {"AssociationIds", "Filters", "MaxResults", "NextToken"});
  const auto values = [](const std::string& id, const std::string& name) -> std::optional<std::vector<std::string>> {
    if (name == "instance-id") return std::vector<std::string>{id};
    if (name == "state") return std::vector<std::string>{"associated"};
    return std::nullopt;
  };
  check_names(input.filters, [&](const std::string& name) { return values("", name); });
  std::map<std::string, const Instance*> by_id;  // of the association
  for (const auto& [id, one] : ec2.instances()) {
    if (one.profile && !one.gone()) by_id[one.profile->id] = &one;
  }
  const std::vector<std::string>& asked = input.association_ids;
  for (const std::string& id : asked) {
    if (!by_id.contains(id)) {
      throw ApiError("InvalidAssociationID.NotFound", "An invalid association-id of '" + id + "' was given");
    }
  }
  w::DescribeIamInstanceProfileAssociationsResult answer;
  Page page(input.max_results, input.next_token);
  for (const auto& [id, instance] : by_id) {
    if (!asked.empty() && std::find(asked.begin(), asked.end(), id) == asked.end()) continue;
    const Instance& one = *instance;
    if (!matches(input.filters, {}, [&](const std::string& name) { return values(one.id, name); })) continue;
    if (!page.takes(id)) continue;
    answer.iam_instance_profile_associations.push_back(to_wire(*one.profile, one.id, "associated"));
    answer.iam_instance_profile_associations.back().timestamp = one.profile->since;
  }
  answer.next_token = page.next_token();
  return answer;
}

}  // namespace

void serve_instance_profiles(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::AssociateIamInstanceProfile>([&ec2](const Call&, const w::AssociateIamInstanceProfileRequest& input) {
    const std::optional<ProfileSpec> profile = profile_spec(input.iam_instance_profile);
    if (!profile) throw ApiError("MissingParameter", "The request must contain the parameter IamInstanceProfile");
    const Instance& one = ec2.associate_profile(input.instance_id.value_or(""), *profile);
    w::AssociateIamInstanceProfileResult answer;
    answer.iam_instance_profile_association = to_wire(*one.profile, one.id, "associating");
    return answer;
  });
  handlers.on<w::DisassociateIamInstanceProfile>(
      [&ec2](const Call&, const w::DisassociateIamInstanceProfileRequest& input) {
        const auto [was, instance] = ec2.disassociate_profile(input.association_id.value_or(""));
        w::DisassociateIamInstanceProfileResult answer;
        answer.iam_instance_profile_association = to_wire(was, instance, "disassociating");
        return answer;
      });
  handlers.on<w::DescribeIamInstanceProfileAssociations>(
      [&ec2](const Call&, const w::DescribeIamInstanceProfileAssociationsRequest& input) {
        return describe(ec2, input);
      });
}

}  // namespace kiln::region::ec2
