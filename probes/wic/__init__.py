"""Words in context: does a word mean the same in two sentences?"""

from probes.wic.probe import PROBE

__all__ = ["PROBE"]
