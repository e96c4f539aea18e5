// Q8_0: blocks of 32; float16 d, then 32 int8: value = d * q.

#include "quant/weight/int8_blocks.h"

namespace sluice {

using Blocks = Int8Blocks<32>;

const WeightFormat kQ8_0 = {DType::q8_0, "Q8_0", 32, Blocks::kBytes, Blocks::encode, Blocks::decode, Blocks::unpack};

}  // namespace sluice
