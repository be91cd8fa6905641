"""How random the batches are, beside a full shuffle and beside what webdataset makes of the same shards.

    python benchmarks/shuffle.py [--sets NAME ...] [--systems NAME ...] [--data DIR] [--epochs N] [--plot FILE.png]

No image is read. Data sets (shards as wds-face cuts them; DIR, with an index, takes the place of the first):

- lfw: 5,749 identities, 13,233 images, a long tail up to 530, p=16, k=4, N epochs.
- ms1mv2: 85,742 identities, 68 images of 7 kB on average, p=64, k=4, max(2, N // 5) epochs.
- webface: a 16th of WebFace42M, as scale.py draws it, p=64, k=4, as many epochs.

Systems:

- ours: the plan of PKStream, with its defaults, or --window and --lanes.
- full: the same groups in a random order of the whole epoch, cut into batches of p identities; a group whose identity
  is in the batch already waits for the next.
- webdataset + pk: shuffle(1000), then pk_batched(p, k) with its default buffer.
- webdataset: shuffle(1000), then batched(p * k), as people do without PK.
- images: all images in random order, cut into batches: the full shuffle to compare webdataset's batches with.
- unshuffled: batched(p * k) alone, shards in order: how bad it can be.

webdataset's own filters run here, over samples without images, in the order in which they come out of the shards: those
in a new random order each epoch (better than shardshuffle=True, which takes the same order in each), an identity's
images one after the other.

Measures, over all epochs, relative to a full shuffle (of groups; of images where batches are not PK) with another seed:

- batches: of an epoch; ids: different identities in a batch.
- pairs met: different pairs of identities that were in one batch, divided by those in the full shuffle (over 1 where
  samples that come again make more batches); and of all pairs that there are. Of 10,000 random identities, where there
  are more.
- neighbours: what share of the pairs in a batch are of the same 8 MB of a shard, and how many times that of the
  full shuffle; the same for pairs of one shard. Strangers lie there, so this is no bias, but they meet more often.
- segments: different such parts in a batch, of those in the full shuffle.
- order: Spearman's correlation between an identity's mean place in one epoch and in the next, mean of the absolute
  values. Where they are independent it is about 0.8 / sqrt(identities), the figure in brackets; where segments move as
  a whole, about 0.8 / sqrt(segments).
- again: share of the images in the batches that had been in this epoch already; never: share of the data's images that
  are in no batch.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from orders import SYSTEMS, Data, dealt, like_lfw, like_ms1mv2
from scale import NBYTES, index

from wds_face import Index
from wds_face.stream.mixing import inner_pairs

LABELS = {
    "ours": "wds_face, PKStream",
    "full": "full shuffle of groups",
    "webdataset + pk": "webdataset, shuffle(1000), pk_batched",
    "webdataset": "webdataset, shuffle(1000), batched",
    "images": "full shuffle of images, batched",
    "unshuffled": "webdataset, batched, not shuffled",
}
REFERENCES = {"full", "images"}
COLORS = dict(zip(LABELS, ["#1f6feb", "#3b4250", "#e8a33a", "#c2410c", "#98a2b3", "#7a5195"], strict=True))


def ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


@dataclass
class Measures:
    """What is counted of one system, epoch by epoch."""

    data: Data
    met: list[int] = field(default_factory=list)  # pairs, after each epoch
    totals: np.ndarray = field(default_factory=lambda: np.zeros(8))
    order: list[float] = field(default_factory=list)

    def run(self, system: Callable[[Data, int], Iterator[np.ndarray]], start: int = 0) -> "Measures":
        seen, before = np.zeros((self.data.sampled, self.data.sampled), bool), None
        for number in range(start, start + self.data.epochs):
            batches = list(system(self.data, number))
            places = self.epoch(np.concatenate(batches), np.array([len(batch) for batch in batches]), seen)
            self.met.append(np.count_nonzero(seen))
            if before is not None:
                both = np.isfinite(before) & np.isfinite(places)
                self.order.append(float(np.corrcoef(ranks(before[both]), ranks(places[both]))[0, 1]))
            before = places
        return self

    def epoch(self, delivered: np.ndarray, lengths: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Adds to the totals and to the pairs seen; returns each identity's mean batch."""
        data, n = self.data, len(self.data.images)
        rows = np.searchsorted(data.first, delivered, side="right") - 1
        batch, row = np.divmod(np.unique(np.repeat(np.arange(len(lengths)), lengths) * n + rows), n)
        segment = inner_pairs(batch, data.segment_of[row])
        segments = len(np.unique(batch * len(data.nbytes) + data.segment_of[row]))
        times = np.bincount(delivered, minlength=int(data.images.sum()))
        self.totals += (
            *(len(lengths), len(row), inner_pairs(batch, batch * 0)),
            *(segment, inner_pairs(batch, data.shards[row]), segments),
            *(np.maximum(times - 1, 0).sum() / len(delivered), np.mean(times == 0)),
        )
        with np.errstate(invalid="ignore"):
            places = np.bincount(row, batch, n) / np.bincount(row, minlength=n)
        number = data.sample[row]
        batch, number = batch[number >= 0], number[number >= 0]
        apart = 1
        while (same := batch[apart:] == batch[:-apart]).any():  # the batches ascend
            one, other = number[:-apart][same], number[apart:][same]
            seen[np.minimum(one, other), np.maximum(one, other)] = True
            apart += 1
        return places


def cells(found: Measures, full: Measures) -> dict[str, float]:
    batches, ids, pairs, segment, shard, segments, again, never = found.totals
    sampled = found.data.sampled
    return {
        "batches": batches / found.data.epochs,
        "ids": ids / batches,
        "met": found.met[-1] / full.met[-1],
        "all": found.met[-1] / (sampled * (sampled - 1) / 2),
        "neighbours": segment / pairs,
        "x neighbours": segment / pairs / (full.totals[3] / full.totals[2]),
        "x shard": shard / pairs / (full.totals[4] / full.totals[2]),
        "segments": segments / batches / (full.totals[5] / full.totals[0]),
        "order": float(np.mean(np.abs(found.order))) if found.order else float("nan"),
        "again": again / found.data.epochs,
        "never": never / found.data.epochs,
    }


def table(data: Data, rows: dict[str, dict[str, float]]) -> str:
    chance = (2 / np.pi / len(data.images)) ** 0.5
    lines = [
        f"{data.title}: {len(data.images):,} identities, {data.images.sum():,} images, {data.shards[-1] + 1:,} shards, "
        f"{len(data.segments) - 1:,} segments, p={data.p}, k={data.k}, {data.epochs} epochs; "
        f"{data.lanes} lanes, window {data.window}\n",
        f"| | batches | ids | pairs met | of all | neighbours | × full | shard, × full | segments | "
        f"order ({chance:.4f}) | again | never |\n|---|{'--:|' * 11}",
    ]
    forms = [",.0f", ".1f", ".3f", ".2%", ".2%", ",.2f", ",.2f", ".2f", ".4f", ".2%", ".2%"]
    for name, row in rows.items():
        lines.append(" | ".join([f"| {LABELS[name]}", *map(format, row.values(), forms)]) + " |")
    return "\n".join(lines) + "\n"


def plot(path: str, found: dict[str, tuple[Data, dict[str, dict[str, float]], dict[str, np.ndarray]]]) -> None:
    """Pairs met in the first data set, epoch by epoch; how often neighbours meet, in all."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.6), layout="constrained")
    data, _, curves = next(iter(found.values()))
    left.axhline(1, color=COLORS["full"], linewidth=1.2, linestyle="--", label="full shuffle")
    for name, curve in curves.items():
        if name in REFERENCES:
            continue
        style = {"marker": "o", "markersize": 4, "color": COLORS[name], "zorder": 3 if name == "ours" else 2}
        left.plot(np.arange(1, len(curve) + 1), curve, label=LABELS[name], **style)
    left.set_ylim(0)
    left.set_title(f"Different pairs of identities that met, {data.title}", loc="left", fontsize=11, fontweight="bold")
    left.set_xlabel("epochs (above 1: more batches, as samples come again)", fontsize=9)
    left.set_ylabel("of those in a full shuffle", fontsize=9)
    left.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    titles = []
    for y, (data, rows, _) in enumerate(found.values()):
        titles.append(f"{data.title}\n{len(data.segments) - 1:,} segments")
        shown = [name for name in rows if name not in REFERENCES]
        for i, name in enumerate(shown):
            place, value = y + 0.2 * (i - (len(shown) - 1) / 2), rows[name]["x neighbours"]
            right.plot([1, value], [place, place], color=COLORS[name], linewidth=2)
            right.plot(value, place, "o", color=COLORS[name], markersize=6)
            right.annotate(
                f"{value:,.{1 if value < 9.95 else 0}f}×   {rows[name]['neighbours']:.1%} of pairs",
                (max(value, 1), place),
                (8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    right.set_xscale("log")
    right.set_xlim(0.7, right.get_xlim()[1] * 20)
    right.axvline(1, color=COLORS["full"], linewidth=1.2, linestyle="--")
    right.set_yticks(range(len(titles)), titles, fontsize=9)
    right.set_ylim(len(titles) - 0.5, -0.5)
    right.minorticks_off()
    right.set_title("How often neighbours in a shard (8 MB) meet", loc="left", fontsize=11, fontweight="bold")
    right.set_xlabel("times as often as in a full shuffle; their share of the pairs in a batch", fontsize=9)
    right.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    for axes in (left, right):
        axes.grid(axis="both" if axes is left else "x", color="#e5e8ee")
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9, color="#d0d5dd")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color("#d0d5dd")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.savefig(path, dpi=150)


def data_set(name: str, options: argparse.Namespace) -> Data:
    given = options.window, options.lanes
    few = max(2, options.epochs // 5)
    if name == "ms1mv2":
        return dealt("like MS1MV2", like_ms1mv2(), 7_000, 64, 4, few, *given)
    if name == "webface":
        return dealt("a 16th of WebFace42M", index(1 / 16), NBYTES, 64, 4, few, *given)
    if not options.data:
        return dealt("like LFW", like_lfw(), 6_900, 16, 4, options.epochs, *given)
    rows = Index.open(options.data).identities
    columns = (rows[column].astype(np.int64) for column in ("images", "shard", "nbytes"))
    return Data(options.data.name, *columns, 16, 4, options.epochs, *given)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sets = ["lfw", "ms1mv2", "webface"]
    parser.add_argument("--sets", nargs="+", choices=sets, default=sets)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--data", type=Path, metavar="DIR", help="shards with an index, instead of lfw")
    parser.add_argument(
        "--epochs", type=int, default=10, help="of lfw; a fifth, but 2 at least, of the others (default: 10)"
    )
    parser.add_argument("--window", type=int, default=0, help="segments that ours mixes, instead of its default")
    parser.add_argument("--lanes", type=int, default=0, help="of ours, instead of its default")
    parser.add_argument("--plot", metavar="FILE.png")
    arguments = parser.parse_args()
    found = {}
    for chosen in arguments.sets:
        data = data_set(chosen, arguments)
        references: dict[str, Measures] = {}
        rows, curves = {}, {}
        for name in arguments.systems:
            like = "full" if "pk" in name or name in ("ours", "full") else "images"
            if like not in references:
                references[like] = Measures(data).run(SYSTEMS[like], 1000)
            measures = Measures(data).run(SYSTEMS[name])
            rows[name] = cells(measures, references[like])
            curves[name] = np.divide(measures.met, references[like].met)
        found[chosen] = data, rows, curves
        print(table(data, rows), flush=True)
    if arguments.plot:
        plot(arguments.plot, found)
