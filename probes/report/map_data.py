"""The maps of a probe's results as the page's script reads them: coordinates as whole numbers, texts once."""

import re
from typing import Any

from probes.report.layers import renamed, shown_models
from probes.results import Map, Point, Projection, Results

FINENESS = 2000
"""Steps from the middle of a map to its farthest point: finer than a screen can show."""


def map_data(results: Results) -> dict[str, Any] | None:
    """Maps that show the same points for several models stand side by side; None: there are none.

    Returns:
        points: lists of points, each a list of [text, begin, end, group number, label]; groups: their names.
        maps: title, and for each model its name, which points, and by layer pca (3 n whole numbers), tsne (2 n),
        variance in percent. shown: names of the models that are shown at first.
    """
    if not results.maps:
        return None
    points: dict[tuple[Point, ...], int] = {}
    titles: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in results.maps:
        number = points.setdefault(tuple(one.points), len(points))
        layers = {str(layer): _projection(one.layers[layer]) for layer in sorted(one.layers)}
        titles.setdefault(_subject(one), []).append({"model": one.model, "points": number, "layers": layers})
    return {
        "points": [_points(found) for found in points],
        "maps": [
            {"title": title if not group or group in title else f"{group}: {title}", "panels": panels}
            for (group, title), panels in titles.items()
        ],
        "shown": shown_models(results),
    }


def _subject(one: Map) -> tuple[str, str]:
    """What a map is about, whichever model it is of."""
    title = re.sub(r"^[\s,:()-]+|[\s,:()-]+$", "", renamed(one.title, one.model, ""))
    return one.group, title or one.group or "all"


def _points(points: tuple[Point, ...]) -> dict[str, Any]:
    groups = list(dict.fromkeys(point.group for point in points))
    rows = [[p.text, *(p.span or (0, 0)), groups.index(p.group), p.label] for p in points]
    return {"groups": groups, "rows": rows}


def _projection(one: Projection) -> dict[str, Any]:
    return {
        "pca": _whole(one.pca),
        "tsne": None if one.tsne is None else _whole(one.tsne),
        "variance": [round(100 * share, 1) for share in one.variance],
    }


def _whole(coordinates: list[Any]) -> list[int]:
    """All axes in one scale, so that distances stay what they are."""
    flat = [value for row in coordinates for value in row]
    most = max(map(abs, flat), default=0.0) or 1.0
    return [round(value / most * FINENESS) for value in flat]
