#include "exec/block_index.h"

#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

namespace sluice {
namespace {

struct EntryHead {
  uint64_t hash, parent, checksum;
  uint32_t used, crc;  // crc: of the entry with zero in its place
};

uint32_t entry_crc(std::span<uint8_t> entry) {
  constexpr size_t kAt = offsetof(EntryHead, crc);
  uint32_t stands;
  std::memcpy(&stands, entry.data() + kAt, sizeof stands);
  std::memset(entry.data() + kAt, 0, sizeof stands);
  const auto crc = static_cast<uint32_t>(XXH3_64bits(entry.data(), entry.size()));
  std::memcpy(entry.data() + kAt, &stands, sizeof stands);
  return crc;
}

}  // namespace

bool write_all(int fd, const void* data, size_t n, uint64_t at) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  while (n > 0) {
    const ssize_t done = ::pwrite(fd, bytes, n, static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done, n -= static_cast<size_t>(done), at += static_cast<size_t>(done);
  }
  return true;
}

size_t BlockIndex::entry_bytes(int block_tokens) { return sizeof(EntryHead) + sizeof(TokenId) * static_cast<size_t>(block_tokens); }

Result<std::vector<RecoveredBlock>> BlockIndex::read(int fd, uint64_t at, const std::string& path) {
  const size_t entry = entry_bytes(block_tokens_);
  std::vector<uint8_t> index(entry * contents_.size());
  for (size_t done = 0; done < index.size();) {
    const ssize_t n = ::pread(fd, index.data() + done, index.size() - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error(fmt::format("{}: its index cannot be read: {}", path, n < 0 ? std::strerror(errno) : "it is cut off"));
    done += static_cast<size_t>(n);
  }
  std::vector<RecoveredBlock> found;
  for (size_t slot = 0; slot < contents_.size(); ++slot) {
    const auto bytes = std::span(index).subspan(entry * slot, entry);
    EntryHead head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.used != 1 || head.crc != entry_crc(bytes)) continue;
    auto key = std::make_shared<BlockKey>();
    key->hash = head.hash;
    key->parent = head.parent;
    key->tokens.resize(static_cast<size_t>(block_tokens_));
    std::memcpy(key->tokens.data(), bytes.data() + sizeof head, sizeof(TokenId) * key->tokens.size());
    contents_[slot] = {head.hash, head.checksum};
    found.push_back({static_cast<BlockId>(slot), std::move(key)});
  }
  return found;
}

bool BlockIndex::write(int fd, uint64_t at, BlockId first, std::span<const WrittenBlock> blocks) {
  const size_t entry = entry_bytes(block_tokens_);
  bytes_.assign(entry * blocks.size(), 0);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const BlockKey* key = blocks[i].key.get();
    contents_[first + i] = key != nullptr ? BlockContent{key->hash, blocks[i].checksum} : BlockContent{};
    if (key == nullptr) continue;
    const auto bytes = std::span(bytes_).subspan(entry * i, entry);
    EntryHead head{key->hash, key->parent, blocks[i].checksum, 1, 0};
    std::memcpy(bytes.data(), &head, sizeof head);
    std::memcpy(bytes.data() + sizeof head, key->tokens.data(), sizeof(TokenId) * key->tokens.size());
    head.crc = entry_crc(bytes);
    std::memcpy(bytes.data(), &head, sizeof head);
  }
  return write_all(fd, bytes_.data(), bytes_.size(), at + uint64_t{entry} * first);
}

}  // namespace sluice
