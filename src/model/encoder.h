#pragma once
// A model that reads texts whole and gives one vector or one score of each (docs/adr/0018): the counterpart of Model (model.h).

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/model.h"

namespace sluice {

/// What stands for a text: its first token's hidden state, the mean of all, or its last token's.
enum class Pooling : uint8_t { cls, mean, last };
std::string_view pooling_name(Pooling pooling);

/// The answers of a causal model that is asked whether a document fits (Qwen3-Reranker), as tokens.
struct YesNo {
  TokenId yes = 0, no = 0;
};

/// What is made of the last hidden states.
struct TextUse {
  enum class Task : uint8_t { embed, score };
  Task task = Task::embed;
  Pooling pooling = Pooling::mean;
  bool normalize = true;              // of embeddings: to length 1
  std::optional<YesNo> answers;       // of scores: none where the model has a classifier
  int64_t max_tokens = 0;             // of a text, as sentence-transformers limits it; 0: the model's positions
  bool assumed = false;               // the files do not say, and this is what is usual
  std::string default_prompt;         // which the files would put before every text; texts are taken as they come
};

/// What the files say: modules.json beside config.json, GGUF's pooling_type and cls tensors, the name of the architecture.
/// Nothing: a model of which they say nothing, which generates text.
Result<std::optional<TextUse>> read_text_use(const TensorSource& source);
/// The same said by a GGUF of this architecture, and by the files beside config.json (of embeddings; of scores there are none).
std::vector<GgufKey> text_use_keys(const TextUse& use, const std::string& arch);
std::map<std::string, std::string> text_use_files(const TextUse& use, const ModelInfo& info);

struct EncoderInfo {
  ModelInfo model;
  TextUse use;
  int64_t width = 0;       // floats per text: the hidden size, or 1
  int64_t max_tokens = 0;  // of a text
  bool causal = false;
  int64_t token_types = 0;     // 0: none; 2: the second text of a pair is of type 1 (BERT)
  int pair_separators = 1;     // end-of-text tokens between the texts of a pair (RoBERTa has 2)
  int64_t bytes_per_token = 0;  // of the longest pass's memory
};

/// A text's tokens, of which those from `second` on are of the second type; -1: none.
struct EncoderText {
  std::span<const TokenId> tokens;
  int64_t second = -1;
};

struct Encoder {
  virtual ~Encoder() = default;
  virtual const EncoderInfo& info() const = 0;
  /// out[texts, width]. A text's result does not depend on the others. Errors: resource_exhausted.
  virtual Status encode(std::span<const EncoderText> texts, float* out) = 0;
  /// out[tokens of all texts, hidden]: the last hidden states themselves, after the last norm.
  virtual Status hidden_states(std::span<const EncoderText> texts, float* out) = 0;
};

/// What is known of an encoder before its weights are loaded.
Result<EncoderInfo> plan_encoder(const TensorSource& source, const TextUse& use);
/// Finds the family that the source's metadata names and builds an encoder of it.
Result<std::unique_ptr<Encoder>> build_encoder(WeightStore& weights, const Ops& ops, const TextUse& use);

}  // namespace sluice
