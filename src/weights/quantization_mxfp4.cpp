// MXFP4 as gpt-oss has it: NAME_blocks [..., n, k / 32, 16] uint8, byte j holding elements 2 j (low) and 2 j + 1 (high)
// of 32, and NAME_scales [..., n, k / 32] uint8, powers of two (E8M0). NAME becomes [..., n, k] of MXFP4; its n are the
// outputs, as everywhere here, where transformers has them last once it has dequantized them.

#include "weights/quantization_parts.h"

namespace sluice {

Status repack_mxfp4(const QuantizationConfig&, const TensorSource& source, Repacking& out) {
  for (const auto& [name, blocks] : tensors_ending(source, "_blocks")) {
    const Shape& from = blocks->shape;
    if (blocks->dtype != DType::u8 || from.rank < 3 || from[from.rank - 1] != 16)
      return bad_part(
          source, *blocks,
          fmt::format("is {} {}; U8 [..., rows, blocks, 16] is wanted", dtype_name(blocks->dtype), from.text()));
    Shape scale_shape = from, shape = from;
    scale_shape.rank = shape.rank = from.rank - 1;
    scale_shape.dims[static_cast<size_t>(from.rank - 1)] = shape.dims[static_cast<size_t>(from.rank - 1)] = 1;
    const int64_t per_row = from[from.rank - 2];
    shape.dims[static_cast<size_t>(from.rank - 2)] = per_row * 32;
    SLUICE_TRY(const TensorInfo* scales, take_part(source, name + "_scales", {DType::u8}, scale_shape, out));
    out.parts.insert(blocks->name);
    const auto fill = [per_row, codes = static_cast<const uint8_t*>(source.view(*blocks).data),
                       powers = static_cast<const uint8_t*>(source.view(*scales).data)](int64_t row, uint8_t* to) {
      for (int64_t b = row * per_row; b < (row + 1) * per_row; ++b, to += 17) {
        const uint8_t* in = codes + 16 * b;
        to[0] = powers[b];
        for (int j = 0; j < 16; ++j) {
          const auto element = [&](int i) { return in[i / 2] >> (4 * (i % 2)) & 15; };
          to[1 + j] = static_cast<uint8_t>(element(j) | element(j + 16) << 4);
        }
      }
    };
    out.tensors.push_back({name, DType::mxfp4, shape, blocks->file_index, fill, {}});
  }
  return {};
}

}  // namespace sluice
