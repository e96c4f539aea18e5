#include "model/layers/huggingface_tensors.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "model/layers/rotated_rows.h"
#include "quant/weight/weight_format.h"

namespace sluice {
namespace {

constexpr std::string_view kRopeFactors[] = {"rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"};

/// A weight that fills a part of a tensor, and how its rows are moved.
struct Part {
  TableRow row;
  bool rotated = false;
  int64_t head_dim = 0, rotary_dims = 0;

  /// A decay rate, of which the directory has the logarithm.
  bool becomes_log() const { return row.in_huggingface.log_of_minus && !row.piece.log_of_minus; }
  /// The row of the tensor, or of one of its stack, that row r of the weight becomes; a column where it stands transposed.
  int64_t place(int64_t r) const { return row.in_huggingface.rows(rotated ? half_order_row(r, head_dim, rotary_dims) : r); }
};

struct Target {
  std::shared_ptr<TensorSource> source;
  std::vector<Part> parts;
  Shape shape;
  int64_t cols() const { return shape[shape.rank - 1]; }
  int64_t rows_of_member() const { return shape.rank < 2 ? 1 : shape[shape.rank - 2]; }

  void decode(const Part& part, int64_t r, float* out) const {
    const TableRow& row = part.row;
    const int64_t k = row.shape.rank == 2 ? row.shape[1] : 1;
    Buffer memory;
    const Status decoded = decode_row(*source, row.piece, r, k, memory, out);
    CHECK(decoded.ok(), "{}", decoded.error().message);
    const float plus = row.piece.plus - row.in_huggingface.plus;
    for (int64_t c = 0; plus != 0 && c < k; ++c) out[c] += plus;
    for (int64_t c = 0; part.becomes_log() && c < k; ++c) out[c] = std::log(-out[c]);
  }
};

/// Rows that are rows of weights, each decoded as it is asked for.
class ByRow {
 public:
  explicit ByRow(Target target) : target_(std::move(target)) {
    const bool matrices = target_.parts.front().row.shape.rank == 2;
    width_ = matrices ? target_.cols() : 1;
    from_.resize(static_cast<size_t>(target_.shape.elems() / width_), {-1, 0});
    const int64_t stack = target_.shape.rank == (matrices ? 3 : 2) ? target_.shape[1] : 0;
    for (size_t p = 0; p < target_.parts.size(); ++p) {
      const Part& part = target_.parts[p];
      for (int64_t r = 0; r < part.row.shape[0]; ++r)
        from_[static_cast<size_t>(part.row.in_huggingface.of_stack * stack + part.place(r))] = {static_cast<int32_t>(p), r};
    }
  }
  void operator()(int64_t first, int64_t count, float* out) const {
    const int64_t per_row = target_.cols() / width_;
    for (int64_t i = first * per_row; i < (first + count) * per_row; ++i, out += width_) {
      const From& from = from_[static_cast<size_t>(i)];
      if (from.part < 0) std::fill_n(out, width_, 0.0f);  // of a tensor whose rest nothing reads
      else target_.decode(target_.parts[static_cast<size_t>(from.part)], from.row, out);
    }
  }

 private:
  struct From { int32_t part; int64_t row; };
  Target target_;
  int64_t width_ = 1;  // values of a weight's row: 1 of a vector
  std::vector<From> from_;
};

/// Rows that are columns of weights: a matrix, or one of a stack, is put together as a whole, and kept while it is asked for.
class ByMatrix {
 public:
  explicit ByMatrix(Target target) : target_(std::move(target)), left_(target_.shape.elems() / target_.cols()) {}

  void operator()(int64_t first, int64_t count, float* out) {
    const int64_t rows = target_.rows_of_member(), cols = target_.cols();
    for (int64_t r = first; r < first + count; ++r, out += cols) {
      const auto matrix = member(r / rows);
      std::memcpy(out, matrix->data() + r % rows * cols, static_cast<size_t>(cols) * sizeof(float));
    }
    const std::lock_guard lock(mutex_);
    if ((left_ -= count) == 0) members_.clear();
  }

 private:
  std::shared_ptr<const std::vector<float>> member(int64_t number) {
    const std::lock_guard lock(mutex_);
    auto& kept = members_[number];
    if (kept == nullptr) kept = put_together(number);
    auto out = kept;
    std::erase_if(members_, [&](const auto& m) { return m.first + 1 < number; });
    return out;
  }
  std::shared_ptr<const std::vector<float>> put_together(int64_t number) const {
    const int64_t cols = target_.cols();
    auto values = std::make_shared<std::vector<float>>(static_cast<size_t>(target_.rows_of_member() * cols));
    std::vector<float> row;
    for (const Part& part : target_.parts) {
      const WeightPiece& to = part.row.in_huggingface;
      if (target_.shape.rank == 3 && to.of_stack != number) continue;
      row.resize(static_cast<size_t>(part.row.shape[1]));
      for (int64_t r = 0; r < part.row.shape[0]; ++r) {
        target_.decode(part, r, row.data());
        const int64_t place = part.place(r);
        for (int64_t c = 0; c < part.row.shape[1]; ++c)
          (*values)[static_cast<size_t>(to.transposed ? (to.first_column + c) * cols + place : place * cols + c)] = row[static_cast<size_t>(c)];
      }
    }
    return values;
  }

  Target target_;
  std::mutex mutex_;
  int64_t left_;  // rows that nobody asked for yet
  std::map<int64_t, std::shared_ptr<const std::vector<float>>> members_;
};

bool is_plain_float(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

DType dtype_of(const Target& target, DType of_blocks) {
  std::set<DType> types;
  for (const Part& part : target.parts) types.insert(target.source->find(part.row.piece.name)->dtype);
  if (std::ranges::any_of(types, [](DType t) { return !is_plain_float(t); })) return of_blocks;
  return types.size() == 1 ? *types.begin() : DType::f32;
}

}  // namespace

Result<std::vector<GgufTensor>> huggingface_tensors(std::shared_ptr<TensorSource> source, const TensorTable& table,
                                                    const DecoderConfig& config, DType type) {
  std::vector<TableRow> rows(table.rows().begin(), table.rows().end());
  std::ranges::stable_sort(rows, {}, &TableRow::layer);
  const bool moved = config.rope != nullptr && config.rope->style == RopeStyle::interleaved && config.hf_rope == RopeStyle::half;
  std::vector<std::string> order;
  std::map<std::string, Target> targets;
  for (TableRow& row : rows) {
    if (std::ranges::find(kRopeFactors, row.key) != std::end(kRopeFactors)) continue;
    const TensorInfo& stored = *source->find(row.piece.name);
    const std::string name = row.in_huggingface.name;
    if (weight_format(stored.dtype) == nullptr || name.empty())
      return unsupported(fmt::format("{}: tensor {} of type {} has no place in a Hugging Face directory of the {} family",
                                     source->files()[stored.file_index], row.piece.name, dtype_name(stored.dtype), config.info.arch));
    auto [at, is_new] = targets.try_emplace(name);
    if (is_new) {
      order.push_back(name);
      at->second.source = source;
      at->second.shape = row.in_huggingface.shape;
    }
    Part part{.row = std::move(row)};
    if (moved && is_rotated(part.row.key))
      part.rotated = true, part.head_dim = config.info.head_dim, part.rotary_dims = config.rope->rotary_dims();
    if (part.becomes_log()) {
      SLUICE_TRY(const std::vector<float> rates, table_vector(*source, table, part.row.key, part.row.layer));
      if (const auto bad = std::ranges::find_if(rates, [](float rate) { return !(rate < 0 && std::isfinite(rate)); }); bad != rates.end())
        return corrupt_data(fmt::format("{}: tensor {} has {} at {}; rates of decay are below 0, and a Hugging Face directory has their logarithm",
                                        source->files()[stored.file_index], part.row.piece.name, *bad, bad - rates.begin()));
    }
    at->second.parts.push_back(std::move(part));
  }
  std::vector<GgufTensor> tensors;
  for (const std::string& name : order) {
    Target& target = targets.at(name);
    int64_t filled = 0;
    bool transposed = false;
    for (const Part& part : target.parts) {
      filled += part.row.shape.elems();
      transposed |= part.row.in_huggingface.transposed;
    }
    if (filled != target.shape.elems() && !target.parts.front().row.in_huggingface.rest_unread)
      return unsupported(fmt::format("{}: {} values of {} {}, of which the file has {}", source->metadata().origin(), target.shape.elems(),
                                     name, target.shape.text(), filled));
    GgufTensor tensor;
    tensor.name = name;
    tensor.shape = target.shape;
    tensor.dtype = dtype_of(target, type);
    if (transposed) {
      tensor.fill = [by = std::make_shared<ByMatrix>(std::move(target))](int64_t first, int64_t n, float* out) { (*by)(first, n, out); };
    } else {
      tensor.fill = [by = std::make_shared<ByRow>(std::move(target))](int64_t first, int64_t n, float* out) { (*by)(first, n, out); };
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Result<std::vector<float>> table_vector(const TensorSource& source, const TensorTable& table, std::string_view key, int layer) {
  for (const TableRow& row : table.rows()) {
    if (row.key != key || row.layer != layer) continue;
    SLUICE_TRY(const TensorInfo* info, find_piece(source, row.piece));
    std::vector<float> values(static_cast<size_t>(row.shape[0]));
    weight_format(info->dtype)->decode(source.view(*info).data, values.data(), row.shape[0]);
    return values;
  }
  return std::vector<float>();
}

}  // namespace sluice
