// GPTQ (Frantar et al., https://arxiv.org/abs/2210.17323) as AutoGPTQ and GPTQModel lay it out: of a matrix [n, k]
//   qweight [k bits / 32, n] int32, values of one column from low to high bits, qzeros [groups, n bits / 32] int32,
//   scales [groups, n] float16, and g_idx [k] int32, the group of each column, which need not ascend (desc_act: columns
//   in the order of their activations).
// value = scale * (q - zero). Files of checkpoint_format "gptq" hold zeros less 1, of "gptq_v2" as they are.

#include "weights/quantization_parts.h"

namespace sluice {
namespace {

struct Settings {
  int bits;
  int64_t group;  // -1: the whole row
  bool zeros_less_one;
};

Result<Settings> read_settings(const QuantizationConfig& config) {
  SLUICE_TRY(const int64_t bits, config.integer("bits"));
  if (bits != 4 && bits != 8) return config.refused("bits", std::to_string(bits), "read are 4 and 8");
  SLUICE_TRY(const int64_t group, config.integer("group_size"));
  static constexpr std::string_view kFormats[] = {"gptq", "gptq_v2"}, kWords[] = {"int32"};
  SLUICE_TRY_STATUS(config.only("checkpoint_format", kFormats));
  SLUICE_TRY_STATUS(config.only("pack_dtype", kWords));
  if (config.boolean_or("is_marlin_format", false))
    return config.refused("is_marlin_format", "true", "read are files of GPTQ's own layout");
  return Settings{static_cast<int>(bits), group, config.string_or("checkpoint_format", "gptq") == "gptq"};
}

Status add_matrix(const Settings& settings, const TensorSource& source, const std::string& name,
                  const TensorInfo& qweight, Repacking& out) {
  const int bits = settings.bits, per_word = 32 / bits;
  SLUICE_TRY_STATUS(take_part(source, qweight.name, {DType::i32}, {-1, -1}, out));
  const int64_t n = qweight.shape[1], k = qweight.shape[0] * per_word, group = settings.group > 0 ? settings.group : k;
  SLUICE_TRY(const int block, block_length(source, qweight, group, k));
  if (k % group != 0)
    return bad_part(source, qweight, fmt::format("has rows of {} values, which groups of {} do not divide", k, group));
  SLUICE_TRY(const TensorInfo* scales, take_part(source, name + ".scales", kScaleTypes, {k / group, n}, out));
  SLUICE_TRY(const TensorInfo* qzeros,
             take_part(source, name + ".qzeros", {DType::i32}, {k / group, (n + per_word - 1) / per_word}, out));

  RepackedTensor tensor{name + ".weight", {}, {n, k}, qweight.file_index, {}, {}};
  if (source.find(name + ".g_idx") != nullptr) {
    SLUICE_TRY(const TensorInfo* g_idx, take_part(source, name + ".g_idx", {DType::i32}, {-1}, out));
    if (g_idx->shape[0] != 0) {
      if (g_idx->shape[0] != k)
        return bad_part(source, *g_idx,
                        fmt::format("names the groups of {} columns; {} are wanted", g_idx->shape[0], k));
      SLUICE_TRY(tensor.order, order_by_group(source, *g_idx, group));
    }
  }
  const auto order = tensor.order.empty() ? nullptr : std::make_shared<std::vector<int32_t>>(tensor.order);
  const uint32_t mask = (1u << bits) - 1, less = settings.zeros_less_one ? 1 : 0;
  const auto value = [=, data = source.view(qweight).data](int64_t row, int64_t col) {
    const int64_t from = order ? (*order)[static_cast<size_t>(col)] : col;
    return static_cast<int>(word_at(data, from / per_word * n + row) >> (bits * (from % per_word)) & mask);
  };
  const auto group_of = [=, scale = FloatPart(source.view(*scales)), zeros = source.view(*qzeros).data,
                         words = qzeros->shape[1]](int64_t row, int64_t col) {
    const int64_t g = col / group;
    const uint32_t zero = word_at(zeros, g * words + row / per_word) >> (bits * (row % per_word));
    return Group{scale[g * n + row], static_cast<int>((zero + less) & mask)};
  };
  fill_groups(bits, block, k, value, group_of, tensor);
  out.tensors.push_back(std::move(tensor));
  return {};
}

}  // namespace

Status repack_gptq(const QuantizationConfig& config, const TensorSource& source, Repacking& out) {
  SLUICE_TRY(const Settings settings, read_settings(config));
  for (const auto& [name, qweight] : tensors_ending(source, ".qweight"))
    SLUICE_TRY_STATUS(add_matrix(settings, source, name, *qweight, out));
  return {};
}

}  // namespace sluice
