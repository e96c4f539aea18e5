#include <cstring>
#include <vector>

#include "backend/unpack.h"
#include "quant/weight/weight_format.h"
#include "weights/convert.h"
#include "weights/gguf_file.h"
#include "weights/output_head.h"

namespace sluice {

namespace {

using Rows = std::function<void(int64_t first, int64_t rows, uint8_t* out)>;

// Gives a tensor's rows as the file has them, out of its panels where it is packed.
Rows rows_of(std::shared_ptr<TensorSource> source, const TensorInfo& info) {
  const size_t row_size = row_bytes(info.dtype, info.shape[info.shape.rank - 1]);
  if (info.packed)
    return [source, panels = source->panels(info), row_size](int64_t first, int64_t rows, uint8_t* out) {
      for (int64_t r = 0; r < rows; ++r) unpack_row(panels, first + r, out + static_cast<size_t>(r) * row_size);
    };
  return [source, data = static_cast<const uint8_t*>(source->view(info).data), row_size](int64_t first, int64_t rows,
                                                                                        uint8_t* out) {
    std::memcpy(out, data + static_cast<size_t>(first) * row_size, static_cast<size_t>(rows) * row_size);
  };
}

}  // namespace

Result<GgufPlan> plan_requantize(const std::string& path, const QuantRecipe* recipe) {
  SLUICE_TRY(const std::shared_ptr<TensorSource> source, open_gguf(path));
  SLUICE_TRY(auto keys, read_gguf_keys(path));
  GgufPlan plan;
  for (auto& key : keys) {
    const bool of_types = key.name == "general.file_type" || key.name == "general.quantization_version";
    if (key.name != "general.alignment" && !key.name.starts_with("split.") && !key.name.starts_with("sluice.pack.") &&
        !(of_types && recipe != nullptr))
      plan.keys.push_back(std::move(key));
  }
  if (recipe != nullptr) {
    plan.keys.push_back(GgufKey::u32("general.file_type", recipe->file_type));
    plan.keys.push_back(GgufKey::u32("general.quantization_version", 2));
  }

  const std::string arch = source->metadata().architecture();
  const RecipeModel model{source->metadata().integer_or(arch + ".block_count", 0),
                          !has_own_head(source->tensors())};
  for (const TensorInfo& info : source->tensors()) {
    GgufTensor tensor{info.name, info.shape, info.dtype, {}, {}};
    const WeightFormat* format = weight_format(info.dtype);
    const DType wanted = recipe == nullptr ? info.dtype : recipe_dtype(*recipe, model, info.name, info.shape);
    const int64_t cols = info.shape[info.shape.rank - 1];
    Rows rows = rows_of(source, info);
    if (info.shape.rank < 2 || format == nullptr || wanted == info.dtype) {
      tensor.fill_encoded = std::move(rows);
    } else {
      tensor.dtype = wanted;
      tensor.fill = [rows = std::move(rows), format, cols](int64_t first, int64_t count, float* out) {
        std::vector<uint8_t> encoded(row_bytes(format->dtype, count * cols));
        rows(first, count, encoded.data());
        format->decode(encoded.data(), out, count * cols);
      };
    }
    plan.tensors.push_back(std::move(tensor));
  }
  return plan;
}

}  // namespace sluice
