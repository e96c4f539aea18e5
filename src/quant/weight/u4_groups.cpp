// U4_G32 and U4_G128, of our own: what GPTQ, AWQ and compressed-tensors checkpoints of 4 bits are repacked to.

#include "quant/weight/groups.h"

namespace sluice {

using G32 = Groups<32, 4>;
using G128 = Groups<128, 4>;
const WeightFormat kU4_G32 = {DType::u4_g32, "U4_G32", 32, G32::kBytes, G32::encode, G32::decode, G32::unpack};
const WeightFormat kU4_G128 = {DType::u4_g128, "U4_G128", 128, G128::kBytes, G128::encode, G128::decode, G128::unpack};

}  // namespace sluice
