#include "weights/gguf_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>

#include "backend/kernel_args.h"
#include "backend/pack.h"
#include "quant/weight/weight_format.h"
#include "weights/mapped_source.h"
#include "weights/native_pack.h"

namespace sluice {
namespace {

size_t alignment_of(const GgufPlan& plan) { return plan.pack ? kPackAlignment : kGgufAlignment; }
size_t padded(size_t bytes, size_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

// The file under its temporary name; removed again unless it was committed.
class OutputFile {
 public:
  explicit OutputFile(std::string path)
      : path_(std::move(path)), temporary_(path_ + ".part" + std::to_string(::getpid())) {}
  ~OutputFile() {
    if (fd_ >= 0) ::close(fd_);
    if (fd_ >= 0 && !committed_) ::unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  Status open() {
    // A rename would put the file in the place of a device, a socket or a directory.
    struct stat at {};
    if (::stat(path_.c_str(), &at) == 0 && !S_ISREG(at.st_mode))
      return invalid_argument(fmt::format("{} exists and is no regular file; a model cannot be written there", path_));
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd_ >= 0 ? Status() : refused("create");
  }
  Status write(const void* data, size_t bytes) {
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::write(fd_, at, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return refused("write");
      at += n;
      bytes -= static_cast<size_t>(n);
      written_ += static_cast<size_t>(n);
    }
    return {};
  }
  Status pad(size_t alignment) {
    static constexpr char kZeros[kPackAlignment] = {};
    return write(kZeros, padded(written_, alignment) - written_);
  }
  Status rewrite_start(const std::string& bytes) {
    if (::lseek(fd_, 0, SEEK_SET) != 0) return refused("seek");
    const size_t size = written_;
    const Status status = write(bytes.data(), bytes.size());
    written_ = size;
    return status;
  }
  Status commit() {
    if (::fsync(fd_) != 0) return refused("sync");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) return refused("give its name to");
    committed_ = true;
    return {};
  }
  size_t written() const { return written_; }

 private:
  // Names the file that was asked for: nobody knows the temporary one.
  Status refused(const char* what) const {
    const int reason = errno;
    const std::string after = written_ > 0 ? fmt::format(" after {} bytes", written_) : "";
    return io_error(fmt::format("cannot {} {}{}: {}", what, path_, after, std::strerror(reason)));
  }

  std::string path_, temporary_;
  int fd_ = -1;
  bool committed_ = false;
  size_t written_ = 0;
};

class HeaderBuilder {
 public:
  template <class T>
  void scalar(T value) { text_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void string(const std::string& value) {
    scalar<uint64_t>(value.size());
    text_ += value;
  }
  void integer(GgufType type, int64_t value) {
    text_.append(reinterpret_cast<const char*>(&value), gguf_scalar_bytes(type));  // little-endian: the low bytes
  }
  void number(GgufType type, double value) {
    if (type == GgufType::f32) scalar(static_cast<float>(value));
    else scalar(value);
  }

  void key(const GgufKey& key) {
    string(key.name);
    scalar(static_cast<uint32_t>(key.type));
    const bool array = key.type == GgufType::array;
    if (array) scalar(static_cast<uint32_t>(key.element));
    std::visit([&](const auto& value) { put(key, array ? key.element : key.type, value); }, key.value);
  }

  const std::string& text() const { return text_; }

 private:
  static bool is_float(GgufType type) { return type == GgufType::f32 || type == GgufType::f64; }
  void put(const GgufKey& key, GgufType type, bool value) {
    CHECK(type == GgufType::boolean, "{}", key.name);
    integer(type, value);
  }
  void put(const GgufKey& key, GgufType type, int64_t value) {
    CHECK(gguf_scalar_bytes(type) > 0 && !is_float(type), "{}", key.name);
    integer(type, value);
  }
  void put(const GgufKey& key, GgufType type, double value) {
    CHECK(is_float(type), "{}", key.name);
    number(type, value);
  }
  void put(const GgufKey& key, GgufType type, const std::string& value) {
    CHECK(type == GgufType::string, "{}", key.name);
    string(value);
  }
  template <class T>
  void put(const GgufKey& key, GgufType type, const std::vector<T>& values) {
    CHECK(key.type == GgufType::array, "{}", key.name);
    scalar<uint64_t>(values.size());
    for (const auto& value : values) put(key, type, value);
  }

  std::string text_;
};

// `hashes` of the tensors' bytes, of a pack.
Result<std::string> build_header(const std::string& path, const GgufPlan& plan, const std::vector<int64_t>& hashes,
                                 size_t& total_bytes) {
  std::vector<GgufKey> keys = plan.keys;
  if (plan.pack) {
    keys.push_back(GgufKey::u32("general.alignment", kPackAlignment));
    keys.push_back(GgufKey::u32(std::string(kPackVersionKey), kPackVersion));
    keys.push_back(GgufKey::array(std::string(kPackHashesKey), GgufType::u64, hashes));
  }
  HeaderBuilder header;
  header.scalar(kGgufMagic);
  header.scalar(kGgufVersion);
  header.scalar<uint64_t>(plan.tensors.size());
  header.scalar<uint64_t>(keys.size());
  std::set<std::string_view> seen;
  for (const auto& key : keys) {
    CHECK(seen.insert(key.name).second, "{}", key.name);
    header.key(key);
  }
  seen.clear();
  total_bytes = 0;
  for (const auto& tensor : plan.tensors) {
    const GgmlType* type = plan.pack ? find_pack_type(tensor.dtype) : find_ggml_type(tensor.dtype);
    if (type == nullptr && find_pack_type(tensor.dtype) != nullptr)
      return invalid_argument(fmt::format("{}: tensor {} is of type {}, Sluice's own, which GGUF does not have: name another type "
                                          "(--type q8_0), write a native pack (--pack), or encode a model as it is loaded (--repack)",
                                          path, tensor.name, dtype_name(tensor.dtype)));
    size_t bytes = 0;
    if (type == nullptr || tensor.shape.rank < 1 || (!tensor.fill_encoded && weight_format(tensor.dtype) == nullptr) ||
        !(tensor.packed ? packed_tensor_bytes(tensor.shape, tensor.dtype, bytes)
                        : tensor_bytes(tensor.shape, type->block_elems, type->block_bytes, bytes)))
      return invalid_argument(fmt::format("{}: tensor {} {} cannot be stored as {}", path, tensor.name,
                                          tensor.shape.text(), dtype_name(tensor.dtype)));
    CHECK(seen.insert(tensor.name).second, "tensor {} is planned twice", tensor.name);
    CHECK(!tensor.packed || plan.pack, "tensor {} is packed in a plain GGUF", tensor.name);
    header.string(tensor.name);
    header.scalar(static_cast<uint32_t>(tensor.shape.rank));
    for (int i = tensor.shape.rank - 1; i >= 0; --i) header.scalar(static_cast<uint64_t>(tensor.shape[i]));
    header.scalar(type->id + (tensor.packed ? kPackedTypeBase : 0));
    header.scalar<uint64_t>(total_bytes);
    total_bytes += padded(bytes, alignment_of(plan));
  }
  return header.text();
}

}  // namespace

Result<size_t> write_gguf(const std::string& path, const GgufPlan& plan, ThreadPool& pool,
                          const GgufProgress& progress) {
  constexpr int64_t kTaskValues = int64_t{1} << 18;  // 1 MiB of float32 per task
  size_t total_bytes = 0, done_bytes = 0;
  std::vector<int64_t> hashes(plan.tensors.size());
  SLUICE_TRY(std::string header, build_header(path, plan, hashes, total_bytes));
  OutputFile file(path);
  SLUICE_TRY_STATUS(file.open());
  SLUICE_TRY_STATUS(file.write(header.data(), header.size()));
  SLUICE_TRY_STATUS(file.pad(alignment_of(plan)));

  std::vector<std::vector<float>> values(static_cast<size_t>(pool.size()));
  std::vector<std::vector<uint8_t>> unpacked(static_cast<size_t>(pool.size()));
  std::vector<uint8_t> encoded;
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> hash(XXH3_createState(), &XXH3_freeState);
  for (size_t t = 0; t < plan.tensors.size(); ++t) {
    const GgufTensor& tensor = plan.tensors[t];
    const int64_t cols = tensor.shape[tensor.shape.rank - 1];
    const int64_t rows = cols == 0 ? 0 : tensor.shape.elems() / cols;
    // Rows come in units: one, or the rows of a panel.
    const int64_t unit = tensor.packed ? kPanelCols : 1;
    const size_t row_size = row_bytes(tensor.dtype, cols);
    const size_t unit_bytes = tensor.packed ? panel_bytes(tensor.dtype, cols) : row_size;
    const auto units = [unit](int64_t n) { return (n + unit - 1) / unit; };
    const int64_t rows_per_task = units(std::max<int64_t>(1, kTaskValues / std::max<int64_t>(1, cols))) * unit;
    const int64_t rows_per_piece = rows_per_task * pool.size() * 4;
    XXH3_64bits_reset(hash.get());
    for (int64_t first = 0; first < rows; first += rows_per_piece) {
      const int64_t count = std::min(rows_per_piece, rows - first);
      const size_t piece_bytes = static_cast<size_t>(units(count)) * unit_bytes;
      encoded.resize(std::max(encoded.size(), piece_bytes));
      const int tasks = static_cast<int>((count + rows_per_task - 1) / rows_per_task);
      pool.run(tasks, [&](int task, int worker) {
        const int64_t begin = task * rows_per_task, n = std::min(rows_per_task, count - begin);
        uint8_t* const out = encoded.data() + static_cast<size_t>(begin / unit) * unit_bytes;
        uint8_t* into = out;
        if (tensor.packed) {
          auto& row_major = unpacked[static_cast<size_t>(worker)];
          row_major.resize(std::max(row_major.size(), static_cast<size_t>(n) * row_size));
          into = row_major.data();
        }
        if (tensor.fill_encoded) {
          tensor.fill_encoded(first + begin, n, into);
        } else {
          auto& row_values = values[static_cast<size_t>(worker)];
          row_values.resize(std::max(row_values.size(), static_cast<size_t>(n * cols)));
          tensor.fill(first + begin, n, row_values.data());
          weight_format(tensor.dtype)->encode(row_values.data(), into, n * cols);
        }
        for (int64_t panel = 0; tensor.packed && panel < units(n); ++panel)
          pack_panel({into, tensor.dtype, Shape{n, cols}}, panel, out + static_cast<size_t>(panel) * unit_bytes);
      });
      SLUICE_TRY_STATUS(file.write(encoded.data(), piece_bytes));
      if (plan.pack) XXH3_64bits_update(hash.get(), encoded.data(), piece_bytes);
      done_bytes += piece_bytes;
      if (progress) progress(done_bytes, total_bytes, tensor.name);
    }
    if (plan.pack) hashes[t] = static_cast<int64_t>(XXH3_64bits_digest(hash.get()));
    const size_t before = file.written();
    SLUICE_TRY_STATUS(file.pad(alignment_of(plan)));
    done_bytes += file.written() - before;
  }
  if (plan.pack) {
    SLUICE_TRY(header, build_header(path, plan, hashes, total_bytes));
    SLUICE_TRY_STATUS(file.rewrite_start(header));
  }
  SLUICE_TRY_STATUS(file.commit());
  return file.written();
}

}  // namespace sluice
