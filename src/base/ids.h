#pragma once
// The small integers that every folder shares.

#include <cstdint>

namespace sluice {

using TokenId = int32_t;
using SeqId = uint64_t;
using BlockId = uint32_t;
using Nanos = int64_t;  // of the injected Clock

inline constexpr SeqId kNoSeq = 0;
inline constexpr BlockId kNoBlock = UINT32_MAX;

}  // namespace sluice
