#include "apps/environment.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "apps/printable.h"
#include "base/edit_distance.h"
#include "base/options.h"

namespace sluice {
namespace {

// Read, and no flag: by OptionSet and by the tests.
constexpr std::string_view kOthers[] = {"SLUICE_CONFIG", "SLUICE_TEST_DATA", "SLUICE_BIN"};

std::vector<std::string> variables() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (text.starts_with("SLUICE_")) names.emplace_back(text.substr(0, text.find('=')));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

void warn_of_unread_variables(const std::function<void()>& run_all) {
  std::vector<std::string> unread = variables();
  const auto drop = [&](const auto& known) {
    std::erase_if(unread, [&](const std::string& name) { return std::ranges::find(known, name) != std::end(known); });
  };
  drop(kOthers);
  if (unread.empty()) return;
  std::set<std::string> known = OptionSet::variables_of(run_all);
  drop(known);
  known.insert("SLUICE_CONFIG");
  for (const std::string& name : unread) {
    const auto closest =
        std::ranges::min_element(known, {}, [&](const std::string& other) { return edit_distance(name, other); });
    std::fputs(fmt::format("sluice: the environment variable {} is read by nothing; the closest that is known is {}\n",
                           printable(name), *closest)
                   .c_str(),
               stderr);
  }
}

}  // namespace sluice
