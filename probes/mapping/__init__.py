"""The map probe: where tokens, texts and words lie, with the cosines that say how near. PROBE is its entry."""

from probes.mapping.probe import PROBE

__all__ = ["PROBE"]
