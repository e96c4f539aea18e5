#include <cstring>
#include <set>

#include "quant/weight/weight_format.h"
#include "weights/convert.h"
#include "weights/gguf_file.h"

namespace sluice {

Result<GgufPlan> plan_requantize(const std::string& path, const QuantRecipe& recipe) {
  SLUICE_TRY(const std::shared_ptr<TensorSource> source, open_gguf(path));
  SLUICE_TRY(auto keys, read_gguf_keys(path));
  GgufPlan plan;
  for (auto& key : keys) {
    static const std::set<std::string, std::less<>> kRewritten = {"general.alignment", "general.file_type",
                                                                  "general.quantization_version"};
    if (!kRewritten.contains(key.name) && !key.name.starts_with("split.")) plan.keys.push_back(std::move(key));
  }
  plan.keys.push_back(GgufKey::u32("general.file_type", recipe.file_type));
  plan.keys.push_back(GgufKey::u32("general.quantization_version", 2));

  const std::string arch = source->metadata().architecture();
  const RecipeModel model{source->metadata().integer_or(arch + ".block_count", 0),
                          source->find("output.weight") == nullptr};
  for (const TensorInfo& info : source->tensors()) {
    GgufTensor tensor{info.name, info.shape, info.dtype, {}, {}};
    const WeightFormat* format = weight_format(info.dtype);
    const DType wanted = recipe_dtype(recipe, model, info.name, info.shape);
    const int64_t cols = info.shape[info.shape.rank - 1];
    const size_t row_size = row_bytes(info.dtype, cols);
    const auto* data = static_cast<const uint8_t*>(source->view(info).data);
    if (info.shape.rank < 2 || format == nullptr || wanted == info.dtype) {
      tensor.fill_encoded = [source, data, row_size](int64_t first, int64_t rows, uint8_t* out) {
        std::memcpy(out, data + static_cast<size_t>(first) * row_size, static_cast<size_t>(rows) * row_size);
      };
    } else {
      tensor.dtype = wanted;
      tensor.fill = [source, data, format, cols, row_size](int64_t first, int64_t rows, float* out) {
        format->decode(data + static_cast<size_t>(first) * row_size, out, rows * cols);
      };
    }
    plan.tensors.push_back(std::move(tensor));
  }
  return plan;
}

}  // namespace sluice
