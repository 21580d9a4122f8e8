// Words: how EC2's requests say what is meant.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "wire/ec2.h"

namespace kiln::builder {

inline std::string str(const std::optional<std::string>& text) { return text.value_or(""); }
wire::ec2::Filter filter(std::string name, std::vector<std::string> values);
wire::ec2::TagSpecification tagged(const std::string& what, const std::map<std::string, std::string>& tags);

}  // namespace kiln::builder
