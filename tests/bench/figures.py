"""The rows as Markdown and as a picture."""
import statistics
from xml.sax.saxutils import escape

MEMORY_MAX_MIB = 192
COLUMN, LEFT, RIGHT, LINE = 560, 400, 150, 46       # of the picture, in pixels


def number(value):
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def verdict(row):
    if row.bar is None:
        return ""
    return "met" if row.is_met() else "**not met**"


def show(argv, work):
    text = " ".join(str(part) for part in argv)
    return text.replace(str(work) + "/", "").replace(str(work), "WORK").replace("|", "\\|")


def table(rows):
    yield "| what | pgagent | beside | ratio | bar | |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        yield (f"| {row.what} | {number(row.ours)} {row.unit} | {row.peer_label}: "
               f"{number(row.peer)} {row.unit} | {row.ratio:.2f} ({row.spread}) | "
               f"{'' if row.bar is None else f'<= {row.bar}'} | {verdict(row)} |")
    peak = max((side.peak_mib for row in rows for side in row.sides
                if side.label.startswith("pgagent") and not row.name.startswith("many")),
               default=0)
    if peak:
        yield (f"| peak memory of pgagent, all rows but those of a million files | {peak:.0f} MiB | "
               f"{MEMORY_MAX_MIB} MiB | {peak / MEMORY_MAX_MIB:.2f} | <= 1 | "
               f"{'met' if peak <= MEMORY_MAX_MIB else '**not met**'} |")


def details(rows, work):
    yield "| row | command | median s | from-to s | CPU s | peak MiB |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        for side in row.sides:
            yield (f"| {row.name} | `{show(side.argv, work)}` | {number(side.median())} | "
                   f"{number(min(side.seconds))}-{number(max(side.seconds))} | "
                   f"{number(statistics.median(side.cpu))} | {side.peak_mib:.0f} |")


def markdown(head, rows, work):
    return "\n".join(["# Figures", "", head, "", "![the ratios as bars](figures.svg)", "",
                      *table(rows), "", "Ratio: median of the pairs' ratios (smallest-largest); "
                      "below 1 pgagent is faster, smaller, leaner.", "",
                      *details(rows, work), ""])


def cut(text, length):
    return text if len(text) <= length else text[:length - 3] + "..."


def bar(y, width, colour):
    return f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="13" fill="{colour}"/>'


def label(x, y, text, colour="#222", anchor="start", size=12):
    return (f'<text x="{x:.1f}" y="{y}" fill="{colour}" font-size="{size}" '
            f'text-anchor="{anchor}">{escape(text)}</text>')


def picture(head, rows):
    """For each row two bars, the peer's of length 1, and a line where the bar is."""
    most = max([1.0, *(row.ratio for row in rows), *(row.bar or 0 for row in rows)])
    unit = COLUMN / most
    height = LINE * len(rows) + 70
    width = LEFT + COLUMN + RIGHT
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" font-family="sans-serif">',
           f'<rect width="{width}" height="{height}" fill="#fff"/>',
           label(10, 22, "pgagent beside its peers: shorter is better, the line is the bar to meet",
                 size=15)]
    for at, row in enumerate(rows):
        y = 40 + at * LINE
        what, peer = cut(row.what, 62), cut(f"beside {row.peer_label}", 66)
        out += [label(LEFT - 8, y + 11, what, anchor="end"),
                label(LEFT - 8, y + 27, peer, "#777", "end", 11),
                bar(y, row.ratio * unit, "#2f7d4f" if row.is_met() else "#b5452c"),
                bar(y + 16, unit, "#b8bec6"),
                label(LEFT + row.ratio * unit + 5, y + 11,
                      f"{number(row.ours)} {row.unit}  ({row.ratio:.2f})"),
                label(LEFT + unit + 5, y + 27, f"{number(row.peer)} {row.unit}", "#777", size=11)]
        if row.bar is not None:
            x = LEFT + row.bar * unit
            out.append(f'<line x1="{x:.1f}" y1="{y - 4}" x2="{x:.1f}" y2="{y + 33}" '
                       'stroke="#111" stroke-dasharray="3,2"/>')
    out += [label(10, height - 12, cut(head, 180), "#777", size=10),
            "</svg>", ""]
    return "\n".join(out)
