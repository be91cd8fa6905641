"""Map-style data sets of faces, and the sampler of PK batches."""

from wds_face.datasets.imagefolder import CustomImageFolderDataset
from wds_face.datasets.records import AugmentRecordDataset, BaseMXDataset
from wds_face.datasets.sampler import RandomIdentitySampler

__all__ = ["AugmentRecordDataset", "BaseMXDataset", "CustomImageFolderDataset", "RandomIdentitySampler"]
