#include "sched/queue/client_weights.h"

#include <charconv>

namespace sluice {

Result<ClientWeights> parse_client_weights(const std::string& text) {
  ClientWeights weights;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, end - at);
    at = end + 1;
    const size_t equals = part.rfind('=');
    double weight = 0;
    const char* const last = part.data() + part.size();
    const bool number = equals != std::string::npos && equals > 0 &&
                        std::from_chars(part.data() + equals + 1, last, weight).ptr == last && weight > 0 && weight <= 1e6;
    if (!number)
      return invalid_argument(fmt::format("--client-weights '{}': CLIENT=WEIGHT is wanted, with a weight above 0 and at most 1e6, as in "
                                          "alice=2,bob=1", part),
                              "--client-weights");
    if (!weights.emplace(part.substr(0, equals), weight).second)
      return invalid_argument(fmt::format("--client-weights names '{}' twice", part.substr(0, equals)), "--client-weights");
  }
  return weights;
}

}  // namespace sluice
