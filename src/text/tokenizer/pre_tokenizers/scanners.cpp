#include "text/tokenizer/pre_tokenizers/scanners.h"

namespace sluice {
namespace {

struct Scanner {
  std::string_view pattern;
  PreTokenizer::Step (*make)();
};

constexpr Scanner kScanners[] = {
    {kGroupsBeforeBoundary, groups_before_boundary},
    {kBetweenGroups, between_groups},
    {kGroupsFromTheRight, groups_from_the_right},
    {kLineEnds, line_ends},
    {kSpaceSizes, space_sizes},
};

}  // namespace

PreTokenizer::Step scanner_for(std::string_view pattern) {
  for (const Scanner& scanner : kScanners)
    if (scanner.pattern == pattern) return scanner.make();
  return {};
}

}  // namespace sluice
