#include "quant/kv/kv_format.h"

namespace sluice {

std::span<const KvFormat* const> kv_formats() {
  static constexpr const KvFormat* kAll[] = {&kKvF32, &kKvF16,  &kKvBF16,  &kKvInt8,
                                                        &kKvFp8, &kKvInt4, &kKvKivi2, &kKvKivi4, &kKvGear4, &kKvQuant3};
  return kAll;
}

}  // namespace sluice
