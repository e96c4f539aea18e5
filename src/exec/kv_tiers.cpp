#include "exec/kv_tiers.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "exec/async_io.h"

namespace sluice {
namespace {

constexpr size_t kParts = 6, kLeastPartBytes = size_t{32} << 10;  // of a block that is loaded while layers compute

}  // namespace

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

// --- from disk to host memory, for steps to come ---------------------------------------------------------------------

void KvTiers::land_fetch() {
  const Fetch fetch = std::move(fetches_.front());
  fetches_.pop_front();
  const uint8_t* bytes = file_->wait(fetch.ticket);
  if (bytes == nullptr) done_.lost.push_back(fetch.key->hash);
  else std::memcpy(host(fetch.dst), bytes, block_bytes_);
  slots_[fetch.dst] = {false, bytes != nullptr};
  file_->release(fetch.ticket);
}

void KvTiers::land_host_slot(BlockId slot) {
  while (slots_[slot].coming) land_fetch();
}

void KvTiers::start_fetch(const KvCopy& copy) {
  // Each holds a request of the file until it has landed.
  while (static_cast<int>(fetches_.size()) >= BlockFile::kReadsAtOnce / 2) land_fetch();
  slots_[copy.dst] = {true, false};
  fetches_.push_back({file_->read(copy.src, copy.key), copy.key, copy.dst});
}

// --- from disk into the pool, for this step --------------------------------------------------------------------------

void KvTiers::begin_loads() {
  for (Load& load : loads_) {
    file_->wait_until_idle(load.slot);
    load.expected = file_->what(load.slot);
    load.good = load.expected.hash == load.key->hash;
    load.hash = {XXH3_createState(), XXH3_freeState};
    XXH3_64bits_reset(load.hash.get());
  }
  // Small enough that several layers' computation covers them, large enough for a disk.
  const size_t most = pool_->in_parts() ? std::max<size_t>(block_bytes_ / kParts, kLeastPartBytes) : block_bytes_;
  part_bytes_ = (most + kIoPage - 1) / kIoPage * kIoPage;
  asked_ = landed_ = 0;
  loads_begin_ = clock_.now();
  pump();
}

void KvTiers::pump() {
  while (!tickets_.empty() && file_->ended(tickets_.front())) land_part();
  const size_t all = loads_.size() * ((block_bytes_ + part_bytes_ - 1) / part_bytes_);
  while (asked_ < all && static_cast<int>(tickets_.size() + fetches_.size()) < BlockFile::kReadsAtOnce) {
    tickets_.push_back(file_->read_part(loads_[asked_ % loads_.size()].slot, asked_ / loads_.size() * part_bytes_, part_bytes_));
    ++asked_;
  }
}

void KvTiers::land_part() {
  Load& load = loads_[landed_ % loads_.size()];
  const size_t at = landed_ / loads_.size() * part_bytes_, n = std::min(part_bytes_, block_bytes_ - at);
  const uint8_t* bytes = file_->wait(tickets_.front());
  load.good = load.good && bytes != nullptr;
  if (load.good) {
    XXH3_64bits_update(load.hash.get(), bytes, n);
    if (n == block_bytes_) pool_->put(load.dst, bytes);
    else pool_->put_part(load.dst, at, {bytes, n});
  }
  file_->release(tickets_.front());
  tickets_.pop_front();
  if (++landed_ == loads_.size() * ((block_bytes_ + part_bytes_ - 1) / part_bytes_)) done_.load_span_ns += clock_.now() - loads_begin_;
}

void KvTiers::land_parts(size_t parts) {
  const Nanos start = clock_.now();
  const size_t target = std::min(parts, (block_bytes_ + part_bytes_ - 1) / part_bytes_) * loads_.size();
  while (landed_ < target) {
    pump();
    if (landed_ < target) land_part();
  }
  done_.load_ns += clock_.now() - start;
}

void KvTiers::before_layer(int layer) {
  size_t all = 0, up_to = 0;  // bytes of a tile, of which a block may have several
  const std::span<const KvLayerView> layers = pool_->layers();
  for (size_t l = 0; l < layers.size(); ++l) {
    all += layers[l].side_bytes() * static_cast<size_t>(layers[l].sides());
    if (l == static_cast<size_t>(layer)) up_to = all;
  }
  land_parts((up_to * (block_bytes_ / all) + part_bytes_ - 1) / part_bytes_);
  pump();
}

void KvTiers::end_loads() {
  if (loads_.empty()) return;
  land_parts(SIZE_MAX);
  for (const Load& load : loads_)
    if (!load.good || XXH3_64bits_digest(load.hash.get()) != load.expected.checksum) done_.lost.push_back(load.key->hash);
  loads_.clear();
}

KvTiers::Done KvTiers::finish() {
  end_loads();
  if (file_) {
    file_->reap();
    for (const uint64_t hash : file_->take_failures()) done_.lost.push_back(hash);
  }
  if (!done_.lost.empty() && clock_.now() >= next_warning_) {
    next_warning_ = clock_.now() + Nanos{10'000'000'000};
    log_warn("{} KV blocks could not be written to {} or read back; they are computed again", done_.lost.size(), file_ ? file_->path() : "host memory");
  }
  return std::exchange(done_, {});
}

void KvTiers::run(std::span<const KvCopy> copies, KvStore& pool) {
  pool_ = &pool;
  for (const KvCopy& copy : copies) {
    if (copy.from == Tier::pool && std::ranges::find(loads_, copy.src, &Load::dst) != loads_.end()) {
      begin_loads();
      end_loads();
    }
    if (copy.from == Tier::pool && copy.to == Tier::pool) {
      pool.copy(copy);
    } else if (copy.from == Tier::pool && copy.to == Tier::host) {
      land_host_slot(copy.dst);
      slots_[copy.dst].good = pool.get(copy.src, host(copy.dst));
      if (!slots_[copy.dst].good) done_.lost.push_back(copy.key->hash);
    } else if (copy.from == Tier::pool) {
      if (pool.get(copy.src, file_->stage())) file_->write(copy.dst, copy.key);
      else done_.lost.push_back(copy.key->hash);
    } else if (copy.to == Tier::host) {
      land_host_slot(copy.dst);
      start_fetch(copy);
    } else if (copy.from == Tier::disk) {
      loads_.push_back({copy.src, copy.dst, copy.key, {}, {}});
    } else {
      const Nanos start = clock_.now();
      land_host_slot(copy.src);
      if (slots_[copy.src].good) pool.put(copy.dst, host(copy.src));
      else done_.lost.push_back(copy.key->hash);
      done_.load_ns += clock_.now() - start;
    }
  }
  if (loads_.empty()) return;
  begin_loads();
  if (!pool.in_parts()) land_parts(SIZE_MAX);
}

}  // namespace sluice
