"""A whole recipe as text, which the tests of recipes change here and there."""

from pathlib import Path

WHOLE = """\
name: trial
seed: 0
corpus:     {files: [text/a.jsonl.gz], text_field: text, held_out: 0.01}
tokenizer:  {name: wordpiece, vocab_size: 8192, lowercase: true}
examples:   {name: sentence_pairs, max_seq_length: 128, short_seq_prob: 0.1}
masking:    {name: token, mlm_probability: 0.15, mask_replace_prob: 0.8, random_replace_prob: 0.1}
encoder:    {name: bert, num_hidden_layers: 4, hidden_size: 256, num_attention_heads: 4, intermediate_size: 1024}
objective:  {name: mlm_nsp}
optimizer:  {name: adamw, learning_rate: 1e-3, weight_decay: 0.01}
schedule:   {name: linear, warmup_steps: 100}
train:      {steps: 1000, batch_size: 64, micro_batch_size: 64, max_grad_norm: 1.0, mixed_precision: auto}
evaluate:   {every_steps: 200}
checkpoint: {every_steps: 200, keep: 2, best: eval/mlm_nats}
probes:     []
"""


def write_recipe(folder: Path, text: str | bytes = WHOLE) -> Path:
    """Write a recipe file and give its path."""
    path = folder / "trial.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
