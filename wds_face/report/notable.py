"""What stands out in a data set: the sentences that somebody reads who reads nothing else."""

from __future__ import annotations

from wds_face.report import plan, shuffle
from wds_face.report.about import About
from wds_face.report.markup import GOOD, NOTE, WARN
from wds_face.report.survey import SIZE, SIZES, Survey
from wds_face.report.training import Training
from wds_face.report.words import share
from wds_face.units import plural

# Shares from which something is more than worth a note.
_FEW, _OTHER = 0.2, 0.05


def notable(about: About, survey: Survey, training: Training, p: int) -> list[tuple[str, str]]:
    """Findings, each a level and a sentence in HTML.

    Args:
        about, survey, training: what is known.
        p: identities in a batch, as it was asked for.
    """
    found = [_images(about, training), _decoding(survey)]
    if training.p < p:
        there = plural(training.p, "identity", "identities")
        found.insert(0, (WARN, f"<b>Identities:</b> only {there}, fewer than p={p}: batches and plan are of "
                               f"p={training.p}."))  # fmt: skip
    if survey.looks:
        found += _pixels(about, survey)
    return [*found, shuffle.verdict(training.mixing), *plan.advice(training)]


def _images(about: About, training: Training) -> tuple[str, str]:
    below = about.counts["below_k"]
    if not below["identities"]:
        return GOOD, f"<b>Images:</b> every identity has {below['k']} or more."
    single = sum(count for least, _, count in about.counts["histogram"] if least == 1)
    said = (
        f"<b>Images:</b> {plural(below['identities'], 'identity has', 'identities have')} fewer than {below['k']} "
        f"({share(below['share'])}, with {share(below['share_of_images'])} of the images)"
    )
    if single:
        said += f", {single:,} of them a single one, which makes no pair"
    places = training.summary["batches"] * training.p * training.k
    again = plan.repeated(training) / max(1, places)
    said += f". {share(again)} of what an epoch brings are images that came before"
    if again > _FEW:
        said += "; a smaller <code>k</code>, or <code>min_images</code>, makes it less"
    return (WARN if again > _FEW else NOTE), said + "."


def _decoding(survey: Survey) -> tuple[str, str]:
    bad = len(survey.undecodable)
    if not bad:
        return GOOD, f"<b>Decoding:</b> all {survey.samples:,} images that were looked at are whole."
    return WARN, (
        f"<b>Decoding:</b> {bad:,} of {survey.samples:,} images that were looked at cannot be decoded "
        f"({share(bad, survey.samples)}); <code>wds-face verify --deep</code> finds all."
    )


def _pixels(about: About, survey: Survey) -> list[tuple[str, str]]:
    sizes = survey.sizes() if about.sizes is None else about.sizes
    other = sizes.other_than(SIZE)
    small = sum(min(look.width, look.height) < SIZE for look in survey.looks) / len(survey.looks)
    if not other:
        found = [(GOOD, f"<b>Size:</b> all are {SIZES}.")]
    else:
        said = f"<b>Size:</b> {share(other, sizes.images)} have another size than {SIZES} and will be resized"
        if sizes.not_square:
            oblong = share(sizes.not_square, sizes.images)
            said += f"; {oblong} are not square, and stretched unless <code>fit</code> crops or pads them"
        if small:
            said += f"; {share(small)} are smaller on a side, and blurred by it"
        serious = small > _OTHER or sizes.not_square / sizes.images > _OTHER
        found = [(WARN if serious else NOTE, f"{said}. Are they aligned faces?")]
    grey = float(survey.column("grey").mean())
    if grey > _OTHER:
        found.append((NOTE, f"<b>Colour:</b> {share(grey)} are grey photographs."))
    return found
