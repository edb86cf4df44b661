"""The stages in order: from a typed configuration to a run folder with tables, figures and a report."""

from __future__ import annotations

import logging
from pathlib import Path

from emosae.artifacts import RunFolder, save_result, write_table
from emosae.config import Config
from emosae.pipeline.headline import headline, site_lines
from emosae.pipeline.inputs import load_inputs, sources
from emosae.pipeline.study import Study
from emosae.selection.overview import write_overview

__all__ = ["redraw", "run"]

log = logging.getLogger(__name__)

# the stages that each command goes through; ratings and geometry stand side by side on the selected sets
PLANS = {
    "features": ("features",),
    "select": ("features", "select"),
    "geometry": ("features", "select", "geometry"),
    "ratings": ("features", "select", "ratings"),
    "steer": ("features", "select", "steer"),
    "run": ("features", "select", "geometry", "ratings"),
    "report": ("features", "select", "geometry", "ratings"),
}


def run(config: Config, stage: str, folder: RunFolder) -> list[str]:
    """Run a stage and what it needs, write each stage's tables as it ends, then the report.

    Args:
        config: The study.
        stage: `features`, `select`, `geometry`, `ratings`, `steer`, `report` or `run`.
        folder: The run's folder, already entered.

    Returns:
        The lines to print at the end: the headline numbers, then the report's path.
    """
    inputs = load_inputs(
        config, need_ratings=stage == "ratings", need_human=stage in {"geometry", "run", "report"}
    )
    study = Study(config, inputs)
    plan = [each for each in PLANS[stage] if each != "ratings" or inputs.ratings]
    notes = list(inputs.notes)
    if len(plan) < len(PLANS[stage]):
        notes.append("No human ratings are named in norms, so the ratings stage was left out.")
    attributes = {"select": "selection", "steer": "steering"}
    results = {}
    for each in plan:
        results[each] = getattr(study, attributes.get(each, each))
        save_result(folder.folder, each, results[each])
        if each == "select":
            write_overview(folder.folder)
        if each == "geometry":
            for name in ("geometry_sites", "geometry_layers"):
                table = getattr(study, name)
                if table.height:
                    write_table(folder.folder / "tables", name, table)
        folder.finish_stage(each)
        log.info("%s: done", each)
    coverage = {"concepts": next(iter(results["features"].values())).coverage.to_dicts()}
    if study.rating_coverage is not None:
        coverage["ratings"] = study.rating_coverage.to_dicts()
    lines = headline(results, config)
    if "geometry" in results:
        lines += site_lines(study.geometry_sites)
    for result in results.get("steer", {}).values():
        notes += result.notes
    folder.manifest |= {
        "inputs": {
            "name": study.lens.name,
            "model": study.model_id,
            "saes": {
                str(site): {"name": sae.name, "fingerprint": sae.fingerprint}
                for site, sae in study.lens.saes.items()
            },
            "human": sources(inputs),
        },
        "coverage": coverage,
        "notes": notes,
        "headline": lines,
    }
    folder.complete()
    return [*lines, f"report: {redraw(folder.folder)}"]


def redraw(folder: Path) -> Path:
    """Draw the report of a run's folder from its tables alone."""
    from emosae.report import draw

    return draw(folder)
