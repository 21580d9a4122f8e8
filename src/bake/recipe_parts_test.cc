// The parts of a recipe that need no root: ignore files, templates, secrets, the lock file, the record, the order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::bake {}
