#include "serve/openai/embedding_request.h"

#include <nlohmann/json.hpp>

#include "serve/openai/field_reader.h"

namespace sluice {
namespace {

Error not_an_object(const Json& body) { return invalid_argument(fmt::format("the body is {}; it must be an object", describe_json(body))); }

// vLLM's name, and those of other servers, for the same.
void read_truncation(FieldReader& in, TextFields& out) {
  int most = 0;
  if (in.integer("truncate_prompt_tokens", most, -1, INT32_MAX)) {
    if (most == 0) in.fail(invalid_argument("truncate_prompt_tokens is 0; it must be at least 1, or -1 for as many as the model takes", "truncate_prompt_tokens"));
    out.truncate = most;
  }
  bool truncate = false;
  if (in.boolean("truncate", truncate) && truncate && !out.truncate) out.truncate = -1;
}

void finish(FieldReader& in, TextFields& out) {
  for (const char* name : {"user", "priority"}) in.ignore(name);
  out.warnings = in.unknown();
}

}  // namespace

Result<EmbeddingRequest> parse_embedding_request(const Json& body) {
  if (!body.is_object()) return not_an_object(body);
  EmbeddingRequest out;
  FieldReader in(body);
  in.string("model", out.model);
  read_prompts(in, "input", out.inputs);
  std::string format = "float";
  in.string("encoding_format", format);
  if (format != "float" && format != "base64" && !in.failed()) in.fail("encoding_format", Json(format), "\"float\" or \"base64\"");
  out.base64 = format == "base64";
  int dimensions = 0;
  if (in.integer("dimensions", dimensions, 1, INT32_MAX)) out.dimensions = dimensions;
  in.boolean("add_special_tokens", out.add_special_tokens);
  read_truncation(in, out);
  if (in.failed()) return in.error();
  finish(in, out);
  return out;
}

Result<RerankRequest> parse_rerank_request(const Json& body) {
  if (!body.is_object()) return not_an_object(body);
  RerankRequest out;
  FieldReader in(body);
  in.string("model", out.model);
  in.string("instruction", out.instruction);
  if (!in.string("query", out.query) && !in.failed()) in.fail(invalid_argument("query is missing; it must be a string", "query"));
  constexpr char kWant[] = "an array of at least one string, or of objects with a string \"text\"";
  const Json* documents = in.array("documents", kWant);
  if ((documents == nullptr || documents->empty()) && !in.failed())
    in.fail(invalid_argument(fmt::format("documents is missing or empty; it must be {}", kWant), "documents"));
  for (size_t i = 0; !in.failed() && i < documents->size(); ++i) {
    const Json& one = (*documents)[i];
    const Json& text = one.is_object() && one.contains("text") ? one.at("text") : one;
    if (text.is_string()) out.documents.push_back(text.get<std::string>());
    else in.fail(fmt::format("documents[{}]", i), one, "a string, or an object with a string \"text\"");
  }
  int top_n = 0;
  if (in.integer("top_n", top_n, 1, INT32_MAX)) out.top_n = top_n;
  in.boolean("return_documents", out.return_documents);
  in.boolean("raw_scores", out.raw_scores);
  bool activation = true;  // vLLM's name
  if (in.boolean("use_activation", activation) && !activation) out.raw_scores = true;
  read_truncation(in, out);
  if (in.failed()) return in.error();
  finish(in, out);
  return out;
}

}  // namespace sluice
