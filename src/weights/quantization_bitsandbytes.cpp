// bitsandbytes (Dettmers et al., https://arxiv.org/abs/2208.07339, https://arxiv.org/abs/2305.14314), of a matrix [n,
// k]:
//   NF4   weight [n k / 2, 1] uint8, the first of two values in the high nibble; weight.quant_state.bitsandbytes__nf4,
//   a JSON text with
//         shape and blocksize; weight.quant_map, the values of the codes; weight.absmax, a float32 for each block, or,
//         quantized once more, a uint8, a place in weight.nested_quant_map to multiply by weight.nested_absmax and to
//         add nested_offset to
//   int8  weight [n, k] int8, SCB [n] float32, and weight_format: value = q * SCB / 127

#include "quant/weight/value_tables.h"
#include "weights/hf_config.h"
#include "weights/quantization_parts.h"

namespace sluice {
namespace {

constexpr std::string_view kState = ".weight.quant_state.bitsandbytes__nf4";
constexpr int kBlock = 64;

/// What absmax says of each block.
class BlockScales {
 public:
  static Result<BlockScales> make(const TensorSource& source, const std::string& weight, const Metadata& state,
                                  int64_t blocks, Repacking& out) {
    BlockScales scales;
    SLUICE_TRY(const TensorInfo* absmax, take_part(source, weight + ".absmax", {DType::f32, DType::u8}, {blocks}, out));
    scales.data_ = source.view(*absmax).data;
    if (absmax->dtype == DType::f32) return scales;
    SLUICE_TRY(scales.nested_block_, state.integer("nested_blocksize"));
    SLUICE_TRY(const double offset, state.number("nested_offset"));
    if (scales.nested_block_ < 1)
      return corrupt_data(fmt::format("{}: nested_blocksize is {}", state.origin(), scales.nested_block_));
    scales.offset_ = static_cast<float>(offset);
    SLUICE_TRY(const TensorInfo* map, take_part(source, weight + ".nested_quant_map", {DType::f32}, {256}, out));
    const int64_t nested = (blocks + scales.nested_block_ - 1) / scales.nested_block_;
    SLUICE_TRY(const TensorInfo* factors, take_part(source, weight + ".nested_absmax", {DType::f32}, {nested}, out));
    scales.map_ = FloatPart(source.view(*map));
    scales.factors_ = FloatPart(source.view(*factors));
    return scales;
  }
  float operator[](int64_t block) const {
    if (nested_block_ == 0) return FloatPart({data_, DType::f32, {}})[block];
    return map_[static_cast<const uint8_t*>(data_)[block]] * factors_[block / nested_block_] + offset_;
  }

 private:
  const void* data_ = nullptr;
  FloatPart map_, factors_;
  int64_t nested_block_ = 0;  // 0: not quantized once more
  float offset_ = 0;
};

Status check_map(const TensorSource& source, const TensorInfo& map) {
  const FloatPart values(source.view(map));
  for (int i = 0; i < 16; ++i)
    if (values[i] != kNf4Values[i])
      return bad_part(source, map, fmt::format("has {} at {}, where NF4 has {}", values[i], i, kNf4Values[i]));
  return {};
}

Status add_nf4(const TensorSource& source, const std::string& name, const TensorInfo& state_part, Repacking& out) {
  const std::string weight_name = name + ".weight";
  SLUICE_TRY_STATUS(take_part(source, state_part.name, {DType::u8}, {-1}, out));
  const std::string text(static_cast<const char*>(source.view(state_part).data), state_part.size_bytes);
  SLUICE_TRY(const Metadata state,
             flatten_json(text, source.files()[state_part.file_index] + ": tensor " + state_part.name));
  const std::vector<int64_t>* shape = state.integers("shape");
  if (shape == nullptr || shape->size() != 2 || (*shape)[0] < 1 || (*shape)[1] < 1 || (*shape)[0] > INT32_MAX ||
      (*shape)[1] > INT32_MAX)
    return bad_part(source, state_part, "needs a shape of two sizes");
  const int64_t n = (*shape)[0], k = (*shape)[1];
  SLUICE_TRY(const int64_t block, state.integer("blocksize"));
  if (block < kBlock || block % kBlock != 0 || k % block != 0)
    return bad_part(
        source, state_part,
        fmt::format("has blocks of {} in rows of {} values; multiples of 64 that divide a row are read", block, k));
  SLUICE_TRY(const TensorInfo* weight, take_part(source, weight_name, {DType::u8}, {n * k / 2, 1}, out));
  SLUICE_TRY(const TensorInfo* map, take_part(source, weight_name + ".quant_map", {DType::f32}, {16}, out));
  SLUICE_TRY_STATUS(check_map(source, *map));
  SLUICE_TRY(const BlockScales scales, BlockScales::make(source, weight_name, state, n * k / block, out));
  out.tensors.push_back({weight_name,
                         DType::nf4_g64,
                         {n, k},
                         weight->file_index,
                         [=, data = static_cast<const uint8_t*>(source.view(*weight).data)](int64_t row, uint8_t* to) {
                           for (int64_t at = row * k; at < (row + 1) * k; at += kBlock, to += 4 + kBlock / 2) {
                             const float scale = scales[at / block];
                             std::memcpy(to, &scale, 4);
                             std::memcpy(to + 4, data + at / 2, kBlock / 2);
                           }
                         },
                         {}});
  return {};
}

Status add_llm_int8(const TensorSource& source, const std::string& name, const TensorInfo& scb, Repacking& out) {
  SLUICE_TRY(const TensorInfo* weight, take_part(source, name + ".weight", {DType::i8}, {-1, -1}, out));
  const int64_t n = weight->shape[0], k = weight->shape[1];
  SLUICE_TRY_STATUS(take_part(source, scb.name, {DType::f32}, {n}, out));
  if (const TensorInfo* format = source.find(name + ".weight_format"); format != nullptr) {
    if (format->size_bytes != 1 || *static_cast<const uint8_t*>(source.view(*format).data) != 0)
      return bad_part(source, *format, "says that the rows are not one after the other; that layout (0) is read");
    out.parts.insert(format->name);
  }
  SLUICE_TRY(const int block, block_length(source, *weight, k, k));
  RepackedTensor tensor{weight->name, {}, {n, k}, weight->file_index, {}, {}};
  const auto value = [=, data = static_cast<const int8_t*>(source.view(*weight).data)](int64_t row, int64_t col) {
    return data[row * k + col] + 128;
  };
  const auto group_of = [scale = FloatPart(source.view(scb))](int64_t row, int64_t) {
    return Group{scale[row] / 127.0f, 128};
  };
  fill_groups(8, block, k, value, group_of, tensor);
  out.tensors.push_back(std::move(tensor));
  return {};
}

}  // namespace

Status repack_bitsandbytes(const QuantizationConfig& config, const TensorSource& source, Repacking& out) {
  static constexpr std::string_view kTypes[] = {"nf4"};
  if (config.boolean_or("load_in_4bit", false)) SLUICE_TRY_STATUS(config.only("bnb_4bit_quant_type", kTypes));
  for (const auto& [name, state] : tensors_ending(source, kState))
    SLUICE_TRY_STATUS(add_nf4(source, name, *state, out));
  for (const auto& [name, scb] : tensors_ending(source, ".SCB")) SLUICE_TRY_STATUS(add_llm_int8(source, name, *scb, out));
  return {};
}

}  // namespace sluice
