"""Masked language modelling with a question of two classes about a pair of segments, as BERT and ALBERT ask one.

Both ask it through the same head, BERT's own: `seq_relationship`, two classes, on the tanh pooler of [CLS] (on bodies
without it, a head of that form).
"""

import torch

from encoders.encoder import Encoder
from objectives.masking import NOT_A_TARGET
from objectives.mlm import cross_entropy, label_classes, label_weights, num_targets
from objectives.objective import Batch, Loss, Objective


class MlmPairs(Objective):
    """{mlm: Loss, term: Loss}; without the label of the pairs in the batch, mlm alone."""

    def __init__(self, encoder: Encoder, *, term: str, label: str, weight: float) -> None:
        """
        Args:
            term: name of the question's loss.
            label: key of the batch that holds the answers, (B,) int64.
            weight: of the question's mean loss beside the mean masked loss.
        """
        super().__init__(encoder, {"mlm": 1.0, term: weight})
        self._term, self._label = term, label

    def forward(self, batch: Batch) -> dict[str, Loss]:
        is_target = batch["labels"] != NOT_A_TARGET
        is_first = torch.zeros_like(is_target)
        is_first[:, 0] = self._label in batch  # [CLS], which is never a target
        wanted = is_target | is_first
        vectors = self.encoder.vectors_at(batch, wanted)
        token_logits = self.encoder.token_logits(vectors[is_target[wanted]])
        weights, classes = label_weights(batch, is_target), label_classes(batch, is_target)
        losses = {"mlm": cross_entropy(token_logits, batch["labels"][is_target], weights, classes)}
        if self._label in batch:
            sentence_logits = self.encoder.sentence_logits(vectors[is_first[wanted]])
            losses[self._term] = cross_entropy(sentence_logits, batch[self._label])
        return losses

    def count(self, batch: Batch) -> dict[str, int]:
        counts = {"mlm": num_targets(batch)}
        if self._label in batch:
            counts[self._term] = len(batch[self._label])
        return counts
