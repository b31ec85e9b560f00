"""The model card of a finished model: what it is, what it was trained on and how far, in the form that hubs read."""

import json
import re
from pathlib import Path
from typing import Any

import jinja2

from encoders.encoder import EXTRA_HEADS
from pretrain.recipe import Recipe
from tokenization.store import TokenStore
from tokenization.vocabulary import load_tokenizer

_TEMPLATE = """\
---
library_name: transformers
pipeline_tag: {{ "feature-extraction" if heads == "replaced_tokens" else "fill-mask" }}
tags: [{{ architecture }}, pretraining, clozekit]
license: other
license_name: {{ (license or "unknown") | tojson }}
---
# {{ recipe.name }}

{% if heads == "replaced_tokens" %}
A pretrained {{ architecture }} encoder, the discriminator of the objective `{{ recipe.objective.name }}`, by clozekit.
{% elif network == "generator" %}
A pretrained {{ architecture }} encoder, the generator of the objective `{{ recipe.objective.name }}`, by clozekit: a
masked language model that is smaller than the discriminator beside it, which is the model to use for all else.
{% else %}
A pretrained {{ architecture }} encoder, trained by clozekit with the objective `{{ recipe.objective.name }}`.
{% endif %}

| | |
| --- | --- |
| steps | {{ "{:,}".format(progress.step) }} |
| tokens trained on | {{ "{:,}".format(progress.tokens) }} |
| training seconds | {{ "{:,.0f}".format(progress.elapsed_seconds) }} |
| processes, mixed precision | {{ progress.world_size }}, {{ progress.mixed_precision }} |
| training documents, sentences, tokens | {{ counts | join(", ") }} |
| data fingerprint | `{{ fingerprint }}` |
{% for name, value in progress.evaluation.items() if value is not none %}
| {{ name | e }} | {{ "{:.4f}".format(value) }} |
{% endfor %}

{% if recipe.objective.draws_tokens %}
Held-out losses are in nats, on frozen masks of 15 % of the tokens of every held-out document, all of them [MASK]: a
masked token for the generator, any token for the discriminator. Precision, recall and the area under the ROC curve
(auc) are of telling the tokens that its own generator put in from all others.
{% else %}
Held-out losses are in nats a target, on frozen 15 % 80/10/10 token masks over every held-out document.
{% endif %}

## Use

{% if heads == "replaced_tokens" %}
```python
from transformers import {{ detector }}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
inputs = tokenizer("The cat sat on the moon.", return_tensors="pt")
{{ detector }}.from_pretrained("PATH")(**inputs).logits  # above 0 where a token looks replaced
```
{% else %}
```python
from transformers import pipeline

pipeline("fill-mask", model="PATH")({{ sentence }})
```
{% endif %}

{% if heads == "replaced_tokens" %}
As an encoder: the hidden states of `AutoModel.from_pretrained("PATH")`. It has no head for masked tokens.
{% elif pooler %}
`pooler_output` of `AutoModel` was trained with {{ question }} prediction.
{% else %}
No pooler of transformers' own was trained: where `AutoModel` has one (BERT), its weights are random.
Use the hidden states.
{% endif %}
{% if extra_heads %}
The {{ question }} head is in `extra_heads.safetensors`, which transformers leaves unread.
{% endif %}

## Licence

{% if license %}
The texts that it was trained on: {{ license | e }}.
{% else %}
The recipe names no licence of the texts (`corpus.license`); state it before you share the model.
{% endif %}

## Recipe

{{ fence }}yaml
{{ recipe.to_yaml() }}{{ fence }}
"""


_STEPS = re.compile(r"^\| steps \| ([\d,]+) \|$", re.MULTILINE)


def steps_on_card(folder: Path) -> int | None:
    """Steps of the checkpoint that a model folder was taken from, as its card says; None: it has no card of ours."""
    try:
        found = _STEPS.search((folder / "README.md").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return int(found[1].replace(",", "")) if found else None


def write_card(folder: Path, network: str, recipe: Recipe, store: TokenStore, progress: dict[str, Any]) -> None:
    """Write README.md into a model folder.

    Args:
        network: name of the network in the objective.
        progress: progress.json of the checkpoint that the model was taken from.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    train = store.train
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+|$", recipe.to_yaml()))))  # longer than any in the recipe
    text = environment.from_string(_TEMPLATE).render(
        recipe=recipe,
        network=network,
        heads=recipe.objective.heads[network],
        detector="ElectraForPreTraining" if architecture == "electra" else "AutoModelForTokenClassification",
        fence=fence,
        fingerprint=store.fingerprint,
        counts=[f"{count:,}" for count in (train.num_documents, train.num_sentences, train.num_tokens)],
        progress=progress,
        architecture=architecture,
        license=" ".join((recipe.corpus.license or "").split()),
        sentence=json.dumps(f"The cat sat on the {load_tokenizer(folder).mask_token}.", ensure_ascii=False),
        pooler=architecture == "bert" and recipe.objective.heads[network] == "sentence_pairs",
        question="sentence-order" if "sop" in recipe.objective.terms else "next-sentence",
        extra_heads=(folder / EXTRA_HEADS).exists(),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
