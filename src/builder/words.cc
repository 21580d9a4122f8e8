// Words: see internal/words.h.
#include "builder/internal/words.h"

namespace kiln::builder {

namespace ec2 = wire::ec2;

ec2::Filter filter(std::string name, std::vector<std::string> values) {
  ec2::Filter made;
  made.name = std::move(name);
  made.values = std::move(values);
  return made;
}

ec2::TagSpecification tagged(const std::string& what, const std::map<std::string, std::string>& tags) {
  ec2::TagSpecification specification;
  specification.resource_type = what;
  for (const auto& [key, value] : tags) {
    ec2::Tag tag;
    tag.key = key;
    tag.value = value;
    specification.tags.push_back(tag);
  }
  return specification;
}

}  // namespace kiln::builder
