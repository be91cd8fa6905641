"""throughput.py's picture: a bar for each system, grouped by what is done to an image."""

from __future__ import annotations

import statistics

from loading.figures import Figures
from loading.systems import CEILING, SYSTEMS


def draw(path: str, title: str, figures: Figures, names: list[str]) -> None:
    """Write it."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = [name for name in names if name not in figures.failed and name != CEILING]
    groups = list(dict.fromkeys(SYSTEMS[name].work for name in shown))
    rows = [sorted((n for n in shown if SYSTEMS[n].work == work), key=lambda n: -middle(figures, n)) for work in groups]
    figure, panels = plt.subplots(
        len(groups), 1, figsize=(9, 1.2 + 0.34 * len(shown) + 0.4 * len(groups)), layout="constrained",
        sharex=True, squeeze=False, height_ratios=[len(row) for row in rows],
    )  # fmt: skip
    for axes, work, row in zip(panels[:, 0], groups, rows, strict=True):
        bars(axes, figures, row)
        axes.set_title(work, loc="left", fontsize=10, fontweight="bold")
        if ceiling := figures.rates(CEILING):
            axes.axvline(statistics.median(ceiling), color="#3b4250", linewidth=1.2, linestyle="--")
    if ceiling:
        top, x = panels[0, 0], statistics.median(ceiling)
        top.annotate("decoding\nalone ", (x, 0), (-4, 0), textcoords="offset points", ha="right", va="top", fontsize=8)
    last = panels[-1, 0]
    last.set_xlim(0, 1.12 * max(max(figures.rates(name)) for name in names if name not in figures.failed))
    last.set_xlabel("images/s: median, slowest and fastest round; x webdataset in the same group", fontsize=9)
    last.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.savefig(path, dpi=150)


def middle(figures: Figures, name: str) -> float:
    return statistics.median(figures.rates(name))


def bars(axes, figures: Figures, row: list[str]) -> None:
    """Those of a group."""
    colors = ["#1f6feb" if SYSTEMS[name].module == "wds_face" else "#b8c0cc" for name in row]
    axes.barh([SYSTEMS[name].label for name in row], [middle(figures, name) for name in row], color=colors, height=0.66)
    axes.invert_yaxis()
    for y, name in enumerate(row):
        rates, times = figures.rates(name), figures.times(name)
        axes.plot([min(rates), max(rates)], [y, y], color="#3b4250", linewidth=1.1, marker="|", markersize=6)
        text = f"{statistics.median(rates):,.0f}" + (f"   {times:.1f}x" if times else "")
        note = axes.annotate(text, (max(rates), y), (8, 0), textcoords="offset points", va="center", fontsize=8.5)
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.tick_params(axis="x", labelsize=9, color="#d0d5dd")
    axes.grid(axis="x", color="#e5e8ee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#d0d5dd")
