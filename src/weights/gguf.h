#pragma once
// The GGUF container (ggml's docs/gguf.md): the types of its key-values and of its tensors, and one key-value.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/dtype.h"
#include "weights/metadata.h"

namespace sluice {

inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr uint32_t kGgufVersion = 3;         // what we write
inline constexpr size_t kGgufAlignment = 32;        // what we write, and the default when reading

enum class GgufType : uint32_t {
  u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10, i64 = 11,
  f64 = 12,
};

/// Bytes of a scalar; 0 for strings, arrays and unknown types.
size_t gguf_scalar_bytes(GgufType type);

/// A key-value with the type that it has on disk; the value is what Metadata holds. A u64 above the range of int64 is
/// kept as the same 64 bits.
struct GgufKey {
  std::string name;
  GgufType type = GgufType::u32;
  GgufType element = GgufType::u32;  // of an array
  MetadataValue value;

  static GgufKey u32(std::string name, int64_t v) { return {std::move(name), GgufType::u32, {}, v}; }
  static GgufKey f32(std::string name, double v) { return {std::move(name), GgufType::f32, {}, v}; }
  static GgufKey boolean(std::string name, bool v) { return {std::move(name), GgufType::boolean, {}, v}; }
  static GgufKey text(std::string name, std::string v) { return {std::move(name), GgufType::string, {}, std::move(v)}; }
  static GgufKey array(std::string name, GgufType element, MetadataValue v) {
    return {std::move(name), GgufType::array, element, std::move(v)};
  }
};

/// A tensor type that ggml defines; `dtype` is set where we hold its values.
struct GgmlType {
  uint32_t id;
  std::string_view name;
  int block_elems, block_bytes;
  std::optional<DType> dtype;
};

std::span<const GgmlType> ggml_types();
/// Null for an id that no ggml release has defined.
const GgmlType* find_ggml_type(uint32_t id);
/// Null for types that GGUF cannot hold (unsigned integers, booleans).
const GgmlType* find_ggml_type(DType dtype);
/// "F32, F16, Q4_0, ...": for error messages.
std::string readable_ggml_types();

}  // namespace sluice
