#include "weights/gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <set>

#include "weights/mapped_source.h"
#include "weights/native_pack.h"

namespace sluice {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as little-endian memory");

// Reads forward and never past the end. The first failure sticks: later reads give zeros, so that callers check once
// per record instead of once per field. A count is only believed when the bytes that it promises are there.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : path_(file.path()), bytes_(file.bytes()) {}

  template <class T>
  T scalar(const std::string& field) {
    T value{};
    if (take(sizeof(T), field)) std::memcpy(&value, bytes_.data() + at_ - sizeof(T), sizeof(T));
    return value;
  }

  std::string string(const std::string& field) {
    const auto length = scalar<uint64_t>(field);
    if (!take(length, field)) return {};
    return {reinterpret_cast<const char*>(bytes_.data() + at_ - length), static_cast<size_t>(length)};
  }

  // A count of records of at least `least_bytes` each.
  uint64_t count(uint64_t claimed, size_t least_bytes, const std::string& field) {
    if (!failed_ && claimed > left() / least_bytes)
      fail(fmt::format("{} promises {} entries of at least {} bytes, but {} bytes are left", field, claimed,
                       least_bytes, left()));
    return failed_ ? 0 : claimed;
  }

  void fail(const std::string& what) { fail_with(corrupt_data(place() + what)); }
  void fail_unsupported(const std::string& what) { fail_with(unsupported(place() + what)); }

  bool failed() const { return failed_; }
  const Error& error() const { return error_; }
  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

 private:
  std::string place() const { return fmt::format("{}: byte {}: ", path_, at_); }
  void fail_with(Error error) {
    if (!failed_) error_ = std::move(error);
    failed_ = true;
  }
  bool take(uint64_t length, const std::string& field) {
    if (failed_) return false;
    if (length > left()) {
      fail(fmt::format("{} needs {} bytes, but the file ends after {}", field, length, left()));
      return false;
    }
    at_ += static_cast<size_t>(length);
    return true;
  }

  const std::string& path_;
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool failed_ = false;
  Error error_;
};

int64_t read_integer(Cursor& in, GgufType type, const std::string& field) {
  switch (type) {
    case GgufType::u8: return in.scalar<uint8_t>(field);
    case GgufType::i8: return in.scalar<int8_t>(field);
    case GgufType::u16: return in.scalar<uint16_t>(field);
    case GgufType::i16: return in.scalar<int16_t>(field);
    case GgufType::u32: return in.scalar<uint32_t>(field);
    case GgufType::i32: return in.scalar<int32_t>(field);
    case GgufType::boolean: return in.scalar<uint8_t>(field) != 0;
    case GgufType::u64: return static_cast<int64_t>(in.scalar<uint64_t>(field));
    default: return in.scalar<int64_t>(field);
  }
}

double read_number(Cursor& in, GgufType type, const std::string& field) {
  return type == GgufType::f32 ? in.scalar<float>(field) : in.scalar<double>(field);
}

MetadataValue read_array(Cursor& in, GgufKey& key) {
  const std::string field = "array \"" + key.name + "\"";
  key.element = static_cast<GgufType>(in.scalar<uint32_t>(field));
  const auto claimed = in.scalar<uint64_t>(field);
  if (key.element == GgufType::string) {
    std::vector<std::string> values(in.count(claimed, sizeof(uint64_t), field));
    for (auto& value : values) {
      value = in.string(field);
      if (in.failed()) break;
    }
    return values;
  }
  const size_t width = gguf_scalar_bytes(key.element);
  if (width == 0) {
    if (!in.failed())
      in.fail_unsupported(fmt::format("{} holds elements of type {}; scalars and strings are readable", field,
                                      static_cast<uint32_t>(key.element)));
    return std::vector<int64_t>();
  }
  const auto size = in.count(claimed, width, field);
  if (key.element == GgufType::f32 || key.element == GgufType::f64) {
    std::vector<double> values(size);
    for (auto& value : values) value = read_number(in, key.element, field);
    return values;
  }
  std::vector<int64_t> values(size);
  for (auto& value : values) value = read_integer(in, key.element, field);
  return values;
}

void read_key(Cursor& in, GgufKey& key) {
  key.name = in.string("a key's name");
  const std::string field = "key \"" + key.name + "\"";
  const auto type = in.scalar<uint32_t>(field);
  if (in.failed()) return;
  key.type = static_cast<GgufType>(type);
  switch (key.type) {
    case GgufType::string: key.value = in.string(field); return;
    case GgufType::array: key.value = read_array(in, key); return;
    case GgufType::f32: case GgufType::f64: key.value = read_number(in, key.type, field); return;
    case GgufType::boolean: key.value = read_integer(in, key.type, field) != 0; return;
    default: break;
  }
  if (gguf_scalar_bytes(key.type) == 0) return in.fail(fmt::format("{} has the unknown value type {}", field, type));
  key.value = read_integer(in, key.type, field);
}

// The offset is still relative to the data section, and the size unchecked against it.
void read_tensor_info(Cursor& in, bool pack, TensorInfo& info) {
  info.name = in.string("a tensor's name");
  const std::string field = "tensor " + info.name;
  const auto rank = in.scalar<uint32_t>(field + " n_dims");
  if (rank < 1 || rank > 4) {
    if (!in.failed()) in.fail(fmt::format("{} has {} dimensions; 1 to 4 are possible", field, rank));
    return;
  }
  info.shape.rank = static_cast<int>(rank);
  for (int i = 0; i < info.shape.rank; ++i)  // on disk the innermost dimension stands first
    info.shape.dims[info.shape.rank - 1 - i] = static_cast<int64_t>(in.scalar<uint64_t>(field + " dimensions"));
  auto type_id = in.scalar<uint32_t>(field + " type");
  info.offset_bytes = static_cast<size_t>(in.scalar<uint64_t>(field + " offset"));
  if (in.failed()) return;
  info.packed = pack && type_id >= kPackedTypeBase;
  if (info.packed) type_id -= kPackedTypeBase;
  const GgmlType* type = pack ? find_pack_type(type_id) : find_ggml_type(type_id);
  if (type == nullptr) return in.fail(fmt::format("{} has the unknown type {}", field, type_id));
  if (!type->dtype)
    return in.fail_unsupported(fmt::format("{} has type {}, which is not read yet; readable are {}", field, type->name,
                                           readable_ggml_types()));
  info.dtype = *type->dtype;
  if (info.packed) {
    if (!packed_tensor_bytes(info.shape, info.dtype, info.size_bytes))
      in.fail(fmt::format("{} of type {} and shape {} cannot be packed", field, type->name, info.shape.text()));
    return;
  }
  if (!tensor_bytes(info.shape, type->block_elems, type->block_bytes, info.size_bytes))
    in.fail(fmt::format("{} of type {} cannot have shape {} (rows hold blocks of {})", field, type->name,
                        info.shape.text(), type->block_elems));
}

Result<size_t> alignment_of(const GgufHeader& header, const std::string& path) {
  for (const auto& key : header.keys) {
    if (key.name != "general.alignment") continue;
    const auto* value = std::get_if<int64_t>(&key.value);
    if (value == nullptr || *value < 1 || *value > (1 << 20) || !std::has_single_bit(static_cast<uint64_t>(*value)))
      return corrupt_data(fmt::format("{}: general.alignment must be a power of two up to 2^20", path));
    return static_cast<size_t>(*value);
  }
  return kGgufAlignment;
}

Metadata metadata_of(std::vector<GgufKey> keys, const std::string& path) {
  Metadata metadata(MetadataKind::gguf, path);
  for (auto& key : keys) metadata.set(std::move(key.name), std::move(key.value));
  return metadata;
}

struct SplitName {
  std::string stem;
  int part = 1, parts = 1;
  std::string path_of(int index) const { return fmt::format("{}-{:05}-of-{:05}.gguf", stem, index, parts); }
};

std::optional<SplitName> parse_split_name(const std::string& path) {
  constexpr std::string_view kPattern = "-#####-of-#####.gguf";
  if (path.size() < kPattern.size()) return {};
  const std::string tail = path.substr(path.size() - kPattern.size());
  for (size_t i = 0; i < tail.size(); ++i)
    if (kPattern[i] == '#' ? tail[i] < '0' || tail[i] > '9' : tail[i] != kPattern[i]) return {};
  return SplitName{path.substr(0, path.size() - kPattern.size()), std::stoi(tail.substr(1, 5)),
                   std::stoi(tail.substr(10, 5))};
}

// The path that carries the metadata: the first part of a split model, or the file itself.
std::string first_part(const std::string& path) {
  const auto split = parse_split_name(path);
  return split && split->part > 1 ? split->path_of(1) : path;
}

}  // namespace

Result<GgufHeader> read_gguf_header(const MappedFile& file) {
  const std::string& path = file.path();
  Cursor in(file);
  GgufHeader header;
  const auto magic = in.scalar<uint32_t>("the magic number");
  if (!in.failed() && magic != kGgufMagic) return corrupt_data(fmt::format("{}: byte 0: not a GGUF file", path));
  header.version = in.scalar<uint32_t>("the version");
  if (in.failed()) return in.error();
  if (header.version == 0x02000000 || header.version == 0x03000000)
    return unsupported(fmt::format("{}: byte 4: a big-endian GGUF; only little-endian files are read", path));
  if (header.version != 2 && header.version != 3)
    return unsupported(fmt::format("{}: byte 4: GGUF version {}; versions 2 and 3 are read", path, header.version));
  const auto tensor_claim = in.scalar<uint64_t>("the tensor count");
  const auto key_claim = in.scalar<uint64_t>("the key-value count");
  constexpr size_t kLeastKey = 8 + 4 + 1, kLeastTensor = 8 + 4 + 8 + 4 + 8;
  const auto n_keys = in.count(key_claim, kLeastKey, "the key-value count");
  const auto n_tensors = in.count(tensor_claim, kLeastTensor, "the tensor count");
  std::set<std::string, std::less<>> seen;
  for (uint64_t i = 0; i < n_keys && !in.failed(); ++i) {
    read_key(in, header.keys.emplace_back());
    if (!in.failed() && !seen.insert(header.keys.back().name).second)
      in.fail(fmt::format("key \"{}\" occurs twice", header.keys.back().name));
  }
  if (in.failed()) return in.error();
  SLUICE_TRY(const bool pack, is_pack(header.keys, path));
  for (uint64_t i = 0; i < n_tensors && !in.failed(); ++i) read_tensor_info(in, pack, header.tensors.emplace_back());
  if (in.failed()) return in.error();

  SLUICE_TRY(header.alignment_bytes, alignment_of(header, path));
  if (pack && header.alignment_bytes % 64 != 0)
    return corrupt_data(fmt::format("{}: general.alignment is {}, but panels stand at multiples of 64", path,
                                    header.alignment_bytes));
  const size_t size = file.bytes().size(), align = header.alignment_bytes;
  // The end of a file without tensors needs no padding.
  header.data_offset_bytes = std::min((in.at() + align - 1) / align * align, size);
  const size_t data_bytes = size - header.data_offset_bytes;
  for (auto& info : header.tensors) {
    if (info.offset_bytes % align != 0)
      return corrupt_data(fmt::format("{}: tensor {}: offset {} is no multiple of the alignment {}", path, info.name,
                                      info.offset_bytes, align));
    if (info.offset_bytes > data_bytes || info.size_bytes > data_bytes - info.offset_bytes)
      return corrupt_data(
          fmt::format("{}: tensor {} ({} {}) takes {} bytes at offset {}, but the data section from byte {} "
                      "has only {} bytes",
                      path, info.name, dtype_name(info.dtype), info.shape.text(), info.size_bytes, info.offset_bytes,
                      header.data_offset_bytes, data_bytes));
    info.offset_bytes += header.data_offset_bytes;
  }
  return header;
}

Result<std::shared_ptr<TensorSource>> open_gguf(const std::string& path) {
  const std::string first = first_part(path);
  SLUICE_TRY(auto file, MappedFile::open(first));
  SLUICE_TRY(auto header, read_gguf_header(*file));
  Metadata metadata = metadata_of(std::move(header.keys), first);
  std::vector<std::shared_ptr<MappedFile>> files{std::move(file)};
  std::vector<TensorInfo> tensors = std::move(header.tensors);

  const int64_t parts = metadata.integer_or("split.count", 0);
  if (parts > 1) {
    const auto name = parse_split_name(first);
    if (!name || name->parts != parts)
      return corrupt_data(
          fmt::format("{}: split.count is {}, so that the file should be named like model-00001-of-{:05}.gguf", first,
                      parts, parts));
    for (int part = 2; part <= name->parts; ++part) {
      SLUICE_TRY(auto next, MappedFile::open(name->path_of(part)));
      SLUICE_TRY(auto part_header, read_gguf_header(*next));
      const Metadata part_keys = metadata_of(std::move(part_header.keys), next->path());
      if (part_keys.integer_or("split.no", -1) != part - 1)
        return corrupt_data(fmt::format("{}: split.no is {}, but {} was expected of this part", next->path(),
                                        part_keys.integer_or("split.no", -1), part - 1));
      for (auto& info : part_header.tensors) {
        info.file_index = files.size();
        tensors.push_back(std::move(info));
      }
      files.push_back(std::move(next));
    }
    const int64_t total = metadata.integer_or("split.tensors.count", static_cast<int64_t>(tensors.size()));
    if (total != static_cast<int64_t>(tensors.size()))
      return corrupt_data(fmt::format("{}: split.tensors.count is {}, but the {} parts hold {} tensors", first, total,
                                      parts, tensors.size()));
  }
  return MappedSource::create(std::move(metadata), std::move(files), std::move(tensors));
}

Result<std::vector<GgufKey>> read_gguf_keys(const std::string& path) {
  SLUICE_TRY(auto file, MappedFile::open(first_part(path)));
  SLUICE_TRY(auto header, read_gguf_header(*file));
  return std::move(header.keys);
}

}  // namespace sluice
