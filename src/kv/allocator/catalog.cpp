#include "kv/allocator/kv_allocator.h"
#include "kv/allocator/paged.h"
#include "kv/allocator/static_slots.h"

namespace sluice {

std::span<const KvAllocatorEntry> kv_allocator_catalog() {
  static constexpr KvAllocatorEntry kEntries[] = {
      {"paged", "blocks as they are needed, wherever they are free",
       [](const AllocatorOptions& o) -> std::unique_ptr<KvAllocator> { return std::make_unique<PagedAllocator>(o.block_tokens); }},
      {"static", "a whole context, adjoining, per sequence",
       [](const AllocatorOptions& o) -> std::unique_ptr<KvAllocator> { return std::make_unique<StaticSlots>(o); }},
  };
  return kEntries;
}

}  // namespace sluice
