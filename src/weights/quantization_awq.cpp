// AWQ (Lin et al., https://arxiv.org/abs/2306.00978) in AutoAWQ's "gemm" layout: of a matrix [n, k], qweight [k, n / 8]
// int32, qzeros [groups, n / 8] int32 and scales [groups, n] float16. The nibbles of a word, from the low one, are of
// its rows 0, 2, 4, 6, 1, 3, 5, 7. value = scale * (q - zero).

#include "weights/quantization_parts.h"

namespace sluice {
namespace {

constexpr int kShiftOfRow[8] = {0, 16, 4, 20, 8, 24, 12, 28};

int nibble(const void* words, int64_t at, int64_t row) {
  return static_cast<int>(word_at(words, at) >> kShiftOfRow[row % 8] & 15);
}

Status add_matrix(int64_t group, const TensorSource& source, const std::string& name, const TensorInfo& qweight,
                  Repacking& out) {
  SLUICE_TRY_STATUS(take_part(source, qweight.name, {DType::i32}, {-1, -1}, out));
  const int64_t k = qweight.shape[0], words = qweight.shape[1], n = 8 * words;
  if (group <= 0) group = k;
  SLUICE_TRY(const int block, block_length(source, qweight, group, k));
  if (k % group != 0)
    return bad_part(source, qweight, fmt::format("has rows of {} values, which groups of {} do not divide", k, group));
  SLUICE_TRY(const TensorInfo* scales, take_part(source, name + ".scales", kScaleTypes, {k / group, n}, out));
  SLUICE_TRY(const TensorInfo* qzeros, take_part(source, name + ".qzeros", {DType::i32}, {k / group, words}, out));

  RepackedTensor tensor{name + ".weight", {}, {n, k}, qweight.file_index, {}, {}};
  const auto value = [=, data = source.view(qweight).data](int64_t row, int64_t col) {
    return nibble(data, col * words + row / 8, row);
  };
  const auto group_of = [=, scale = FloatPart(source.view(*scales)), zeros = source.view(*qzeros).data](int64_t row,
                                                                                                        int64_t col) {
    const int64_t g = col / group;
    return Group{scale[g * n + row], nibble(zeros, g * words + row / 8, row)};
  };
  fill_groups(4, block, k, value, group_of, tensor);
  out.tensors.push_back(std::move(tensor));
  return {};
}

}  // namespace

Status repack_awq(const QuantizationConfig& config, const TensorSource& source, Repacking& out) {
  SLUICE_TRY(const int64_t bits, config.integer(config.has("w_bit") ? "w_bit" : "bits"));
  if (bits != 4) return config.refused("bits", std::to_string(bits), "AWQ is read of 4 bits");
  SLUICE_TRY(const int64_t group, config.integer(config.has("q_group_size") ? "q_group_size" : "group_size"));
  static constexpr std::string_view kVersions[] = {"gemm", "GEMM"};
  SLUICE_TRY_STATUS(config.only("version", kVersions));
  for (const auto& [name, qweight] : tensors_ending(source, ".qweight"))
    SLUICE_TRY_STATUS(add_matrix(group, source, name, *qweight, out));
  return {};
}

}  // namespace sluice
