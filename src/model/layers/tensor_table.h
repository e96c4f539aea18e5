#pragma once
// The tensors of a model, declared as rows of one table by the parts that use them: what each is, its shape, and where the
// loaded weight goes. A part names its tensors as GGUF does ("attn_q.weight"); how a family's files name them, and which share
// one tensor there, is in its TensorNames.

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backend/ops.h"
#include "base/result.h"
#include "model/model.h"
#include "weights/weight_store.h"

namespace sluice {

/// Whether a tensor is part of a model. A file that need not say (GGUF has no key for biases) decides by holding it.
enum class Presence : uint8_t { absent, required, if_present };

/// Where one kind of file holds a weight: the tensor's name, "{}" for the layer and "{e}" for the expert (without one,
/// experts are stacked in one tensor), and which of its rows are meant.
struct Place {
  std::string name;
  RowMap rows;
  int64_t of_rows = 0;      // the tensor's; 0: as many as the weight's
  bool transposed = false;  // it holds [columns, rows]
  int64_t first_column = 0; // of a transposed one: which of its rows column 0 is
  int64_t of_columns = 0;   // and how many it has; 0: as many as the weight has columns
  float plus = 0;           // of vectors: what is added to every value
  bool log_of_minus = false; // of vectors: v is held as ln(-v)
  Shape shape = {};          // of vectors: the tensor's, where it has more dimensions than one
  int64_t per_expert = 0;   // experts follow each other by so many rows of one tensor of two dimensions
  bool rest_unread = false;  // nothing reads the rows that no weight is (before the first of a table of positions)
};

/// Names of a family's tensors. Keys are GGUF's names without "blk.N.": "attn_q.weight", or "attn_q" for its weight and bias
/// alike, to whose places ".weight" and ".bias" are added.
struct TensorNames {
  std::map<std::string, Place, std::less<>> huggingface;
  std::map<std::string, Place, std::less<>> gguf;  // where it is not the key itself, after "blk.N." in layers
  /// What some checkpoints leave out at the start of every name, or add, or have instead of the first word ("language_model.",
  /// "model.language_model.").
  std::vector<std::string> optional_prefixes;
  /// Whether matrices may have a scale each, in a tensor of one value: "attn_q.scale" in a GGUF, "q_proj.weight_scale" elsewhere.
  bool scales = false;

  TensorNames& hf(std::string key, Place place) { return huggingface[std::move(key)] = std::move(place), *this; }
};

/// The names that Llama's checkpoints have and most others took over.
TensorNames llama_names();

using ExpertMatrices = std::vector<PackedMatrix>;
/// Where a loaded weight goes. Matrices and tables may have any weight type, vectors are held as float32; a float* is the scale of a
/// matrix that was declared before.
using Destination = std::variant<PackedMatrix*, const float**, TensorView*, float*>;

/// One weight of one model.
struct TableRow {
  Destination to;
  std::string key;       // "attn_q.weight"
  int layer = -1;        // -1: of none
  WeightPiece piece;     // in this file
  WeightPiece in_gguf;   // where a GGUF has it; no name: nowhere
  WeightPiece in_huggingface;  // and where files under the family's other names do
  Shape shape;           // [n, k] or [n]
  Presence presence = Presence::required;
  std::string_view role;  // of matrices: for a breakdown of the time
};

class TensorTable {
 public:
  TensorTable(const TensorNames& names, const TensorSource& source);

  /// What is declared from now on is of this layer; -1: of none.
  void at_layer(int layer) { layer_ = layer; }
  void matrix(std::string_view key, PackedMatrix* to, int64_t n, int64_t k, std::string_view role, Presence presence = Presence::required);
  void vector(std::string_view key, const float** to, int64_t n, Presence presence = Presence::required);
  void table(std::string_view key, TensorView* to, int64_t rows, int64_t k, Presence presence = Presence::required);
  /// One matrix, or vector, of each expert; `to` is made that long.
  void experts(std::string_view key, ExpertMatrices* to, int count, int64_t n, int64_t k, std::string_view role);
  /// [count, n] in one piece.
  void expert_vectors(std::string_view key, const float** to, int count, int64_t n, Presence presence = Presence::required);
  /// One vector [n] of each of `count`, which may be rows of one tensor.
  void vectors(std::string_view key, std::vector<const float*>* to, int count, int64_t n);
  /// A tensor of layers that is known and changes nothing that is computed.
  void ignore(std::string_view key);

  /// Decides what is optional, and fails when a tensor is missing or has another shape, when the file holds a layer past
  /// `layers`, and when it holds a tensor within a layer that nobody declared. Call once, after all declarations.
  /// Tensors of layers [layers, layers + ignored) may be there, and are not read.
  Status check(int layers, std::string_view family, int ignored = 0);
  /// Whether the file has it, in any layer; after check().
  bool has(std::string_view key) const;
  std::span<const TableRow> rows() const { return rows_; }
  int64_t parameters() const;
  /// What matrices take packed, and vectors as float32. Tables stay mapped.
  size_t loaded_bytes() const;
  /// What a table takes where it is loaded as a matrix.
  size_t packed_bytes(const TableRow& row) const;
  /// Null when there is none of that key; after check().
  const TableRow* find(std::string_view key) const;
  /// Has a table loaded packed, to another place: the embedding of a model whose head it is.
  void load_as_matrix(std::string_view key, PackedMatrix* to, std::string_view role);
  /// Loads everything that was declared to where it goes.
  Status load(WeightStore& store) const;
  /// Warns, in one line, of tensors outside the layers that the model does not use.
  void warn_of_unread(std::string_view family) const;

 private:
  void declare(Destination to, std::string_view key, Shape shape, Presence presence, std::string_view role, int expert, int experts);
  WeightPiece resolve(std::string_view key, const Shape& shape, bool gguf, int expert, int experts);
  /// As this file has it: with a prefix more, or less, or another.
  std::string with_prefix(const std::string& name) const;
  bool is_zero_bias(const TensorInfo& info) const;
  std::vector<const TensorInfo*> unread() const;
  bool in_a_layer(std::string_view name, int64_t* layer) const;

  const TensorNames* names_;
  const TensorSource* source_;
  bool gguf_;
  std::string add_prefix_, drop_prefix_;
  int layer_ = -1;
  std::vector<TableRow> rows_;
  std::vector<std::string> ignored_;          // names
  std::vector<std::string> layer_prefixes_;  // "model.layers.", "blk."
};

}  // namespace sluice
