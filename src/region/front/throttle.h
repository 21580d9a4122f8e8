// Throttle: AWS's token buckets, one for each account, region and action: a call takes a token, tokens come back at a
// steady rate, and a call that finds none is refused.
//
// Sizes are those that AWS publishes for EC2, and are used for the other services too, which publish none
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html). On the loop's thread.
#pragma once

#include <map>
#include <string>

#include "base/time.h"
#include "wire/shape.h"

namespace kiln::region {

struct Bucket {
  double size = 0;
  double refill = 0;  // tokens a second
};
// `input` decides for calls that read: one that narrows or pages its answer has the larger bucket.
Bucket bucket_of(const wire::Operation& operation, const void* input);

class Throttle {
 public:
  // Whether the call may go on. `now` is an uptime.
  bool take(const std::string& account, const std::string& region, const wire::Operation& operation, const void* input,
            Duration now);

 private:
  struct Level {
    double tokens = 0;
    Duration at{0};
  };
  std::map<std::string, Level> levels_;  // "<account>/<region>/<service>/<operation>/<bucket size>"
};

}  // namespace kiln::region
