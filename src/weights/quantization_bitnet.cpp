// BitNet b1.58 (Ma et al., https://arxiv.org/abs/2402.17764) as transformers stores it, of a matrix [n, k]:
//   offline  weight [n / 4, k] uint8, whose bits 2 i and 2 i + 1 are 1 more than the ternary values of row i n / 4 + the tensor's;
//            weight_scale [1], which multiplies the products, or (linear_class "bitlinear") divides them
//   online   weight [n, k] as it was trained, in float: ternary is round(w / mean |w|) within [-1, 1], and the scale mean |w|
// Ternary values stand in TQ2_0, or, where blocks of 256 do not divide a row, in groups of 32 of one scale; the scale stays a tensor of
// one value, which the family multiplies by. That inputs are rounded to int8 is the family's affair too.

#include <cmath>
#include <mutex>

#include "quant/weight/weight_format.h"
#include "weights/quantization_parts.h"

namespace sluice {
namespace {

constexpr int kPerByte = 4;

/// Rows of ternary values of a matrix, by `value(row, column)`.
template <class Value>
RepackedTensor ternary(const TensorInfo& weight, int64_t n, int64_t k, Value value) {
  RepackedTensor out{weight.name, DType::tq2_0, {n, k}, weight.file_index, {}, {}};
  const WeightFormat& format = *weight_format(DType::tq2_0);
  if (k % format.block_elems != 0) {
    fill_groups(4, 32, k, [=](int64_t row, int64_t col) { return value(row, col) + 1; }, [](int64_t, int64_t) { return Group{1, 1}; }, out);
    return out;
  }
  out.fill = [=, &format](int64_t row, uint8_t* blocks) {
    std::vector<float> values(static_cast<size_t>(k));
    for (int64_t col = 0; col < k; ++col) values[static_cast<size_t>(col)] = static_cast<float>(value(row, col));
    format.encode(values.data(), blocks, k);
  };
  return out;
}

RepackedTensor scale_tensor(std::string name, size_t file_index, std::function<float()> scale) {
  return {std::move(name), DType::f32, {1}, file_index,
          [scale = std::move(scale)](int64_t, uint8_t* out) {
            const float value = scale();
            std::memcpy(out, &value, sizeof value);
          },
          {}};
}

Status check_rows(const TensorSource& source, const TensorInfo& weight) {
  if (weight.shape[1] % 32 == 0) return {};
  return bad_part(source, weight, fmt::format("has rows of {} values; multiples of 32 are read", weight.shape[1]));
}

Status add_offline(const TensorSource& source, const std::string& name, const TensorInfo& scale, bool divides, Repacking& out) {
  SLUICE_TRY(const TensorInfo* weight, take_part(source, name + ".weight", {DType::u8}, {-1, -1}, out));
  SLUICE_TRY_STATUS(take_part(source, scale.name, kScaleTypes, {1}, out));
  SLUICE_TRY_STATUS(check_rows(source, *weight));
  const int64_t packed = weight->shape[0], k = weight->shape[1];
  const auto* const data = static_cast<const uint8_t*>(source.view(*weight).data);
  out.tensors.push_back(ternary(*weight, kPerByte * packed, k, [=](int64_t row, int64_t col) {
    return (data[row % packed * k + col] >> (2 * (row / packed)) & 3) - 1;
  }));
  out.tensors.push_back(scale_tensor(scale.name, scale.file_index, [values = FloatPart(source.view(scale)), divides] {
    return divides ? 1 / values[0] : values[0];
  }));
  return {};
}

/// mean |w|, taken when it is first asked for: it reads the whole matrix.
class MeanSize {
 public:
  MeanSize(const FloatPart& values, int64_t count) : values_(values), count_(count) {}
  float operator()() {
    std::call_once(once_, [&] {
      double sum = 0;
      for (int64_t i = 0; i < count_; ++i) sum += std::fabs(static_cast<double>(values_[i]));
      mean_ = std::max(static_cast<float>(sum / static_cast<double>(count_)), 1e-5f);
    });
    return mean_;
  }

 private:
  FloatPart values_;
  int64_t count_;
  std::once_flag once_;
  float mean_ = 0;
};

Status add_online(const TensorSource& source, const TensorInfo& weight, const std::string& name, Repacking& out) {
  SLUICE_TRY_STATUS(take_part(source, weight.name, kScaleTypes, {-1, -1}, out));
  SLUICE_TRY_STATUS(check_rows(source, weight));
  const int64_t n = weight.shape[0], k = weight.shape[1];
  const FloatPart values(source.view(weight));
  const auto mean = std::make_shared<MeanSize>(values, n * k);
  out.tensors.push_back(ternary(weight, n, k, [=](int64_t row, int64_t col) {
    return static_cast<int>(std::clamp(std::nearbyint(values[row * k + col] * (1 / (*mean)())), -1.0f, 1.0f));
  }));
  out.tensors.push_back(scale_tensor(name + ".weight_scale", weight.file_index, [mean] { return (*mean)(); }));
  return {};
}

}  // namespace

Status repack_bitnet(const QuantizationConfig& config, const TensorSource& source, Repacking& out) {
  static constexpr std::string_view kClasses[] = {"bitlinear", "autobitlinear"}, kModes[] = {"offline", "online"};
  SLUICE_TRY_STATUS(config.only("linear_class", kClasses));
  SLUICE_TRY_STATUS(config.only("quantization_mode", kModes));
  if (config.boolean_or("use_rms_norm", false)) return config.refused("use_rms_norm", "true", "norms before linear layers are the family's");
  const bool own_class = config.string_or("linear_class", "bitlinear") == "autobitlinear";
  if (own_class && config.string_or("quantization_mode", "offline") == "online") {
    constexpr std::string_view kEnd = ".weight";
    for (const auto& [name, weight] : tensors_ending(source, "_proj.weight"))
      SLUICE_TRY_STATUS(add_online(source, *weight, weight->name.substr(0, weight->name.size() - kEnd.size()), out));
    return {};
  }
  for (const auto& [name, scale] : tensors_ending(source, ".weight_scale")) SLUICE_TRY_STATUS(add_offline(source, name, *scale, !own_class, out));
  return {};
}

}  // namespace sluice
