#pragma once
// The KV formats by number. Plain data, for files of any instruction set (docs/architecture.md, section 5).

namespace sluice {

enum class KvType : int { f32, f16, bf16, int8, fp8, int4, kivi2, kivi4, gear4, kvquant3, minicache };
constexpr int kNumKvTypes = 11;
constexpr int kNumRowKvTypes = 6;  // formats that encode token by token come first

/// What a tile holds.
enum class KvPart : int { keys, values };

/// Of every row of fp8: its bits, shifted, are those of f16 with an exponent that is 8 less.
constexpr float kFp8Factor = 256;

}  // namespace sluice
