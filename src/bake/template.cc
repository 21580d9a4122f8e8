// Template: from brace to brace.
#include "bake/template.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace kiln::bake {
namespace {

constexpr std::string_view kOpen = "{{";
constexpr std::string_view kClose = "}}";

spec::Location location_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return {.line = static_cast<int>(std::ranges::count(before, '\n')) + 1,
          .column = static_cast<int>(offset - line_start) + 1};
}

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
}

std::string value_of(const spec::Source& source, std::size_t at, std::string_view inner,
                     const spec::Variables& variables) {
  if (inner.size() >= 2 && inner.front() == '"' && inner.back() == '"')
    return std::string(inner.substr(1, inner.size() - 2));
  const spec::Location where = location_of(source.text, at);
  if (!is_name(inner))
    throw source.error(where,
                       fmt::format("'{{{{ {} }}}}' is not a variable's name; a template knows nothing else", inner),
                       "for the braces themselves write {{ \"{{\" }}");
  const auto found = std::ranges::find(variables, inner, &spec::Variables::value_type::first);
  if (found != variables.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, value] : variables) names.push_back(name);
  const auto near = nearest(inner, names);
  throw source.error(
      where, fmt::format("there is no variable '{}'{}", inner, near ? fmt::format("; did you mean '{}'?", *near) : ""),
      "give it a value under 'variables' in kiln.yaml");
}

}  // namespace

std::string render_template(const spec::Source& source, const spec::Variables& variables) {
  const std::string_view text = source.text;
  std::string rendered;
  std::size_t from = 0;
  for (;;) {
    const std::size_t open = text.find(kOpen, from);
    rendered += text.substr(from, open - from);
    if (open == std::string_view::npos) return rendered;
    std::size_t begin = open + kOpen.size();
    std::size_t close = text.find(kClose, begin);
    // In {{ "}}" }} the first braces are text.
    if (const std::size_t quote = text.find_first_not_of(' ', begin); quote != text.npos && text[quote] == '"')
      close = text.find(kClose, std::min(text.find('"', quote + 1), text.size()));
    if (close == std::string_view::npos || text.substr(begin, close - begin).find('\n') != std::string_view::npos)
      throw source.error(location_of(text, open), "'{{' without '}}' in the same line",
                         "for the braces themselves write {{ \"{{\" }}");
    rendered += value_of(source, open, trim(text.substr(begin, close - begin)), variables);
    from = close + kClose.size();
  }
}

}  // namespace kiln::bake
