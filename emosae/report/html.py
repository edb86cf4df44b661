"""From a run's folder to report.html."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from emosae.artifacts import atomic_path
from emosae.report.page import Canvas, Missing, Section
from emosae.report.sections.about import about, coverage_section, rerun_section
from emosae.report.sections.depth import depth_section
from emosae.report.sections.geometry import geometry_section
from emosae.report.sections.glance import glance
from emosae.report.sections.methods import methods_section
from emosae.report.sections.ratings import ratings_section
from emosae.report.sections.recovery import recovery_section
from emosae.report.sections.selection import selection_section
from emosae.report.sections.steering import steering_section
from emosae.report.source import Run, read_run
from emosae.report.style import drawing
from emosae.report.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["draw_report"]

_HERE = Path(__file__).resolve().parent


def draw_report(folder: Path) -> Path:
    """Draw the report; see `emosae.report.draw`."""
    run = read_run(folder)
    with drawing():
        sections = _sections(run)
    style = Markup((_HERE / "style.css").read_text(encoding="utf-8"))
    page = (
        _environment()
        .get_template("template.html.j2")
        .render(
            about=about(run),
            glance=glance(run),
            sections=sections,
            style=style,
            language=run.languages[0] if len(run.languages) == 1 else "en",
        )
    )
    report = folder / "report.html"
    with atomic_path(report) as path:
        path.write_text(page, encoding="utf-8")
    return report


def _sections(run: Run) -> list[Section]:
    several = len(run.stages) > 1
    canvas = Canvas(run.folder)
    sections: list[Section] = []
    if not run.stages:
        empty = Missing("This run holds no finished stage yet.", "emosae run")
        sections.append(Section(anchor="results", title="Results", blocks=[empty]))
    beside = depth_section(run, canvas)
    sections += [beside] if beside is not None else []
    for number, (site, stages) in enumerate(run.stages.items(), start=1):
        start = f"s{number}-" if several else ""
        canvas.prefix = f"{_slug(site)}-" if several else ""
        parts = [
            geometry_section(run, stages.get("geometry"), canvas, f"{start}space"),
            ratings_section(
                run, stages.get("ratings"), canvas, f"{start}ratings", select=stages.get("select")
            ),
            selection_section(run, stages.get("select"), canvas, f"{start}features"),
        ]
        steered = steering_section(run, stages.get("steer"), canvas, f"{start}steering")
        parts = [*([steered] if steered is not None else []), *parts]
        planted = recovery_section(run, stages, f"{start}recovery")
        parts = [*([planted] if planted is not None else []), *parts]
        if several:
            sections.append(Section(anchor=f"{start}site", title=f"Site {clean(site)}", sections=parts))
        else:
            sections += parts
    return [*sections, coverage_section(run), methods_section(run), rerun_section(run)]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:60] or "site"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    import jinja2

    def finalize(value: Any) -> Any:
        # what the template prints is escaped by jinja; what may not stand in HTML at all is replaced here
        return value if isinstance(value, Markup) or not isinstance(value, str) else clean(value)

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
    )
