"""Other systems for throughput.py, each as a competent user of it would write it.

All are iterables over the batches of an epoch, tuples (images, labels) or (images, labels, masks).

Their defaults stand, but for what their documentation recommends. All but DALI make batches of samples, which a
function of an image and its label makes: see samples.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from loading.child import Settings
from loading.samples import Sample

BATCH = 256
K = 4


def webdataset(settings: Settings, form: str, sample: Sample, decoder: str | None = None) -> Iterable[Any]:
    """Shards in random order, 1,000 samples shuffled at a time, batches made in the workers."""
    import webdataset as wds

    urls = sorted(str(path) for path in Path(settings.data, form, "faces").glob("*.tar"))
    faces = wds.WebDataset(urls, shardshuffle=100).shuffle(1000)
    if decoder:
        faces = faces.decode(decoder)
    faces = faces.to_tuple("jpg", "cls").map(lambda pair: sample(pair[0], int(pair[1]))).batched(BATCH, partial=False)
    return wds.WebLoader(faces, batch_size=None, num_workers=settings.workers)


def imagefolder(settings: Settings, form: str, sample: Sample) -> Iterable[Any]:
    """torchvision's, with batches of P identities and K images as the mission has them."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    from wds_face import RandomIdentitySampler

    class Faces(ImageFolder):
        def __getitem__(self, index: int) -> tuple[Any, ...]:
            path, target = self.samples[index]
            return sample(self.loader(path), target)

    faces = Faces(f"{settings.data}/{form}")
    sampler = RandomIdentitySampler(faces, num_instances=K)
    return DataLoader(faces, batch_size=BATCH, sampler=sampler, num_workers=settings.workers, drop_last=True)


def litdata(settings: Settings, form: str, sample: Sample) -> Iterable[Any]:
    """Local chunks, which it maps."""
    import torchvision.io  # noqa: F401 (so that forked workers have it)
    from litdata import StreamingDataLoader, StreamingDataset

    def transform(item: dict[str, Any]) -> tuple[Any, ...]:
        return sample(item["image"], item["label"])

    faces = StreamingDataset(f"{settings.data}/{form}", shuffle=True, drop_last=True, transform=transform)
    return StreamingDataLoader(faces, batch_size=BATCH, num_workers=settings.workers, drop_last=True)


def mosaic(settings: Settings, form: str, sample: Sample) -> Iterable[Any]:
    """Local shards; its shuffle goes through all of them at once, as there are fewer images than it mixes."""
    from streaming import StreamingDataset
    from torch.utils.data import DataLoader

    class Faces(StreamingDataset):
        def __getitem__(self, at: int) -> tuple[Any, ...]:
            item = super().__getitem__(at)
            return sample(item["image"], item["label"])

    faces = Faces(local=f"{settings.data}/{form}", shuffle=True, batch_size=BATCH)
    return DataLoader(faces, batch_size=BATCH, num_workers=settings.workers, drop_last=True)


class Dali:
    """InsightFace's pipeline on a processor: threads in place of processes."""

    def __init__(self, settings: Settings, normalise: bool) -> None:
        self.settings, self.normalise = settings, normalise

    def __iter__(self) -> Iterator[Any]:
        from nvidia.dali import fn, pipeline_def, types
        from nvidia.dali.plugin.pytorch import DALIClassificationIterator, LastBatchPolicy

        @pipeline_def(batch_size=BATCH, num_threads=self.settings.workers, device_id=None)
        def faces() -> tuple[Any, Any]:
            paths = {
                "path": f"{self.settings.data}/record/train.rec",
                "index_path": f"{self.settings.data}/record/train.idx",
            }
            encoded, labels = fn.readers.mxnet(**paths, random_shuffle=True, initial_fill=32768, name="reader")
            images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
            if self.normalise:
                scale = {"mean": [127.5] * 3, "std": [127.5] * 3}
                flip = fn.random.coin_flip(probability=0.5)
                images = fn.crop_mirror_normalize(images, dtype=types.FLOAT, mirror=flip, **scale)
            return images, labels

        for batch in DALIClassificationIterator(faces(), reader_name="reader", last_batch_policy=LastBatchPolicy.DROP):
            yield batch[0]["data"], batch[0]["label"]
