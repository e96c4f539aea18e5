#include "text/schema/prompt_layout.h"

#include <algorithm>

namespace sluice {

PromptLayout lay_out(const PromptSchema& schema, const Tokenizer& tokenizer) {
  PromptLayout out;
  out.name = schema.name;
  const auto encode = [&](const std::string& text, bool add_special) { return tokenizer.encode(text, {add_special, true}); };
  size_t first = 0;
  std::string lead;
  if (!schema.modules.empty() && schema.modules[0].name.empty()) lead = schema.modules[first++].parts[0].text;
  out.lead = encode(lead, true);
  int next = static_cast<int>(out.lead.size()), union_end = next;
  for (size_t i = first; i < schema.modules.size(); ++i) {
    const SchemaModule& from = schema.modules[i];
    if (i == first || from.union_number < 0 || from.union_number != schema.modules[i - 1].union_number) next = union_end;
    PromptLayout::Module m;
    m.name = from.name;
    m.union_number = from.union_number;
    int at = next;
    for (const SchemaPart& part : from.parts) {
      if (!part.parameter.empty()) {
        m.parameters.push_back({part.parameter, at, part.tokens});
        at += part.tokens;
        continue;
      }
      for (const TokenId token : encode(part.text, false)) {
        m.tokens.push_back(token);
        m.positions.push_back(at++);
      }
    }
    m.end = at;
    union_end = std::max(union_end, at);
    out.modules.push_back(std::move(m));
  }
  out.positions = union_end;
  for (const std::vector<std::string>& names : schema.scaffolds) {
    std::vector<size_t> members;
    for (size_t i = 0; i < out.modules.size(); ++i)
      if (std::ranges::find(names, out.modules[i].name) != names.end()) members.push_back(i);
    out.scaffolds.push_back(std::move(members));
  }
  return out;
}

}  // namespace sluice
