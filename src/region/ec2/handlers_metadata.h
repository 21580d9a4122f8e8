// Handlers of EC2's metadata options: their shape in requests, templates and answers.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "region/api_error.h"
#include "region/ec2/handlers.h"
#include "region/ec2/model.h"
#include "wire/ec2.h"

namespace kiln::region::ec2 {

wire::ec2::InstanceMetadataOptionsResponse to_wire(const MetadataOptions& options);

// Of every request shape that has the five members. An empty string counts as absent. ApiError UnsupportedOperation for
// the IPv6 address of the service, which this region does not have.
template <class Request>
MetadataWish metadata_wish_of(const Request& from) {
  const auto said = [](const std::optional<std::string>& value) {
    return value && !value->empty() ? value : std::nullopt;
  };
  if (said(from.http_protocol_ipv6).value_or("disabled") != "disabled") {
    throw ApiError("UnsupportedOperation", "HttpProtocolIpv6 is not supported by this region but as 'disabled'");
  }
  MetadataWish wish;
  wish.tokens = said(from.http_tokens);
  wish.endpoint = said(from.http_endpoint);
  wish.tags = said(from.instance_metadata_tags);
  if (from.http_put_response_hop_limit) {
    wish.hop_limit = static_cast<int>(std::clamp<std::int64_t>(*from.http_put_response_hop_limit, -1, 1000));
  }
  return wish;
}

}  // namespace kiln::region::ec2
