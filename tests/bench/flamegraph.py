"""A flame graph of stacks, as SVG without scripts: the callers below, as wide as their share of the
samples. A browser shows the whole name and the share of what the mouse points at."""

from collections import Counter
from html import escape
from pathlib import Path

WIDTH, ROW, LETTER = 1200, 16, 6.6
# Narrower frames could not be seen.
NARROWEST = 0.4
COLOURS = {
    "kernel": "#9db4c0",
    "zstd": "#e07a5f",
    "digest": "#f2cc8f",
    "copies": "#81b29a",
    "guest": "#b39ddb",
    "parsing": "#7fb7e6",
    "other": "#e9c9a8",
}


def write(path: Path, stacks: Counter, title: str, group) -> None:
    """Draws stacks, from the outermost frame to the innermost, each with its number of samples."""
    samples = sum(stacks.values())
    depth = max(len(stack) for stack in stacks) + 1
    height = (depth + 2) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="4" y="12">{escape(title)}, {samples:,} samples</text>',
    ]
    _draw(parts, stacks, 0, 0.0, WIDTH / samples, samples, height, group)
    path.write_text("\n".join([*parts, "</svg>\n"]))


def _draw(
    parts: list, stacks: Counter, level: int, left: float, scale: float, samples: int, height: int, group
):
    """The frames of one level, and what stands on them."""
    callees: dict[str, Counter] = {}
    for stack, count in stacks.items():
        if len(stack) > level:
            callees.setdefault(stack[level], Counter())[stack] = count
    for name, above in sorted(callees.items()):
        count = sum(above.values())
        width = count * scale
        if width >= NARROWEST:
            top = height - (level + 2) * ROW
            text = name if len(name) * LETTER < width else name[: max(0, int(width / LETTER) - 2)] + ".."
            text = (
                ""
                if width < 4 * LETTER
                else f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(text)}</text>'
            )
            parts.append(
                f"<g><title>{escape(name)}: {100 * count / samples:.1f} %</title>"
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{ROW - 1}" fill="{COLOURS[group(name)]}"/>{text}</g>'
            )
            _draw(parts, above, level + 1, left, scale, samples, height, group)
        left += width
