"""Minimal pairs: does a masked language model find the grammatical sentence of two more probable?

    python -m probes minimal_pairs MODEL... --pairs FILE.jsonl|FOLDER

pairs.py reads them, scoring.py gives each sentence its pseudo-log-likelihood, accuracy.py what follows with intervals.
"""

from probes.minimal_pairs.probe import PROBE

__all__ = ["PROBE"]
