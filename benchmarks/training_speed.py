"""Training speed of BERT-mini against transformers' Trainer with DataCollatorForLanguageModeling (make bench).

The same BertConfig (4 layers x 256, dropout 0, vocabulary 8,192), AdamW, batches of 64 full rows of 128, the same
threads, on the built-in sample. The four ways take turns, each turn in a process of its own, and the medians and the
ratios turn by turn are printed: absolute speeds drift with whatever else the machine does, ratios less so. Also
printed is the share of our steps that is spent outside forward, backward and optimizer.

    python -m benchmarks.training_speed [--turns N] [--steps N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH_SIZE, LENGTH = 64, 128
_WARM_UP_STEPS = 2
_RECIPE = "recipes/bert_mini_mlm.yaml"
_OVERRIDES = [
    *("train.steps=100000", f"train.batch_size={BATCH_SIZE}", f"examples.max_seq_length={LENGTH}"),
    *("encoder.hidden_dropout_prob=0.0", "encoder.attention_probs_dropout_prob=0.0"),
    *("optimizer={name: adamw, learning_rate: 1e-3}", "schedule={name: linear, warmup_steps: 100}"),
    *("evaluate.every_steps=null", "checkpoint.every_steps=null"),
]
RATIOS = [("ours bf16", "trainer bf16"), ("ours bf16", "trainer float32"), ("ours float32", "trainer float32")]


def main() -> None:
    """Time all four ways in turn and print medians and ratios; with --way, time one and print JSON."""
    parser = argparse.ArgumentParser(description="Training speed against transformers' Trainer.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="timed steps a turn")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(WAYS[options.way](options.steps)))
        return
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(options.turns):
        for way in WAYS:
            results[way].append(_in_process(way, options.steps))
            print(f"turn {turn + 1}  {way:16} {results[way][-1]['tokens_per_second']:>8,.0f} tokens/s", flush=True)
    _print_summary(results)


def _in_process(way: str, steps: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training_speed", "--way", way, "--steps", str(steps)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def _print_summary(results: dict[str, list[dict[str, float]]]) -> None:
    speeds = {way: [turn["tokens_per_second"] for turn in turns] for way, turns in results.items()}
    print("\n| way | tokens/s, median | lowest | highest |\n| --- | --- | --- | --- |")
    for way, values in speeds.items():
        print(f"| {way} | {statistics.median(values):,.0f} | {min(values):,.0f} | {max(values):,.0f} |")
    print("\n| ratio | median | lowest | highest |\n| --- | --- | --- | --- |")
    for fast, slow in RATIOS:
        ratios = [a / b for a, b in zip(speeds[fast], speeds[slow], strict=True)]
        print(f"| {fast} / {slow} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")
    for way in ("ours bf16", "ours float32"):
        shares = [turn["outside_share"] for turn in results[way]]
        print(f"\n{way}: {statistics.median(shares):.1%} of a step is outside forward, backward and optimizer")


# ------------------------------------------------------------------------------------------------------- the four ways


def _ours(mixed_precision: str, steps: int) -> dict[str, float]:
    from pretrain.assembly import build_objective, prepared_store
    from pretrain.batches import Examples
    from pretrain.loop import Loop, Progress
    from pretrain.processes import Processes
    from pretrain.recipe import read_recipe

    recipe = read_recipe(_RECIPE, [*_OVERRIDES, f"train.mixed_precision={mixed_precision}"])
    processes = Processes.start(recipe.train.mixed_precision)
    store = prepared_store(recipe)
    objective = build_objective(recipe, store, device=processes.device).train()
    examples = Examples(
        store.train, store.vocabulary, cutting=recipe.examples, masking=recipe.masking, seed=recipe.seed
    )
    loop = Loop(recipe, processes, objective, examples, recipe.optimizer.build(objective), Progress())
    for _ in range(_WARM_UP_STEPS):
        loop.step(0)
    inside = _Stopwatch()
    loop._accumulate = inside.timed(loop._accumulate)  # type: ignore[method-assign]
    loop._update = inside.timed(loop._update)  # type: ignore[method-assign]
    began = time.perf_counter()
    for _ in range(steps):
        loop.step(0)
    seconds = time.perf_counter() - began
    return {
        "tokens_per_second": steps * BATCH_SIZE * LENGTH / seconds,
        "outside_share": (seconds - inside.seconds) / seconds,
    }


class _Stopwatch:
    """Adds up the time spent in the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds += time.perf_counter() - began
            return result

        return wrapped


def _trainer(bf16: bool, steps: int) -> dict[str, float]:
    from datasets import Dataset
    from transformers import (
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        logging,
    )

    from pretrain.assembly import prepared_store, special_ids
    from pretrain.recipe import read_recipe
    from tokenization.vocabulary import load_tokenizer

    logging.set_verbosity_error()
    recipe = read_recipe(_RECIPE, _OVERRIDES)
    store = prepared_store(recipe)
    cls, sep = store.vocabulary.cls_id, store.vocabulary.sep_id
    content = LENGTH - 2
    count = BATCH_SIZE * (steps + _WARM_UP_STEPS)
    rows = [{"input_ids": [cls, *store.train.ids[i * content : (i + 1) * content].tolist(), sep]} for i in range(count)]

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            self.ends.append(time.perf_counter())

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=BertForMaskedLM(recipe.encoder.config(special_ids(store.vocabulary))),
            args=TrainingArguments(
                output_dir=folder, per_device_train_batch_size=BATCH_SIZE, max_steps=count // BATCH_SIZE, bf16=bf16,
                use_cpu=True, learning_rate=1e-3, weight_decay=0.01, report_to=[], save_strategy="no",
                logging_strategy="no", disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            data_collator=DataCollatorForLanguageModeling(load_tokenizer(store.tokenizer_path), mlm_probability=0.15),
            callbacks=[clock],
        )  # fmt: skip
        trainer.train()
    seconds = clock.ends[-1] - clock.ends[_WARM_UP_STEPS - 1]
    return {"tokens_per_second": steps * BATCH_SIZE * LENGTH / seconds}


WAYS: dict[str, Callable[[int], dict[str, float]]] = {
    "ours bf16": lambda steps: _ours("bf16", steps),
    "trainer bf16": lambda steps: _trainer(True, steps),
    "ours float32": lambda steps: _ours("no", steps),
    "trainer float32": lambda steps: _trainer(False, steps),
}

if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
