"""A page from its template: one file with its style, scripts, plotly and data inside, and every text escaped."""

import json
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent


def render_page(template: Path, *, title: str, charts: dict[str, Any], maps: dict[str, Any], **context: Any) -> str:
    """The HTML of a template that extends base.html; macros.html has what such templates share.

    Args:
        template: the template's file; all others that it names lie beside it or here.
        title: of the page.
        charts: what page.js draws (`Chart.data`), each under its place in the page.
        maps: the same for maps (`map_data`).
        context: what the template shows.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader([template.parent, HOME]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(
        title=title,
        style=Markup((HOME / "page.css").read_text(encoding="utf-8")),
        script=Markup((HOME / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(_plotly()) if charts or maps else None,
        data=Markup(_script_json({"charts": charts, "maps": maps})),
        **context,
    )


def _script_json(data: Any) -> str:
    """JSON that no text in it can end the script element with."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
