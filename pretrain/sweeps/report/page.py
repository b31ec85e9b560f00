"""One offline HTML page of a sweep: the answer, how to run the winner, and all that the answer rests on.

It has the look, the charts and the tables of the probes' report. Everything is inside the page: it asks the network for
nothing and opens from disk, and all texts are escaped. The same results make the same page, byte for byte.
"""

from pathlib import Path

from pretrain.recipe_problems import RecipeError
from pretrain.sweeps.report.pictures import Pictures, draw_pictures, pictures_of
from pretrain.sweeps.report.tables import (
    all_measures,
    cells_sheet,
    comparison_sheet,
    costs_sheet,
    differences_sheet,
    effect_sheets,
    equal_parts,
    failures,
    set_up,
)
from pretrain.sweeps.report.units import difference_unit, p_said, scale_of
from pretrain.sweeps.results import Results, View
from probes.report.facts import facts
from probes.report.rendering import render_page
from probes.results import write_text

TEMPLATE = Path(__file__).parent / "page.html"
MOST_AT_ONCE = 6
"""Sentences of the answer that stand open."""


def write_report(results: Results, folder: Path) -> Path:
    """Write FOLDER/report.html and the PNGs of its charts beside it; returns the page's path.

    Raises:
        RecipeError: the folder cannot be written.
    """
    pictures = pictures_of(results)
    path = folder / "report.html"
    try:
        write_text(path, render(results, pictures))
        draw_pictures(pictures, folder)
    except OSError as error:
        raise RecipeError(
            f"{folder}: the report cannot be written ({error.strerror}). Expected a folder with room that may be"
            " written to. Free it, then run the same sweep again: cells that are done are not run anew."
        ) from error
    return path


def render(results: Results, pictures: Pictures) -> str:
    """The page's HTML."""
    first = results.views[0] if results.views and results.views[0].settings else None
    return render_page(
        TEMPLATE,
        title=f"Sweep: {results.name}",
        charts={f"sweep/{chart.file}": chart.data() for chart in pictures.charts},
        maps={},
        results=results,
        at_once=MOST_AT_ONCE,
        pictures=pictures,
        comparison=comparison_sheet(results, first) if first else None,
        notes=_notes(first) if first else [],
        equal=equal_parts(results, pictures),
        effects=effect_sheets(first) if first else [],
        interaction=_interaction(first) if first else "",
        costs=costs_sheet(results),
        measures=all_measures(results),
        differences=differences_sheet(results),
        other_notes=_other_notes(results, first),
        cells=cells_sheet(results),
        states=_states(results),
        failures=failures(results),
        set_up=set_up(results),
        provenance=facts(results.provenance),
    )


def _notes(view: View) -> list[str]:
    """Notes of the comparison that decides."""
    if view.residual_spread is None:
        return view.notes
    spread = f"{scale_of(view.measure) * view.residual_spread:.3g} {difference_unit(view.measure)}".strip()
    return [
        *view.notes,
        f"Around what its setting and its seed explain, a run varies by {spread} (standard deviation).",
    ]


def _other_notes(results: Results, first: View | None) -> list[str]:
    """Notes of other views that the first has not, each once."""
    found = [note for view in results.views if view is not first for note in view.notes]
    return [note for note in dict.fromkeys(found) if first is None or note not in first.notes]


def _interaction(view: View) -> str:
    """What the test of the interaction says, '' where there is none."""
    if view.interaction is None or view.interaction.p is None:
        return ""
    first, second = view.interaction.axes
    p = view.interaction.p
    said = "depends" if p < 0.05 else "could not be shown to depend"
    return f"The effect of {first} {said} on {second} (F test of the interaction: {p_said(p)})."


def _states(results: Results) -> str:
    """'18 cells: 17 done, 1 failed.'"""
    counts: dict[str, int] = {}
    for cell in results.cells:
        counts[cell.state] = counts.get(cell.state, 0) + 1
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(results.cells)} cell{'' if len(results.cells) == 1 else 's'}: {said}." if results.cells else ""
