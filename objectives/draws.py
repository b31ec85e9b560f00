"""Keyed draws: randomness as a pure function of what it is for.

A draw is named by a key (seed, epoch, purpose) and by counters (example index, position); the same name gives the same
number in every process, in every order of asking and in every batch, which is what makes masks independent of workers,
micro-batches and world size and lets a run resume from two integers. The mixing function is the finaliser of SplitMix64
(Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 16), applied once per counter.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, the increment of SplitMix64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # its two multipliers
_UNIT = 2.0**-53  # spacing of the uniforms: the 53 bits of a float64's fraction


@dataclass(frozen=True, slots=True)
class Key:
    """What a stream of draws is for. Two keys that differ in any field give unrelated streams."""

    seed: int
    epoch: int
    purpose: str

    def word(self) -> np.uint64:
        """The key as one mixed 64-bit word."""
        word = 0
        for part in (self.seed, self.epoch, zlib.crc32(self.purpose.encode())):
            word = _mix_int(word ^ _mix_int((part & _WORD) + _GOLDEN))
        return np.uint64(word)


def uniforms(key: Key, *counters: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Uniform draws in [0, 1), one for each element of the broadcast counters.

    Args:
        key: the stream.
        counters: integer arrays >= 0 that broadcast against each other, e.g. example index (B, 1) and position (1, L).

    Returns:
        float64 of the broadcast shape; multiples of 2**-53.
    """
    state: npt.NDArray[np.uint64] = np.asarray(key.word())
    for counter in counters:
        with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
            step = (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
            state = _mix(state + step)
    draws: npt.NDArray[np.float64] = np.multiply(state >> np.uint64(11), _UNIT, dtype=np.float64)
    return draws


def permutation(key: Key, size: int) -> npt.NDArray[np.int64]:
    """A permutation of range(size), int64, drawn from the key by numpy's Philox (a counter-based generator)."""
    return np.random.Generator(np.random.Philox(key=int(key.word()))).permutation(size)


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))


def _mix_int(word: int) -> int:
    word = ((word ^ (word >> 30)) * _FIRST) & _WORD
    word = ((word ^ (word >> 27)) * _SECOND) & _WORD
    return word ^ (word >> 31)
