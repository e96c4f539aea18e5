// The sluice command: finds the subcommand, prints its error, returns its exit code.

#include <csignal>
#include <cstdio>

#include "apps/command.h"
#include "apps/environment.h"
#include "apps/printable.h"

namespace sluice {
namespace {

constexpr Command kCommands[] = {
    {"run", "generate text from a prompt, or chat in the terminal", run_main},
    {"serve", "serve a model over the OpenAI API", serve_main},
    {"bench", "measure: latency, throughput, serve, attention, kv-disk, quality, roofline, calibrate, batching, fidelity", bench_main},
    {"inspect", "show what is in a model, and what it will take here", inspect_main},
    {"convert", "convert a model to GGUF, quantize it, or make a random one", convert_main},
    {"tune", "measure how this machine multiplies best, for serve, run and bench", tune_main},
    {"lab", "show that each technique works, each by its own experiment", lab_main},
    {"simulate", "replay a trace through the scheduler on a virtual clock", simulate_main},
};

int usage(std::FILE* to) {
  std::fputs("Sluice serves open language models.\n\nusage: sluice COMMAND [flags]\n\n", to);
  for (const Command& command : kCommands)
    std::fputs(fmt::format("  {:<10} {}\n", command.name, command.help).c_str(), to);
  std::fputs(
      "\n'sluice COMMAND --help' lists a command's flags. 'sluice --version' prints the version.\n"
      "A first try:  sluice serve models/stories260K.gguf\n",
      to);
  return to == stdout ? 0 : 2;
}

int sluice_main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the call that writes it
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "--version" || name == "version") {
    std::puts("sluice " SLUICE_VERSION);
    return 0;
  }
  if (name == "--help" || name == "-h" || name == "help") return usage(stdout);
  for (const Command& command : kCommands) {
    if (name != command.name) continue;
    warn_of_unread_variables([] {
      for (const Command& each : kCommands) (void)each.main({});
    });
    const Result<int> result = command.main({argv + 2, argv + argc});
    if (result.ok()) return *result;
    std::fputs(fmt::format("sluice {}: {}\n", name, printable(result.error().message, true)).c_str(), stderr);
    return 1;
  }
  if (!name.empty()) std::fputs(fmt::format("sluice: there is no command '{}'\n\n", printable(name)).c_str(), stderr);
  return usage(stderr);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::sluice_main(argc, argv); }
