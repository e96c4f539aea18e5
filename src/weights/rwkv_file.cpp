#include "weights/rwkv_file.h"

#include <cstring>
#include <optional>

namespace sluice {
namespace {

constexpr uint32_t kRwkvMagic = 0x67676d66;  // "fmgg" in the file
constexpr uint32_t kFirstVersion = 100, kVersion = 101;
constexpr uint32_t kLongestName = 256;
constexpr int64_t kMostValues = int64_t{1} << 40;  // of a tensor; nobody's memory holds them

// The numbers of the file's types; those that are missing had layouts that ggml has given up.
std::optional<DType> type_of(uint32_t number) {
  switch (number) {
    case 0: return DType::f32;
    case 1: return DType::f16;
    case 2: return DType::q4_0;
    case 3: return DType::q4_1;
    case 7: return DType::q5_0;
    case 8: return DType::q5_1;
    case 9: return DType::q8_0;
    case 11: return DType::q2_k;
    case 12: return DType::q3_k;
    case 13: return DType::q4_k;
    case 14: return DType::q5_k;
    case 15: return DType::q6_k;
    default: return std::nullopt;
  }
}

class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file) {}
  bool at_end() const { return at_ == file_.bytes().size(); }

  Result<const uint8_t*> take(size_t bytes, std::string_view what) {
    const size_t left = file_.bytes().size() - at_;
    if (bytes > left) return corrupt(fmt::format("{} needs {} bytes, but the file ends after {}", what, bytes, left));
    const uint8_t* data = file_.bytes().data() + at_;
    at_ += bytes;
    return data;
  }
  Result<uint32_t> word(std::string_view what) {
    SLUICE_TRY(const uint8_t* data, take(4, what));
    uint32_t value = 0;
    std::memcpy(&value, data, 4);
    return value;
  }
  Error corrupt(std::string_view what) const { return corrupt_data(fmt::format("{}: byte {}: {}", file_.path(), at_, what)); }

 private:
  const MappedFile& file_;
  size_t at_ = 0;
};

Result<int64_t> size_field(Reader& in, const char* name, uint32_t most) {
  SLUICE_TRY(const uint32_t value, in.word(name));
  if (value < 1 || value > most) return in.corrupt(fmt::format("header field {} is {}; 1 to {} is possible", name, value, most));
  return int64_t{value};
}

Status read_tensor(Reader& in, uint32_t version, RwkvFile& out) {
  SLUICE_TRY(const uint32_t rank, in.word("a tensor's number of dimensions"));
  SLUICE_TRY(const uint32_t length, in.word("the length of a tensor's name"));
  SLUICE_TRY(const uint32_t number, in.word("a tensor's type"));
  if (rank < 1 || rank > 3) return in.corrupt(fmt::format("a tensor has {} dimensions; 1 to 3 are possible", rank));
  if (length < 1 || length > kLongestName) return in.corrupt(fmt::format("a tensor's name has {} bytes; 1 to {} are possible", length, kLongestName));
  RwkvTensor tensor;
  tensor.shape.rank = static_cast<int>(rank);
  int64_t elems = 1;
  for (uint32_t i = rank; i-- > 0;) {
    SLUICE_TRY(const uint32_t dim, in.word("a tensor's dimension"));
    if (dim < 1 || dim > kMostValues / elems) return in.corrupt(fmt::format("a tensor has a dimension of {} beside {} values", dim, elems));
    tensor.shape.dims[i] = dim;
    elems *= dim;
  }
  SLUICE_TRY(const uint8_t* const text, in.take(length, "a tensor's name"));
  std::string name(reinterpret_cast<const char*>(text), length);
  for (const char c : name)
    if (c <= ' ' || c > '~') return in.corrupt("a tensor's name is not made of printable letters");
  const std::optional<DType> dtype = type_of(number);
  if (!dtype) return in.corrupt(fmt::format("tensor {} has type {}, which is not known", name, number));
  tensor.dtype = *dtype;
  const DTypeInfo& type = dtype_info(*dtype);
  if (version == kFirstVersion && type.block_elems > 1)
    return in.corrupt(fmt::format("tensor {} is {} in the layout of version {}; that of version {} is read", name, type.name, version, kVersion));
  const int64_t columns = tensor.shape[tensor.shape.rank - 1];
  if (columns % type.block_elems != 0)
    return in.corrupt(fmt::format("tensor {} has rows of {} values, no multiple of {}'s blocks of {}", name, columns, type.name, type.block_elems));
  SLUICE_TRY(tensor.data, in.take(row_bytes(*dtype, elems), name));
  if (!out.tensors.emplace(name, tensor).second) return in.corrupt(fmt::format("tensor {} is there twice", name));
  return {};
}

}  // namespace

bool is_rwkv_file(const MappedFile& file) {
  uint32_t magic = 0;
  if (file.bytes().size() >= 4) std::memcpy(&magic, file.bytes().data(), 4);
  return magic == kRwkvMagic;
}

Result<RwkvFile> read_rwkv_file(const std::string& path) {
  RwkvFile out;
  SLUICE_TRY(out.file, MappedFile::open(path));
  if (!is_rwkv_file(*out.file)) return corrupt_data(fmt::format("{}: byte 0: not the mark of an rwkv.cpp model, \"fmgg\"", path));
  Reader in(*out.file);
  SLUICE_TRY([[maybe_unused]] const uint32_t magic, in.word("the mark"));
  SLUICE_TRY(const uint32_t version, in.word("the version"));
  if (version < kFirstVersion || version > kVersion)
    return unsupported(fmt::format("{}: byte 4: rwkv.cpp version {}; versions {} and {} are read", path, version, kFirstVersion, kVersion));
  SLUICE_TRY(out.vocab, size_field(in, "n_vocab", 1 << 24));
  SLUICE_TRY(out.hidden, size_field(in, "n_embed", 1 << 20));
  SLUICE_TRY(out.layers, size_field(in, "n_layer", 1 << 12));
  SLUICE_TRY([[maybe_unused]] const uint32_t type, in.word("the type of most tensors"));  // each has its own
  while (!in.at_end()) SLUICE_TRY_STATUS(read_tensor(in, version, out));
  return out;
}

}  // namespace sluice
