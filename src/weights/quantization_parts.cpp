#include "weights/quantization_parts.h"

#include <numeric>

namespace sluice {

Error bad_part(const TensorSource& source, const TensorInfo& info, std::string_view what) {
  return unsupported(fmt::format("{}: tensor {} {}", source.files()[info.file_index], info.name, what));
}

Result<const TensorInfo*> take_part(const TensorSource& source, const std::string& name,
                                    std::initializer_list<DType> types, const Shape& shape, Repacking& out) {
  const TensorInfo* info = source.find(name);
  if (info == nullptr)
    return not_found(fmt::format("{}: tensor {} {} is missing, without which its matrix cannot be read",
                                 source.metadata().origin(), name, shape.text()));
  if (std::find(types.begin(), types.end(), info->dtype) == types.end()) {
    std::string wanted;
    for (const DType type : types) wanted += (wanted.empty() ? "" : " or ") + std::string(dtype_name(type));
    return bad_part(source, *info, fmt::format("has type {}; {} is wanted", dtype_name(info->dtype), wanted));
  }
  bool fits = info->shape.rank == shape.rank;
  for (int i = 0; fits && i < shape.rank; ++i) fits = shape[i] == -1 || shape[i] == info->shape[i];
  if (!fits)
    return corrupt_data(fmt::format("{}: tensor {} has shape {}; {} is wanted (-1: any)",
                                    source.files()[info->file_index], name, info->shape.text(), shape.text()));
  out.parts.insert(name);
  return info;
}

std::vector<std::pair<std::string, const TensorInfo*>> tensors_ending(const TensorSource& source,
                                                                      std::string_view end) {
  std::vector<std::pair<std::string, const TensorInfo*>> found;
  for (const TensorInfo& info : source.tensors())
    if (info.name.size() > end.size() && info.name.ends_with(end))
      found.emplace_back(info.name.substr(0, info.name.size() - end.size()), &info);
  return found;
}

Result<int> block_length(const TensorSource& source, const TensorInfo& info, int64_t group, int64_t k) {
  for (const int length : {128, 32})
    if (k > 0 && group > 0 && k % length == 0 && group % length == 0) return length;
  return bad_part(source, info,
                  fmt::format("has groups of {} in rows of {} values; both must be multiples of 32", group, k));
}

Result<std::vector<int32_t>> order_by_group(const TensorSource& source, const TensorInfo& group_of, int64_t group) {
  const int64_t k = group_of.shape.elems();
  const void* const data = source.view(group_of).data;
  std::vector<int32_t> of(static_cast<size_t>(k));
  bool in_order = true;
  for (int64_t i = 0; i < k; ++i) {
    of[static_cast<size_t>(i)] = static_cast<int32_t>(word_at(data, i));
    in_order = in_order && of[static_cast<size_t>(i)] == i / group;
  }
  if (in_order) return std::vector<int32_t>();
  std::vector<int64_t> columns(static_cast<size_t>(k / group));
  for (const int32_t g : of) {
    if (g < 0 || static_cast<size_t>(g) >= columns.size())
      return corrupt_data(fmt::format("{}: tensor {} names group {} of {}", source.files()[group_of.file_index],
                                      group_of.name, g, columns.size()));
    ++columns[static_cast<size_t>(g)];
  }
  for (size_t g = 0; g < columns.size(); ++g)
    if (columns[g] != group)
      return bad_part(source, group_of,
                      fmt::format("gives group {} {} columns; every group must have {}", g, columns[g], group));
  std::vector<int32_t> order(of.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return of[static_cast<size_t>(a)] < of[static_cast<size_t>(b)]; });
  return order;
}

}  // namespace sluice
