#include "exec/block_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

namespace sluice {
namespace {

constexpr size_t kPage = 4096;
constexpr int kRequests = 64;  // in flight at once
constexpr char kMagic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'K', 'V'};
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version;
  int32_t block_tokens;
  uint64_t fingerprint, block_bytes;
};

struct EntryHead {
  uint64_t hash, parent, checksum;
  uint32_t used, crc;  // crc: of the entry without itself, so that a torn one does not count
};

size_t round_up(size_t n) { return (n + kPage - 1) / kPage * kPage; }

Error system_error(const std::string& path, const char* what) {
  return io_error(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

bool write_all(int fd, const void* data, size_t n, size_t at) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  while (n > 0) {
    const ssize_t done = ::pwrite(fd, bytes, n, static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done, n -= static_cast<size_t>(done), at += static_cast<size_t>(done);
  }
  return true;
}

uint32_t entry_crc(const std::vector<uint8_t>& entry) {
  std::vector<uint8_t> copy = entry;
  reinterpret_cast<EntryHead*>(copy.data())->crc = 0;
  return static_cast<uint32_t>(XXH3_64bits(copy.data(), copy.size()));
}

}  // namespace

struct BlockFile::Request {
  BlockId slot = kNoBlock;
  std::shared_ptr<const BlockKey> key;
  uint8_t* bytes = nullptr;
  size_t at = 0, size = 0;  // in the slot
  bool writes = false, flying = false, good = false;
  uint64_t checksum = 0;
};

BlockFile::BlockFile(const BlockFileIdentity& identity) : identity_(identity) {}

size_t BlockFile::entry_bytes() const { return sizeof(EntryHead) + sizeof(TokenId) * static_cast<size_t>(identity_.block_tokens); }

int BlockFile::slots_for(size_t bytes, const BlockFileIdentity& identity) {
  const size_t per_slot = round_up(identity.block_bytes) + sizeof(EntryHead) + sizeof(TokenId) * static_cast<size_t>(identity.block_tokens);
  return bytes < 2 * kPage + per_slot ? 0 : static_cast<int>(std::min<size_t>((bytes - 2 * kPage) / per_slot, 1u << 30));
}

size_t BlockFile::bytes_for(int slots, const BlockFileIdentity& identity) {
  const size_t entry = sizeof(EntryHead) + sizeof(TokenId) * static_cast<size_t>(identity.block_tokens);
  return 2 * kPage + static_cast<size_t>(slots) * (round_up(identity.block_bytes) + entry);
}

size_t BlockFile::staging_bytes(size_t block_bytes) { return round_up(block_bytes) * kRequests + kPage; }

bool BlockFile::asynchronous() const { return io_->asynchronous(); }

Result<std::unique_ptr<BlockFile>> BlockFile::open(const std::string& path, size_t bytes, const BlockFileIdentity& identity) {
  std::unique_ptr<BlockFile> file(new BlockFile(identity));
  file->path_ = path;
  file->slots_ = slots_for(bytes, identity);
  if (file->slots_ < 1)
    return invalid_argument(fmt::format("{} bytes hold no block of KV, which takes {}", bytes, identity.block_bytes), "--kv-disk-bytes");
  file->fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file->fd_ < 0 && errno == ELOOP) return invalid_argument(fmt::format("{} is a symbolic link; name the file itself", path), "--kv-disk");
  if (file->fd_ < 0) return system_error(path, "cannot be opened");
  if (::flock(file->fd_, LOCK_EX | LOCK_NB) != 0)
    return invalid_argument(fmt::format("{} is in use by another process", path), "--kv-disk");
  struct stat info {};
  if (::fstat(file->fd_, &info) != 0) return system_error(path, "cannot be read");
  if (!S_ISREG(info.st_mode)) return invalid_argument(fmt::format("{} is no plain file", path), "--kv-disk");
  // It holds prompts, and whoever can write it can put KV into them.
  if (info.st_uid != ::geteuid()) return invalid_argument(fmt::format("{} belongs to another user; name a file of one's own", path), "--kv-disk");
  if (::fchmod(file->fd_, 0600) != 0) return system_error(path, "cannot be kept from others");
  Header wanted{{}, kVersion, identity.block_tokens, identity.fingerprint, identity.block_bytes};
  std::memcpy(wanted.magic, kMagic, sizeof kMagic);
  file->slot_bytes_ = round_up(identity.block_bytes);
  bool empty = info.st_size == 0;
  if (!empty) {
    Header found{};
    const bool read = ::pread(file->fd_, &found, sizeof found, 0) == static_cast<ssize_t>(sizeof found);
    const Header zero{};
    empty = read && std::memcmp(&found, &zero, sizeof found) == 0;  // made, and no more: a crash came in between
    if (!empty && (!read || std::memcmp(found.magic, kMagic, sizeof kMagic) != 0))
      return invalid_argument(fmt::format("{} is no KV file of Sluice, and is left as it is; name another, or remove it", path), "--kv-disk");
    if (!empty && std::memcmp(&found, &wanted, sizeof found) != 0)
      return invalid_argument(fmt::format("{} holds the KV of another model, or in another --kv-cache-dtype, --block-size or "
                                          "instruction set; name another file, or remove it", path), "--kv-disk");
  }
  // The index has room for the slots of this size of the file: in a file of another size the slots stand elsewhere.
  file->data_at_ = kPage + round_up(file->entry_bytes() * static_cast<size_t>(file->slots_));
  const size_t whole = file->data_at_ + file->slot_bytes_ * static_cast<size_t>(file->slots_);
  const bool kept = !empty && info.st_size == static_cast<off_t>(whole);
  if (!kept) {
    // Asked for before what the file holds is given up.
    struct statvfs disk {};
    const uint64_t own = static_cast<uint64_t>(info.st_blocks) * 512;
    if (::fstatvfs(file->fd_, &disk) == 0 && uint64_t{disk.f_bavail} * disk.f_frsize + own < whole)
      return resource_exhausted(fmt::format("{}: there is no room for {} bytes on this disk, {} are free (--kv-disk-bytes)", path, whole,
                                            uint64_t{disk.f_bavail} * disk.f_frsize + own));
    if (::ftruncate(file->fd_, 0) != 0) return system_error(path, "cannot be written");
    if (const int failed = ::posix_fallocate(file->fd_, 0, static_cast<off_t>(whole)); failed != 0) {
      (void)!::ftruncate(file->fd_, 0);
      if (failed == ENOSPC || failed == EFBIG)
        return resource_exhausted(fmt::format("{}: there is no room for {} bytes on this disk (--kv-disk-bytes)", path, whole));
      errno = failed;
      return system_error(path, "cannot be written");
    }
    if (!write_all(file->fd_, &wanted, sizeof wanted, 0)) return system_error(path, "cannot be written");
  } else {
    file->contents_.resize(static_cast<size_t>(file->slots_));
    SLUICE_TRY_STATUS(file->read_index());
  }
  file->contents_.resize(static_cast<size_t>(file->slots_));
  file->in_flight_.assign(static_cast<size_t>(file->slots_), 0);
  SLUICE_TRY(file->memory_, Buffer::allocate(staging_bytes(identity.block_bytes)));
  const auto base = reinterpret_cast<uintptr_t>(file->memory_.data());
  uint8_t* at = file->memory_.data() + (round_up(base) - base);
  file->requests_.resize(kRequests);
  for (int i = kRequests; i-- > 0;) {
    file->requests_[static_cast<size_t>(i)].bytes = at + file->slot_bytes_ * static_cast<size_t>(i);
    file->free_requests_.push_back(i);
  }
  // The same file, whatever the name may mean by now.
  int data_fd = ::open(fmt::format("/proc/self/fd/{}", file->fd_).c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
  if (data_fd < 0) data_fd = ::dup(file->fd_);
  if (data_fd < 0) return system_error(path, "cannot be opened");
  file->io_ = open_async_io(data_fd, kRequests);
  const std::span<uint8_t> held[] = {{at, file->slot_bytes_ * kRequests}};
  file->io_->hold(held);
  return file;
}

BlockFile::~BlockFile() {
  if (io_) drain();
  io_.reset();
  if (fd_ >= 0) ::close(fd_);
}

Status BlockFile::read_index() {
  const size_t entry = entry_bytes();
  std::vector<uint8_t> index(entry * static_cast<size_t>(slots_));
  for (size_t done = 0; done < index.size();) {
    const ssize_t n = ::pread(fd_, index.data() + done, index.size() - done, static_cast<off_t>(kPage + done));
    if (n <= 0) return system_error(path_, "its index cannot be read");
    done += static_cast<size_t>(n);
  }
  for (int slot = 0; slot < slots_; ++slot) {
    const std::vector<uint8_t> bytes(index.begin() + static_cast<int64_t>(entry) * slot, index.begin() + static_cast<int64_t>(entry) * (slot + 1));
    EntryHead head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.used != 1 || head.crc != entry_crc(bytes)) continue;
    auto key = std::make_shared<BlockKey>();
    key->hash = head.hash;
    key->parent = head.parent;
    key->tokens.resize(static_cast<size_t>(identity_.block_tokens));
    std::memcpy(key->tokens.data(), bytes.data() + sizeof head, sizeof(TokenId) * key->tokens.size());
    contents_[static_cast<size_t>(slot)] = {head.hash, head.checksum};
    recovered_.push_back({static_cast<BlockId>(slot), std::move(key)});
  }
  return {};
}

void BlockFile::write_entry(BlockId slot, const BlockKey* key, uint64_t checksum) {
  std::vector<uint8_t> bytes(entry_bytes());
  if (key != nullptr) {
    EntryHead head{key->hash, key->parent, checksum, 1, 0};
    std::memcpy(bytes.data(), &head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, key->tokens.data(), sizeof(TokenId) * key->tokens.size());
    head.crc = entry_crc(bytes);
    std::memcpy(bytes.data(), &head, sizeof head);
  }
  contents_[slot] = {key != nullptr ? key->hash : 0, checksum};
  if (!write_all(fd_, bytes.data(), bytes.size(), kPage + bytes.size() * slot) && key != nullptr) failures_.push_back(key->hash);
}

int BlockFile::take_request() {
  while (free_requests_.empty()) wait_for_one();
  const int request = free_requests_.back();
  free_requests_.pop_back();
  return request;
}

void BlockFile::start(int index) {
  Request& r = requests_[static_cast<size_t>(index)];
  r.flying = true;
  ++in_flight_[r.slot];
  ++flying_;
  io_->start({r.writes, r.bytes, r.size, data_at_ + slot_bytes_ * r.slot + r.at, static_cast<uint64_t>(index)});
}

void BlockFile::finish(const IoDone& done) {
  const int index = static_cast<int>(done.tag);
  Request& r = requests_[static_cast<size_t>(index)];
  r.flying = false;
  --in_flight_[r.slot];
  --flying_;
  const bool whole = done.error == 0;
  if (r.writes) {
    if (whole) write_entry(r.slot, r.key.get(), r.checksum);
    else failures_.push_back(r.key->hash);
    r.key.reset();
    free_requests_.push_back(index);
  } else {
    r.good = whole && (r.key == nullptr || contents_[r.slot] == Content{r.key->hash, XXH3_64bits(r.bytes, identity_.block_bytes)});
  }
}

void BlockFile::wait_for_one() {
  CHECK(flying_ > 0, "nothing is in flight to wait for");
  finish(io_->wait());
}

void BlockFile::wait_until_idle(BlockId slot) {
  while (in_flight_[slot] > 0) wait_for_one();
}

uint8_t* BlockFile::stage() {
  if (staged_ < 0) staged_ = take_request();
  Request& r = requests_[static_cast<size_t>(staged_)];
  std::memset(r.bytes + identity_.block_bytes, 0, slot_bytes_ - identity_.block_bytes);
  return r.bytes;
}

void BlockFile::write(BlockId slot, std::shared_ptr<const BlockKey> key) {
  CHECK(staged_ >= 0 && slot < in_flight_.size(), "slot {} of {}", slot, in_flight_.size());
  wait_until_idle(slot);
  // Until the bytes are there the slot holds nothing, whatever happens in between.
  write_entry(slot, nullptr, 0);
  Request& r = requests_[static_cast<size_t>(staged_)];
  r.slot = slot;
  r.key = std::move(key);
  r.writes = true;
  r.at = 0, r.size = slot_bytes_;
  r.checksum = XXH3_64bits(r.bytes, identity_.block_bytes);
  start(std::exchange(staged_, -1));
}

BlockFile::Ticket BlockFile::read(BlockId slot, std::shared_ptr<const BlockKey> key) {
  wait_until_idle(slot);
  return start_read(slot, std::move(key), 0, slot_bytes_);
}

BlockFile::Ticket BlockFile::read_part(BlockId slot, size_t at, size_t n) {
  CHECK(at % kPage == 0 && at < slot_bytes_, "a part from byte {} of {}", at, slot_bytes_);
  return start_read(slot, nullptr, at, std::min(round_up(n), slot_bytes_ - at));
}

BlockFile::Ticket BlockFile::start_read(BlockId slot, std::shared_ptr<const BlockKey> key, size_t at, size_t size) {
  const int index = take_request();
  Request& r = requests_[static_cast<size_t>(index)];
  r.slot = slot;
  r.key = std::move(key);
  r.at = at, r.size = size;
  r.writes = r.good = false;
  start(index);
  return index;
}

bool BlockFile::ended(Ticket ticket) {
  reap();
  return !requests_[static_cast<size_t>(ticket)].flying;
}

const uint8_t* BlockFile::wait(Ticket ticket) {
  Request& r = requests_[static_cast<size_t>(ticket)];
  while (r.flying) wait_for_one();
  return r.good ? r.bytes : nullptr;
}

void BlockFile::release(Ticket ticket) {
  CHECK(!requests_[static_cast<size_t>(ticket)].flying);
  requests_[static_cast<size_t>(ticket)].key.reset();
  free_requests_.push_back(ticket);
}

std::vector<uint64_t> BlockFile::take_failures() { return std::exchange(failures_, {}); }

void BlockFile::reap() {
  while (const auto done = io_->poll()) finish(*done);
}

void BlockFile::drain() {
  while (flying_ > 0) wait_for_one();
}

}  // namespace sluice
