#pragma once
// Line plots as SVG, drawn plainly: axes with ticks and units, a legend, one colour a line.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

/// Text as it stands in an SVG.
std::string svg_text(std::string_view text);

struct PlotLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // by ascending x
};

struct Plot {
  static constexpr int kWidth = 860, kHeight = 400;

  std::string title, x_label, y_label;
  std::vector<PlotLine> lines;  // at most 8 are told apart by colour

  /// Both axes are linear and begin at 0.
  std::string to_svg() const;
};

}  // namespace sluice
