#include "quant/kv/kv_formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

namespace sluice {
namespace {

constexpr char kFlag[] = "--kv-cache-dtype";

const KvFormat* named(std::string_view name) {
  if (name == "float32") name = "f32";
  if (name == "float16" || name == "half") name = "f16";
  if (name == "bfloat16") name = "bf16";
  if (name == "fp8_e4m3") name = "fp8";
  for (const KvFormat* format : kv_formats())
    if (name == format->name) return format;
  return name == kKvMiniCache.name ? &kKvMiniCache : nullptr;
}

/// "3", or "0-3".
bool read_range(std::string_view text, int& first, int& last) {
  const char *at = text.data(), *end = at + text.size();
  auto read = std::from_chars(at, end, first);
  if (read.ec != std::errc{} || first < 0) return false;
  last = first;
  if (read.ptr == end) return true;
  if (*read.ptr != '-') return false;
  read = std::from_chars(read.ptr + 1, end, last);
  return read.ec == std::errc{} && read.ptr == end && last >= first;
}

}  // namespace

std::string KvFormats::known_names() {
  std::string names;
  for (const KvFormat* format : kv_formats()) names += fmt::format("{}{}", names.empty() ? "" : ", ", format->name);
  return fmt::format("{}, {}", names, kKvMiniCache.name);
}

Result<KvFormats> KvFormats::parse(std::string_view text) {
  KvFormats formats(kKvF32);
  formats.rest_ = nullptr;
  for (std::string_view left = text; ; ) {
    const std::string_view part = left.substr(0, left.find(','));
    const size_t colon = part.find(':');
    const KvFormat* format = named(part.substr(0, colon));
    if (format == nullptr)
      return invalid_argument(fmt::format("{} '{}' is not known; it is one of auto, {}, or several with their layers, as in f16:0-3,int8",
                                          kFlag, part.substr(0, colon), known_names()), kFlag);
    Range range{format, 0, 0};
    if (colon == std::string_view::npos) {
      if (formats.rest_ != nullptr) return invalid_argument(fmt::format("{} '{}': {} and {} are both for all other layers", kFlag, text, formats.rest_->name, format->name), kFlag);
      formats.rest_ = format;
    } else if (!read_range(part.substr(colon + 1), range.first, range.last)) {
      return invalid_argument(fmt::format("{} '{}': '{}' is no range of layers, as in 0-3 or 5", kFlag, text, part.substr(colon + 1)), kFlag);
    } else {
      for (const Range& other : formats.ranges_)
        if (range.first <= other.last && other.first <= range.last)
          return invalid_argument(fmt::format("{} '{}': layer {} has two formats", kFlag, text, std::max(range.first, other.first)), kFlag);
      formats.ranges_.push_back(range);
    }
    if (part.size() == left.size()) return formats;
    left.remove_prefix(part.size() + 1);
  }
}

Status KvFormats::check(int layers) const {
  const int middle = (layers + 1) / 2, first = layers - (layers - middle) / 2 * 2;  // of all pairs that the upper half has
  const auto merge = [&](std::string_view name, std::string_view why) {
    return invalid_argument(fmt::format("{} '{}': {} merges pairs of adjacent layers of the upper half, {}; {}", kFlag, this->name(), name, why,
                                        first < layers ? fmt::format("of this model's {} layers those are within {}-{}, as in kivi4,{}:{}-{}", layers, middle, layers - 1, name, first, layers - 1)
                                                       : fmt::format("and this model has {} in all", layers)),
                            kFlag);
  };
  if (rest_ != nullptr && rest_->pairs()) return merge(rest_->name, "and has to be told which");
  for (const Range& r : ranges_) {
    if (!r.format->pairs() || r.last >= layers) continue;
    if ((r.last - r.first) % 2 == 0) return merge(r.format->name, fmt::format("and {}-{} are not an even number", r.first, r.last));
    if (r.first < middle) return merge(r.format->name, fmt::format("which {} is not in", r.first));
  }
  for (const Range& r : ranges_)
    if (r.last >= layers)
      return invalid_argument(fmt::format("{} names layer {}; the model has {}, from 0 on", kFlag, r.last, layers), kFlag);
  for (int l = 0; rest_ == nullptr && l < layers; ++l)
    if (std::ranges::none_of(ranges_, [&](const Range& r) { return l >= r.first && l <= r.last; }))
      return invalid_argument(fmt::format("{} says no format for layer {}; give one without layers for all others", kFlag, l), kFlag);
  return {};
}

std::string KvFormats::name() const {
  std::string text;
  for (const Range& r : ranges_) text += fmt::format("{}:{}-{},", r.format->name, r.first, r.last);
  if (rest_ != nullptr) return text + std::string(rest_->name);
  text.pop_back();
  return text;
}

uint64_t KvFormats::salt() const {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : name()) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::vector<const KvFormat*> KvFormats::all() const {
  std::vector<const KvFormat*> found;
  if (rest_ != nullptr) found.push_back(rest_);
  for (const Range& r : ranges_) found.push_back(r.format);
  return found;
}

int KvFormats::side(int layer) const {
  for (const Range& r : ranges_)
    if (r.format->pairs() && layer >= r.first && layer <= r.last) return (layer - r.first) % 2;
  return -1;
}

bool KvFormats::pairs() const { return std::ranges::any_of(all(), &KvFormat::pairs); }

bool KvFormats::seals() const {
  return std::ranges::any_of(all(), [](const KvFormat* f) { return f->block != nullptr; });
}

int KvFormats::fitting_block(int tokens) const {
  int unit = 1;
  for (const KvFormat* f : all()) unit = std::lcm(unit, f->group_tokens());
  return (tokens + unit - 1) / unit * unit;
}

}  // namespace sluice
