"""The model card of a finished model: what it is, what it was trained on and how far, in the form that hubs read."""

from pathlib import Path
from typing import Any

import jinja2

from pretrain.recipe import Recipe
from tokenization.store import TokenStore

_TEMPLATE = """\
---
library_name: transformers
pipeline_tag: fill-mask
tags: [{{ architecture }}, pretraining, clozekit]
license: other
license_name: see-corpus
---
# {{ recipe.name }}

A {{ architecture }} encoder pretrained with the objective `{{ recipe.objective.name }}` by clozekit.

| | |
| --- | --- |
| steps | {{ "{:,}".format(progress.step) }} |
| tokens trained on | {{ "{:,}".format(progress.tokens) }} |
| training seconds | {{ "{:,.0f}".format(progress.elapsed_seconds) }} |
| processes, mixed precision | {{ progress.world_size }}, {{ progress.mixed_precision }} |
| corpus | {{ "{:,}".format(counts.documents) }} documents, {{ "{:,}".format(counts.sentences) }} sentences, {{ "{:,}".format(counts.tokens) }} tokens |
| data fingerprint | `{{ store.fingerprint }}` |
{%- for name, value in progress.evaluation.items() %}
| {{ name }} | {{ "{:.4f}".format(value) }} |
{%- endfor %}

Held-out losses are in nats a target, on frozen 15 % 80/10/10 token masks over every held-out document.

## Use

```python
from transformers import pipeline
pipeline("fill-mask", model="PATH")("The cat sat on the {{ mask }}.")
```
{% if "mlm_nsp" not in recipe.objective.name or architecture != "bert" %}
No objective trained a pooler of transformers' own: `AutoModel` makes one with random weights where its class has one (BERT).
Use the hidden states, not `pooler_output`.
{% endif %}
{%- if extra_heads %}
The next-sentence head is in `extra_heads.safetensors`, which transformers leaves unread.
{% endif %}
## Licence

The weights derive from the corpus, whose licence this card does not know. State it before you share the model.

## Recipe

```yaml
{{ recipe.to_yaml() }}```
"""


def write_card(folder: Path, recipe: Recipe, store: TokenStore, progress: dict[str, Any]) -> None:
    """Write README.md into a model folder.

    Args:
        progress: progress.json of the checkpoint that the model was taken from.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(_TEMPLATE).render(
        recipe=recipe,
        store=store,
        counts={"documents": store.train.num_documents, "sentences": store.train.num_sentences, "tokens": store.train.num_tokens},
        progress=progress,
        architecture=_architecture(folder),
        mask="[MASK]",
        extra_heads=(folder / "extra_heads.safetensors").exists(),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _architecture(folder: Path) -> str:
    import json

    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
