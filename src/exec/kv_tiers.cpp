#include "exec/kv_tiers.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace sluice {

Result<KvTiers> KvTiers::allocate(int host_slots, std::unique_ptr<BlockFile> file, size_t block_bytes) {
  KvTiers tiers;
  tiers.block_bytes_ = block_bytes;
  if (host_slots > 0) {
    SLUICE_TRY(tiers.host_, Buffer::allocate(block_bytes * static_cast<size_t>(host_slots)));
  }
  tiers.slots_.resize(static_cast<size_t>(host_slots));
  tiers.file_ = std::move(file);
  return tiers;
}

void KvTiers::idle() {
  if (file_) file_->drain();
}

std::span<const RecoveredBlock> KvTiers::recovered() const {
  return file_ ? file_->recovered() : std::span<const RecoveredBlock>{};
}

void KvTiers::land_one(KvStore& pool, Done& done) {
  const Read read = std::move(reads_.front());
  reads_.erase(reads_.begin());
  const uint8_t* bytes = file_->wait(read.ticket);
  if (bytes == nullptr) done.lost.push_back(read.key->hash);
  if (read.to == Tier::pool) {
    if (bytes != nullptr) pool.put(read.dst, bytes);
  } else {
    if (bytes != nullptr) std::memcpy(host(read.dst), bytes, block_bytes_);
    slots_[read.dst] = {false, bytes != nullptr};
  }
  file_->release(read.ticket);
}

void KvTiers::land_host_slot(BlockId slot, KvStore& pool, Done& done) {
  while (slots_[slot].coming) land_one(pool, done);
}

void KvTiers::start_read(const KvCopy& copy, KvStore& pool, Done& done) {
  // Each holds a request of the file until it has landed.
  while (static_cast<int>(reads_.size()) >= BlockFile::kReadsAtOnce) land_one(pool, done);
  reads_.push_back({file_->read(copy.src, copy.key), copy.key, copy.to, copy.dst});
}

KvTiers::Done KvTiers::run(std::span<const KvCopy> copies, KvStore& pool) {
  Done done;
  for (const KvCopy& copy : copies) {
    if (copy.from == Tier::pool && copy.to == Tier::pool) {
      pool.copy(copy);
    } else if (copy.from == Tier::pool && copy.to == Tier::host) {
      land_host_slot(copy.dst, pool, done);
      slots_[copy.dst].good = pool.get(copy.src, host(copy.dst));
      if (!slots_[copy.dst].good) done.lost.push_back(copy.key->hash);
    } else if (copy.from == Tier::pool) {
      if (pool.get(copy.src, file_->stage())) file_->write(copy.dst, copy.key);
      else done.lost.push_back(copy.key->hash);
    } else if (copy.to == Tier::host) {
      land_host_slot(copy.dst, pool, done);
      slots_[copy.dst] = {true, false};
      start_read(copy, pool, done);
    } else {
      const Nanos start = clock_.now();
      if (copy.from == Tier::disk) {
        start_read(copy, pool, done);
      } else {
        land_host_slot(copy.src, pool, done);
        if (slots_[copy.src].good) pool.put(copy.dst, host(copy.src));
        else done.lost.push_back(copy.key->hash);
      }
      done.load_ns += clock_.now() - start;
    }
  }
  // The step needs what goes into the pool; what is fetched for later comes when it comes.
  const Nanos start = clock_.now();
  const auto to_pool = [](const Read& read) { return read.to == Tier::pool; };
  while (std::ranges::any_of(reads_, to_pool)) land_one(pool, done);
  done.load_ns += clock_.now() - start;
  if (file_) {
    file_->reap();
    for (const uint64_t hash : file_->take_failures()) done.lost.push_back(hash);
  }
  if (!done.lost.empty() && clock_.now() >= next_warning_) {
    next_warning_ = clock_.now() + Nanos{10'000'000'000};
    log_warn("{} KV blocks could not be written to {} or read back; they are computed again", done.lost.size(), file_ ? file_->path() : "host memory");
  }
  return done;
}

}  // namespace sluice
