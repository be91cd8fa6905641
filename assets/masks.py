"""Draw the face masks that `wds_face.transforms` lays over faces, and the overview of them.

    python assets/masks.py

rewrites `wds_face/transforms/masks/<kind>-<turn>.png` and `assets/masks.jpg`; the same bytes every time.  Nothing here
comes from a photograph.  This file says what the masks are, `mask_drawing.py` how one is drawn.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from mask_drawing import (
    Cut,
    Kind,
    Plane,
    Straps,
    Wire,
    X,
    below,
    bump,
    crumple,
    draw,
    finished,
    render,
    step,
    turned,
    welds,
)
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "wds_face" / "transforms" / "masks"
OVERVIEW = ROOT / "assets" / "masks.jpg"

TURNS = {"front": 0.0, "left": -24.0, "right": 24.0}  # degrees, as the picture shows it


# --- the fine height of each kind, given the distance from the edge ---------------------------------------------------


def arch(centre: float, side: float) -> Plane:
    """How far each pixel lies below a line across the mask, at y *centre* in the middle, near *side* at the ends."""
    x = np.linspace(-260, 260, 400, dtype=np.float32)
    return below(np.stack([x, side + (centre - side) * np.cos(x * (np.pi / 600))], 1))


def pleat(centre: float, side: float) -> Plane:
    """Cloth that comes forward down to a fold, then falls back."""
    d = arch(centre, side)
    return step(d, -48, -2) * step(d, 3, -1)


def surgical(edge: Plane) -> Plane:
    """Three pleats and a bound, welded edge; the cloth bulges between the pleats."""
    pleats = 6 * (pleat(212, 205) + pleat(288, 243) + pleat(364, 281))
    binding = 1.6 * step(edge, 19, 16) - welds(edge, 9)
    return pleats * step(edge, 12, 40) + binding + 3 * crumple(7, 7, 16) + 2.5 * crumple(8, 13, 9)


def cloth(edge: Plane) -> Plane:
    """Two panels that meet in a seam down the middle, and a hem; the cloth is pulled into soft folds."""
    seam = 2 * (bump(X - 9, 5) + bump(X + 9, 5)) - 3 * bump(X, 2.2)
    hem = 2.2 * step(edge, 16, 12) - 1.5 * bump(edge - 17, 2)
    return seam * step(edge, 0, 12) + hem + 5 * crumple(5, 7, 15) + 4 * crumple(6, 15, 12)


def cup(edge: Plane) -> Plane:
    """A stiff cup with a ridge across its middle and a pressed, welded band around it."""
    d = arch(268, 220)
    ridge = 7 * bump(d, 30) + 2 * bump(d, 4)
    band = bump(edge - 2, 2) - 3 * step(edge, 27, 22) - 1.2 * welds(edge, 11)
    return ridge * step(edge, 20, 70) + band + 3 * crumple(3, 9, 8)


# --- the kinds --------------------------------------------------------------------------------------------------------

PLEATED = Cut(
    upper=[(0, 78), (34, 86), (78, 116), (132, 139), (186, 143), (234, 138)],
    side=[(234, 138), (219, 190), (211, 250), (210, 300), (207, 338)],
    lower=[(0, 472), (56, 467), (112, 446), (164, 402), (207, 338)],
)
SEWN = Cut(
    upper=[(0, 72), (30, 84), (74, 116), (126, 137), (180, 147), (238, 150)],
    side=[(238, 150), (226, 200), (221, 250), (218, 300), (212, 330)],
    lower=[(0, 474), (52, 466), (112, 440), (168, 390), (212, 330)],
)
MOULDED = Cut(
    upper=[(0, 74), (36, 84), (84, 118), (136, 148), (186, 180), (222, 226)],
    side=[(222, 226), (228, 255), (226, 285), (216, 320)],
    lower=[(0, 474), (60, 468), (118, 446), (172, 394), (216, 320)],
)
LOOPS = (
    ((206, 156), (224, 149), (260, 132), (298, 100), (342, 46)),
    ((184, 330), (202, 325), (244, 296), (289, 246), (337, 166)),
)
BANDS = (
    ((186, 212), (206, 196), (254, 152), (298, 106), (342, 50)),
    ((190, 322), (212, 310), (250, 282), (292, 240), (337, 170)),
)
BLUE, WHITE, BLACK, CREAM, STEEL = (138, 216, 251), (232, 234, 237), (60, 60, 63), (237, 236, 231), (196, 198, 202)

KINDS = {
    "surgical-blue": Kind(
        colour=BLUE,
        shade=(1.5, 1.0, 0.8),
        tent=46,
        cut=PLEATED,
        wire=Wire(depth=30, length=116, height=3, colour=BLUE),
        straps=Straps(LOOPS, width=12, colour=(234, 236, 238)),
        relief=surgical,
    ),
    "surgical-white": Kind(
        colour=WHITE,
        shade=(1.05, 1.0, 0.95),
        tent=46,
        cut=PLEATED,
        wire=Wire(depth=30, length=116, height=3, colour=WHITE),
        straps=Straps(LOOPS, width=12, colour=(234, 236, 238)),
        relief=surgical,
    ),
    "cloth-black": Kind(
        colour=BLACK,
        shade=(1.5, 1.5, 1.45),
        tent=56,
        cut=SEWN,
        wire=Wire(depth=34, length=70, height=1, colour=BLACK),
        straps=Straps(LOOPS, width=17, colour=(50, 50, 53)),
        relief=cloth,
    ),
    "n95": Kind(
        colour=CREAM,
        shade=(1.0, 1.0, 1.04),
        tent=24,
        cut=MOULDED,
        wire=Wire(depth=44, length=84, height=4, colour=STEEL),
        straps=Straps(BANDS, width=15, colour=(228, 222, 204)),
        relief=cup,
    ),
}


# --- the files --------------------------------------------------------------------------------------------------------


def overview(masks: dict[str, Image.Image]) -> Image.Image:
    """All masks with captions, a kind per row."""
    width, height, caption, gap = 384, 270, 22, 12
    rows = -(-len(masks) // len(TURNS))
    size = (len(TURNS) * (width + gap) + gap, rows * (height + caption + gap) + gap)
    sheet = Image.new("RGB", size, (140, 140, 142))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, (name, mask) in enumerate(masks.items()):
        row, column = divmod(place, len(TURNS))
        x, y = gap + column * (width + gap), gap + row * (height + caption + gap)
        tile = mask.resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste((156, 156, 158), (x, y, x + width, y + height))
        sheet.paste(tile, (x, y), tile)
        pen.text((x + width / 2, y + height + caption / 2), name, (30, 30, 32), font, "mm")
    return sheet


def write(image: Image.Image, path: Path) -> None:
    """Write *image* whole or not at all."""
    data = io.BytesIO()
    image.save(data, "JPEG" if path.suffix == ".jpg" else "PNG", optimize=True, quality=88)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.getvalue())
    part.replace(path)
    print(f"{path.relative_to(ROOT)}: {image.width} x {image.height}, {data.tell():,} bytes")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    masks = {}
    for kind_name, kind in KINDS.items():
        layers = draw(kind)
        for turn, yaw in TURNS.items():
            name = f"{kind_name}-{turn}"
            masks[name] = finished(render(kind, turned(layers, yaw)))
            write(masks[name], FOLDER / f"{name}.png")
    write(overview(masks), OVERVIEW)


if __name__ == "__main__":
    main()
