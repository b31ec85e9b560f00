"""What was found among one kind of candidates in one layer of a model: all cosines, and how they are shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from probes.intervals import Array
from probes.neighbors.ranking import RandomPairs, farthest, nearest
from probes.results import Cell, Score, Table


@dataclass(frozen=True)
class Listing:
    """Cosines of what is asked about to all candidates."""

    model: str
    kind: str
    """tokens, words or sentences."""
    layer: int | None
    """None: the table of input embeddings, below all layers."""
    cosines: Array
    text: Callable[[int], str]
    """The candidate with this index, to be read."""
    random: RandomPairs
    variant: str = ""
    """How it was taken, where there is more than one way."""

    @property
    def where(self) -> str:
        """The layer, in words."""
        place = "input embeddings" if self.layer is None else f"layer {self.layer}"
        return f"{place}, {self.variant}" if self.variant else place


def table_of(listing: Listing, number: int, top: int, is_nearest: bool) -> Table:
    """The nearest, or the farthest, with their cosines and z-scores."""
    chosen = (nearest if is_nearest else farthest)(listing.cosines, top)
    rows: list[list[Cell]] = []
    for rank, index in enumerate(chosen, 1):
        cosine = float(listing.cosines[index])
        rows.append([rank, listing.text(index), cosine, listing.random.z(cosine)])
    which = "nearest" if is_nearest else "farthest"
    return Table(
        name=f"{number}-{which}-{listing.kind}",
        title=f"{which.capitalize()} {listing.kind}: {listing.model}, {listing.where}",
        columns=["rank", listing.kind.removesuffix("s"), "cosine", "z"],
        rows=rows,
        caption=f"Of {len(listing.cosines):,} candidates. Random pairs of them have a cosine of"
        f" {listing.random.mean:.3f} (standard deviation {listing.random.sd:.3f}, {listing.random.n:,} pairs).",
        model=listing.model,
    )


def headlines(listing: Listing, top: int) -> list[Score]:
    """The mean cosine of the nearest, what it is for random pairs, and the mean z-score."""
    chosen = listing.cosines[nearest(listing.cosines, top)]
    variant = f"{listing.kind}, {listing.variant}" if listing.variant else listing.kind
    low, high = listing.random.interval
    mean = float(chosen.mean())
    found = [
        ("nearest_cosine", mean, mean, mean, len(chosen)),
        ("random_cosine", listing.random.mean, low, high, listing.random.n),
    ]
    if (z := listing.random.z(mean)) is not None:
        found.append(("nearest_z", z, z, z, len(chosen)))
    return [
        Score(
            measure=measure,
            model=listing.model,
            value=value,
            low=least,
            high=most,
            n=n,
            layer=listing.layer,
            variant=variant,
        )
        for measure, value, least, most, n in found
    ]


def findings(listings: Sequence[Listing], top: int) -> list[str]:
    """A sentence for each: its nearest, with what random pairs have."""
    said = []
    for one in listings:
        chosen = nearest(one.cosines, min(top, 5 if one.kind == "tokens" else 1))
        parts = []
        for index in chosen:
            cosine = float(one.cosines[index])
            z = one.random.z(cosine)
            parts.append(f"{one.text(index)!r} ({cosine:.2f}" + (f", z {z:+.1f})" if z is not None else ")"))
        said.append(
            f"{one.model}, {one.where}: nearest {one.kind if len(parts) > 1 else one.kind.removesuffix('s')}"
            f" {', '.join(parts)}; random pairs have a cosine of {one.random.mean:.2f}."
        )
    return said
