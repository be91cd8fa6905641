"""Validation: memfiles, the benchmarks, and verification by pairs."""

from wds_face.validation.benchmarks import BENCHMARKS
from wds_face.validation.bins import load_bin
from wds_face.validation.convert import Converted, convert_pairs, convert_validation
from wds_face.validation.dataset import FiveValidationDataset
from wds_face.validation.embedding import Embedded, embed
from wds_face.validation.images import Images, Memfile
from wds_face.validation.memfile import make_memmap, read_memmap
from wds_face.validation.pairs import draw_pairs
from wds_face.validation.reading import get_val_data, get_val_pair, get_val_sets
from wds_face.validation.roc import save_roc
from wds_face.validation.scores import evaluate_benchmarks, mean_accuracy, table
from wds_face.validation.verification import Verification, evaluate_distances, evaluate_verification

__all__ = [
    "BENCHMARKS",
    "Converted",
    "Embedded",
    "FiveValidationDataset",
    "Images",
    "Memfile",
    "Verification",
    "convert_pairs",
    "convert_validation",
    "draw_pairs",
    "embed",
    "evaluate_benchmarks",
    "evaluate_distances",
    "evaluate_verification",
    "get_val_data",
    "get_val_pair",
    "get_val_sets",
    "load_bin",
    "make_memmap",
    "mean_accuracy",
    "read_memmap",
    "save_roc",
    "table",
]
