// Utf8Names: file names are bytes to this thread while it lives. Private to this room.
//
// libarchive converts pax headers between UTF-8 and the locale's character set, and loses names in the locale "C".
#pragma once

#include <locale.h>
#include <clocale>

namespace kiln::oci {

class Utf8Names {
 public:
  Utf8Names() : mine_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (mine_ != nullptr) before_ = ::uselocale(mine_);
  }
  ~Utf8Names() {
    if (mine_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(mine_);
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;

 private:
  locale_t mine_;
  locale_t before_ = nullptr;
};

}  // namespace kiln::oci
