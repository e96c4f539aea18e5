#include "serve/openai/modular_prompt.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace sluice {
namespace {

constexpr NumberLimits kRecomputeLimits{"recompute", 0, 1};

void read_modules(FieldReader& in, PromptCacheFields& out) {
  const Json* modules = in.array("modules", "an array of names, or of objects such as {\"name\": \"a\", \"parameters\": {\"x\": \"three days\"}}");
  for (size_t i = 0; modules != nullptr && i < modules->size(); ++i) {
    const Json& given = (*modules)[i];
    const std::string path = fmt::format("prompt_cache.modules[{}]", i);
    PromptCacheFields::Module module;
    if (given.is_string()) {
      module.name = given.get<std::string>();
    } else if (given.is_object()) {
      FieldReader fields(given, path + ".");
      if (!fields.string("name", module.name) && !fields.failed()) fields.fail(invalid_argument(path + ".name is missing", path + ".name"));
      if (const Json* arguments = fields.object("parameters", "an object of names and texts"))
        for (const auto& [name, value] : arguments->items()) {
          if (!value.is_string()) fields.fail("parameters." + name, value, "a string");
          else module.parameters.emplace_back(name, value.get<std::string>());
        }
      if (!fields.failed() && !fields.unknown().empty())
        fields.fail(invalid_argument(fmt::format("{} is not known; a module has name and parameters", fields.unknown()[0]), fields.unknown()[0]));
      if (fields.failed()) return in.fail(fields.error());
    } else {
      return in.fail(invalid_argument(fmt::format("{} is {}; it must be a name or an object", path, describe_json(given)), path));
    }
    out.modules.push_back(std::move(module));
  }
}

Error wrong(const std::string& where, std::string text) { return invalid_argument(fmt::format("{} {}", where, text), where); }

template <class Items, class Name>
std::string listed(const Items& items, Name name) {
  std::string names;
  for (const auto& item : items)
    if (const std::string& n = name(item); !n.empty()) names += (names.empty() ? "" : ", ") + n;
  return names.empty() ? "none" : names;
}

/// Appends a segment of these tokens; none where there are none.
void add_segment(ModularPrompt& out, std::span<const TokenId> tokens, int lead, int shift) {
  if (tokens.empty()) return;
  out.reuse.segments.push_back({static_cast<int>(out.tokens.size()), static_cast<int>(tokens.size()), lead, shift});
  out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
}

}  // namespace

std::optional<PromptCacheFields> read_prompt_cache(FieldReader& in) {
  const Json* given = in.object("prompt_cache", "an object such as {\"schema\": \"travel\", \"modules\": [\"a\"]}");
  if (given == nullptr) return std::nullopt;
  PromptCacheFields out;
  FieldReader fields(*given, "prompt_cache.");
  const bool schema = fields.string("schema", out.schema);
  read_modules(fields, out);
  const Json* chunks = fields.array("chunks", "an array of texts");
  for (size_t i = 0; chunks != nullptr && i < chunks->size(); ++i) {
    if (!(*chunks)[i].is_string() || (*chunks)[i].get<std::string>().empty()) fields.fail(fmt::format("chunks[{}]", i), (*chunks)[i], "a text that is not empty");
    else out.chunks.push_back((*chunks)[i].get<std::string>());
  }
  if (chunks != nullptr && chunks->empty()) fields.fail("chunks", *chunks, "at least one text");
  if (out.chunks.size() > kMostChunks)
    fields.fail(invalid_argument(fmt::format("prompt_cache.chunks holds {} chunks; at most {} are right", out.chunks.size(), kMostChunks), "prompt_cache.chunks"));
  fields.string("preamble", out.preamble);
  float recompute = 0;
  if (fields.number(kRecomputeLimits, recompute)) out.recompute = recompute;
  std::string rule;
  if (fields.string("rule", rule)) {
    if (rule != "deviation" && rule != "position") fields.fail("rule", Json(rule), "\"deviation\" or \"position\"");
    out.rule = rule == "position" ? RecomputeRule::position : RecomputeRule::deviation;
  }
  if (!fields.failed() && schema == (chunks != nullptr))
    fields.fail(invalid_argument("prompt_cache needs either schema (and modules) or chunks", "prompt_cache"));
  if (!fields.failed() && !schema && !out.modules.empty())
    fields.fail(invalid_argument("prompt_cache.modules are given, but no schema whose modules they are", "prompt_cache.modules"));
  if (!fields.failed() && schema && !out.preamble.empty())
    fields.fail(invalid_argument("prompt_cache.preamble belongs to chunks; a schema has its own text before its modules", "prompt_cache.preamble"));
  if (!fields.failed() && !fields.unknown().empty())
    fields.fail(invalid_argument(fmt::format("{} is not known; known are schema, modules, chunks, preamble, recompute and rule", fields.unknown()[0]),
                                 fields.unknown()[0]));
  if (fields.failed()) {
    in.fail(fields.error());
    return std::nullopt;
  }
  return out;
}

Result<ModularPrompt> ModularPrompts::from_schema(const PromptCacheFields& fields, const Tokenizer& tokenizer, int& next_position) const {
  const auto schema = std::ranges::find(schemas, fields.schema, &PromptLayout::name);
  if (schema == schemas.end())
    return wrong("prompt_cache.schema", fmt::format("is {}, which this server does not have (--prompt-schema); it has: {}", describe_json(Json(fields.schema)),
                                                    listed(schemas, [](const PromptLayout& s) -> const std::string& { return s.name; })));
  const std::vector<PromptLayout::Module>& all = schema->modules;
  std::vector<int> taken(all.size(), -1);  // by which of the request's modules; -2: everybody has it
  for (size_t i = 0; i < all.size(); ++i) taken[i] = all[i].name.empty() ? -2 : -1;
  for (size_t i = 0; i < fields.modules.size(); ++i) {
    const std::string& name = fields.modules[i].name;
    const std::string where = fmt::format("prompt_cache.modules[{}]", i);
    const auto found = std::ranges::find_if(all, [&](const auto& m) { return !m.name.empty() && m.name == name; });
    if (found == all.end())
      return wrong(where, fmt::format("is {}, which the schema {} does not have; it has: {}", describe_json(Json(name)), schema->name,
                                      listed(all, [](const auto& m) -> const std::string& { return m.name; })));
    const auto at = static_cast<size_t>(found - all.begin());
    if (taken[at] >= 0) return wrong(where, fmt::format("is {} again", name));
    for (size_t k = 0; k < all.size(); ++k)
      if (taken[k] >= 0 && all[k].union_number >= 0 && all[k].union_number == found->union_number)
        return wrong(where, fmt::format("is {}, but {} of the same union is taken already: at most one of them may be", name, all[k].name));
    taken[at] = static_cast<int>(i);
    for (const auto& [parameter, argument] : fields.modules[i].parameters)
      if (std::ranges::find(found->parameters, parameter, &PromptLayout::Parameter::name) == found->parameters.end())
        return wrong(where + ".parameters", fmt::format("names {}; the module {} has: {}", parameter, name,
                                                        listed(found->parameters, [](const auto& p) -> const std::string& { return p.name; })));
  }

  ModularPrompt out;
  std::vector<int32_t>& positions = out.reuse.positions;
  const int lead = static_cast<int>(schema->lead.size());
  out.tokens = schema->lead;
  for (int i = 0; i < lead; ++i) positions.push_back(i);
  next_position = lead;
  std::vector<bool> done(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    if (taken[i] == -1) continue;
    next_position = std::max(next_position, all[i].end);
    if (done[i]) continue;
    std::vector<size_t> together = {i};
    for (const std::vector<size_t>& scaffold : schema->scaffolds)
      if (std::ranges::find(scaffold, i) != scaffold.end() && std::ranges::none_of(scaffold, [&](size_t m) { return taken[m] == -1; })) together = scaffold;
    std::vector<TokenId> tokens;
    for (const size_t m : together) {
      done[m] = true;
      tokens.insert(tokens.end(), all[m].tokens.begin(), all[m].tokens.end());
      positions.insert(positions.end(), all[m].positions.begin(), all[m].positions.end());
    }
    add_segment(out, tokens, lead, 0);
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (taken[i] < 0) continue;
    const auto& arguments = fields.modules[static_cast<size_t>(taken[i])].parameters;
    for (const PromptLayout::Parameter& parameter : all[i].parameters) {
      const auto argument = std::ranges::find(arguments, parameter.name, &std::pair<std::string, std::string>::first);
      if (argument == arguments.end()) continue;
      const std::vector<TokenId> tokens = tokenizer.encode(argument->second, {.add_special = false});
      if (static_cast<int>(tokens.size()) > parameter.tokens)
        return wrong(fmt::format("prompt_cache.modules[{}].parameters.{}", taken[i], parameter.name),
                     fmt::format("has {} tokens; the schema {} reserves {}", tokens.size(), schema->name, parameter.tokens));
      out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
      for (int k = 0; k < static_cast<int>(tokens.size()); ++k) positions.push_back(parameter.first + k);
    }
  }
  return out;
}

Result<ModularPrompt> ModularPrompts::from_chunks(const PromptCacheFields& fields, const Tokenizer& tokenizer) const {
  if (!chunks) return wrong("prompt_cache.chunks", "are given, but this server reuses no chunks; start it with --enable-chunk-reuse");
  ModularPrompt out;
  out.tokens = tokenizer.encode(fields.preamble, {.add_special = true});
  const int lead = static_cast<int>(out.tokens.size());
  for (const std::string& chunk : fields.chunks)
    add_segment(out, tokenizer.encode(chunk, {.add_special = false}), lead, static_cast<int>(out.tokens.size()) - lead);
  return out;
}

Result<ModularPrompt> ModularPrompts::assemble(const PromptCacheFields& fields, std::vector<TokenId> own, const Tokenizer& tokenizer) const {
  const bool schema = fields.chunks.empty();
  int next_position = 0;
  SLUICE_TRY(ModularPrompt out, schema ? from_schema(fields, tokenizer, next_position) : from_chunks(fields, tokenizer));
  out.reuse.recompute = static_cast<double>(fields.recompute.value_or(schema ? 0 : kDefaultChunkRecompute));
  out.reuse.rule = fields.rule;
  // A rendered conversation may begin with the token that the lead begins with.
  if (!own.empty() && tokenizer.bos() && own[0] == *tokenizer.bos() && !out.tokens.empty() && out.tokens[0] == own[0]) own.erase(own.begin());
  if (own.empty()) return wrong("prompt", "has no text of its own; behind what prompt_cache names at least one token is needed");
  out.tokens.insert(out.tokens.end(), own.begin(), own.end());
  std::vector<int32_t>& positions = out.reuse.positions;
  if (schema)
    for (int i = 0; i < static_cast<int>(own.size()); ++i) positions.push_back(next_position + i);
  bool in_place = true;
  for (size_t i = 0; i < positions.size(); ++i) in_place &= positions[i] == static_cast<int32_t>(i);
  if (in_place) positions.clear();
  return out;
}

}  // namespace sluice
