"""Classifying texts with a small classifier on frozen layers."""

from probes.classify.probe import PROBE

__all__ = ["PROBE"]
