#pragma once
// What makes one vector, or one score, of a text's hidden states: pooling, and for scores a classifier, or a causal model's
// answers. (Reimers and Gurevych 2019, "Sentence-BERT"; Nogueira and Cho 2019, "Passage re-ranking with BERT".)

#include <span>
#include <vector>

#include "backend/ops.h"
#include "model/encoder.h"
#include "model/layers/layer.h"
#include "model/layers/tensor_table.h"

namespace sluice {

/// A family's classifier: out(norm(act(dense(pooled)))).
struct ClassifierConfig {
  enum class Act : uint8_t { tanh, gelu };
  Presence dense = Presence::if_present;
  Act act = Act::tanh;
  NormStyle norm{Norm::Kind::none};
  Presence dense_bias = Presence::if_present, out_bias = Presence::if_present;
  Pooling pooling = Pooling::cls;
};

class PoolingHead {
 public:
  PoolingHead() = default;
  PoolingHead(const TextUse& use, const ClassifierConfig& classifier, int64_t hidden);
  /// Of `source`, whose tensors say how many classes there are.
  Status declare(TensorTable& table, const TensorSource& source);
  /// The rows that the pooling reads, where that is one of each text; ascending, as the texts' segments are.
  bool one_row() const { return pooling_ != Pooling::mean; }
  int64_t row_of(const AttendSegment& text) const { return text.first_row + (pooling_ == Pooling::last ? text.rows - 1 : 0); }
  /// out[texts, width] of the hidden states of all rows of each text, or, where there is one, of that alone (`picked`).
  void apply(const Ops& ops, const float* hidden, bool picked, std::span<const AttendSegment> texts, float* out);
  /// The direction between the two answers, [hidden].
  void set_answers(std::vector<float> difference) { difference_ = std::move(difference); }

 private:
  void pool(const float* hidden, bool picked, std::span<const AttendSegment> texts, float* out) const;

  TextUse use_;
  ClassifierConfig config_;
  Pooling pooling_ = Pooling::mean;
  int64_t hidden_ = 0, classes_ = 1;
  PackedMatrix dense_, out_;
  const float *dense_bias_ = nullptr, *out_bias_ = nullptr;
  NormLayer norm_;
  std::vector<float> difference_, pooled_, dense_out_, classes_out_;
};

}  // namespace sluice
