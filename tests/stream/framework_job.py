"""Run by torchrun, or by Ray Train: epochs of a stream through a training framework, a line for each batch.

The variable FRAMEWORK_JOBS holds what to do one after the other, as a JSON list of dicts: ``kind`` names the framework;
``url`` and ``options`` make the stream; ``workers``, ``epochs``; ``trace``: lines go to TRACE.rank0.jsonl and so on;
``stop``: [epoch, number] of the batch behind which a checkpoint is saved in ``checkpoint`` and the job ends, or null;
``resume``: whether to go on from there; ``announce``: whether the loop calls ``set_epoch``; ``refused``: whether it
must fail, with its message in TRACE.refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from wds_face import PKStream
from wds_face.stream import PKLoader

Batch = tuple[torch.Tensor, ...]


class Trace:
    """Writes what a rank is given."""

    def __init__(self, job: dict[str, Any], rank: int) -> None:
        self.path = Path(f"{job['trace']}.rank{rank}.jsonl")

    def write(self, epoch: int, batch: Batch, **more: Any) -> None:
        sums = [hashlib.sha256(column.contiguous().numpy().tobytes()).hexdigest() for column in batch]
        row = {"epoch": epoch, "sums": sums, "labels": batch[1].tolist(), **more}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


class Network(torch.nn.Module):
    """One layer on images of 24 x 24."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * 24 * 24, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images.flatten(1).float() / 255)
        return logits


def make_stream(job: dict[str, Any]) -> PKStream:
    return PKStream(job["url"], **job["options"])


def make_loader(job: dict[str, Any], stream: PKStream | None = None) -> PKLoader:
    stream = stream or make_stream(job)
    return stream.loader(job["workers"], persistent_workers=job["workers"] > 0)


def accelerate(job: dict[str, Any]) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=job.get("accumulate", 1))
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = make_loader(job)
    model, optimizer, prepared = accelerator.prepare(model, optimizer, loader)
    trace = Trace(job, accelerator.process_index)
    if job["resume"]:
        accelerator.load_state(job["checkpoint"])
    for epoch in range(prepared.stream.epoch, job["epochs"]):
        prepared.set_epoch(epoch)
        for number, batch in enumerate(prepared):
            with accelerator.accumulate(model):
                loss = torch.nn.functional.cross_entropy(model(batch[0]), batch[1])
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            trace.write(epoch, batch, sync=accelerator.sync_gradients)
            if job["stop"] == [epoch, number]:
                accelerator.save_state(job["checkpoint"])
                accelerator.wait_for_everyone()
                return


def accelerate_over_the_stream(job: dict[str, Any]) -> None:
    """A plain loader over the stream, which accelerate would shard again."""
    from accelerate import Accelerator, DataLoaderConfiguration

    dispatch = DataLoaderConfiguration(dispatch_batches=job["dispatch"])
    accelerator = Accelerator(cpu=True, dataloader_config=dispatch)
    plain = torch.utils.data.DataLoader(make_stream(job), batch_size=job["batch_size"], num_workers=job["workers"])
    trace = Trace(job, accelerator.process_index)
    for batch in accelerator.prepare(plain):
        trace.write(0, batch)


def skip_first_batches(job: dict[str, Any]) -> None:
    import accelerate

    accelerator = accelerate.Accelerator(cpu=True)
    loader = accelerator.prepare(make_loader(job))
    for _ in accelerate.skip_first_batches(loader, 2):
        pass


def fabric(job: dict[str, Any]) -> None:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=int(os.environ["LOCAL_WORLD_SIZE"]), strategy="ddp")
    fabric.launch()
    model = Network()
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.01))
    loader = make_loader(job)
    batches = fabric.setup_dataloaders(loader)
    trace = Trace(job, fabric.global_rank)
    state = {"model": model, "loader": batches, "epoch": 0}
    if job["resume"]:
        fabric.load(job["checkpoint"], state)
    for epoch in range(state["epoch"], job["epochs"]):
        if job["announce"]:
            loader.set_epoch(epoch)
        for number, batch in enumerate(batches):
            optimizer.zero_grad()
            fabric.backward(torch.nn.functional.cross_entropy(model(batch[0]), batch[1]))
            optimizer.step()
            trace.write(epoch, batch)
            if job["stop"] == [epoch, number]:
                fabric.save(job["checkpoint"], state)
                return
        state["epoch"] = epoch + 1
        if job["stop"] == [epoch, "end"]:
            fabric.save(job["checkpoint"], state)
            return


def lightning(job: dict[str, Any]) -> None:
    """The Trainer, with a loader and without a DataModule."""
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network()

        def training_step(self, batch: Batch, number: int) -> torch.Tensor:
            Trace(job, self.global_rank).write(self.current_epoch, batch)
            self.stop = job["stop"] == [self.current_epoch, number]
            return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def on_train_batch_end(self, *_: Any) -> None:
            if self.stop:
                self.trainer.save_checkpoint(job["checkpoint"])
                self.trainer.should_stop = True

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    trainer = Trainer(
        max_epochs=job["epochs"],
        accelerator="cpu",
        devices=int(os.environ["LOCAL_WORLD_SIZE"]),
        strategy="ddp",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), make_loader(job), ckpt_path=job["checkpoint"] if job["resume"] else None)


def transformers(job: dict[str, Any]) -> None:
    import transformers

    from wds_face.huggingface import LoaderStateCallback

    loader = make_loader(job)

    class Faces(transformers.Trainer):
        def get_train_dataloader(self) -> Any:
            return self.accelerator.prepare(loader) if job["prepare"] else loader

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            Trace(job, self.args.process_index).write(int(self.state.epoch or 0), tuple(inputs))
            return torch.nn.functional.cross_entropy(model(inputs[0]), inputs[1])

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if job["stop"] and state.global_step == job["stop"][0] * len(loader) + job["stop"][1] + 1:
                control.should_save = True
                control.should_training_stop = True

    arguments = transformers.TrainingArguments(
        output_dir=job["checkpoint"],
        num_train_epochs=job["epochs"],
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        ignore_data_skip=job["ignore_data_skip"],
        disable_tqdm=True,
        gradient_accumulation_steps=job.get("accumulate", 1),
    )
    trainer = Faces(Network(), arguments, callbacks=[LoaderStateCallback(), Stop()])
    trainer.train(resume_from_checkpoint=job["resume"] or None)


def transformers_over_the_stream(job: dict[str, Any]) -> None:
    import transformers

    arguments = transformers.TrainingArguments(output_dir=job["checkpoint"], max_steps=2, use_cpu=True, report_to=[])
    transformers.Trainer(Network(), arguments, train_dataset=make_stream(job)).train()


def ray_loop(config: dict[str, Any]) -> None:
    """One worker of Ray Train. Starting workers takes long, so they do all jobs one after the other."""
    for job in config["jobs"]:
        do(ray_epochs, job)


def ray_epochs(job: dict[str, Any]) -> None:
    import ray.train
    import ray.train.torch
    import torch.distributed

    rank = ray.train.get_context().get_world_rank()
    loader = make_loader(job)
    batches = ray.train.torch.prepare_data_loader(loader, move_to_device=job["move_to_device"])
    model = ray.train.torch.prepare_model(Network())
    trace = Trace(job, rank)
    checkpoint = Path(job["checkpoint"])
    if job["resume"]:
        loader.load_state_dict(json.loads(checkpoint.read_text()))
    for epoch in range(loader.stream.epoch, job["epochs"]):
        loader.set_epoch(epoch)
        for number, batch in enumerate(batches):
            torch.nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
            trace.write(epoch, batch)
            if job["stop"] == [epoch, number]:
                if rank == 0:
                    checkpoint.write_text(json.dumps(loader.state_dict()))
                torch.distributed.barrier()
                return


def ray(jobs: list[dict[str, Any]]) -> None:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init("local", num_cpus=2, include_dashboard=False)
    scaling = ScalingConfig(num_workers=2, use_gpu=False, resources_per_worker={"CPU": 1})
    run = RunConfig(storage_path=str(Path(jobs[0]["trace"]).parent / "ray"))
    TorchTrainer(ray_loop, train_loop_config={"jobs": jobs}, scaling_config=scaling, run_config=run).fit()


def do(function: Callable[[dict[str, Any]], None], job: dict[str, Any]) -> None:
    """Do a job, which fails if it is to be refused."""
    if not job["refused"]:
        function(job)
        return
    try:
        function(job)
    except Exception as error:
        Path(f"{job['trace']}.refused").write_text(str(error))
    else:
        raise AssertionError(f"{job['kind']} was not refused")


if __name__ == "__main__":
    torch.manual_seed(0)
    jobs = json.loads(os.environ["FRAMEWORK_JOBS"])
    if jobs[0]["kind"] == "ray":
        ray(jobs)
    else:
        for job in jobs:
            do(getattr(sys.modules[__name__], job["kind"]), job)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
