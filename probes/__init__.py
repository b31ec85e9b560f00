"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file (or folder) with a PROBE, one line in PROBES.
"""

from probes import classify, geometry, linear, mapping, minimal_pairs, neighbors, senses, static, wic
from probes.probe import Probe
from probes.probe_error import ProbeError

PROBES: dict[str, Probe] = {
    "senses": senses.PROBE,
    "wic": wic.PROBE,
    "geometry": geometry.PROBE,
    "neighbors": neighbors.PROBE,
    "classify": classify.PROBE,
    "linear": linear.PROBE,
    "minimal_pairs": minimal_pairs.PROBE,
    "map": mapping.PROBE,
    "static": static.PROBE,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
