#pragma once
// Which format each layer's KV has: one for all, or several, as --kv-cache-dtype names them.

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "quant/kv/kv_format.h"

namespace sluice {

class KvFormats {
 public:
  /// One for all layers.
  KvFormats(const KvFormat& all) : rest_(&all) {}  // NOLINT: a format is the formats of all layers
  /// "f16:0-3,kivi2": each name with the layers that have it, and the one without for those that are left. Errors say what is wrong;
  /// whether the layers are the model's is check()'s.
  static Result<KvFormats> parse(std::string_view text);
  static std::string known_names();

  const KvFormat& of(int layer) const {
    for (const Range& r : ranges_)
      if (layer >= r.first && layer <= r.last) return *r.format;
    return *rest_;
  }
  /// Every layer has one, every range is within them, and formats of two layers have pairs of the upper half.
  Status check(int layers) const;
  /// The format of all layers; null where there are several.
  const KvFormat* single() const { return ranges_.empty() ? rest_ : nullptr; }
  /// The same, where it encodes token by token; null else: what windows and page groups hold.
  const KvFormat* single_by_token() const { return seals() ? nullptr : single(); }
  /// As parse() reads it, in short names: files and salts tell formats apart by it.
  std::string name() const;
  /// Of the name, the same in every process: files hold hashes that begin with it.
  uint64_t salt() const;
  /// Whether some layer has a block format; then blocks are sealed.
  bool seals() const;
  /// Of a layer that shares tiles with the one above it: 0; with the one below: 1; of others -1.
  int side(int layer) const;
  /// Whether some do.
  bool pairs() const;
  /// The smallest block of at least `tokens` that all formats take.
  int fitting_block(int tokens) const;

 private:
  struct Range {
    const KvFormat* format;
    int first, last;
  };
  std::vector<const KvFormat*> all() const;

  std::vector<Range> ranges_;
  const KvFormat* rest_ = nullptr;  // null only where the ranges are all
};

}  // namespace sluice
