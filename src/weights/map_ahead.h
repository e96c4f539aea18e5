#pragma once
// Page faults of a native pack, taken beside the start instead of within the first step.

#include <memory>
#include <thread>

#include "weights/tensor_source.h"

namespace sluice {

/// A thread that touches the packed tensors in file order, so that the first step meets few page faults and a file that
/// is not cached is read in one go. Nobody waits for it; stopping it takes as long as 4 MiB do.
std::jthread map_ahead(std::shared_ptr<const TensorSource> source);

}  // namespace sluice
