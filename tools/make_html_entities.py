#!/usr/bin/env python3
"""Writes src/text/chat/html_entities.inc: the named character references of HTML, as Python's html.entities lists them."""
from html.entities import html5
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "src/text/chat/html_entities.inc"


def main():
    lines, line = ["// HTML's named character references in order, from Python's html.entities (tools/make_html_entities.py)."], ""
    for name, text in sorted(html5.items()):
        # Octal escapes end after three digits, whatever follows.
        spelled = "".join(f"\\{b:03o}" if b < 0x20 or b > 0x7e or b in b'"\\?' else chr(b) for b in text.encode())
        entry = f'{{"{name}", "{spelled}"}},'
        if len(line) + len(entry) >= 120:
            lines.append(line)
            line = ""
        line += (" " if line else "") + entry
    OUT.write_text("\n".join(lines + [line]) + "\n")


if __name__ == "__main__":
    main()
