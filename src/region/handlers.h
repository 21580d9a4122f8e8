// Handlers: which function answers which operation. A handler runs on the region's loop; it takes a decoded request and
// returns the answer, or throws ApiError.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "region/api_error.h"
#include "region/principal.h"
#include "wire/shape.h"

namespace kiln::region {

// Who calls, and when.
struct Call {
  std::string request_id;
  std::string access_key;
  std::string account;
  std::string region;
  Time now{};
  Principal principal{};  // whose key it is
};

// Clients give up reading after a minute.
inline constexpr Duration kHeldMost{10'000};

class Handlers {
 public:
  template <class Op>
  void on(std::function<typename Op::Output(const Call&, const typename Op::Input&)> handler) {
    set(Op::operation(), [handler = std::move(handler)](const Call& call, const void* input) -> std::shared_ptr<void> {
      const auto& typed = *static_cast<const typename Op::Input*>(input);
      if constexpr (requires { typed.dry_run; }) {
        if (typed.dry_run.value_or(false)) {
          throw ApiError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
        }
      }
      return std::make_shared<typename Op::Output>(handler(call, typed));
    });
  }

  // What an operation does before its handler, on the caller's thread: slow reading that must not hold up the loop. It
  // touches nothing that the loop owns; it throws ApiError.
  template <class Op>
  void before(std::function<void(const typename Op::Input&)> body) {
    before_[&Op::operation()] = [body = std::move(body)](const void* input) {
      body(*static_cast<const typename Op::Input*>(input));
    };
  }
  void prepare(const wire::Operation& operation, const void* input) const;

  // Until `settled`, the answer is held back, for `most` at the longest: waiters of AWS's clients ask at once and then
  // only every 15 s, so what is about to come true is worth a moment. `settled` runs on the loop, often; an ApiError
  // means yes, for the handler will say it again.
  template <class Op>
  void when(std::function<bool(const typename Op::Input&)> settled, Duration most = kHeldMost) {
    waits_[&Op::operation()] = {[settled = std::move(settled)](const void* input) {
                                  return settled(*static_cast<const typename Op::Input*>(input));
                                },
                                most};
  }
  bool settled(const wire::Operation& operation, const void* input) const;
  Duration patience(const wire::Operation& operation) const;  // of one that `when` was said of

  // Answers operations whose names begin with `prefix` as `other` does.
  void answer_as(const Handlers& other, std::string_view prefix);

  bool serves(const wire::Operation& operation) const { return table_.contains(&operation); }
  // Of a served operation.
  std::shared_ptr<void> run(const wire::Operation& operation, const Call& call, const void* input) const;
  std::vector<const wire::Operation*> served() const;

 private:
  using Erased = std::function<std::shared_ptr<void>(const Call&, const void*)>;
  void set(const wire::Operation& operation, Erased handler);
  std::map<const wire::Operation*, Erased> table_;
  std::map<const wire::Operation*, std::function<void(const void*)>> before_;
  struct Wait {
    std::function<bool(const void*)> settled;
    Duration most{};
  };
  std::map<const wire::Operation*, Wait> waits_;
};

// Throws ApiError(UnsupportedOperation) naming the first member that is present and not among `served`: what is not
// honoured is refused, never ignored.
void only(const wire::Shape& shape, const void* value, std::initializer_list<std::string_view> served);
template <class Op>
void only(const typename Op::Input& input, std::initializer_list<std::string_view> served) {
  only(*Op::operation().input, &input, served);
}
// The same for a structure within, by its member's name.
void only_within(const wire::Shape& shape, std::string_view member, const void* value,
                 std::initializer_list<std::string_view> served);

}  // namespace kiln::region
