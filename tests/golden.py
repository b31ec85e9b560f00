"""python -m tests.golden: rewrite the golden curves. The change that explains the difference shows it."""

import sys
import tempfile
from pathlib import Path

import torch

from pretrain.assembly import build_objective, prepared_store, training_examples
from pretrain.distributed.processes import Processes
from pretrain.loop import Loop, Progress
from pretrain.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).resolve().parent / "golden"
OVERRIDES = ("train.steps=30", "schedule.warmup_steps=6", "train.mixed_precision=no", "train.batch_size=16")
RECIPES: dict[str, tuple[str, ...]] = {
    "bert_tiny_mlm_nsp": (),
    "electra_mini": (
        *("encoder.num_hidden_layers=2", "encoder.hidden_size=64", "encoder.num_attention_heads=2"),
        *("encoder.intermediate_size=256", "schedule.decay_fraction=0.5", "checkpoint.best=null"),
    ),
}
"""Recipes, and what makes a curve of each a matter of seconds."""


def curve(name: str, cache_dir: Path) -> list[str]:
    """Losses of every term and the gradient norm of a shipped recipe's first steps in float32, a line a step."""
    corpus = [f"corpus.files=[{ROOT}/data/sample-valid.jsonl.gz]", "corpus.held_out=0", "tokenizer.vocab_size=2000"]
    evaluation = ["evaluate.every_steps=null"]
    recipe = read_recipe(
        ROOT / "recipes" / f"{name}.yaml", [*OVERRIDES, *RECIPES[name], *corpus, *evaluation, f"cache_dir={cache_dir}"]
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        processes = Processes.start("no")
        store = prepared_store(recipe)
        objective = build_objective(recipe, store, device=processes.device).train()
        examples = training_examples(recipe, store)
        loop = Loop(recipe, processes, objective, examples, recipe.optimizer.build(objective), Progress())
        lines = ["step " + " ".join(f"{term}_nats" for term in loop.terms) + " grad_norm"]
        while loop.share() < 1.0:
            loop.step(0)
            line = loop.metrics()
            values = [line[f"loss/{term}_nats"] for term in loop.terms] + [line["grad_norm"]]
            lines.append(f"{loop.progress.step} " + " ".join(f"{value:.7f}" for value in values))
    finally:
        torch.set_num_threads(threads)
    return lines


def main() -> int:
    """Rewrite every curve."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        for name in RECIPES:
            (FOLDER / f"{name}.txt").write_text("\n".join(curve(name, Path(cache))) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
