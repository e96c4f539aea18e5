#include "sim/length_distribution.h"

#include <algorithm>
#include <cmath>

#include "sim/number.h"

namespace sluice {

Result<LengthDistribution> LengthDistribution::parse(const std::string& text, const char* flag) {
  struct Form { std::string_view name; Kind kind; int numbers; };
  constexpr Form kForms[] = {{"constant", Kind::constant, 1}, {"uniform", Kind::uniform, 2}, {"exponential", Kind::exponential, 1}, {"lognormal", Kind::lognormal, 2}};
  const std::string_view whole = text;
  const size_t colon = std::min(whole.find(':'), whole.size()), comma = std::min(whole.find(',', colon), whole.size());
  for (const Form& form : kForms) {
    if (whole.substr(0, colon) != form.name || colon == whole.size()) continue;
    LengthDistribution d{form.kind};
    const bool two = comma < whole.size();
    if (!read_number(whole.substr(colon + 1, comma - colon - 1), d.a) || two != (form.numbers == 2) ||
        (two && !read_number(whole.substr(comma + 1), d.b)))
      break;
    const bool fits = form.kind == Kind::lognormal ? d.a >= 0 && d.a <= 14 && d.b >= 0 && d.b <= 10
                                                   : d.a >= 1 && d.a <= 1e6 && (form.kind != Kind::uniform || (d.b >= d.a && d.b <= 1e6));
    if (!fits) break;
    return d;
  }
  return invalid_argument(fmt::format("{} '{}': constant:TOKENS, uniform:LEAST,MOST, exponential:MEAN or lognormal:MU,SIGMA is wanted, with lengths from 1 to 1e6 "
                                      "(MU from 0 to 14)", flag, text), flag);
}

int LengthDistribution::draw(Rng& rng) const {
  double tokens = a;
  switch (kind) {
    case Kind::constant: break;
    case Kind::uniform: tokens = a + std::floor(rng.next_double() * (b - a + 1)); break;
    case Kind::exponential: tokens = rng.next_exponential(1 / a); break;
    case Kind::lognormal: tokens = std::exp(a + b * rng.next_normal()); break;
  }
  return static_cast<int>(std::clamp(std::round(tokens), 1.0, 1e6));
}

}  // namespace sluice
