#pragma once
// Runs a model over token lists without an engine: one sequence, a KV cache whose block i is block i.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "backend/op_table.h"
#include "backend/ops.h"
#include "model/model.h"
#include "tensor/buffer.h"
#include "weights/tensor_source.h"
#include "weights/weight_store.h"

namespace sluice::test {

/// The tables that this CPU runs.
inline std::vector<std::string> usable_isas() {
  std::vector<std::string> names;
  for (const OpTable* table : op_tables())
    if (table->lacks().empty()) names.emplace_back(table->isa);
  return names;
}

/// Those whose BF16 products take the activations as they are, which a float32 reference can be compared with.
inline std::vector<std::string> float32_isas() {
  std::vector<std::string> names;
  for (const OpTable* table : op_tables())
    if (table->lacks().empty() && table->bf16_form == ActForm::f32) names.emplace_back(table->isa);
  return names;
}

/// A model with everything that must outlive it.
struct LoadedModel {
  LoadedModel(std::shared_ptr<TensorSource> source, const OpTable& table, int threads)
      : pool(threads), ops(table, pool), store(std::move(source), ops) {}

  /// On the table named, or the best of float32_isas().
  static Result<std::unique_ptr<LoadedModel>> open(std::shared_ptr<TensorSource> source, const std::string& isa = {},
                                                   int threads = 2) {
    SLUICE_TRY(const OpTable* table, select_op_table(isa.empty() ? float32_isas().at(0) : isa));
    auto loaded = std::make_unique<LoadedModel>(std::move(source), *table, threads);
    SLUICE_TRY(loaded->model, build_model(loaded->store, loaded->ops));
    return loaded;
  }
  static Result<std::unique_ptr<LoadedModel>> open(const std::string& path, const std::string& isa = {},
                                                   int threads = 2) {
    SLUICE_TRY(std::shared_ptr<TensorSource> source, open_tensor_source(path));
    return open(std::move(source), isa, threads);
  }

  ThreadPool pool;
  Ops ops;
  WeightStore store;
  std::unique_ptr<Model> model;
};

/// One sequence of at most `capacity_tokens`, fed in pieces of any size.
class TestSequence {
 public:
  TestSequence(Model& model, int capacity_tokens, int block_tokens = 16, const KvFormat& kv = kKvF32) : model_(model) {
    block_tokens = kv.fitting_block(block_tokens);
    const int blocks = (capacity_tokens + block_tokens - 1) / block_tokens;
    size_t bytes = 0, open_bytes = 0;
    const auto each_layer = [&](auto visit) {
      for (const KvGroup& group : model.kv().groups)
        for (int l = 0; l < group.layers; ++l) visit(group, static_cast<size_t>(blocks) * group.kv_heads);
    };
    const auto is_state = [](const KvGroup& group) { return group.kind == KvGroup::Kind::state; };
    const auto side_of = [&](const KvGroup& group, size_t tiles) {
      return is_state(group) ? group.state_bytes * static_cast<size_t>(blocks) : tiles * kv.tile_bytes(block_tokens, group.head_dim);
    };
    each_layer([&](const KvGroup& group, size_t tiles) {
      bytes += 2 * side_of(group, tiles);
      if (kv.block != nullptr) open_bytes += 2 * tiles * kKvF16.tile_bytes(block_tokens, group.head_dim);
    });
    memory_ = std::move(Buffer::allocate(bytes)).value();
    open_ = std::move(Buffer::allocate(open_bytes)).value();
    uint8_t *at = memory_.data(), *open = open_.data();
    each_layer([&](const KvGroup& group, size_t tiles) {
      const size_t side = side_of(group, tiles);
      const bool one = is_state(group) || group.kind == KvGroup::Kind::latent;
      layers_.push_back({is_state(group) ? &kKvF32 : &kv, block_tokens, group.kv_heads, group.head_dim, at, one ? at : at + side});
      layers_.back().state_bytes = group.state_bytes;
      at += 2 * side;
      if (kv.block == nullptr || is_state(group)) return;
      const size_t open_side = tiles * kKvF16.tile_bytes(block_tokens, group.head_dim);
      layers_.back().open_k = open, layers_.back().open_v = open + open_side;
      open += 2 * open_side;
    });
    blocks_.resize(static_cast<size_t>(blocks));
    std::iota(blocks_.begin(), blocks_.end(), BlockId{0});
    capacity_ = blocks * block_tokens;
  }

  int length() const { return length_; }

  /// Appends tokens; returns the logits of all of them, [tokens, vocab], or of the last alone.
  std::vector<float> feed(std::span<const TokenId> tokens, bool only_last = false) {
    std::vector<int32_t> rows(only_last ? 1 : tokens.size());
    std::iota(rows.begin(), rows.end(), only_last ? static_cast<int32_t>(tokens.size()) - 1 : 0);
    return feed_for(tokens, rows);
  }

  /// As feed(), with the logits of these rows only.
  std::vector<float> feed_for(std::span<const TokenId> tokens, std::span<const int32_t> logit_rows) {
    CHECK(length_ + static_cast<int>(tokens.size()) <= capacity_, "the test's sequence is full");
    std::vector<int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), length_);
    const std::vector<int64_t> slots(positions.begin(), positions.end());
    const AttendSegment segment{0, static_cast<int>(tokens.size()), length_, blocks_.data()};
    std::vector<float> logits(logit_rows.size() * static_cast<size_t>(model_.info().vocab_size));
    model_.forward({tokens, positions, slots, {&segment, 1}, logit_rows}, layers_, logits.data());
    length_ += static_cast<int>(tokens.size());
    return logits;
  }

  /// Appends tokens in pieces of these sizes, over and over; returns all logits.
  std::vector<float> feed_in_pieces(std::span<const TokenId> tokens, std::span<const int> sizes) {
    std::vector<float> all;
    for (size_t at = 0, piece = 0; at < tokens.size(); ++piece) {
      const size_t n = std::min(static_cast<size_t>(sizes[piece % sizes.size()]), tokens.size() - at);
      const std::vector<float> part = feed(tokens.subspan(at, n));
      all.insert(all.end(), part.begin(), part.end());
      at += n;
    }
    return all;
  }

 private:
  Model& model_;
  Buffer memory_, open_;
  std::vector<KvLayerView> layers_;
  std::vector<BlockId> blocks_;
  int capacity_ = 0, length_ = 0;
};

/// The logits of all tokens, in one forward pass.
inline std::vector<float> logits_of(Model& model, std::span<const TokenId> tokens) {
  return TestSequence(model, static_cast<int>(tokens.size())).feed(tokens);
}

/// Lowest id wins ties.
inline TokenId argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

inline double max_abs_diff(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double diff = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (!(diff <= worst)) worst = diff;  // a NaN counts as the worst
  }
  return worst;
}

inline double rms_diff(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

inline double standard_deviation(std::span<const float> a) {
  double sum = 0, squares = 0;
  for (const float v : a) sum += v, squares += static_cast<double>(v) * v;
  const double mean = sum / static_cast<double>(a.size());
  return std::sqrt(squares / static_cast<double>(a.size()) - mean * mean);
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace sluice::test
