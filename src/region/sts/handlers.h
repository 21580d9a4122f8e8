// STS: who calls, and temporary credentials.
#pragma once

#include <functional>
#include <string>

#include "region/handlers.h"
#include "region/iam/iam.h"

namespace kiln::region::sts {

// Another account's IAM, whose roles may be assumed too; null when there is no such account.
using IamOf = std::function<iam::Iam*(const std::string& account)>;

// `own` is the IAM of the account whose calls `handlers` answer. All must outlive `handlers`.
void serve(Handlers& handlers, iam::Iam& own, const iam::Keyring& keyring, IamOf others);

}  // namespace kiln::region::sts
