#pragma once
// What reused KV asks of an executor: keys rotated to other positions, and how far reused rows are off
// (docs/adr/0015-modular-kv.md).

#include <span>
#include <vector>

#include "kv/kv_copy.h"
#include "model/model.h"

namespace sluice {

/// Rotates the keys of the slots that `copy` has written, in all layers, by copy.shift: decoded, rotated and encoded again.
void rotate_copied_keys(const Model& model, std::span<const KvLayerView> layers, const KvCopy& copy);

/// Ends a pass in the second layer (the first, where there is no other: then nothing deviates), and says by how much the
/// keys and values of each row differ there from those in its slot: the sum of squares over heads and dims. The first layer's
/// depend on token and position alone. CacheBlend (Yao et al., EuroSys 2025), section 4.3.
class ReuseProbe final : public LayerPolicy {
 public:
  explicit ReuseProbe(int layers) : layers_(layers) {}
  bool before_write(const LayerView& view) override;
  /// By row of the batch.
  const std::vector<float>& deviation() const { return deviation_; }

 private:
  int layers_;
  std::vector<float> deviation_;
};

}  // namespace sluice
