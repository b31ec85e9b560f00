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
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.our_training import UNBROKEN, WARM_UP_STEPS, time_steps
from benchmarks.turns import Turn, ratios, spread_table, take_turns, values_of

BATCH_SIZE, LENGTH = 64, 128
_RECIPE = "recipes/bert_mini_mlm.yaml"
_OVERRIDES = [
    *UNBROKEN,
    *(f"train.batch_size={BATCH_SIZE}", f"examples.max_seq_length={LENGTH}"),
    *("encoder.hidden_dropout_prob=0.0", "encoder.attention_probs_dropout_prob=0.0"),
    *("optimizer={name: adamw, learning_rate: 1e-3}", "schedule={name: linear, warmup_steps: 100}"),
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
    results = take_turns("benchmarks.training_speed", WAYS, turns=options.turns, steps=options.steps)
    speeds = values_of(results, "tokens_per_second")
    print(f"\n{spread_table('way', 'tokens/s, ', speeds, '.0f')}")
    print(f"\n{spread_table('ratio', '', ratios(speeds, RATIOS), '.2f')}")
    for way in ("ours bf16", "ours float32"):
        shares = [turn["outside_share"] for turn in results[way]]
        print(f"\n{way}: {statistics.median(shares):.1%} of a step is outside forward, backward and optimizer")


# ------------------------------------------------------------------------------------------------------- the four ways


def _ours(mixed_precision: str, steps: int) -> Turn:
    return time_steps(_RECIPE, [*_OVERRIDES, f"train.mixed_precision={mixed_precision}"], steps=steps)


def _trainer(bf16: bool, steps: int) -> Turn:
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
    count = BATCH_SIZE * (steps + WARM_UP_STEPS)
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
    seconds = clock.ends[-1] - clock.ends[WARM_UP_STEPS - 1]
    return {"tokens_per_second": steps * BATCH_SIZE * LENGTH / seconds}


WAYS: dict[str, Callable[[int], Turn]] = {
    "ours bf16": lambda steps: _ours("bf16", steps),
    "trainer bf16": lambda steps: _trainer(True, steps),
    "ours float32": lambda steps: _ours("no", steps),
    "trainer float32": lambda steps: _trainer(False, steps),
}

if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
