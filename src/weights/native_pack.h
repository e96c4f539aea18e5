#pragma once
// The native pack: a GGUF whose matrices are panels already, used where they are mapped (docs/adr/0003).

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/thread_pool.h"
#include "weights/gguf.h"
#include "weights/gguf_writer.h"
#include "weights/tensor_source.h"

namespace sluice {

/// A packed tensor's type on disk is ggml's plus this.
inline constexpr uint32_t kPackedTypeBase = 0x51550000;
/// Types of our own, which packs alone hold, row-major or packed: numbers far from ggml's.
inline constexpr uint32_t kOwnTypeBase = 0x8000;
/// The type of a pack's tensor, ggml's or our own; null where there is none.
const GgmlType* find_pack_type(uint32_t id);
const GgmlType* find_pack_type(DType dtype);
inline constexpr size_t kPackAlignment = 4096;
inline constexpr std::string_view kPackVersionKey = "sluice.pack.version";
inline constexpr std::string_view kPackHashesKey = "sluice.pack.xxh3";  // [tensors] u64, in file order

/// Whether the keys are a pack's. unsupported for one in other layouts than this build's (kPackVersion).
Result<bool> is_pack(std::span<const GgufKey> keys, const std::string& path);
/// Bytes of a packed tensor. False where there is none of this shape and type.
bool packed_tensor_bytes(const Shape& shape, DType dtype, size_t& bytes);

/// The same model to be written as a pack: every matrix that is multiplied becomes panels. An embedding beside a head
/// of its own stays row-major, as its single rows are read.
GgufPlan as_pack(GgufPlan plan);

/// Reads every byte of a pack and compares its checksums; returns the number of tensors. corrupt_data names those that
/// differ, unsupported is for files that hold no checksums. `progress` is called with bytes done and all of them.
Result<size_t> verify_pack(const TensorSource& source, ThreadPool& pool,
                           const std::function<void(size_t, size_t)>& progress = {});

}  // namespace sluice
