#include "weights/safetensors_file.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "weights/hf_config.h"
#include "weights/json_walk.h"
#include "weights/mapped_source.h"
#include "weights/quantized_source.h"

namespace sluice {
namespace {

constexpr uint64_t kHeaderLimitBytes = 100'000'000;  // the reference implementation's own limit
constexpr size_t kIndexLimitBytes = size_t{64} << 20;
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kSingleName = "model.safetensors";

std::optional<DType> parse_dtype(const std::string& name) {
  static const std::map<std::string, DType, std::less<>> kNames = {
      {"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16}, {"F64", DType::f64}, {"I8", DType::i8},
      {"U8", DType::u8},   {"I16", DType::i16}, {"U16", DType::u16},   {"I32", DType::i32}, {"U32", DType::u32},
      {"I64", DType::i64}, {"U64", DType::u64}, {"BOOL", DType::boolean}, {"F8_E4M3", DType::f8_e4m3}, {"F8_E5M2", DType::f8_e5m2}};
  const auto at = kNames.find(name);
  return at == kNames.end() ? std::nullopt : std::optional(at->second);
}

// One tensor's entry while its leaves arrive; they stand together in the text.
struct Entry {
  TensorInfo info;
  bool has_dtype = false, has_shape = false;
  int offsets = 0;
  uint64_t begin = 0, end = 0;
};

class HeaderReader {
 public:
  HeaderReader(const std::string& path, size_t data_offset_bytes, size_t data_bytes)
      : path_(path), data_offset_bytes_(data_offset_bytes), data_bytes_(data_bytes) {}

  Status leaf(std::span<const JsonStep> path, JsonLeaf& leaf) {
    const std::string& name = path[0].key;
    if (name == "__metadata__") return {};
    if (!open_ || entry_.info.name != name) {
      SLUICE_TRY_STATUS(finish());
      open_ = true;
      entry_ = {};
      entry_.info.name = name;
    }
    const std::string field = path.size() > 1 ? path[1].key : "";
    if (field == "dtype" && path.size() == 2) return dtype(leaf);
    if (field == "shape" && path.size() <= 3) return shape(path, leaf);
    if (field == "data_offsets" && path.size() == 3) return offset(leaf);
    return bad(fmt::format("has the unexpected field \"{}\"; dtype, shape and data_offsets are wanted",
                           json_path(path.subspan(1))));
  }

  // Checks the entry that is complete now.
  Status finish() {
    if (!open_) return {};
    open_ = false;
    TensorInfo& info = entry_.info;
    if (!entry_.has_dtype || !entry_.has_shape || entry_.offsets != 2)
      return bad("lacks one of dtype, shape and data_offsets (two numbers)");
    if (entry_.begin > entry_.end || entry_.end > data_bytes_)
      return bad(fmt::format("has data_offsets [{}, {}], but the data section from byte {} has {} bytes", entry_.begin,
                             entry_.end, data_offset_bytes_, data_bytes_));
    if (!tensor_bytes(info.shape, 1, dtype_info(info.dtype).block_bytes, info.size_bytes) ||
        info.size_bytes != entry_.end - entry_.begin)
      return bad(fmt::format("is {} {}, but its data_offsets [{}, {}] hold {} bytes", dtype_name(info.dtype),
                             info.shape.text(), entry_.begin, entry_.end, entry_.end - entry_.begin));
    info.offset_bytes = data_offset_bytes_ + static_cast<size_t>(entry_.begin);
    tensors_.push_back(std::move(info));
    return {};
  }

  // The format allows no hole and no overlap, so that a file cannot hide bytes.
  Result<std::vector<TensorInfo>> take() {
    std::vector<const TensorInfo*> order;
    for (const auto& info : tensors_) order.push_back(&info);
    std::sort(order.begin(), order.end(), [](const TensorInfo* a, const TensorInfo* b) {
      return std::pair(a->offset_bytes, a->size_bytes) < std::pair(b->offset_bytes, b->size_bytes);
    });
    size_t end = data_offset_bytes_;
    for (const TensorInfo* info : order) {
      if (info->offset_bytes != end)
        return corrupt_data(fmt::format("{}: tensor {} starts at byte {}, but the tensor before it ends at byte {}",
                                        path_, info->name, info->offset_bytes, end));
      end = info->offset_bytes + info->size_bytes;
    }
    if (end != data_offset_bytes_ + data_bytes_)
      return corrupt_data(fmt::format("{}: the tensors end at byte {}, but the file has {} bytes", path_, end,
                                      data_offset_bytes_ + data_bytes_));
    return std::move(tensors_);
  }

 private:
  Status bad(const std::string& what) const {
    return corrupt_data(fmt::format("{}: tensor {} {}", path_, entry_.info.name, what));
  }
  Status dtype(const JsonLeaf& leaf) {
    const auto* name = std::get_if<std::string>(&leaf);
    if (name == nullptr || entry_.has_dtype) return bad("needs one dtype, a string");
    const auto dtype = parse_dtype(*name);
    if (!dtype)
      return unsupported(
          fmt::format("{}: tensor {} has dtype {}, which is not read; weights may be F64, F32, F16, BF16, F8_E4M3 or F8_E5M2", path_,
                      entry_.info.name, *name));
    entry_.info.dtype = *dtype;
    entry_.has_dtype = true;
    return {};
  }
  Status shape(std::span<const JsonStep> path, const JsonLeaf& leaf) {
    Shape& shape = entry_.info.shape;
    if (path.size() == 2 && std::holds_alternative<JsonEmpty>(leaf) && !entry_.has_shape) {  // []: a scalar
      entry_.has_shape = true;
      return {};
    }
    const auto* size = std::get_if<int64_t>(&leaf);
    if (path.size() != 3 || size == nullptr || *size < 0) return bad("needs a shape of whole numbers");
    if (path[2].index != shape.rank) return bad("has two shapes");
    if (shape.rank == 4)
      return unsupported(fmt::format("{}: tensor {} has more than 4 dimensions", path_, entry_.info.name));
    shape.dims[shape.rank++] = *size;
    entry_.has_shape = true;
    return {};
  }
  Status offset(const JsonLeaf& leaf) {
    const auto* value = std::get_if<int64_t>(&leaf);
    if (value == nullptr || *value < 0 || entry_.offsets >= 2) return bad("needs data_offsets of two whole numbers");
    (entry_.offsets++ == 0 ? entry_.begin : entry_.end) = static_cast<uint64_t>(*value);
    return {};
  }

  const std::string& path_;
  size_t data_offset_bytes_, data_bytes_;
  bool open_ = false;
  Entry entry_;
  std::vector<TensorInfo> tensors_;
};

// Tensor name -> shard file, and nothing else of the index.
Result<std::map<std::string, std::string>> read_index(const std::string& path) {
  SLUICE_TRY(const std::string text, read_file(path, kIndexLimitBytes));
  std::map<std::string, std::string> shard_of;
  SLUICE_TRY_STATUS(walk_json(text, path, [&](std::span<const JsonStep> at, JsonLeaf& leaf) -> Status {
    if (at[0].key != "weight_map") return {};
    auto* file = std::get_if<std::string>(&leaf);
    if (at.size() != 2 || file == nullptr)
      return corrupt_data(fmt::format("{}: {} must be the name of a file", path, json_path(at)));
    if (file->empty() || file->front() == '.' || file->find_first_of(std::string("/\\\0", 3)) != std::string::npos)
      return corrupt_data(
          fmt::format("{}: {} names the file \"{}\"; a plain file name is wanted", path, json_path(at), *file));
    shard_of[at[1].key] = std::move(*file);
    return {};
  }));
  if (shard_of.empty()) return corrupt_data(path + ": has no weight_map");
  return shard_of;
}

Result<std::shared_ptr<TensorSource>> open_files(const std::filesystem::path& directory, Metadata metadata,
                                                 const std::set<std::string>& names) {
  std::vector<std::shared_ptr<MappedFile>> files;
  std::vector<TensorInfo> tensors;
  for (const auto& name : names) {
    SLUICE_TRY(auto file, MappedFile::open((directory / name).string()));
    SLUICE_TRY(auto infos, read_safetensors_header(*file));
    for (auto& info : infos) {
      info.file_index = files.size();
      tensors.push_back(std::move(info));
    }
    files.push_back(std::move(file));
  }
  return MappedSource::create(std::move(metadata), std::move(files), std::move(tensors));
}

Result<std::shared_ptr<TensorSource>> open_indexed(const std::filesystem::path& index, Metadata metadata) {
  SLUICE_TRY(const auto shard_of, read_index(index.string()));
  std::set<std::string> names;
  for (const auto& [tensor, file] : shard_of) names.insert(file);
  SLUICE_TRY(auto source, open_files(index.parent_path(), std::move(metadata), names));
  const auto paths = source->files();
  for (const auto& [tensor, file] : shard_of) {
    const TensorInfo* info = source->find(tensor);
    if (info == nullptr || std::filesystem::path(paths[info->file_index]).filename() != file)
      return corrupt_data(fmt::format("{}: tensor {} is not in {}", index.string(), tensor, file));
  }
  return source;
}

Result<std::shared_ptr<TensorSource>> open_as_in_files(const std::string& path) {
  namespace fs = std::filesystem;
  const fs::path given(path);
  const fs::path directory = is_directory(path) ? given : given.parent_path();
  const fs::path config = directory / "config.json";
  if (!file_exists(config.string()))
    return not_found(
        fmt::format("{}: not found; a safetensors model needs its config.json beside it", config.string()));
  SLUICE_TRY(Metadata metadata, load_config(config.string()));

  if (given.extension() == ".json") return open_indexed(given, std::move(metadata));
  const fs::path index = directory / kIndexName;
  if (is_directory(path)) {
    if (file_exists(index.string())) return open_indexed(index, std::move(metadata));
    if (file_exists((directory / kSingleName).string()))
      return open_files(directory, std::move(metadata), {kSingleName});
    return not_found(fmt::format("{}: holds neither {} nor {}; other formats (PyTorch .bin, .pth) are not read", path,
                                 kIndexName, kSingleName));
  }
  // One shard of an indexed model stands for the whole.
  if (file_exists(index.string())) {
    SLUICE_TRY(const auto shard_of, read_index(index.string()));
    for (const auto& [tensor, file] : shard_of)
      if (given.filename() == file) return open_indexed(index, std::move(metadata));
  }
  return open_files(directory, std::move(metadata), {given.filename().string()});
}

}  // namespace

Result<std::vector<TensorInfo>> read_safetensors_header(const MappedFile& file) {
  const std::string& path = file.path();
  const auto bytes = file.bytes();
  uint64_t length = 0;
  if (bytes.size() < sizeof length)
    return corrupt_data(
        fmt::format("{}: byte 0: the header length needs 8 bytes, but the file has {}", path, bytes.size()));
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kHeaderLimitBytes)
    return corrupt_data(
        fmt::format("{}: byte 0: a header of {} bytes; at most {} are allowed", path, length, kHeaderLimitBytes));
  if (length > bytes.size() - sizeof length)
    return corrupt_data(fmt::format("{}: byte 0: a header of {} bytes, but only {} bytes follow", path, length,
                                    bytes.size() - sizeof length));
  const size_t data_offset = sizeof length + static_cast<size_t>(length);
  HeaderReader reader(path, data_offset, bytes.size() - data_offset);
  SLUICE_TRY_STATUS(walk_json(
      {reinterpret_cast<const char*>(bytes.data()) + sizeof length, static_cast<size_t>(length)}, path + ": header",
      [&](std::span<const JsonStep> at, JsonLeaf& leaf) { return reader.leaf(at, leaf); }));
  SLUICE_TRY_STATUS(reader.finish());
  return reader.take();
}

Result<std::shared_ptr<TensorSource>> open_safetensors(const std::string& path) {
  SLUICE_TRY(auto source, open_as_in_files(path));
  return open_quantized(std::move(source));
}

}  // namespace sluice
