"""Training speed of ELECTRA-mini against a plain transformers loop, and against our own BERT-mini (make bench).

The plain loop is what a user would write: ElectraForMaskedLM with labels as the generator, which computes logits at
all positions; their softmax, from which torch.multinomial draws at the masked ones; ElectraForPreTraining with labels
on the result; embeddings shared; one loss of 1 x generator + 50 x discriminator; DataCollatorForLanguageModeling in a
DataLoader. Both sides have the recipe's sizes and batches of full rows, AdamW, clipping at 1.0, no dropout, and the
same threads, on the built-in sample.

BERT-mini does another number of operations a token, so its speed is compared as FLOPs a second, each side's tokens/s
times pretrain's estimate of FLOPs a token. All ways take turns, each turn in a process of its own.

    python -m benchmarks.replaced_token_speed [--turns N] [--steps N]
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.our_training import UNBROKEN, WARM_UP_STEPS, time_steps
from benchmarks.turns import Turn, ratios, spread_table, take_turns, values_of

if TYPE_CHECKING:
    from torch import nn

    from pretrain.recipe import Recipe
    from tokenization.store import TokenStore

_ELECTRA, _BERT = "recipes/electra_mini.yaml", "recipes/bert_mini_mlm.yaml"
_LEARNING_RATE, _WEIGHT_DECAY, _MAX_GRAD_NORM = 5e-4, 0.01, 1.0
_BATCH_SIZE, _LENGTH = 32, 128
_OVERRIDES = [
    *UNBROKEN,
    *(f"train.batch_size={_BATCH_SIZE}", f"examples={{name: packed, max_seq_length: {_LENGTH}}}"),
    *("encoder.hidden_dropout_prob=0.0", "encoder.attention_probs_dropout_prob=0.0"),
    f"optimizer={{name: adamw, learning_rate: {_LEARNING_RATE}, weight_decay: {_WEIGHT_DECAY}}}",
    *("schedule={name: constant}", f"train.max_grad_norm={_MAX_GRAD_NORM}"),
]
SPEED_RATIOS = [("electra bf16", "plain bf16"), ("electra float32", "plain float32")]
WORK_RATIOS = [("electra bf16", "bert-mini bf16"), ("electra float32", "bert-mini float32")]


def main() -> None:
    """Time all ways in turn and print medians and ratios; with --way, time one and print JSON."""
    parser = argparse.ArgumentParser(description="Training speed of ELECTRA-mini against a plain loop and BERT-mini.")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=16, help="timed steps a turn")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(WAYS[options.way](options.steps)))
        return
    results = take_turns("benchmarks.replaced_token_speed", WAYS, turns=options.turns, steps=options.steps)
    ours = {way: turns for way, turns in results.items() if "flops_per_second" in turns[0]}
    speeds, work = values_of(results, "tokens_per_second"), values_of(ours, "flops_per_second")
    giga = {way: [value / 1e9 for value in values] for way, values in work.items()}
    print(f"\n{spread_table('way', 'tokens/s, ', speeds, '.0f')}")
    print(f"\n{spread_table('ratio of tokens/s', '', ratios(speeds, SPEED_RATIOS), '.2f')}")
    print(f"\n{spread_table('way', '10^9 FLOPs/s, ', giga, '.1f')}")
    print(f"\n{spread_table('ratio of FLOPs/s', '', ratios(work, WORK_RATIOS), '.2f')}")
    costs = {way: turns[0]["flops_per_token"] for way, turns in ours.items() if way.endswith("bf16")}
    print(
        "\n"
        + ", ".join(
            f"{way.removesuffix(' bf16')}: {cost / 1e6:.2f} million FLOPs a token" for way, cost in costs.items()
        )
    )


def _ours(recipe: str, mixed_precision: str, steps: int) -> Turn:
    return time_steps(recipe, [*_OVERRIDES, f"train.mixed_precision={mixed_precision}"], steps=steps)


# ------------------------------------------------------------------------------------------------------ the plain loop


def _plain(mixed_precision: str, steps: int) -> Turn:
    import torch

    from pretrain.assembly import prepared_store
    from pretrain.recipe import read_recipe

    recipe = read_recipe(_ELECTRA, [*_OVERRIDES, f"train.mixed_precision={mixed_precision}"])
    store = prepared_store(recipe)
    models = _models(recipe, store).train()
    optimizer = torch.optim.AdamW(models.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    batches = _batches(recipe, store, steps + WARM_UP_STEPS)
    for batch in islice(batches, WARM_UP_STEPS):
        plain_step(models, batch, optimizer, bf16=mixed_precision == "bf16")
    began = time.perf_counter()
    for batch in batches:
        plain_step(models, batch, optimizer, bf16=mixed_precision == "bf16")
    return {"tokens_per_second": steps * _BATCH_SIZE * _LENGTH / (time.perf_counter() - began)}


def plain_step(models: "nn.ModuleDict", batch: dict[str, Any], optimizer: Any, *, bf16: bool) -> None:
    """One update, with nothing left out and nothing clever."""
    import torch

    masked, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
    with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
        generated = models["generator"](input_ids=masked, attention_mask=mask, labels=labels)
        is_masked = labels != -100
        with torch.no_grad():
            probabilities = generated.logits.float().softmax(dim=-1)
            sampled = torch.multinomial(probabilities[is_masked], 1)[:, 0]
        original = torch.where(is_masked, labels, masked)
        corrupted = masked.masked_scatter(is_masked, sampled)
        is_replaced = (corrupted != original).long()
        detected = models["discriminator"](input_ids=corrupted, attention_mask=mask, labels=is_replaced)
        loss = generated.loss + 50.0 * detected.loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(models.parameters(), _MAX_GRAD_NORM)
    optimizer.step()
    optimizer.zero_grad()


def _models(recipe: "Recipe", store: "TokenStore") -> "nn.ModuleDict":
    """A generator and a discriminator of the recipe's sizes that share their embeddings."""
    import torch
    from transformers import ElectraForMaskedLM, ElectraForPreTraining

    from pretrain.assembly import build_objective

    ours = build_objective(recipe, store, device=torch.device("cpu")).networks
    generator = ElectraForMaskedLM(ours["generator"].model.config)
    discriminator = ElectraForPreTraining(ours["model"].model.config)
    discriminator.electra.embeddings = generator.electra.embeddings
    return torch.nn.ModuleDict({"generator": generator, "discriminator": discriminator})


def _batches(recipe: "Recipe", store: "TokenStore", count: int) -> Iterator[dict[str, Any]]:
    """Full rows of the store, masked by transformers' collator."""
    from torch.utils.data import DataLoader
    from transformers import DataCollatorForLanguageModeling

    from tokenization.vocabulary import load_tokenizer

    cls, sep = store.vocabulary.cls_id, store.vocabulary.sep_id
    content, tokens = _LENGTH - 2, store.train.ids
    pieces = (tokens[i * content : (i + 1) * content].tolist() for i in range(count * _BATCH_SIZE))
    rows: Any = [{"input_ids": [cls, *piece, sep]} for piece in pieces]
    probability = recipe.masking.mean_probability
    collate = DataCollatorForLanguageModeling(load_tokenizer(store.tokenizer_path), mlm_probability=probability)
    return iter(DataLoader(rows, batch_size=_BATCH_SIZE, shuffle=True, collate_fn=collate))


WAYS: dict[str, Callable[[int], Turn]] = {
    "electra bf16": lambda steps: _ours(_ELECTRA, "bf16", steps),
    "plain bf16": lambda steps: _plain("bf16", steps),
    "bert-mini bf16": lambda steps: _ours(_BERT, "bf16", steps),
    "electra float32": lambda steps: _ours(_ELECTRA, "no", steps),
    "plain float32": lambda steps: _plain("no", steps),
    "bert-mini float32": lambda steps: _ours(_BERT, "no", steps),
}

if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
