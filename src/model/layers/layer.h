#pragma once
// What a decoder's layer is made of: a mixer, through which rows take from those before them (attention, a recurrence), and a
// feed-forward part, which sees each row alone. A family's file chooses them; a new kind is a file beside this one.

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/ids.h"
#include "base/result.h"
#include "kv/kv_spec.h"
#include "model/layer_policy.h"
#include "model/layers/tensor_table.h"
#include "tensor/buffer.h"

namespace sluice {

/// Floats per row that mixers keep in the workspace; layers share them.
struct WorkspaceWidths {
  int64_t q = 0, k = 0, v = 0, attended = 0, extra = 0;
  WorkspaceWidths max(const WorkspaceWidths& other) const {
    return {std::max(q, other.q), std::max(k, other.k), std::max(v, other.v), std::max(attended, other.attended),
            std::max(extra, other.extra)};
  }
};

/// The activations of up to `rows` rows, in one piece of memory that every layer and step uses again.
struct Workspace {
  static Result<Workspace> allocate(int64_t hidden, const WorkspaceWidths& widths, int64_t rows);

  int64_t rows = 0;
  float* x = nullptr;  // [rows, hidden]: the residual stream
  float* y = nullptr;  // same: what a part adds, where it does not go straight to x
  float *q = nullptr, *k = nullptr, *v = nullptr, *attended = nullptr, *extra = nullptr;  // [rows, widths]
  Buffer memory;
};

/// The rows in the workspace: where they stand, and where their KV goes.
struct LayerRows {
  std::span<const int32_t> positions;
  KvPlaces blocks, pages;  // of layers whose KV is in either; rows count from the workspace's first
  int64_t count() const { return static_cast<int64_t>(positions.size()); }
};

/// A layer's part of a pass over the rows of a piece.
struct LayerPass {
  const Ops& ops;
  Workspace& w;
  const LayerRows& rows;
  const KvLayerView& kv;  // that of a second mixer follows it
  LayerPolicy* policy;  // or nobody looks on
  int layer;
  /// The rows whose output is wanted, ascending; null: all.
  const std::vector<int32_t>* wanted;
  const KvPlaces& places() const { return kv.in_pages ? rows.pages : rows.blocks; }
  int64_t outputs() const { return wanted != nullptr ? static_cast<int64_t>(wanted->size()) : rows.count(); }
};

/// What a layer's KV is per token or sequence; the group's layers are counted by whoever collects them.
struct Mixer {
  virtual ~Mixer() = default;
  virtual void declare(TensorTable& table) = 0;
  /// After the weights are loaded: what is made of them once.
  virtual Status prepare(WeightStore&) { return {}; }
  virtual KvGroup kv() const = 0;
  virtual WorkspaceWidths widths() const = 0;
  /// y[i] (+)= what the i-th wanted row takes from its sequence, [outputs, hidden], of inputs w.x normed by `norm`; writes what
  /// later rows will read. False: the policy ended the pass, and y is untouched; so it is where no row is wanted.
  virtual bool mix(const LayerPass& pass, const Norm& norm, float* y, bool adds) = 0;
  /// Rotates cached keys [rows, heads, head_dim] by so many positions more, or fewer.
  virtual void rotate_keys(const Ops&, std::span<const int32_t> /*by*/, int /*heads*/, float* /*keys*/) const {}
};

struct FeedForward {
  virtual ~FeedForward() = default;
  virtual void declare(TensorTable& table) = 0;
  virtual Status prepare(WeightStore&) { return {}; }
  /// y[rows, hidden] (+)= f(norm(x)).
  virtual void apply(const Ops& ops, const float* x, int64_t rows, const Norm& norm, float* y, bool adds) = 0;
  /// Of a mixture: how many rows each expert has computed since the start.
  virtual std::span<const int64_t> expert_rows() const { return {}; }
  virtual int experts_per_row() const { return 0; }
};

/// A norm of a family: what it divides by, and which tensors it has.
struct NormStyle {
  Norm::Kind kind = Norm::Kind::rms;
  float eps = 0;
  Presence gain = Presence::required, bias = Presence::absent;
  bool relu = false, int8 = false;  // what is done to the result: see Norm
};

/// A norm with its tensors `key`.weight and `key`.bias; of kind none: the values themselves.
class NormLayer {
 public:
  NormLayer() = default;
  NormLayer(std::string_view key, const NormStyle& style, int64_t width) : key_(key), style_(style), width_(width) {}
  void declare(TensorTable& table);
  Norm norm() const { return {style_.kind, gain_, bias_, style_.eps, style_.relu, style_.int8}; }
  bool present() const { return style_.kind != Norm::Kind::none; }

 private:
  std::string key_;
  NormStyle style_{Norm::Kind::none};
  int64_t width_ = 0;
  const float *gain_ = nullptr, *bias_ = nullptr;
};

/// One layer: x += scale * post(mixer(pre(x))), and the same of the feed-forward part; or both of the same x.
struct DecoderLayer {
  NormLayer mixer_norm, ffn_norm;            // of what goes in
  NormLayer mixer_post_norm, ffn_post_norm;  // of what comes out
  NormLayer sum_norm, final_sum_norm;        // of x after each addition (post-norm families)
  std::unique_ptr<Mixer> mixer;              // null: the layer has none
  std::unique_ptr<Mixer> second_mixer;       // of the same input, whose output is added to the first's (Falcon-H1)
  std::unique_ptr<FeedForward> ffn;          // null: the layer has none
  float residual_scale = 1;
  bool parallel = false;
  int block = -1;  // by whose number its tensors are called; -1: its own, among the decoder's layers

  void declare(TensorTable& table);
  Status prepare(WeightStore& store);
  /// False: the policy ended the pass, or no row is wanted of the last layer. Where rows are wanted, w.x holds just those after.
  bool run(const LayerPass& pass, int64_t hidden) const;
};

/// Work on fewer floats than that is done sooner than shared between threads.
inline constexpr int64_t kSharedFloats = int64_t{1} << 15;
/// f(row) for all of so many rows, which are independent of each other; `floats`: the work of one.
void each_row(const Ops& ops, int64_t rows, int64_t floats, const std::function<void(int64_t row)>& f);

/// Rows `wanted` of values[rows, width], moved to the front.
void gather_rows(float* values, int64_t width, std::span<const int32_t> wanted);
/// Segments that cover just rows `wanted` of those that `segments` cover, counted anew.
std::span<const AttendSegment> cut_to_rows(std::span<const AttendSegment> segments, std::span<const int32_t> wanted,
                                           std::vector<AttendSegment>& out);

}  // namespace sluice
