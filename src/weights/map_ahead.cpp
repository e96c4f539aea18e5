#include "weights/map_ahead.h"

#include <algorithm>

namespace sluice {

std::jthread map_ahead(std::shared_ptr<const TensorSource> source) {
  if (std::ranges::none_of(source->tensors(), &TensorInfo::packed)) return {};
  return std::jthread([source = std::move(source)](const std::stop_token& stop) {
    constexpr size_t kPiece = size_t{4} << 20;
    for (const TensorInfo& info : source->tensors())
      for (size_t at = 0; info.packed && at < info.size_bytes && !stop.stop_requested(); at += kPiece)
        source->map_ahead(info, at, std::min(kPiece, info.size_bytes - at));
  });
}

}  // namespace sluice
