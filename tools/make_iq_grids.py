#!/usr/bin/env python3
"""Writes src/quant/weight/iq_grids.inc: the grids that ggml's IQ1, IQ2 and IQ3 types point into, as facts of those formats, from the
`gguf` package (pip install gguf==0.19.0), which derives them from ggml's tables.

A grid is points of 8 (IQ3: 4) small values, each a place in the few values that its format knows. A hex digit holds two such
places of 2 bits, the first low, or one of 3."""
import pathlib

import gguf.quants as quants
import numpy as np

GRIDS = {"kIq2XxsGrid": quants.IQ2_XXS, "kIq2XsGrid": quants.IQ2_XS, "kIq2SGrid": quants.IQ2_S, "kIq3XxsGrid": quants.IQ3_XXS,
         "kIq3SGrid": quants.IQ3_S, "kIq1Grid": quants.IQ1_S}
DIGITS_A_LINE = 120

lines = ["// Made by tools/make_iq_grids.py, which says what this is.", ""]
for name, kind in GRIDS.items():
    kind.init_grid()
    points, dim = kind.grid_shape
    places = np.searchsorted(np.array(kind.grid_map), kind.grid.reshape(-1))
    assert (np.array(kind.grid_map)[places] == kind.grid.reshape(-1)).all()
    if len(kind.grid_map) <= 4:
        places = places[0::2] | places[1::2] << 2
    digits = "".join("%x" % p for p in places)
    lines.append(f"// {points} points of {dim}, values {', '.join(str(v) for v in kind.grid_map)}.")
    lines.append(f"constexpr char {name}[] =")
    rows = [digits[i:i + DIGITS_A_LINE] for i in range(0, len(digits), DIGITS_A_LINE)]
    lines += [f'    "{row}"' for row in rows[:-1]] + [f'    "{rows[-1]}";', ""]
out = pathlib.Path(__file__).parent.parent / "src/quant/weight/iq_grids.inc"
out.write_text("\n".join(lines[:-1]) + "\n")
