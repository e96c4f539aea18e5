#pragma once
// Catalogs in --help: what a folder's catalog gains by a line, the flag's help gains with it.

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace sluice {

/// "order of the queue: fcfs (first come, first served); priority (...)", or names alone where members have no help.
std::string catalog_help(std::string_view what, const auto& catalog) {
  std::string text(what);
  const char* before = ": ";
  for (const auto& entry : catalog) {
    if constexpr (requires { entry.help; })
      text += fmt::format("{}{} ({})", before, entry.name, entry.help), before = "; ";
    else if constexpr (requires { entry->isa; })
      text += fmt::format("{}{}{}", before, entry->isa, entry->unproven ? " (untested on hardware)" : ""), before = ", ";
    else
      text += fmt::format("{}{}", before, entry.name), before = ", ";
  }
  return text;
}

}  // namespace sluice
