#pragma once

#include "base/result.h"
#include "model/model.h"

namespace sluice {

/// The family that the metadata names; the error lists the known ones.
Result<const ModelArch*> find_arch(const Metadata& metadata);

}  // namespace sluice
