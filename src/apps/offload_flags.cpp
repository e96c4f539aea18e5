#include "apps/offload_flags.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <charconv>
#include <numeric>
#include <set>

namespace sluice {
namespace {

constexpr const char kLayers[] = "--kv-offload-layers";
constexpr int kMostLayers = 1 << 16;

Result<int> number(std::string_view text, const std::string& whole) {
  int n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 0 || n > kMostLayers)
    return invalid_argument(fmt::format("{} is '{}'; it must be a number of last layers, 'all', or layers as in 8-23 or 1,3,5-7", kLayers, whole), kLayers);
  return n;
}

/// "5", "5-7": parts of a list.
Result<std::set<int>> listed(const std::string& text) {
  std::set<int> layers;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, end - at);
    const size_t dash = part.find('-');
    SLUICE_TRY(const int first, number(part.substr(0, dash), text));
    int last = first;
    if (dash != std::string_view::npos) {
      SLUICE_TRY(last, number(part.substr(dash + 1), text));
    }
    if (last < first) return invalid_argument(fmt::format("{} is '{}'; {} comes before {}", kLayers, text, last, first), kLayers);
    for (int l = first; l <= last; ++l) layers.insert(l);
    at = end + 1;
  }
  return layers;
}

bool is_list(const std::string& text) { return text.find_first_of(",-") != std::string::npos; }

}  // namespace

void OffloadFlags::declare(OptionSet& o) {
  o.add(kLayers, layers,
        "layers whose KV is in a file instead of in memory, and is read ahead while earlier layers compute, for contexts that memory "
        "does not hold: so many of the last ones, 'all', or layers as in 8-23 or 1,3,5-7; 0: none");
  o.add("--kv-offload-share", share, "of these layers' blocks, the share that is in the file; the others stay in memory");
  o.add("--kv-offload-path", path, "the folder of that file, which has no name and ends with the process");
  o.add("--kv-offload-depth", depth, "layers that are read ahead; each takes memory for its offloaded KV; 0: a layer is read when it is needed");
}

Status OffloadFlags::check(const EngineOptions& engine) const {
  const OffloadFlags defaults;
  if (layers.find_first_not_of('0') == std::string::npos) {
    for (const auto& [flag, given] : {std::pair{"--kv-offload-share", share != defaults.share},
                                      {"--kv-offload-path", path != defaults.path},
                                      {"--kv-offload-depth", depth != defaults.depth}})
      if (given) return invalid_argument(fmt::format("{} has no use where no layer is offloaded; give {}", flag, kLayers), flag);
    return {};
  }
  if (is_list(layers)) {
    SLUICE_TRY([[maybe_unused]] const auto list, listed(layers));
  } else if (layers != "all") {
    SLUICE_TRY([[maybe_unused]] const int n, number(layers, layers));
  }
  if (!(share > 0 && share <= 1))
    return invalid_argument(fmt::format("--kv-offload-share is {}; it must be above 0 and at most 1", share), "--kv-offload-share");
  if (path.empty())
    return invalid_argument(fmt::format("{} needs --kv-offload-path, a folder on a disk that is fast and has room", kLayers), "--kv-offload-path");
  if (depth < 0 || depth > 64)
    return invalid_argument(fmt::format("--kv-offload-depth is {}; it must be from 0 to 64", depth), "--kv-offload-depth");
  if (engine.kv_retention != "none")
    return invalid_argument(fmt::format("--kv-retention moves rows between blocks that have to be in memory; give it or {}", kLayers), kLayers);
  if (engine.segment_cache || engine.cache_reuse > 0)
    return invalid_argument(fmt::format("--prompt-schema, --enable-chunk-reuse and --cache-reuse rotate keys of all layers where they stand, which have to be in memory; give "
                                        "one of them or {}", kLayers), kLayers);
  if (engine.kv_allocator == "virtual")
    return invalid_argument(fmt::format("--kv-allocator virtual maps a sequence's KV at addresses of its own, and the windows of {} have theirs: give "
                                        "--kv-allocator paged or static", kLayers), kLayers);
  return {};
}

Result<KvOffload> OffloadFlags::resolve(int model_layers) const {
  KvOffload offload{{}, share, path, depth};
  std::set<int> chosen;
  if (is_list(layers)) {
    SLUICE_TRY(chosen, listed(layers));
    if (*chosen.rbegin() >= model_layers)
      return invalid_argument(fmt::format("{} names layer {}; this model has layers 0 to {}", kLayers, *chosen.rbegin(), model_layers - 1), kLayers);
    offload.layers.assign(chosen.begin(), chosen.end());
  } else {
    int n = model_layers;
    if (layers != "all") {
      SLUICE_TRY(n, number(layers, layers));
    }
    if (n > model_layers) return invalid_argument(fmt::format("{} is {}; this model has {} layers", kLayers, n, model_layers), kLayers);
    offload.layers.resize(static_cast<size_t>(n));
    std::iota(offload.layers.begin(), offload.layers.end(), model_layers - n);
  }
  if (!offload.layers.empty() && static_cast<size_t>(depth) + 1 >= offload.layers.size())
    return invalid_argument(fmt::format("{} offloads {} layers, and --kv-offload-depth {} keeps memory for {}: nothing would be saved; offload more layers, or read "
                                        "fewer ahead", kLayers, offload.layers.size(), depth, depth + 1), kLayers);
  return offload;
}

std::string describe(const KvOffload& offload) {
  std::string text;
  for (size_t i = 0; i < offload.layers.size();) {
    size_t end = i + 1;
    while (end < offload.layers.size() && offload.layers[end] == offload.layers[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "layers " : ", ", offload.layers[i]);
    if (end > i + 1) text += fmt::format("-{}", offload.layers[end - 1]);
    i = end;
  }
  if (offload.share < 1) text += fmt::format(", {:.4g}% of their blocks", 100 * offload.share);
  text += fmt::format(", in {}, {} read ahead", offload.path, offload.depth);
  struct statfs disk {};
  if (::statfs(offload.path.c_str(), &disk) == 0 && disk.f_type == TMPFS_MAGIC) text += "; this folder is in memory, so that nothing is saved";
  return text;
}

}  // namespace sluice
