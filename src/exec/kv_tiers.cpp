#include "exec/kv_tiers.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace sluice {
namespace {

constexpr size_t kSharedBytes = size_t{256} << 10;  // from so many on, threads share in copying

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

// --- to disk ---------------------------------------------------------------------------------------------------------

void KvTiers::start_save(std::span<const KvCopy> run) {
  const BlockLayout& layout = file_->layout();
  const int n = static_cast<int>(run.size());
  std::vector<std::shared_ptr<const BlockKey>> keys;
  for (const KvCopy& copy : run) keys.push_back(copy.key);
  file_->stage(n);
  if (pool_->in_parts()) {
    threads_->run_if(n > 1 && static_cast<size_t>(n) * block_bytes_ >= kSharedBytes, n, [&](int i, int) {
      for (int p = 0; p < layout.parts; ++p)
        pool_->get_part(run[static_cast<size_t>(i)].src, layout.part_at(p), {file_->staged(i, p), layout.filled_bytes(p)});
      file_->seal(i);
    });
  } else {
    whole_.resize(block_bytes_);
    for (int i = 0; i < n; ++i) {
      if (!pool_->get(run[static_cast<size_t>(i)].src, whole_.data())) {
        done_.lost.push_back(std::exchange(keys[static_cast<size_t>(i)], nullptr)->hash);
        std::ranges::fill(whole_, uint8_t{0});
      }
      for (int p = 0; p < layout.parts; ++p) std::memcpy(file_->staged(i, p), whole_.data() + layout.part_at(p), layout.filled_bytes(p));
      file_->seal(i);
    }
  }
  file_->write(run[0].dst, std::move(keys));
}

// --- from disk to host memory, for steps to come ---------------------------------------------------------------------

void KvTiers::land_fetch() {
  const Fetch fetch = std::move(fetches_.front());
  fetches_.pop_front();
  const BlockLayout& layout = file_->layout();
  for (size_t i = 0; i < fetch.copies.size(); ++i) slots_[fetch.copies[i].dst] = {false, fetch.expected[i].hash == fetch.copies[i].key->hash};
  for (int p = 0; p < layout.parts; ++p) {
    const BlockFile::Ticket ticket = fetch.tickets[static_cast<size_t>(p)];
    file_->wait(ticket);
    for (size_t i = 0; i < fetch.copies.size(); ++i) {
      const BlockId dst = fetch.copies[i].dst;
      if (const uint8_t* bytes = file_->bytes(ticket, static_cast<int>(i)); bytes == nullptr) slots_[dst].good = false;
      else std::memcpy(host(dst) + layout.part_at(p), bytes, layout.filled_bytes(p));
    }
    file_->release(ticket);
  }
  for (size_t i = 0; i < fetch.copies.size(); ++i) {
    const KvCopy& copy = fetch.copies[i];
    HostSlot& slot = slots_[copy.dst];
    slot.good = slot.good && XXH3_64bits(host(copy.dst), block_bytes_) == fetch.expected[i].checksum;
    if (!slot.good) done_.lost.push_back(copy.key->hash);
  }
}

void KvTiers::land_host_slot(BlockId slot) {
  while (slots_[slot].coming) land_fetch();
}

void KvTiers::start_fetch(std::span<const KvCopy> run) {
  const int parts = file_->layout().parts;
  // Each part holds a request of the file until it has landed.
  while (!fetches_.empty() && static_cast<int>(fetches_.size() + 1) * parts > BlockFile::kReadsAtOnce / 2) land_fetch();
  Fetch fetch{{run.begin(), run.end()}, {}, {}};
  for (const KvCopy& copy : run) {
    land_host_slot(copy.dst);
    slots_[copy.dst] = {true, false};
    file_->wait_until_idle(copy.src);
    fetch.expected.push_back(file_->what(copy.src));
  }
  for (int p = 0; p < parts; ++p) fetch.tickets.push_back(file_->read(run[0].src, static_cast<int>(run.size()), p));
  fetches_.push_back(std::move(fetch));
}

// --- from disk into the pool, for this step --------------------------------------------------------------------------

void KvTiers::begin_loads() {
  std::ranges::stable_sort(loads_, {}, &Load::slot);
  runs_.clear();
  for (size_t i = 0; i < loads_.size(); ++i) {
    Load& load = loads_[i];
    file_->wait_until_idle(load.slot);
    load.check = BlockCheck(file_->what(load.slot), load.key->hash);
    if (i > 0 && load.slot == loads_[i - 1].slot + 1 && runs_.back().blocks < file_->layout().adjoining) ++runs_.back().blocks;
    else runs_.push_back({i, 1});
  }
  asked_ = landed_ = 0;
  loads_begin_ = clock_.now();
  pump();
}

KvTiers::Part KvTiers::nth(size_t n) const {
  if (pool_->in_parts()) return {runs_[n % runs_.size()], static_cast<int>(n / runs_.size())};
  const size_t parts = static_cast<size_t>(file_->layout().parts);
  return {runs_[n / parts], static_cast<int>(n % parts)};
}

void KvTiers::pump() {
  while (!tickets_.empty() && file_->ended(tickets_.front())) land_part();
  const size_t of_fetches = fetches_.size() * static_cast<size_t>(file_->layout().parts);
  while (asked_ < requests() && tickets_.size() + of_fetches < BlockFile::kReadsAtOnce) {
    const auto [run, part] = nth(asked_++);
    tickets_.push_back(file_->read(loads_[run.first].slot, run.blocks, part));
  }
}

void KvTiers::land_part() {
  const auto [run, part] = nth(landed_);
  const BlockLayout& layout = file_->layout();
  const BlockFile::Ticket ticket = tickets_.front();
  file_->wait(ticket);
  if (!pool_->in_parts()) whole_.resize(block_bytes_ * static_cast<size_t>(run.blocks));
  for (int i = 0; i < run.blocks; ++i) {
    Load& load = loads_[run.first + static_cast<size_t>(i)];
    const uint8_t* bytes = file_->bytes(ticket, i);
    if (bytes == nullptr) load.check.fail();
    if (!load.check.so_far()) continue;
    const size_t at = layout.part_at(part);
    const std::span<const uint8_t> filled(bytes, layout.filled_bytes(part));
    load.check.add(filled);
    if (pool_->in_parts()) {
      pool_->put_part(load.dst, at, filled);
      continue;
    }
    uint8_t* whole = whole_.data() + block_bytes_ * static_cast<size_t>(i);
    std::memcpy(whole + at, filled.data(), filled.size());
    if (part + 1 == layout.parts) pool_->put(load.dst, whole);
  }
  file_->release(ticket);
  tickets_.pop_front();
  if (++landed_ == requests()) done_.load_span_ns += clock_.now() - loads_begin_;
}

void KvTiers::land_parts(size_t parts) {
  const Nanos start = clock_.now();
  const size_t target = pool_->in_parts() ? std::min(parts * runs_.size(), requests()) : requests();
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
  const size_t part = file_->layout().full_part;
  land_parts((up_to * (block_bytes_ / all) + part - 1) / part);
  pump();
}

void KvTiers::end_loads() {
  if (loads_.empty()) return;
  land_parts(static_cast<size_t>(file_->layout().parts));
  for (const Load& load : loads_)
    if (!load.check.good()) done_.lost.push_back(load.key->hash);
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

bool KvTiers::joins(const KvCopy& copy) const {
  if (together_.empty()) return true;
  if (copy.from != together_[0].from || copy.to != together_[0].to) return false;
  return copy.to == Tier::disk || std::ranges::find(together_, copy.dst, &KvCopy::dst) == together_.end();
}

void KvTiers::flush() {
  if (together_.empty()) return;
  const bool saves = together_[0].to == Tier::disk;
  const auto slot = [&](const KvCopy& copy) { return saves ? copy.dst : copy.src; };
  std::ranges::stable_sort(together_, {}, slot);  // the last of those to one slot stays the last
  const size_t most = static_cast<size_t>(file_->layout().adjoining);
  for (size_t i = 0, n; i < together_.size(); i += n) {
    for (n = 1; i + n < together_.size() && n < most && slot(together_[i + n]) == slot(together_[i]) + n;) ++n;
    const std::span<const KvCopy> run(together_.data() + i, n);
    if (saves) start_save(run);
    else start_fetch(run);
  }
  together_.clear();
}

void KvTiers::run(std::span<const KvCopy> copies, KvStore& pool, ThreadPool& threads) {
  pool_ = &pool;
  threads_ = &threads;
  for (const KvCopy& copy : copies) {
    if (copy.from == Tier::pool && std::ranges::find(loads_, copy.src, &Load::dst) != loads_.end()) {
      flush();
      begin_loads();
      end_loads();
    }
    const bool together = copy.to == Tier::disk || (copy.from == Tier::disk && copy.to == Tier::host);
    // Saves wait while blocks go to host memory, since a block mostly goes to both; nothing else comes in between.
    const bool passes = copy.from == Tier::pool && copy.to == Tier::host && !together_.empty() && together_[0].to == Tier::disk;
    if (!(together ? joins(copy) : passes)) flush();
    if (together) {
      together_.push_back(copy);
    } else if (copy.from == Tier::pool && copy.to == Tier::pool) {
      pool.copy(copy);
    } else if (copy.from == Tier::pool) {
      land_host_slot(copy.dst);
      slots_[copy.dst].good = pool.get(copy.src, host(copy.dst));
      if (!slots_[copy.dst].good) done_.lost.push_back(copy.key->hash);
    } else if (copy.from == Tier::disk) {
      add_load(copy);
    } else {
      const Nanos start = clock_.now();
      land_host_slot(copy.src);
      if (slots_[copy.src].good) pool.put(copy.dst, host(copy.src));
      else done_.lost.push_back(copy.key->hash);
      done_.load_ns += clock_.now() - start;
    }
  }
  flush();
  if (loads_.empty()) return;
  begin_loads();
  if (!pool.in_parts()) land_parts(static_cast<size_t>(file_->layout().parts));
}

}  // namespace sluice
