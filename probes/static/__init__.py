"""Static word vectors: learning them from text, and scoring them beside those of files and of encoders."""

from probes.static.probe import PROBE

__all__ = ["PROBE"]
