// Filters: how Describe calls narrow and page their answers.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "region/ec2/model.h"
#include "wire/ec2.h"

namespace kiln::region::ec2 {

// The values of a thing for a filter's name; nullopt: there is no such filter.
using FilterValues = std::function<std::optional<std::vector<std::string>>(const std::string& name)>;

// Whether all filters match: each by one of its values, with AWS's wildcards (* and ?). Tags are filtered by
// "tag:<key>" and "tag-key" for every kind of thing. Throws ApiError InvalidParameterValue for a name that is not
// known.
bool matches(const std::vector<wire::ec2::Filter>& filters, const Tags& tags, const FilterValues& values);
// The same when there may be nothing to match, so that a wrong name is refused all the same.
void check_names(const std::vector<wire::ec2::Filter>& filters, const FilterValues& values);

// One page of a list that is sorted by its keys. A token says after which key the next page begins, so pages stay right
// while things come and go. Throws ApiError InvalidParameterValue, InvalidNextToken.
class Page {
 public:
  Page(const std::optional<std::int64_t>& max_results, const std::optional<std::string>& next_token,
       std::int64_t minimum = 5, std::int64_t maximum = 1000);
  // In ascending order of keys; true when the thing belongs to this page.
  bool takes(const std::string& key);
  // Absent on the last page.
  std::optional<std::string> next_token() const;

 private:
  std::optional<std::int64_t> max_;
  std::string after_;
  std::string last_;
  std::int64_t taken_ = 0;
  bool more_ = false;
};

}  // namespace kiln::region::ec2
