"""Neighbours: what is nearest to a word, or to a word in a sentence, and what is farthest from it?"""

from probes.neighbors.probe import PROBE

__all__ = ["PROBE"]
