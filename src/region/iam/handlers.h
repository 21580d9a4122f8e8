// Handlers of IAM: from a decoded request to Iam and back into the shape of its answer.
#pragma once

#include <string>
#include <vector>

#include "region/handlers.h"
#include "region/iam/iam.h"
#include "wire/iam.h"

namespace kiln::region::iam {

// Registers all of them. `iam` must outlive `handlers`.
void serve(Handlers& handlers, Iam& iam);

void serve_users(Handlers& handlers, Iam& iam);
void serve_roles(Handlers& handlers, Iam& iam);
void serve_instance_profiles(Handlers& handlers, Iam& iam);
void serve_policies(Handlers& handlers, Iam& iam);
void serve_held_policies(Handlers& handlers, Iam& iam);

// What they share.
std::vector<wire::iam::Tag> to_wire(const Tags& tags);
Tags from_wire(const std::vector<wire::iam::Tag>& tags);
// Documents are percent-encoded in answers (RFC 3986), as every client expects.
std::string encoded(const std::string& document);
wire::iam::Role to_wire(const Role& role, bool with_tags);

// One page of a list in ascending order of its keys. A marker says after which key the next page begins. ApiError
// ValidationError for a MaxItems outside 1 to 1000 and for a marker that is none.
class Page {
 public:
  template <class Input>
  explicit Page(const Input& input) : Page(input.marker, input.max_items) {}
  // True when the thing belongs to this page.
  bool takes(const std::string& key);
  // IsTruncated and Marker of the answer.
  template <class Answer>
  void finish(Answer& answer) const {
    answer.is_truncated = more_;
    if (more_) answer.marker = marker();
  }

 private:
  Page(const std::optional<std::string>& marker, const std::optional<std::int64_t>& max_items);
  std::string marker() const;

  std::int64_t max_ = 100;
  std::string after_;
  std::string last_;
  std::int64_t taken_ = 0;
  bool more_ = false;
};

}  // namespace kiln::region::iam
