"""What a trained encoder knows. Takes any transformers folder; knows nothing of training.

To add a probe: one file (or folder) with a PROBE, one line in PROBES.
"""

from probes import classify, fill, geometry, linear, mapping, minimal_pairs, neighbors, senses, speed, static, wic
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
    "fill": fill.PROBE,
    "map": mapping.PROBE,
    "speed": speed.PROBE,
    "static": static.PROBE,
}

__all__ = ["PROBES", "Probe", "ProbeError"]
