#pragma once
// A model that reads texts whole, made ready to run: which use its files and the flags make of it, its weights, and its queue.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/engine_stack.h"
#include "engine/encoder_queue.h"
#include "model/encoder.h"
#include "serve/openai/text_shape.h"

namespace sluice {

struct EncoderFlags {
  std::string task = "auto", pooling = "auto";
  void declare(OptionSet& options);
  Status check() const;
};

/// What the model is used for; nothing: it generates text. The answers of a causal reranker are found later, by resolve_answers().
Result<std::optional<TextUse>> choose_use(const EncoderFlags& flags, const TensorSource& source);
/// The tokens "yes" and "no", where the use asks for them.
Status resolve_answers(TextUse& use, const Tokenizer& tokenizer);
/// "embeddings of 384 values, the mean of all tokens, normalized, of at most 512 tokens".
std::string describe(const EncoderInfo& info);

struct EncoderStack {
  std::shared_ptr<TensorSource> source;
  std::unique_ptr<ThreadPool> pool;
  const OpTable* table = nullptr;
  std::unique_ptr<Ops> ops;
  TuningMode matmul_tuning = TuningMode::off;
  std::unique_ptr<WeightStore> weights;
  size_t weight_bytes = 0;  // that loading will come to
  std::unique_ptr<Encoder> encoder;
  RealClock clock;
  TextUse use;  // max_tokens as it was resolved
  EncoderQueueOptions options;
  std::vector<std::string> notes;  // for the start log

  /// Reads the weights.
  Status load();
  std::unique_ptr<EncoderQueue> make_queue();
  /// How this model reads a query with a document.
  PairStyle pair_style(const Tokenizer& tokenizer) const;
};

/// Opens the source and checks whatever can be refused without reading a weight; finds the longest text that memory holds.
Result<std::unique_ptr<EncoderStack>> open_encoder_stack(const EngineFlags& flags, TextUse use);

}  // namespace sluice
