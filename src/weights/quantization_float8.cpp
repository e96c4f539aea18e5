// Matrices of 8-bit floats (E4M3) with scales: weight [n, k] and weight_scale or weight_scale_inv, of one value, one a
// row ([n] or [n, 1]), or one for each block of rows and columns ([ceil(n / rows), ceil(k / columns)], DeepSeek-V3's
// "weight_block_size"). value = scale * e4m3. The scales of activations (input_scale) and of a KV cache are left aside.

#include "weights/quantization_parts.h"

namespace sluice {
namespace {

constexpr int64_t kUsualBlock = 128;

struct Scales {
  const TensorInfo* part;
  int64_t rows, columns;  // that one serves
};

Result<Scales> find_scales(const QuantizationConfig& config, const TensorSource& source, const std::string& name,
                           const TensorInfo& weight, Repacking& out) {
  const std::string inverse = name + ".weight_scale_inv";
  const std::string& scale_name = source.find(inverse) != nullptr ? inverse : name + ".weight_scale";
  const TensorInfo* part = source.find(scale_name);
  if (part == nullptr) return take_part(source, scale_name, kScaleTypes, {1}, out).error();  // says that it is missing
  SLUICE_TRY_STATUS(take_part(source, scale_name, kScaleTypes, part->shape, out));
  const int64_t n = weight.shape[0], k = weight.shape[1], count = part->shape.elems();
  if (count == 1) return Scales{part, n, k};
  if (part->shape == Shape{n} || part->shape == Shape{n, 1}) return Scales{part, 1, k};
  int64_t rows = kUsualBlock, columns = kUsualBlock;
  if (const std::vector<int64_t>* size = config.integers("weight_block_size"); size != nullptr && size->size() == 2) {
    rows = std::max<int64_t>(1, (*size)[0]);
    columns = std::max<int64_t>(1, (*size)[1]);
  }
  if (part->shape == Shape{(n + rows - 1) / rows, (k + columns - 1) / columns}) return Scales{part, rows, columns};
  return bad_part(source, *part,
                  fmt::format("has shape {} for a matrix {}; one scale, one a row, or one for {} x {} values is wanted",
                              part->shape.text(), weight.shape.text(), rows, columns));
}

template <int kElems>
std::function<void(int64_t, uint8_t*)> filler(const uint8_t* data, int64_t k, int64_t scales_a_row, Scales of,
                                              FloatPart scale) {
  return [=](int64_t row, uint8_t* out) {
    for (int64_t col = 0; col < k; col += kElems, out += 4 + kElems) {
      const float s = scale[row / of.rows * scales_a_row + col / of.columns];
      std::memcpy(out, &s, 4);
      std::memcpy(out + 4, data + row * k + col, kElems);
    }
  };
}

Status add_matrix(const QuantizationConfig& config, const TensorSource& source, const std::string& name,
                  const TensorInfo& weight, Repacking& out) {
  SLUICE_TRY_STATUS(take_part(source, weight.name, {DType::f8_e4m3}, {-1, -1}, out));
  const int64_t n = weight.shape[0], k = weight.shape[1];
  SLUICE_TRY(const Scales scales, find_scales(config, source, name, weight, out));
  int block = 0;
  for (const int length : {128, 32})
    if (block == 0 && k % length == 0 && (scales.columns >= k || scales.columns % length == 0)) block = length;
  if (block == 0)
    return bad_part(
        source, weight,
        fmt::format("has rows of {} values, and a scale for {}; both must be multiples of 32", k, scales.columns));
  const auto* data = static_cast<const uint8_t*>(source.view(weight).data);
  const FloatPart scale(source.view(*scales.part));
  const int64_t a_row = (k + scales.columns - 1) / scales.columns;
  out.tensors.push_back(
      {weight.name,
       block == 128 ? DType::f8_g128 : DType::f8_g32,
       {n, k},
       weight.file_index,
       block == 128 ? filler<128>(data, k, a_row, scales, scale) : filler<32>(data, k, a_row, scales, scale),
       {}});
  return {};
}

}  // namespace

Status repack_float8(const QuantizationConfig& config, const TensorSource& source, Repacking& out) {
  static constexpr std::string_view kFormats[] = {"e4m3"}, kAlgorithms[] = {"FP8"};
  SLUICE_TRY_STATUS(config.only("fmt", kFormats));
  SLUICE_TRY_STATUS(config.only("quant_algo", kAlgorithms));
  for (const auto& [name, weight] : tensors_ending(source, ".weight"))
    if (weight->dtype == DType::f8_e4m3 && weight->shape.rank == 2)
      SLUICE_TRY_STATUS(add_matrix(config, source, name, *weight, out));
  for (const std::string_view end : {".input_scale", ".k_scale", ".v_scale", ".q_scale", ".input_scale_ub"})
    for (const auto& [name, info] : tensors_ending(source, end)) out.parts.insert(info->name);
  return {};
}

}  // namespace sluice
