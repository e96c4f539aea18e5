"""The table and the plot of what compare.py measured."""
import statistics
from html import escape

COLOURS = {"Sluice": "#1f6feb", "llama.cpp": "#d29922", "ik_llama.cpp": "#8957e5"}
UNITS = {"int8_gops": "int8", "bf16_gflops": "bf16", "f32_gflops": "f32"}


class Cell:
    """All runs of one engine at one test: {repetition: value}, the bandwidth beside each, or why there is none."""

    def __init__(self):
        self.values, self.bandwidths, self.error = {}, {}, None

    def median(self):
        return statistics.median(self.values.values())


def cells(data):
    """{(model, threads, test): {engine: Cell}}, in the order of the runs."""
    table = {}
    names = {}  # group: its tests, to know in which rows a failed run is missing
    for s in data["samples"]:
        names.setdefault(s["group"], {}).update(dict.fromkeys(s.get("figures", {})))
    for s in data["samples"]:
        for test in s["figures"] if "figures" in s else names[s["group"]] or [s["group"]]:
            cell = table.setdefault((s["model"], s["threads"], test), {}).setdefault(s["engine"], Cell())
            if "figures" in s:
                cell.values[s["repetition"]] = s["figures"][test]
                if "memory_gbps" in s:
                    cell.bandwidths[s["repetition"]] = statistics.mean(s["memory_gbps"])
            else:
                cell.error = s["error"]
    return table


def limits(data, model, threads, test, bandwidth):
    """Tokens per second that memory and arithmetic allow at most, and the name of the peak."""
    demand = data.get("demands", {}).get(f"{model} {test}")
    if demand is None:
        return None
    roofline = data["roofline"][str(threads)]
    memory = demand["tokens"] * bandwidth * 1e9 / demand["bytes"]
    arithmetic = demand["tokens"] * roofline[demand["peak"]] * 1e9 / demand["operations"]
    return memory, arithmetic, UNITS[demand["peak"]]


def fraction(data, model, threads, test, cell):
    """Median share of what binds, and what that is; None for what has no roofline."""
    default = data["roofline"][str(threads)]["memory_gbps"]
    shares, binds = [], None
    for repetition, value in cell.values.items():
        bound = limits(data, model, threads, test, cell.bandwidths.get(repetition, default))
        if bound is None:
            return None
        memory, arithmetic, peak = bound
        shares.append(value / min(memory, arithmetic))
        binds = "memory" if memory < arithmetic else peak
    return statistics.median(shares), binds


def ratio(test, ours, *theirs):
    """Median over the repetitions that all have of how much better ours is than the best of theirs."""
    shared = [r for r in ours.values if all(r in cell.values for cell in theirs)]
    if not shared or not theirs:
        return None
    if test == "start":
        return statistics.median(min(cell.values[r] for cell in theirs) / ours.values[r] for r in shared)
    return statistics.median(ours.values[r] / max(cell.values[r] for cell in theirs) for r in shared)


def engines_of(data):
    return list(dict.fromkeys(["Sluice", *(s["engine"] for s in data["samples"])]))


def markdown(data):
    engines = engines_of(data)
    rivals = [(f"x {peer}", [peer]) for peer in engines[1:]]
    if len(rivals) > 1:
        rivals.append(("x the better", engines[1:]))
    m = data["machine"]
    lines = [f"{data['date']}; {m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {', '.join(m['isa'])}; "
             + "; ".join(f"{name} {version}" if not version.startswith(name.lower()) else version
                         for name, version in data["versions"].items()), ""]
    lines += ["| threads | read GB/s | f32 GFLOP/s | bf16 GFLOP/s | int8 GOP/s |", "|---|---|---|---|---|"]
    for threads, r in data["roofline"].items():
        lines.append(f"| {threads} | {r['memory_gbps']:.1f} | {r['f32_gflops']:.0f} | {r['bf16_gflops']:.0f} | {r['int8_gops']:.0f} |")
    runs = max((s["repetition"] for s in data["samples"]), default=0) + 1
    lines += ["", f"Medians of up to {runs} runs, tokens per second; `start` in seconds from the start of the process to the first "
              "token. Ratios (more is better for Sluice) are medians within repetitions. In brackets, the share of what binds.", "",
              "| model | threads | test | binds | " + " | ".join([*engines, *(title for title, _ in rivals)]) + " |",
              "|" + "---|" * (4 + len(engines) + len(rivals))]
    notes = []
    for (model, threads, test), row in cells(data).items():
        texts, binds = [], ""
        for engine in engines:
            cell = row.get(engine)
            if cell is None:
                texts.append("")
            elif not cell.values:
                if cell.error not in notes:
                    notes.append(cell.error)
                texts.append(f"none [{notes.index(cell.error) + 1}]")
            else:
                text = f"{cell.median():.2f}" if test == "start" else f"{cell.median():.1f}"
                share = fraction(data, model, threads, test, cell)
                if share is not None:
                    text += f" ({100 * share[0]:.0f} %)"
                    binds = binds or share[1]
                texts.append(text)
        ratios = []
        for _, names in rivals:
            value = ratio(test, row.get("Sluice", Cell()), *(row[name] for name in names if name in row and row[name].values))
            ratios.append(f"**{value:.2f}**" if value is not None else "")
        lines.append(f"| {model} | {threads} | {test} | {binds} | " + " | ".join(texts + ratios) + " |")
    lines += [""] * bool(notes) + [f"[{i + 1}] {note}" for i, note in enumerate(notes)]
    lines += depth_lines(data) + memory_lines(data)
    return "\n".join(lines).rstrip() + "\n"


def depth_lines(data):
    """What a long context adds to a decoded token, against the time of reading its keys and values once."""
    engines, table, lines = engines_of(data), cells(data), []
    for (model, threads, test), row in table.items():
        base = test.split(" @ d")[0]
        shallow = table.get((model, threads, base), {})
        demand = data.get("demands", {})
        if test == base or f"{model} {test}" not in demand or f"{model} {base}" not in demand:
            continue
        kv_bytes = demand[f"{model} {test}"]["kv_bytes"] - demand[f"{model} {base}"]["kv_bytes"]
        texts = []
        for engine in engines:
            deep, flat = row.get(engine, Cell()), shallow.get(engine, Cell())
            both = [r for r in deep.values if r in flat.values]
            if not both:
                texts.append("")
                continue
            extra = {r: 1e3 / deep.values[r] - 1e3 / flat.values[r] for r in both}
            reading = {r: kv_bytes / deep.bandwidths[r] / 1e6 for r in both}
            texts.append(f"{statistics.median(extra.values()):.2f} (**{statistics.median(extra[r] / reading[r] for r in both):.1f}**)")
        lines.append(f"| {model} | {threads} | {test} | {kv_bytes / 1e6:.1f} | " + " | ".join(texts) + " |")
    if not lines:
        return []
    return ["", "What depth adds to a token, ms, and in brackets as multiples of reading its keys and values once, at the bandwidth beside "
            "each run. Sizes are those of Sluice's KV cache.", "",
            "| model | threads | test | KV, MB | " + " | ".join(engines) + " |", "|" + "---|" * (4 + len(engines)), *lines]


def memory_lines(data):
    """Memory of the servers after their first token, as medians."""
    found = {}
    for s in data["samples"]:
        if "memory_mib" in s and "figures" in s:
            found.setdefault((s["model"], s["threads"]), {}).setdefault(s["engine"], []).append(s["memory_mib"])
    if not found:
        return []
    engines = engines_of(data)
    lines = ["", "Resident memory after the first token, MiB: the peak, and in brackets what is the process's own.", "",
             "| model | threads | " + " | ".join(engines) + " |", "|" + "---|" * (2 + len(engines))]
    for (model, threads), row in found.items():
        middle = lambda engine, name: statistics.median(x[name] for x in row[engine])
        lines.append(f"| {model} | {threads} | " + " | ".join(
            f"{middle(e, 'peak'):.0f} ({middle(e, 'own'):.0f})" if e in row else "" for e in engines) + " |")
    return lines


def svg(data):
    """Prefill and decode of every model as shares of the roofline, the tokens per second on the bars."""
    engines, table = engines_of(data), cells(data)
    threads = max((key[1] for key in table), default=1)
    panels = []
    for title, start in (("Prefill", "pp"), ("Decode, one sequence", "tg64"), ("Decode, 16 sequences", "tg32 b16")):
        rows = [(key, row) for key, row in table.items() if key[1] == threads and key[2].startswith(start)
                and ("@" not in key[2] or start == "tg32 b16")]
        if rows:
            panels.append((f"{title} ({rows[0][0][2]}, {threads} threads)", rows))
    bar, gap, height, left, top = 30, 24, 240, 60, 56
    width = max([640, *(left + 20 + len(rows) * (len(engines) * bar + gap) for _, rows in panels)])
    panel_height = height + 100
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + panel_height * len(panels)}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for i, engine in enumerate(engines):
        x = left + i * 130
        out.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{COLOURS.get(engine, "#57606a")}"/>'
                   f'<text x="{x + 18}" y="22">{escape(engine)}</text>')
    for p, (title, rows) in enumerate(panels):
        base = top + p * panel_height + height
        share_of = {}
        for key, row in rows:
            for engine, cell in row.items():
                if cell.values:
                    share_of[(key, engine)] = fraction(data, *key, cell)
        scale = height / max([1.1, *(s[0] * 1.05 for s in share_of.values() if s)])
        out.append(f'<text x="{left}" y="{base - height - 6}" font-size="14" font-weight="bold">{escape(title)}</text>')
        for percent in range(0, 101, 20):
            y = base - percent / 100 * scale
            stroke = '"#cf222e" stroke-dasharray="6 3"' if percent == 100 else '"#d0d7de"'
            out.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke={stroke}/>'
                       f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>')
        for g, (key, row) in enumerate(rows):
            x0 = left + gap / 2 + g * (len(engines) * bar + gap)
            binds = ""
            for i, engine in enumerate(engines):
                share = share_of.get((key, engine))
                if share is None:
                    continue
                binds = share[1]
                x, h = x0 + i * bar, share[0] * scale
                out.append(f'<rect x="{x:.1f}" y="{base - h:.1f}" width="{bar - 4}" height="{h:.1f}" fill="{COLOURS.get(engine, "#57606a")}"/>'
                           f'<text x="{x + bar / 2 - 2:.1f}" y="{base - h - 4:.1f}" text-anchor="middle" font-size="10">{row[engine].median():.0f}</text>')
            middle = x0 + len(engines) * bar / 2
            name = key[0].removesuffix(".gguf")
            out.append(f'<text x="{middle:.1f}" y="{base + 16}" text-anchor="middle" font-size="11">{escape(name)}</text>'
                       f'<text x="{middle:.1f}" y="{base + 30}" text-anchor="middle" font-size="10" fill="#57606a">of {escape(binds)}</text>')
    out.append(f'<text x="{left}" y="{top + panel_height * len(panels) - 12}" font-size="11" fill="#57606a">Share of the roofline; tokens per second '
               f'stand on the bars. {escape(data["machine"]["cpu"])}, {escape(data["date"])}</text></svg>')
    return "\n".join(out) + "\n"
