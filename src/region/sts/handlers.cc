// STS: GetCallerIdentity.
#include "region/sts/handlers.h"

#include "wire/sts.h"

namespace kiln::region::sts {

void serve(Handlers& handlers) {
  handlers.on<wire::sts::GetCallerIdentity>([](const Call& call, const auto&) {
    wire::sts::GetCallerIdentityResponse answer;
    answer.account = call.account;
    answer.user_id = call.account;
    // The region's one identity is the account's root user.
    answer.arn = "arn:aws:iam::" + call.account + ":root";
    return answer;
  });
}

}  // namespace kiln::region::sts
