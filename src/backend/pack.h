#pragma once
// The packed weight layout (kernel_args.h): sizes, and one panel at a time.

#include <cstddef>
#include <cstdint>

#include "tensor/tensor_view.h"

namespace sluice {

/// Bytes of one panel of 16 columns; 0 for a type that has no packed form. k must be a whole number of blocks.
size_t panel_bytes(DType dtype, int64_t k);
/// Packs rows [16 panel, 16 panel + 16) of w, zeros where it has fewer, into panel_bytes() bytes.
void pack_panel(const TensorView& w, int64_t panel, uint8_t* out);
/// Where the parts of a block type's panel are: a header per block of the file's type, then, from values_at on, each
/// block's values.
struct PanelParts { size_t head_bytes, values_at, value_bytes; };
PanelParts panel_parts(DType dtype, int64_t k);
/// How a type's panels are laid out (kernel_args.h): float values, headers and lines of blocks, or blocks as in the file.
enum class PanelKind : uint8_t { none, floats, blocks, as_in_file };
PanelKind panel_kind(DType dtype);
/// Whether matmul quantizes the activations for this type.
bool is_block_type(DType dtype);

}  // namespace sluice
