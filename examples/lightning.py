"""Train with Lightning on shards, and verify on memfiles after each epoch.

    wds-face convert imagefolder faces/ shards/
    wds-face convert validation shards/ val/ --pairs 2000 --max-images 4     # or .bin files of InsightFace
    python examples/lightning.py shards/ val/ --min-images 5 --epochs 10
    python examples/lightning.py shards/ val/ --min-images 5 --epochs 10 --resume lightning/last.ckpt

on any number of devices and machines, as Lightning knows them. Network and loss are those of train.py.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import torch

here = sys.path.pop(0)  # where this file has the name of the package
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from wds_face import DataModule, evaluate_benchmarks, mean_accuracy
from wds_face.validation import table

sys.path.insert(0, here)
from train import Recognizer


class Checkpoints(Callback):
    """``last.ckpt``, each so many steps, and behind the last one of an epoch and of the run."""

    def __init__(self, folder: str, every: int = 50) -> None:
        self.file, self.every = Path(folder, "last.ckpt"), every

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps or trainer.is_last_batch:
            trainer.save_checkpoint(self.file)


class FaceRecognition(LightningModule):
    """ArcFace on PK batches; 10-fold accuracy on every validation set."""

    def __init__(self, identities: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.recognizer = Recognizer("arcface", identities, scale=16).to(memory_format=torch.channels_last)
        self.lr = lr
        self._found: list[tuple[Tensor, ...]] = []

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        images, labels, *_masks = batch  # masks are for a network that learns to find what is occluded
        progress = self.global_step / self.steps
        loss: Tensor = self.recognizer(images, labels, margin=0.3 * min(progress / 0.2, 1))
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> None:
        images, *columns = batch
        network = self.recognizer.network
        self._found.append((network(images) + network(images.flip(3)), *columns))

    def on_validation_epoch_end(self) -> None:
        # of all ranks; by their index the rows are put in order, and those that came twice are dropped
        columns = [torch.cat(column) for column in zip(*self._found, strict=True)]
        self._found.clear()
        columns = [self.all_gather(column).reshape(-1, *column.shape[1:]) for column in columns]
        if self.trainer.sanity_checking:
            return
        names = self.trainer.datamodule.val_dataset.dataname_to_idx  # type: ignore[attr-defined]
        results = evaluate_benchmarks(*columns, names=names)
        self.log("accuracy", mean_accuracy(results), prog_bar=True, sync_dist=True)
        if self.global_rank == 0:
            print(f"\nepoch {self.current_epoch}\n{table(results)}")

    @property
    def steps(self) -> int:
        """Of all epochs, wherever this run stops."""
        stream = self.trainer.datamodule.train_dataset  # type: ignore[attr-defined]
        return (self.trainer.max_epochs or 1) * len(stream)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        steps = self.steps

        def factor(step: int) -> float:
            return min(step / steps / 0.05, 0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("shards", help="folder or URL of a data set")
    add("val", help="folder of validation sets: .bin files, or memfiles")
    add("--min-images", type=int, default=1, metavar="N", help="leave out identities with fewer (%(default)s)")
    add("--batch-size", type=int, default=64, metavar="N", help="of each rank (%(default)s)")
    add("--workers", type=int, default=1, metavar="N", help="loading processes of each rank (%(default)s)")
    add("--epochs", type=int, default=10, help="(%(default)s)")
    add("--steps", type=int, default=-1, help="stop behind so many; --resume goes on")
    add("--lr", type=float, default=0.1, help="highest learning rate (%(default)s)")
    add("--devices", type=int, default=1, help="processes or GPUs on each machine (%(default)s)")
    add("--nodes", type=int, default=1, help="machines (%(default)s)")
    add("--occlusion", action="store_true", help="medical masks on half of the images")
    add("--seed", type=int, default=0, help="(%(default)s)")
    add("--folder", default="lightning", help="of checkpoints and metrics (%(default)s)")
    add("--resume", metavar="CHECKPOINT", help="go on at its next batch")
    args = parser.parse_args()

    seed_everything(args.seed, workers=True, verbose=False)
    data = DataModule(
        args.shards,
        val_data_path=args.val,
        batch_size=args.batch_size,
        num_workers=args.workers,
        val_num_workers=args.workers,
        crop_augmentation_prob=0.2,
        photometric_augmentation_prob=0.3,
        low_res_augmentation_prob=0.1,
        occlusion="medical" if args.occlusion else None,
        min_images=args.min_images,
        seed=args.seed,
    )
    trainer = Trainer(
        max_epochs=args.epochs,
        max_steps=args.steps,
        devices=args.devices,
        num_nodes=args.nodes,
        accelerator="auto",
        strategy="ddp" if args.devices * args.nodes > 1 else "auto",
        callbacks=[Checkpoints(args.folder)],
        enable_checkpointing=False,
        logger=CSVLogger(args.folder),
        log_every_n_steps=10,
    )
    trainer.fit(FaceRecognition(data.num_classes, args.lr), data, ckpt_path=args.resume)


if __name__ == "__main__":
    main()
