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
#include "backend/row_args.h"
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
  float scale = 1;  // of every value: y = scale * W x
};

/// What several products share: x[rows, k], normed first.
struct MatmulIn {
  const float* x = nullptr;
  int64_t rows = 0, k = 0;
  Norm norm = {};
};

/// One product of several that share an input: y[rows, n] = x[rows, k] W^T + bias, or y += that.
struct MatmulOut {
  const PackedMatrix* w = nullptr;
  const float* bias = nullptr;  // [n] or null
  float* y = nullptr;           // [rows, y_stride]
  int64_t y_stride = 0;
  bool adds = false;
};

/// down(act(gate(x)) * up(x)), or down(act(up(x))) where `gate` is null; each bias may be null.
struct Mlp {
  const PackedMatrix *gate = nullptr, *up = nullptr, *down = nullptr;
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  Activation act = Activation::silu;
  SwigluParams swiglu = {};
  bool adds = true;  // to y, or sets it
  Norm hidden_norm = {};  // of the hidden values, before down (Wang et al. 2022, "Foundation transformers": sub-LN)
};

/// How rows of router logits choose experts. Of equal ones the first is chosen.
struct Routing {
  enum class Score : uint8_t {
    softmax,       // over all experts
    topk_softmax,  // over those that are chosen, by their logits (Mixtral, gpt-oss)
    sigmoid,       // of each (DeepSeek-V3)
  };
  enum class GroupScore : uint8_t { best, best_two };  // what a group is worth: its best expert (DeepSeek-V2), its best two's sum (V3)
  int experts = 0, top_k = 0;
  Score score = Score::softmax;
  bool renormalize = false;               // the chosen scores are divided by their sum
  const float* selection_bias = nullptr;  // [experts]: added to scores for the choice only, or null
  int groups = 1, top_groups = 1;         // of consecutive experts, and from how many of them experts are chosen
  GroupScore group_score = GroupScore::best;
  float scale = 1;  // of the weights, in the end
};

/// What rows chose: [rows, top_k] each.
struct ExpertChoice {
  const int32_t* ids = nullptr;
  const float* weights = nullptr;
  int top_k = 0;
};

/// An Mlp per expert, all of one shape; none has a gate where `gate` is empty.
struct Experts {
  std::span<const PackedMatrix> gate, up, down;
  const float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;  // [experts, n of the matrix] or null
  Activation act = Activation::silu;
  SwigluParams swiglu = {};
  bool adds = true;  // to y, or sets it
};

enum class RopeStyle : uint8_t { half, interleaved };  // pairs (i, i + d/2) as in HF, or (2i, 2i + 1) as in GGUF llama

/// One layer's K and V: each [slots / tile_tokens()][kv_heads] tiles of `format`, which may be the same ones (multi-head latent
/// attention: a row is a key, and its first dims a value). A slot is block * block_tokens + offset. A tile has a block's slots, or
/// those of several adjoining blocks where they are small (docs/adr/0021).
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
  bool in_pages = false;   // tables and slots count pages, not blocks (kv/recent_pages.h)
  size_t state_bytes = 0;  // > 0: no keys, but a recurrent state in each block at k, as it was after the block's last computed token
  int blocks_of_tile = 1;  // more of row formats only

  /// Whether a row of K is that of V too.
  bool one_row() const { return k != nullptr && k == v; }
  /// Pieces of memory: keys and values, or one.
  int sides() const { return state_bytes > 0 || one_row() ? 1 : 2; }
  /// Bytes of a block on one of them, which is one piece of memory where a tile has one block.
  size_t side_bytes() const { return state_bytes > 0 ? state_bytes : format->tile_bytes(block_tokens, head_dim) * static_cast<size_t>(kv_heads); }
  BlockId open_tile(BlockId block) const { return open_tiles != nullptr ? open_tiles[block] : block; }
  int tile_tokens() const { return block_tokens * blocks_of_tile; }
  size_t tile_bytes() const { return format->tile_bytes(tile_tokens(), head_dim); }
};

/// Rows [first_row, first_row + rows) of a batch, at consecutive positions from first_pos, over one block table.
struct AttendSegment {
  int first_row = 0, rows = 0, first_pos = 0;
  const BlockId* blocks = nullptr;
};

/// Attention of the segments' rows. The arithmetic of what it may do to scores is in row_ops.h.
struct AttendArgs {
  const float* q = nullptr;  // [rows, heads, head_dim]
  float* out = nullptr;      // [rows, heads, v_dim]
  int heads = 0;
  float scale = 1;
  int window = 0;            // > 0: a row at p sees [p - window + 1, p]; 0: [0, p]
  KvLayerView kv;
  std::span<const AttendSegment> segments;
  float softcap = 0;              // > 0: what scores are capped at
  const float* slopes = nullptr;  // [heads]: what a key counts more for each position that it is nearer (ALiBi), or null
  const float* sinks = nullptr;   // [heads]: a logit that joins the denominator of the softmax, or null
  int v_dim = 0;                  // dims of values: the first of a row of V; 0: head_dim
  /// False (encoders): a row sees its whole segment and all before it, or, with a window, what is window / 2 away at most.
  bool causal = true;

  int value_dim() const { return v_dim > 0 ? v_dim : kv.head_dim; }
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
  /// out = norm(x), of which there is one, over `rows` rows of `cols`; in place allowed.
  void norm(const float* x, const Norm& norm, int64_t rows, int64_t cols, float* out) const;
  /// All products of one input in one parallel region; x is brought once into each form that the weights' kernels read:
  /// block-quantized weights read int8 with a scale per row and block of 32, BF16 reads bfloat16.
  void matmul(const MatmulIn& in, std::span<const MatmulOut> outs) const;
  /// y[rows, n of down] += mlp(x), or = mlp(x). The hidden values go from one product to the next in the form that it reads.
  void mlp(const MatmulIn& in, const Mlp& mlp, float* y) const;
  /// ids and weights [rows, top_k] of logits[rows, experts], the first choice first.
  void route(const float* logits, int64_t rows, const Routing& routing, int32_t* ids, float* weights) const;
  /// y[rows, n of down] +=, or =, the sum over a row's choice, in its order, of weight * expert(x): every row by every expert that it
  /// chose. An expert's weights are read once for all of its rows. rows_of[experts] is increased by the rows of each, if not empty.
  void experts(const MatmulIn& in, const Experts& experts, const ExpertChoice& choice, float* y,
               std::span<int64_t> rows_of = {}) const;
  /// Rotates dims [offset, offset + rotary_dims) of each head of x[rows, heads, head_dim] in place by positions[row] *
  /// inv_freq[i], i < rotary_dims / 2; cos and sin are multiplied by `magnitude` (YaRN's attention factor; 1 otherwise).
  /// The other dims pass unchanged.
  void rope(float* x, std::span<const int32_t> positions, std::span<const float> inv_freq, float magnitude,
            int heads, int head_dim, int rotary_dims, RopeStyle style, int offset = 0) const;

  // Element-wise, over `count` values.
  /// x = act(x).
  void activate(float* x, int64_t count, Activation act) const;
  /// gate = act(gate) * up (Activation says what swiglu_oai is).
  void gate(float* gate, const float* up, int64_t count, Activation act, const SwigluParams& swiglu = {}) const;
  /// x += y.
  void add(float* x, const float* y, int64_t count) const;
  /// x += scale * y.
  void add_scaled(float* x, const float* y, float scale, int64_t count) const;
  /// x *= scale.
  void scale(float* x, float scale, int64_t count) const;
  /// x = cap * tanh(x / cap), cap > 0.
  void softcap(float* x, float cap, int64_t count) const;

  /// Stores rows k, v [rows, kv_heads, head_dim] into slots; k alone where the view's K and V are one. Those of a block format go to their open tiles; a block whose
  /// last slot is written is sealed, and the rows of its earlier ones have been written. Of formats of two layers the upper
  /// one's call seals both: the lower one's comes before it, and no segment of either attends from more than one block.
  void write_kv(const float* k, const float* v, std::span<const int64_t> slots, const KvLayerView& kv) const;
  /// Attention over paged KV with an online softmax; never holds the score matrix.
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
