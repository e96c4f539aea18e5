#include "sim/svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace sluice {

std::string svg_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

namespace {

constexpr double kLeft = 84, kRight = 170, kTop = 44, kBottom = 60;
constexpr std::array kColours = {"#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f"};

/// 1, 2 or 5 times a power of ten, so that about `wanted` of them reach `most`.
double tick_step(double most, int wanted) {
  const double rough = most / wanted, unit = std::pow(10, std::floor(std::log10(rough)));
  for (const double by : {1.0, 2.0, 5.0})
    if (by * unit >= rough * (1 - 1e-9)) return by * unit;
  return 10 * unit;
}

std::string text_at(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more, svg_text(text));
}

/// 12000 as "12,000", and 0.25 as itself.
std::string tick_text(double value) {
  std::string text = fmt::format("{:g}", value);
  if (text.find_first_of("e.") != std::string::npos && value >= 1) text = fmt::format("{:.10g}", value);
  if (text.find_first_of("e.") == std::string::npos)
    for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

}  // namespace

std::string Plot::to_svg() const {
  double most_x = 0, most_y = 0;
  for (const PlotLine& line : lines)
    for (const auto& [x, y] : line.points) most_x = std::max(most_x, x), most_y = std::max(most_y, y);
  if (!(most_x > 0)) most_x = 1;
  if (!(most_y > 0)) most_y = 1;
  const double step_x = tick_step(most_x, 8), step_y = tick_step(most_y, 6);
  most_y = std::ceil(most_y / step_y - 1e-9) * step_y;
  const double width = kWidth - kLeft - kRight, height = kHeight - kTop - kBottom;
  const auto at_x = [&](double x) { return kLeft + x / most_x * width; };
  const auto at_y = [&](double y) { return kTop + height - y / most_y * height; };

  std::string svg = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
                                "font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n", kWidth, kHeight);
  svg += text_at(kLeft, kTop - 18, "start", title, " font-size=\"16\" font-weight=\"bold\"");
  for (double x = 0; x <= most_x * (1 + 1e-9); x += step_x) {
    svg += fmt::format("<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#222\"/>\n", at_x(x), kTop + height, kTop + height + 5);
    svg += text_at(at_x(x), kTop + height + 20, "middle", tick_text(x));
  }
  for (double y = 0; y <= most_y * (1 + 1e-9); y += step_y) {
    svg += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n", kLeft, at_y(y), kLeft + width, at_y(y));
    svg += text_at(kLeft - 8, at_y(y) + 4.5, "end", tick_text(y));
  }
  svg += fmt::format("<path d=\"M{0:.1f} {1:.1f}V{2:.1f}H{3:.1f}\" fill=\"none\" stroke=\"#222\"/>\n", kLeft, kTop, kTop + height, kLeft + width);
  svg += text_at(kLeft + width / 2, kHeight - 16, "middle", x_label);
  svg += text_at(0, 0, "middle", y_label, fmt::format(" transform=\"translate(20 {:.1f}) rotate(-90)\"", kTop + height / 2).c_str());
  for (size_t i = 0; i < lines.size(); ++i) {
    const char* colour = kColours[i % kColours.size()];
    std::string points;
    for (const auto& [x, y] : lines[i].points) points += fmt::format("{:.1f},{:.1f} ", at_x(x), at_y(y));
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"/>\n", points, colour);
    const double y = kTop + 8 + 20 * static_cast<double>(i), x = kLeft + width + 16;
    svg += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"3\"/>\n", x, y, x + 22, y, colour);
    svg += text_at(x + 29, y + 4.5, "start", lines[i].name);
  }
  return svg + "</svg>\n";
}

}  // namespace sluice
