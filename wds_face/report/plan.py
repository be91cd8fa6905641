"""The plan of an epoch: what it is made of, what comes twice, and how many workers suit it."""

from __future__ import annotations

from wds_face.report.markup import GOOD, NOTE, card, facts, grid
from wds_face.report.training import GPUS, WORKERS, Training
from wds_face.report.words import share, size, text
from wds_face.units import plural


def intro(training: Training) -> str:
    """What is planned."""
    what = "every image comes at least once" if training.every else "every identity comes once"
    return (
        f"<code>PKStream(p={training.p}, k={training.k})</code> with its defaults: {what}, and every batch is full. "
        "Lanes are the sequences of batches that an epoch is made of; of its segments (neighbours in a shard, which "
        "are read together) a lane mixes a window at a time."
    )


def tables(training: Training, nbytes: int) -> str:
    """The plan in figures, and workers.

    Args:
        training: the plan.
        nbytes: of all shards.
    """
    plan = training.summary
    batch = training.p * training.k
    places = plan["batches"] * batch
    rows = [
        ("batches", f"{plan['batches']:,}", f"of {batch:,} images, in an epoch"),
        ("groups", f"{plan['groups']:,}", f"of k = {training.k} images of one identity"),
        (
            "images again",
            share(repeated(training), places),
            f"of an epoch's {places:,} places, mostly to fill an identity's last k",
        ),
        (
            "groups again",
            share(plan["groups_twice"], plan["groups"]),
            f"{plan['groups_twice']:,}, to fill the last batches",
        ),
        ("lanes", f"{plan['lanes']:,}", f"of {plural(plan['batches'] // plan['lanes'], 'batch', 'batches')} each"),
        ("segments", f"{training.segments:,}", f"of {size(nbytes / max(1, training.segments))}, each one request"),
        ("window", f"{training.window:,}", f"segments, at most, that a lane mixes; {size(_mixed(training))}"),
    ]
    return grid([card("An epoch", facts(rows)), _workers(training)])


def _mixed(training: Training) -> float:
    return training.summary["bytes_mixed"] / training.summary["lanes"]


def repeated(training: Training) -> int:
    """Places of an epoch that have an image which came before."""
    plan = training.summary
    places = plan["batches"] * training.p * training.k
    return max(0, places - plan["images"]) if training.every else plan["images_twice"]


def _workers(training: Training) -> str:
    head = "".join(f'<th scope="col">{workers}</th>' for workers in WORKERS)
    body = []
    for gpus, factors, batches in zip(GPUS, training.factors, training.batches, strict=True):
        cells = "".join(_cell(gpus, workers, factor) for workers, factor in zip(WORKERS, factors, strict=True))
        body.append(f'<tr><th scope="row">{gpus}</th>{cells}<td class="figure">{batches:,}</td></tr>')
    return card(
        "How often a byte is read",
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th><th colspan="{len(WORKERS)}" scope="colgroup">'
        f'workers of each GPU</th><th></th></tr><tr><th scope="col">GPUs</th>{head}'
        f'<th scope="col">batches of each</th></tr></thead><tbody>{"".join(body)}</tbody></table></div>',
        f"Once where GPUs × workers divide {training.summary['lanes']} lanes. From a local disk, or with a "
        "<code>cache_dir</code>, it costs next to nothing to read again; over a network it does.",
    )


def _cell(gpus: int, workers: int, factor: int) -> str:
    style, often = ("once", "once") if factor == 1 else ("more", f"{factor} times")
    who = f"{plural(gpus, 'GPU')} × {plural(workers, 'worker')}"
    return f'<td class="{style}" title="{who}: each byte is read {often}">{factor}×</td>'


def advice(training: Training) -> list[tuple[str, str]]:
    """Findings: what to change, and what suits."""
    plan = training.summary
    found = [(NOTE, f"<b>Plan:</b> {text(said)}.") for said in training.advice]
    lanes = plan["lanes"]
    suiting = [str(count) for count in range(1, lanes + 1) if lanes % count == 0]
    if lanes == 1:
        said = "the set fills one lane only: over a network take one worker of one GPU, or give <code>lanes</code>"
        return [*found, (NOTE, f"<b>Workers:</b> {said}.")]
    many = f"{', '.join(suiting[:-1])} or {suiting[-1]}"
    return [*found, (GOOD, f"<b>Workers:</b> GPUs × workers of {many} read each byte once.")]
