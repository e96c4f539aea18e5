#include "exec/block_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace sluice {
namespace {

constexpr int kRequests = 64;  // in flight at once
constexpr char kMagic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'K', 'V'};
constexpr uint32_t kVersion = 2;

struct Header {
  char magic[8];
  uint32_t version;
  int32_t block_tokens;
  uint64_t fingerprint, block_bytes;
};
constexpr off_t kPrefixKeyAt = 64;  // behind the header; zero in files that were made before there was one

Error system_error(const std::string& path, const char* what) {
  return io_error(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

BlockLayout layout_for(const BlockFileIdentity& identity, int slots) {
  return {identity.block_bytes, BlockIndex::entry_bytes(identity.block_tokens), slots};
}

size_t request_bytes(const BlockLayout& layout) { return layout.full_part * static_cast<size_t>(layout.adjoining); }

}  // namespace

BlockCheck::BlockCheck(BlockContent expected, uint64_t hash)
    : good_(expected.hash == hash), checksum_(expected.checksum), state_(XXH3_createState(), XXH3_freeState) {
  XXH3_64bits_reset(state_.get());
}

void BlockCheck::add(std::span<const uint8_t> bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }

bool BlockCheck::good() const { return good_ && XXH3_64bits_digest(state_.get()) == checksum_; }

/// Blocks on their way to slots that follow each other: a request for each part.
struct BlockFile::Save {
  BlockId first = 0;
  std::vector<WrittenBlock> blocks;
  std::vector<int> requests;
  int left = 0;      // of them
  uint32_t bad = 0;  // by block
};

struct BlockFile::Request {
  BlockId first = 0;
  int blocks = 0, part = 0;
  uint8_t* bytes = nullptr;
  std::shared_ptr<Save> save;  // null: it reads
  int flying = 0;              // pieces of I/O
  uint32_t bad = 0;            // by block
};

int BlockFile::slots_for(size_t bytes, const BlockFileIdentity& identity) {
  const size_t per_slot = BlockLayout::round_up(identity.block_bytes) + BlockIndex::entry_bytes(identity.block_tokens);
  return bytes < 2 * kIoPage + per_slot ? 0 : static_cast<int>(std::min<size_t>((bytes - 2 * kIoPage) / per_slot, 1u << 30));
}

size_t BlockFile::bytes_for(int slots, const BlockFileIdentity& identity) {
  return 2 * kIoPage + static_cast<size_t>(slots) * (BlockLayout::round_up(identity.block_bytes) + BlockIndex::entry_bytes(identity.block_tokens));
}

size_t BlockFile::staging_bytes(size_t block_bytes) { return request_bytes({block_bytes, 0, 0}) * kRequests + kIoPage; }

BlockFile::BlockFile(const std::string& path, const BlockFileIdentity& identity, int slots)
    : path_(path), layout_(layout_for(identity, slots)) {}

Status BlockFile::open_file(const BlockFileIdentity& identity) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0 && errno == ELOOP) return invalid_argument(fmt::format("{} is a symbolic link; name the file itself", path_), "--kv-disk");
  if (fd_ < 0) return system_error(path_, "cannot be opened");
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0)
    return invalid_argument(fmt::format("{} is in use by another process", path_), "--kv-disk");
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return system_error(path_, "cannot be read");
  if (!S_ISREG(info.st_mode)) return invalid_argument(fmt::format("{} is no plain file", path_), "--kv-disk");
  // It holds prompts, and whoever can write it can put KV into them.
  if (info.st_uid != ::geteuid()) return invalid_argument(fmt::format("{} belongs to another user; name a file of one's own", path_), "--kv-disk");
  if (::fchmod(fd_, 0600) != 0) return system_error(path_, "cannot be kept from others");
  Header wanted{{}, kVersion, identity.block_tokens, identity.fingerprint, identity.block_bytes};
  std::memcpy(wanted.magic, kMagic, sizeof kMagic);
  bool empty = info.st_size == 0;
  if (!empty) {
    Header found{};
    const bool read = ::pread(fd_, &found, sizeof found, 0) == static_cast<ssize_t>(sizeof found);
    const Header zero{};
    empty = read && std::memcmp(&found, &zero, sizeof found) == 0;  // made, and no more: a crash came in between
    if (!empty && (!read || std::memcmp(found.magic, kMagic, sizeof kMagic) != 0))
      return invalid_argument(fmt::format("{} is no KV file of Sluice, and is left as it is; name another, or remove it", path_), "--kv-disk");
    if (!empty && found.version != kVersion)
      return invalid_argument(fmt::format("{} was written by another version of Sluice; name another file, or remove it", path_), "--kv-disk");
    if (!empty && std::memcmp(&found, &wanted, sizeof found) != 0)
      return invalid_argument(fmt::format("{} holds the KV of another model, or in another --kv-cache-dtype, --block-size or "
                                          "instruction set; name another file, or remove it", path_), "--kv-disk");
  }
  // The index has room for the slots of this size of the file: in a file of another size the slots stand elsewhere.
  const uint64_t whole = layout_.file_bytes();
  const bool kept = !empty && info.st_size == static_cast<off_t>(whole);
  if (!kept) {
    // Asked for before what the file holds is given up.
    struct statvfs disk {};
    const uint64_t own = static_cast<uint64_t>(info.st_blocks) * 512;
    if (::fstatvfs(fd_, &disk) == 0 && uint64_t{disk.f_bavail} * disk.f_frsize + own < whole)
      return resource_exhausted(fmt::format("{}: there is no room for {} bytes on this disk, {} are free (--kv-disk-bytes)", path_, whole,
                                            uint64_t{disk.f_bavail} * disk.f_frsize + own));
    if (::ftruncate(fd_, 0) != 0) return system_error(path_, "cannot be written");
    if (const int failed = ::posix_fallocate(fd_, 0, static_cast<off_t>(whole)); failed != 0) {
      (void)!::ftruncate(fd_, 0);
      if (failed == ENOSPC || failed == EFBIG)
        return resource_exhausted(fmt::format("{}: there is no room for {} bytes on this disk (--kv-disk-bytes)", path_, whole));
      errno = failed;
      return system_error(path_, "cannot be written");
    }
    prefix_key_ = random_prefix_key();
    if (!write_all(fd_, &prefix_key_, sizeof prefix_key_, kPrefixKeyAt) || !write_all(fd_, &wanted, sizeof wanted, 0)) return system_error(path_, "cannot be written");
  } else if (::pread(fd_, &prefix_key_, sizeof prefix_key_, kPrefixKeyAt) != static_cast<ssize_t>(sizeof prefix_key_)) {
    return system_error(path_, "cannot be read");
  }
  // Not before it is known that the disk has room for so many slots.
  index_ = BlockIndex(layout_.slots, identity.block_tokens);
  in_flight_.assign(static_cast<size_t>(layout_.slots), 0);
  if (kept) {
    SLUICE_TRY(recovered_, index_.read(fd_, kIoPage, path_));
  }
  return {};
}

Result<std::unique_ptr<BlockFile>> BlockFile::open(const std::string& path, size_t bytes, const BlockFileIdentity& identity,
                                                   std::unique_ptr<AsyncIo> io) {
  const int slots = slots_for(bytes, identity);
  if (slots < 1)
    return invalid_argument(fmt::format("{} bytes hold no block of KV, which takes {}", bytes, identity.block_bytes), "--kv-disk-bytes");
  std::unique_ptr<BlockFile> file(new BlockFile(path, identity, slots));
  SLUICE_TRY_STATUS(file->open_file(identity));
  const size_t each = request_bytes(file->layout_);
  SLUICE_TRY(file->memory_, Buffer::allocate(staging_bytes(identity.block_bytes)));
  const auto base = reinterpret_cast<uintptr_t>(file->memory_.data());
  uint8_t* at = file->memory_.data() + (BlockLayout::round_up(base) - base);
  file->requests_.resize(kRequests);
  for (int i = kRequests; i-- > 0;) {
    file->requests_[static_cast<size_t>(i)].bytes = at + each * static_cast<size_t>(i);
    file->free_requests_.push_back(i);
  }
  if (io == nullptr) {
    // The same file, whatever the name may mean by now.
    int data_fd = ::open(fmt::format("/proc/self/fd/{}", file->fd_).c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
    if (data_fd < 0) data_fd = ::dup(file->fd_);
    if (data_fd < 0) return system_error(path, "cannot be opened");
    io = open_async_io(data_fd, kRequests);
  }
  file->io_ = std::move(io);
  const std::span<uint8_t> held[] = {{at, each * kRequests}};
  file->io_->hold(held);
  return file;
}

BlockFile::~BlockFile() {
  if (io_) drain();
  io_.reset();
  if (fd_ >= 0) ::close(fd_);
}

int BlockFile::take_request() {
  while (free_requests_.empty()) wait_for_one();
  const int request = free_requests_.back();
  free_requests_.pop_back();
  return request;
}

IoRequest BlockFile::begin(int index) {
  Request& r = requests_[static_cast<size_t>(index)];
  for (int i = 0; i < r.blocks; ++i) ++in_flight_[r.first + static_cast<BlockId>(i)];
  r.bad = 0;
  r.flying = 1, ++flying_;
  return {r.save != nullptr, r.bytes, layout_.part_bytes(r.part) * static_cast<size_t>(r.blocks), layout_.at(r.first, r.part), static_cast<uint64_t>(index)};
}

// A tag is a request's number, and above that the block that it is about, counted from 1; 0: all of them.
void BlockFile::finish(const IoDone& done) {
  const auto index = static_cast<uint32_t>(done.tag), one = static_cast<uint32_t>(done.tag >> 32);
  Request& r = requests_[index];
  --r.flying, --flying_;
  if (done.error != 0 && one == 0 && r.blocks > 1) {
    const size_t n = layout_.part_bytes(r.part);
    for (uint32_t i = 0; i < static_cast<uint32_t>(r.blocks); ++i) {
      ++r.flying, ++flying_;
      io_->start({r.save != nullptr, r.bytes + n * i, n, layout_.at(r.first + i, r.part), uint64_t{i + 1} << 32 | index});
    }
    return;
  }
  if (done.error != 0) r.bad |= 1u << (one == 0 ? 0 : one - 1);
  if (r.flying > 0) return;
  for (int i = 0; i < r.blocks; ++i) --in_flight_[r.first + static_cast<BlockId>(i)];
  if (r.save == nullptr) return;
  const std::shared_ptr<Save> save = std::exchange(r.save, nullptr);
  save->bad |= r.bad;
  free_requests_.push_back(static_cast<int>(index));
  if (--save->left == 0) end(*save);
}

void BlockFile::end(Save& save) {
  for (size_t i = 0; i < save.blocks.size(); ++i)
    if ((save.bad >> i & 1) != 0 && save.blocks[i].key != nullptr) failures_.push_back(std::exchange(save.blocks[i].key, nullptr)->hash);
  if (index_.write(fd_, kIoPage, save.first, save.blocks)) return;
  for (const WrittenBlock& block : save.blocks)
    if (block.key != nullptr) failures_.push_back(block.key->hash);
}

void BlockFile::wait_for_one() {
  CHECK(flying_ > 0, "nothing is in flight to wait for");
  finish(io_->wait());
}

void BlockFile::wait_until_idle(BlockId slot) {
  while (in_flight_[slot] > 0) wait_for_one();
}

void BlockFile::stage(int blocks) {
  CHECK(staged_ == nullptr && blocks >= 1 && blocks <= layout_.adjoining, "{} blocks, {} at most", blocks, layout_.adjoining);
  staged_ = std::make_shared<Save>();
  staged_->blocks.resize(static_cast<size_t>(blocks));
  for (int part = 0; part < layout_.parts; ++part) {
    staged_->requests.push_back(take_request());
    const size_t filled = layout_.filled_bytes(part), n = layout_.part_bytes(part);
    if (filled == n) continue;
    for (int i = 0; i < blocks; ++i) std::memset(staged(i, part) + filled, 0, n - filled);
  }
}

uint8_t* BlockFile::staged(int block, int part) const {
  return requests_[static_cast<size_t>(staged_->requests[static_cast<size_t>(part)])].bytes + layout_.part_bytes(part) * static_cast<size_t>(block);
}

void BlockFile::seal(int block) {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(state.get());
  for (int part = 0; part < layout_.parts; ++part) XXH3_64bits_update(state.get(), staged(block, part), layout_.filled_bytes(part));
  staged_->blocks[static_cast<size_t>(block)].checksum = XXH3_64bits_digest(state.get());
}

void BlockFile::write(BlockId first, std::vector<std::shared_ptr<const BlockKey>> keys) {
  CHECK(staged_ != nullptr && keys.size() == staged_->blocks.size() && first + keys.size() <= in_flight_.size(), "{} blocks from slot {} of {}",
        keys.size(), first, in_flight_.size());
  for (size_t i = 0; i < keys.size(); ++i) wait_until_idle(first + static_cast<BlockId>(i));
  // Until the bytes are there the slots hold nothing, whatever happens in between.
  const std::vector<WrittenBlock> nothing(keys.size());
  index_.write(fd_, kIoPage, first, nothing);
  staged_->first = first;
  staged_->left = layout_.parts;
  for (size_t i = 0; i < keys.size(); ++i) staged_->blocks[i].key = std::move(keys[i]);
  const std::shared_ptr<Save> save = std::exchange(staged_, nullptr);
  std::vector<IoRequest> requests;
  for (int part = 0; part < layout_.parts; ++part) {
    const int index = save->requests[static_cast<size_t>(part)];
    Request& r = requests_[static_cast<size_t>(index)];
    r.first = first, r.blocks = static_cast<int>(save->blocks.size()), r.part = part;
    r.save = save;
    requests.push_back(begin(index));
  }
  io_->start_all(requests);
}

BlockFile::Ticket BlockFile::read(BlockId first, int blocks, int part) {
  CHECK(blocks >= 1 && blocks <= layout_.adjoining && first + static_cast<size_t>(blocks) <= in_flight_.size() && part < layout_.parts,
        "part {} of {} slots from {} of {}", part, blocks, first, in_flight_.size());
  const int index = take_request();
  Request& r = requests_[static_cast<size_t>(index)];
  r.first = first, r.blocks = blocks, r.part = part;
  io_->start(begin(index));
  return index;
}

bool BlockFile::ended(Ticket ticket) {
  reap();
  return requests_[static_cast<size_t>(ticket)].flying == 0;
}

void BlockFile::wait(Ticket ticket) {
  while (requests_[static_cast<size_t>(ticket)].flying > 0) wait_for_one();
}

const uint8_t* BlockFile::bytes(Ticket ticket, int block) const {
  const Request& r = requests_[static_cast<size_t>(ticket)];
  CHECK(r.flying == 0 && block < r.blocks);
  return (r.bad >> block & 1) != 0 ? nullptr : r.bytes + layout_.part_bytes(r.part) * static_cast<size_t>(block);
}

void BlockFile::release(Ticket ticket) {
  CHECK(requests_[static_cast<size_t>(ticket)].flying == 0);
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
