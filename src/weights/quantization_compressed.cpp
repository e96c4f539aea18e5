// compressed-tensors (vLLM's llm-compressor), of a matrix [n, k]:
//   pack-quantized   weight_packed [n, k bits / 32] int32, values of a row from low to high bits, 2^(bits - 1) too
//   large; weight_shape;
//                    weight_scale [n, groups]; weight_zero_point [n bits / 32, groups] int32, packed down the rows,
//                    where not symmetric (files of early releases: int8 [n, groups]); weight_g_idx [k], the group of
//                    each column, where those do not ascend
//   int-quantized    weight [n, k] int8 and weight_scale
//   float-quantized  weight [n, k] E4M3 and weight_scale
// value = scale * (q - zero). What it says of activations (input_scale, their number of bits) is left aside: they are
// quantized here in the way of Sluice's kernels, which is finer. So are scales of a KV cache.

#include "weights/quantization_parts.h"

namespace sluice {
namespace {

constexpr std::string_view kGroups = "config_groups.";

// The config's groups of modules may differ; the tensors of each matrix say which it is of.
Status check(const QuantizationConfig& config) {
  static constexpr std::string_view kFormats[] = {"pack-quantized",  "int-quantized",   "float-quantized",
                                                  "naive-quantized", "mixed-precision", "dense"};
  static constexpr std::string_view kTypes[] = {"int", "float"};
  static constexpr std::string_view kDense[] = {"dense"};
  SLUICE_TRY_STATUS(config.only("format", kFormats));
  SLUICE_TRY_STATUS(config.only("sparsity_config.format", kDense));
  const std::string groups = std::string(config.prefix()) + std::string(kGroups);
  const std::string transform = std::string(config.prefix()) + "transform_config.";
  for (const auto& [full, unused] : config.metadata().values()) {
    if (full.starts_with(transform))
      return config.refused("transform_config", "set", "weights that are transformed are not read");
    if (!full.starts_with(groups)) continue;
    const std::string key = full.substr(config.prefix().size());
    if (key.ends_with(".format")) SLUICE_TRY_STATUS(config.only(key, kFormats));
    if (key.ends_with(".weights.type")) SLUICE_TRY_STATUS(config.only(key, kTypes));
    if (!key.ends_with(".weights.num_bits")) continue;
    SLUICE_TRY(const int64_t bits, config.integer(key));
    if (bits != 4 && bits != 8) return config.refused(key, std::to_string(bits), "read are 4 and 8");
  }
  return {};
}

int bits_of(int64_t k, int64_t words) {
  for (const int bits : {4, 8})
    if ((k * bits + 31) / 32 == words) return bits;
  return 0;
}

Status add_packed(const TensorSource& source, const std::string& name, const TensorInfo& packed, Repacking& out) {
  SLUICE_TRY_STATUS(take_part(source, packed.name, {DType::i32}, {-1, -1}, out));
  SLUICE_TRY(const TensorInfo* shape, take_part(source, name + ".weight_shape", {DType::i64, DType::i32}, {2}, out));
  int64_t size[2];
  for (int i = 0; i < 2; ++i) {
    const auto* at = static_cast<const uint8_t*>(source.view(*shape).data);
    if (shape->dtype == DType::i64)
      std::memcpy(&size[i], at + 8 * i, 8);
    else
      size[i] = static_cast<int32_t>(word_at(at, i));
  }
  const int64_t n = size[0], k = size[1], words = packed.shape[1];
  if (n != packed.shape[0] || k < 1 || k > (int64_t{1} << 40) || bits_of(k, words) == 0)
    return corrupt_data(fmt::format(
        "{}: tensor {} has shape {}, which does not hold the {} x {} values of 4 or 8 bits of its weight_shape",
        source.files()[packed.file_index], packed.name, packed.shape.text(), n, k));
  const int bits = bits_of(k, words), per_word = 32 / bits;
  SLUICE_TRY(const TensorInfo* scales, take_part(source, name + ".weight_scale", kScaleTypes, {n, -1}, out));
  const int64_t groups = scales->shape[1];
  if (groups < 1 || k % groups != 0)
    return bad_part(source, *scales, fmt::format("has {} groups for rows of {} values", groups, k));
  const int64_t group = k / groups;
  SLUICE_TRY(const int block, block_length(source, packed, group, k));

  RepackedTensor tensor{name + ".weight", {}, {n, k}, packed.file_index, {}, {}};
  if (source.find(name + ".weight_g_idx") != nullptr) {
    SLUICE_TRY(const TensorInfo* g_idx, take_part(source, name + ".weight_g_idx", {DType::i32}, {k}, out));
    if (word_at(source.view(*g_idx).data, 0) != UINT32_MAX) {  // -1: not set
      SLUICE_TRY(tensor.order, order_by_group(source, *g_idx, group));
    }
  }
  const void* zeros = nullptr;
  bool zeros_packed = false;
  if (const TensorInfo* part = source.find(name + ".weight_zero_point"); part != nullptr) {
    zeros_packed = part->dtype != DType::i8;
    SLUICE_TRY_STATUS(take_part(source, part->name, {DType::i32, DType::i8},
                                {zeros_packed ? (n + per_word - 1) / per_word : n, groups}, out));
    zeros = source.view(*part).data;
  }
  const auto order = tensor.order.empty() ? nullptr : std::make_shared<std::vector<int32_t>>(tensor.order);
  const uint32_t mask = (1u << bits) - 1;
  const auto value = [=, data = source.view(packed).data](int64_t row, int64_t col) {
    const int64_t from = order ? (*order)[static_cast<size_t>(col)] : col;
    return static_cast<int>(word_at(data, row * words + from / per_word) >> (bits * (from % per_word)) & mask);
  };
  const auto group_of = [=, scale = FloatPart(source.view(*scales))](int64_t row, int64_t col) {
    const int64_t g = col / group;
    int zero = 1 << (bits - 1);
    if (zeros != nullptr && zeros_packed)
      zero = static_cast<int>(word_at(zeros, row / per_word * groups + g) >> (bits * (row % per_word)) & mask);
    else if (zeros != nullptr)
      zero += static_cast<const int8_t*>(zeros)[row * groups + g];
    return Group{scale[row * groups + g], zero};
  };
  fill_groups(bits, block, k, value, group_of, tensor);
  out.tensors.push_back(std::move(tensor));
  return {};
}

Status add_int8(const TensorSource& source, const std::string& name, const TensorInfo& weight, Repacking& out) {
  SLUICE_TRY_STATUS(take_part(source, weight.name, {DType::i8}, {-1, -1}, out));
  const int64_t n = weight.shape[0], k = weight.shape[1];
  const TensorInfo* scales = source.find(name + ".weight_scale");
  const int64_t count = scales == nullptr ? 0 : scales->shape.elems();
  const Shape wanted = scales != nullptr && (count == 1 || count == n) ? scales->shape : Shape{n, -1};
  SLUICE_TRY_STATUS(take_part(source, name + ".weight_scale", kScaleTypes, wanted, out));
  const int64_t groups = count == 1 || count == n ? 1 : scales->shape[1];
  if (groups < 1 || k % groups != 0)
    return bad_part(source, *scales, fmt::format("has {} groups for rows of {} values", groups, k));
  if (const TensorInfo* zero = source.find(name + ".weight_zero_point"); zero != nullptr)
    return bad_part(source, *zero, "is of int8 weights that are not symmetric, which are not read");
  SLUICE_TRY(const int block, block_length(source, weight, k / groups, k));
  RepackedTensor tensor{weight.name, {}, {n, k}, weight.file_index, {}, {}};
  const auto value = [=, data = static_cast<const int8_t*>(source.view(weight).data)](int64_t row, int64_t col) {
    return data[row * k + col] + 128;
  };
  const auto group_of = [=, scale = FloatPart(source.view(*scales))](int64_t row, int64_t col) {
    return Group{scale[count == 1 ? 0 : row * groups + col / (k / groups)], 128};
  };
  fill_groups(8, block, k, value, group_of, tensor);
  out.tensors.push_back(std::move(tensor));
  return {};
}

}  // namespace

Status repack_compressed_tensors(const QuantizationConfig& config, const TensorSource& source, Repacking& out) {
  SLUICE_TRY_STATUS(check(config));
  for (const auto& [name, packed] : tensors_ending(source, ".weight_packed"))
    SLUICE_TRY_STATUS(add_packed(source, name, *packed, out));
  for (const auto& [name, weight] : tensors_ending(source, ".weight"))
    if (weight->dtype == DType::i8) SLUICE_TRY_STATUS(add_int8(source, name, *weight, out));
  return repack_float8(config, source, out);
}

}  // namespace sluice
