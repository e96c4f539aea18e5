// U8_G32 and U8_G128, of our own: what checkpoints of 8-bit integers are repacked to. The first, of rows that 128 does
// not divide, is multiplied by its values.

#include "quant/weight/groups.h"

namespace sluice {

using G32 = Groups<32, 8>;
using G128 = Groups<128, 8>;
const WeightFormat kU8_G32 = {DType::u8_g32, "U8_G32", 32, G32::kBytes, G32::encode, G32::decode};
const WeightFormat kU8_G128 = {DType::u8_g128, "U8_G128", 128, G128::kBytes, G128::encode, G128::decode, G128::unpack};

}  // namespace sluice
