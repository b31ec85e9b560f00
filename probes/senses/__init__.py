"""Senses of a word: do its vectors tell them apart?"""

from probes.senses.probe import PROBE

__all__ = ["PROBE"]
