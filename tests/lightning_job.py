"""Run as a script, also by Lightning for its other ranks: jobs with a small network, a line for each batch.

python tests/lightning_job.py '[{"shards": …, "val": …, "out": …, "devices": 2, …}, …]'
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from wds_face import DataModule, PKStream


class Network(LightningModule):
    """One layer, which reports what it sees."""

    def __init__(self, out: str, classes: int, hold: list[int] | None) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 24 * 24, classes)
        self.out, self.hold = out, hold

    def report(self, kind: str, row: dict[str, Any]) -> None:
        with open(Path(self.out, f"{kind}.rank{self.global_rank}.jsonl"), "a") as file:
            file.write(json.dumps(row) + "\n")

    def training_step(self, batch: tuple[torch.Tensor, ...], number: int) -> torch.Tensor:
        row = {"epoch": self.current_epoch, "batch": number, "columns": len(batch), "sum": sum_of(batch)}
        self.report("train", row)
        while self.hold == [self.current_epoch, number]:
            time.sleep(1)  # until it is killed
        loss: torch.Tensor = nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, ...], number: int) -> None:
        if not self.trainer.sanity_checking:
            self.report("val", {"epoch": self.current_epoch, "index": batch[3].tolist(), "shape": list(batch[0].shape)})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def make_data(job: dict[str, Any]) -> DataModule:
    return DataModule(
        job["shards"],
        val_data_path=job["val"],
        batch_size=8,
        num_instances=2,
        num_workers=job["workers"],
        val_num_workers=0,
        image_size=24,
        lanes=2,
    )


def sum_of(batch: tuple[torch.Tensor, ...]) -> str:
    return hashlib.sha256(b"".join(column.contiguous().numpy().tobytes() for column in batch)).hexdigest()


def train(job: dict[str, Any]) -> None:
    """Train, and save checkpoints."""
    data = make_data(job)
    saving = ModelCheckpoint(
        job["out"], save_last=True, every_n_train_steps=job["every"], save_on_train_epoch_end=job["at_end"]
    )
    trainer = Trainer(
        max_epochs=job["epochs"],
        max_steps=job["steps"],
        accelerator="cpu",
        devices=job["devices"],
        strategy="ddp" if job["devices"] > 1 else "auto",
        callbacks=[saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Network(job["out"], data.num_classes, job["hold"]), data, ckpt_path=job["resume"])
    assert trainer.train_dataloader.dataset is data.train_dataset, "nothing was put in its place"
    assert isinstance(data.train_dataset, PKStream)


if __name__ == "__main__":
    for job in json.loads(sys.argv[1]):
        train(job)
