#pragma once
// What a forward pass may ask of a device. Ops binds one OpTable (chosen at start) to one thread pool; all shapes are
// row-major float32 unless a PackedMatrix or a KV layout says otherwise.
//
// Exactness (docs/architecture.md, section 6): each output row is a pure function of that row's inputs. Work is split
// over threads and tiles only in ways that leave every sum in the same order.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "backend/matmul_plan.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "quant/kv/kv_format.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace sluice {

struct KeyRotation;
struct OpTable;
class OpMeter;

/// A weight matrix [n, k] (y = W x) in tile order: panels of 16 output columns, k ascending inside a panel, so that one
/// stream of memory serves 1 row or 1000. The last panel is padded with zeros.
struct PackedMatrix {
  DType dtype = DType::f32;
  int64_t n = 0, k = 0;
  const uint8_t* data = nullptr;
  std::string_view role = "matmul";  // what it is in its model, for the meter: "qkv", "down"; lives as long as the program
  const int32_t* order = nullptr;  // [k] or null: column j of the rows is multiplied by x[order[j]]
};

/// What several products share: x[rows, k], normed first (rms_norm with `norm_gain`) where there is a gain.
struct MatmulIn {
  const float* x = nullptr;
  int64_t rows = 0, k = 0;
  const float* norm_gain = nullptr;  // [k] or null
  float norm_eps = 0;
};

/// One product of several that share an input: y[rows, n] = x[rows, k] W^T + bias, or y += that.
struct MatmulOut {
  const PackedMatrix* w = nullptr;
  const float* bias = nullptr;  // [n] or null
  float* y = nullptr;           // [rows, y_stride]
  int64_t y_stride = 0;
  bool adds = false;
};

/// down(silu(gate(x)) * up(x)); each bias may be null.
struct GatedMlp {
  const PackedMatrix *gate = nullptr, *up = nullptr, *down = nullptr;
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};

enum class RopeStyle : uint8_t { half, interleaved };  // pairs (i, i + d/2) as in HF, or (2i, 2i + 1) as in GGUF llama

/// One layer's K and V: each [blocks][kv_heads] tiles of `format`. A slot is block * block_tokens + offset.
/// Of a block format, blocks that are not full stand in [open tiles][kv_heads] tiles of kKvF16 beside them.
struct KvLayerView {
  const KvFormat* format = &kKvF32;
  int block_tokens = 16, kv_heads = 0, head_dim = 0;
  uint8_t* k = nullptr;
  uint8_t* v = nullptr;
  uint8_t* open_k = nullptr;  // of block formats
  uint8_t* open_v = nullptr;
  const BlockId* open_tiles = nullptr;  // by block: where its rows stand while it is open; null: at its own number
  const KeyRotation* rotation = nullptr;  // of keys that come rotated, which some block formats turn back; the model knows it
  // Of formats of two layers, which are encoded when the upper one's block is full: both views, and which of them this is.
  const KvLayerView* pair = nullptr;
  int side = 0;

  BlockId open_tile(BlockId block) const { return open_tiles != nullptr ? open_tiles[block] : block; }
  size_t tile_bytes() const { return format->tile_bytes(block_tokens, head_dim); }
};

/// Rows [first_row, first_row + rows) of a batch, at consecutive positions from first_pos, over one block table.
struct AttendSegment {
  int first_row = 0, rows = 0, first_pos = 0;
  const BlockId* blocks = nullptr;
};

struct AttendArgs {
  const float* q = nullptr;  // [rows, heads, head_dim]
  float* out = nullptr;      // same
  int heads = 0;
  float scale = 1;
  int window = 0;            // > 0: a row at p sees [p - window + 1, p]; 0: [0, p]
  KvLayerView kv;
  std::span<const AttendSegment> segments;
};

class Ops {
 public:
  Ops(const OpTable& table, ThreadPool& pool) : table_(table), pool_(pool), plans_(default_plans(table)) {}

  std::string_view isa() const;
  ThreadPool& pool() const { return pool_; }
  /// Counts every call in `meter` from now on (op_meter.h); null: no longer. Not while a call runs.
  void set_meter(OpMeter* meter) { meter_ = meter; }
  /// How products are computed from now on; the results stay the same. Not while a call runs.
  void set_plans(const MatmulPlans& plans) { plans_ = plans; }

  /// Bytes that pack() writes for a matrix [n, k] of this type.
  static size_t packed_bytes(DType dtype, int64_t n, int64_t k);
  /// Which types matmul() multiplies from their packed form.
  static bool matmul_supports(DType dtype);
  /// Repacks row-major `w` ([n, k], any supported type) into `out` (packed_bytes() bytes), in parallel.
  void pack(const TensorView& w, uint8_t* out) const;

  /// out[i, :] = table[tokens[i], :] decoded to float32; table is row-major [vocab, k] of any weight type.
  void embed(const TensorView& table, std::span<const TokenId> tokens, float* out) const;
  /// The same, the same bits, from the packed matrix of a tied head.
  void embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out) const;
  /// out = x / sqrt(mean(x^2) + eps) * gain, over `rows` rows of `cols`; in place allowed.
  void rms_norm(const float* x, const float* gain, float eps, int64_t rows, int64_t cols, float* out) const;
  /// All products of one input in one parallel region; x is brought once into each form that the weights' kernels read:
  /// block-quantized weights read int8 with a scale per row and block of 32, BF16 reads bfloat16.
  void matmul(const MatmulIn& in, std::span<const MatmulOut> outs) const;
  /// y[rows, k of the input] += mlp(x). The hidden values go from one product to the next in the form that it reads.
  void gated_mlp(const MatmulIn& in, const GatedMlp& mlp, float* y) const;
  /// Rotates x[rows, heads, head_dim] in place by positions[row] * inv_freq[i], i < rotary_dims / 2; cos and sin are
  /// multiplied by `magnitude` (YaRN's attention factor; 1 otherwise). Values past rotary_dims pass unchanged.
  void rope(float* x, std::span<const int32_t> positions, std::span<const float> inv_freq, float magnitude,
            int heads, int head_dim, int rotary_dims, RopeStyle style) const;
  /// gate = silu(gate) * up, element-wise over `count` values.
  void silu_mul(float* gate, const float* up, int64_t count) const;
  /// Stores rows k, v [rows, kv_heads, head_dim] into slots. Those of a block format go to their open tiles; a block whose
  /// last slot is written is sealed, and the rows of its earlier ones have been written. Of formats of two layers the upper
  /// one's call seals both: the lower one's comes before it, and no segment of either attends from more than one block.
  void write_kv(const float* k, const float* v, std::span<const int64_t> slots, const KvLayerView& kv) const;
  /// Causal attention over paged KV with an online softmax; never holds the score matrix.
  void attend(const AttendArgs& args) const;

 private:
  const OpTable& table_;
  ThreadPool& pool_;
  MatmulPlans plans_;
  OpMeter* meter_ = nullptr;
};

/// The table that `forced_isa` (a flag's --isa), or else SLUICE_ISA names (ref, avx2, avxvnni, avx512, ...), or the best
/// that this CPU supports; an error names the choices, and which of the two named what there is not.
Result<const OpTable*> select_op_table(std::string_view forced_isa = {});

}  // namespace sluice
