// kiln_spec_schema: prints the JSON Schema of kiln.yaml, to renew docs/kiln.schema.json.
#include <cstdio>

#include "spec/app.h"

int main() { return std::fputs(kiln::spec::json_schema().c_str(), stdout) < 0 ? 1 : 0; }
