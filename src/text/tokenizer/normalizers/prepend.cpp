// Prepend: a text before every text that is not empty.

#include "text/tokenizer/normalizers/normalizer.h"
#include "text/tokenizer/parts_catalog.h"

namespace sluice {

Normalizer::Step prepend_text(std::string prefix, bool only_at_start) {
  return [prefix = std::move(prefix), only_at_start](std::string& text, bool at_start) {
    if (!text.empty() && (at_start || !only_at_start)) text.insert(0, prefix);
  };
}

Status parse_prepend(const nlohmann::json& description, Normalizer& out) {
  SLUICE_TRY(std::string prefix, string_field(description, "prepend"));
  out.add(prepend_text(std::move(prefix), false));
  return {};
}

}  // namespace sluice
