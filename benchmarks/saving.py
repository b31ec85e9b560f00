"""How long training waits for a checkpoint, beside the time that writing it takes.

    python -m benchmarks.saving

The model is BERT-base with AdamW's state after a step, the vocabulary that of the built-in sample. Training waits
while the loop is copied; what is written meanwhile takes the cores' time as well, which is not counted here.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.turns import spread_table
from pretrain.assembly import build_objective, prepared_store, training_examples
from pretrain.checkpoints.checkpoint import Checkpoints
from pretrain.checkpoints.progress import Progress
from pretrain.checkpoints.state import Snapshot
from pretrain.distributed.processes import Processes
from pretrain.loop import Loop
from pretrain.recipe import read_recipe

_RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "bert_mini_mlm.yaml"
_BERT_BASE = (
    "encoder.num_hidden_layers=12",
    "encoder.hidden_size=768",
    "encoder.num_attention_heads=12",
    "encoder.intermediate_size=3072",
    "optimizer={name: adamw, learning_rate: 1e-4}",
    "train.batch_size=1",
    "train.micro_batch_size=null",
    "train.mixed_precision=no",
)


def main() -> None:
    """Save so many times and print the spread of what it costs."""
    parser = argparse.ArgumentParser(description="Time that training waits for a checkpoint of BERT-base.")
    parser.add_argument("--saves", type=int, default=9)
    saves = parser.parse_args().saves
    recipe, processes = read_recipe(_RECIPE, _BERT_BASE), Processes.start("no")
    store = prepared_store(recipe)
    objective = build_objective(recipe, store, device=torch.device("cpu"))
    optimizers = recipe.optimizer.build(objective)
    loop = Loop(recipe, processes, objective, training_examples(recipe, store), optimizers, Progress())
    loop.step(0)
    waits, writes = [], []
    with tempfile.TemporaryDirectory() as folder:
        for save in range(saves):
            began = time.perf_counter()
            snapshot = Snapshot.of(loop, store)
            copied = time.perf_counter()
            checkpoints = Checkpoints(Path(folder))
            place = checkpoints.write(save, snapshot.write)
            waits.append(copied - began)
            writes.append(time.perf_counter() - copied)
            size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            checkpoints.prune(save, keep=1, best=None)
    print(f"a checkpoint of {size / 1e9:.2f} GB")
    print(spread_table("", "seconds, ", {"training waits": waits, "writing": writes}, ".2f"))
    print(spread_table("", "", {"waits / writing": [a / b for a, b in zip(waits, writes, strict=True)]}, ".3f"))


if __name__ == "__main__":
    main()
