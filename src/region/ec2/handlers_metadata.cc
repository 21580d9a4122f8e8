// Handlers of EC2: the options of instances' metadata service.
#include "region/ec2/handlers_metadata.h"

#include "region/handlers.h"

namespace kiln::region::ec2 {

namespace w = wire::ec2;

w::InstanceMetadataOptionsResponse to_wire(const MetadataOptions& options) {
  w::InstanceMetadataOptionsResponse out;
  out.state = "applied";
  out.http_tokens = options.tokens_required ? "required" : "optional";
  out.http_put_response_hop_limit = options.hop_limit;
  out.http_endpoint = options.enabled ? "enabled" : "disabled";
  out.http_protocol_ipv6 = "disabled";
  out.instance_metadata_tags = options.tags ? "enabled" : "disabled";
  return out;
}

void serve_metadata_options(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::ModifyInstanceMetadataOptions>(
      [&ec2](const Call&, const w::ModifyInstanceMetadataOptionsRequest& input) {
        only<w::ModifyInstanceMetadataOptions>(input, {"InstanceId", "HttpTokens", "HttpPutResponseHopLimit",
                                                       "HttpEndpoint", "HttpProtocolIpv6", "InstanceMetadataTags"});
        const Instance& one = ec2.modify_metadata_options(input.instance_id.value_or(""), metadata_wish_of(input));
        w::ModifyInstanceMetadataOptionsResult answer;
        answer.instance_id = one.id;
        answer.instance_metadata_options = to_wire(one.metadata);
        return answer;
      });
}

}  // namespace kiln::region::ec2
