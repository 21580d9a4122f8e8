// Paginate: all pages of a Describe call, each a call of the client's with its own retries; at most `pages_max`. Throws
// as the client does; pages that were seen before are not taken back.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "aws/client.h"
#include "base/error.h"

namespace kiln::aws {

// 1,000 pages of AWS's largest page (1,000 items): a service that hands out tokens for ever is broken.
inline constexpr int pages_max = 1000;

// The token's member is NextToken in both directions (EC2, Auto Scaling, ...), or Marker and NextMarker (ELBv2).
template <class Op>
concept HasNextToken = requires(typename Op::Input in, typename Op::Output out) {
  in.next_token = out.next_token;
};
template <class Op>
concept HasMarker = requires(typename Op::Input in, typename Op::Output out) {
  in.marker = out.next_marker;
};

[[noreturn]] void refuse_endless_pages(const char* why);

// `on_page(Op::Output&)` sees each page; a bool that it gives says whether to go on.
template <class Op, class OnPage>
requires(HasNextToken<Op> || HasMarker<Op>) void for_each_page(Client& client, typename Op::Input input,
                                                               OnPage&& on_page) {
  std::string last;
  for (int page = 0; page < pages_max; ++page) {
    typename Op::Output output = client.call<Op>(input);
    std::string token;
    if constexpr (HasNextToken<Op>) {
      token = output.next_token.value_or("");
    } else {
      token = output.next_marker.value_or("");
    }
    if constexpr (std::is_same_v<decltype(on_page(output)), bool>) {
      if (!on_page(output)) {
        return;
      }
    } else {
      on_page(output);
    }
    if (token.empty()) {
      return;
    }
    if (token == last) {
      refuse_endless_pages("gave the same page token twice");
    }
    last = token;
    if constexpr (HasNextToken<Op>) {
      input.next_token = token;
    } else {
      input.marker = token;
    }
  }
  refuse_endless_pages("gave more than 1000 pages");
}

// All items of one list member: `collect<wire::ec2::DescribeInstances>(client, input,
// &DescribeInstancesResult::reservations)`.
template <class Op, class List>
List collect(Client& client, const typename Op::Input& input, List Op::Output::*member) {
  List all;
  for_each_page<Op>(client, input, [&](typename Op::Output& page) {
    for (auto& item : page.*member) {
      all.push_back(std::move(item));
    }
  });
  return all;
}

}  // namespace kiln::aws
