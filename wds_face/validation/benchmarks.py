"""The five benchmarks that face recognition is validated on, and the numbers that they go by."""

from __future__ import annotations

#: Number of each in a batch of :class:`~wds_face.FiveValidationDataset`, which is also their order in AdaFace's files.
BENCHMARKS = {"agedb_30": 0, "cfp_fp": 1, "lfw": 2, "cplfw": 3, "calfw": 4}
