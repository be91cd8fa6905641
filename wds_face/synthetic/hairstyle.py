"""Hair styles."""

from __future__ import annotations

from typing import NamedTuple


class Hairstyle(NamedTuple):
    """The shape of hair, in template pixels."""

    line: tuple[float, ...]  # y of the hairline, at five places from temple to temple
    sides: float  # y where the hair at the sides ends; beyond the picture for long hair
    volume: float  # how far it stands out from the skull
    inset: float = 1.0  # how much of the cheeks it covers
    comb: bool = False  # strands run towards the hairline rather than along it
    curl: float = 0.0  # radius of the curls
    wave: float = 0.0  # amplitude of a wavy outline
    soft: float = 0.5  # blur of the outline


BALD = Hairstyle((), 0, 0)
BUZZ = Hairstyle((37, 19, 17, 19, 37), 54, 0.8, comb=True, soft=2.0)
SHORT = Hairstyle((36, 21, 18, 19, 37), 60, 3.0, comb=True)
RECEDING = Hairstyle((30, 10, 19, 11, 30), 58, 1.5, comb=True)
SWEPT = Hairstyle((37, 32, 25, 15, 35), 60, 4.0)
TIED = Hairstyle((36, 19, 14, 19, 36), 50, 1.5, comb=True)
FRINGE = Hairstyle((42, 36, 35, 36, 42), 98, 6.0, 4.5, comb=True)
BOB = Hairstyle((49, 31, 22, 15, 44), 94, 6.5, 4.0)
LONG = Hairstyle((52, 27, 10, 27, 52), 150, 6.5, 3.5)
WAVY = Hairstyle((50, 32, 20, 13, 46), 150, 8.0, 3.0, wave=2.0)
CURLY = Hairstyle((40, 23, 19, 23, 40), 64, 5.0, curl=3.4)
AFRO = Hairstyle((38, 20, 17, 20, 38), 68, 11.0, curl=2.4)
CURLS = Hairstyle((45, 27, 17, 25, 45), 150, 9.0, 2.0, curl=4.2)

WITH_BEARD = (BALD, BUZZ, SHORT, SHORT, RECEDING, SWEPT, CURLY, TIED)
WITHOUT = (SHORT, BUZZ, SWEPT, TIED, FRINGE, FRINGE, BOB, BOB, LONG, LONG, WAVY, WAVY, CURLY, AFRO, CURLS)
