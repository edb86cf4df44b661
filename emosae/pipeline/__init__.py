"""The stages in order: from a typed configuration to a run folder with tables, figures and a report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from emosae.artifacts import RunFolder, save_result, write_table
from emosae.config import Config
from emosae.pipeline.headline import headline, site_lines
from emosae.pipeline.inputs import load_inputs, sources
from emosae.pipeline.study import Study, select_words

if TYPE_CHECKING:
    from emosae.lens import Lens
    from emosae.models import Site
    from emosae.selection import Selection

__all__ = ["redraw", "run", "select_for_lens"]

log = logging.getLogger(__name__)

# the stages that each command goes through; ratings and geometry stand side by side on the selected sets
PLANS = {
    "features": ("features",),
    "select": ("features", "select"),
    "geometry": ("features", "select", "geometry"),
    "ratings": ("features", "select", "ratings"),
    "run": ("features", "select", "geometry", "ratings"),
    "report": ("features", "select", "geometry", "ratings"),
}


def run(config: Config, stage: str, folder: RunFolder) -> list[str]:
    """Run a stage and what it needs, write each stage's tables as it ends, then the report.

    Args:
        config: The study.
        stage: `features`, `select`, `geometry`, `ratings`, `report` or `run`.
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
    attributes = {"features": "features", "select": "selection", "geometry": "geometry", "ratings": "ratings"}
    results = {}
    for each in plan:
        results[each] = getattr(study, attributes[each])
        save_result(folder.folder, each, results[each])
        if each == "geometry" and study.geometry_sites.height:
            write_table(folder.folder / "tables", "geometry_sites", study.geometry_sites)
        folder.finish_stage(each)
        log.info("%s: done", each)
    coverage = {"concepts": next(iter(results["features"].values())).coverage.to_dicts()}
    if study.rating_coverage is not None:
        coverage["ratings"] = study.rating_coverage.to_dicts()
    lines = headline(results, config)
    if "geometry" in results:
        lines += site_lines(study.geometry_sites)
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


def select_for_lens(lens: Lens, site: Site, language: str) -> Selection:
    """Select the features of the lens' concept set at one site, in one language, with the default thresholds."""
    from emosae.config import compose
    from emosae.features import model_fingerprint
    from emosae.pipeline.readings import read_words

    config = compose(
        ["preset=custom", f"concepts={lens.concepts}", f"language=[{language}]", "model.name=unused"]
    )
    inputs = load_inputs(config, need_ratings=False, need_human=False)
    readings, _ = read_words(
        lens,
        inputs.word_sets(),
        templates=config.features.templates,
        config=config.features,
        model_id=model_fingerprint(lens.model, lens.tokenizer),
        what="concept words",
        sites=[site],
    )
    return select_words(inputs, readings[site], config)
