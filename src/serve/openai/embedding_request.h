#pragma once
// Requests for embeddings (OpenAI's) and for reranking (as Jina, Cohere and vLLM have it), read from JSON into plain data.

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "serve/openai/api_request.h"
#include "serve/openai/json_text.h"

namespace sluice {

/// What both share.
struct TextFields {
  std::string model;  // empty: whichever is served
  /// Texts longer than that are cut at their end; -1: than the model takes. Absent: they are an error.
  std::optional<int> truncate;
  std::vector<std::string> warnings;
};

struct EmbeddingRequest : TextFields {
  std::vector<Prompt> inputs;
  bool base64 = false;            // little-endian float32, or numbers
  std::optional<int> dimensions;  // the first so many values
  bool add_special_tokens = true;
};

struct RerankRequest : TextFields {
  std::string query;
  std::string instruction;  // for causal rerankers; empty: the usual one
  std::vector<std::string> documents;
  std::optional<int> top_n;
  bool return_documents = false;
  bool raw_scores = false;  // as the model gives them, before the sigmoid
};

Result<EmbeddingRequest> parse_embedding_request(const Json& body);
Result<RerankRequest> parse_rerank_request(const Json& body);

}  // namespace sluice
