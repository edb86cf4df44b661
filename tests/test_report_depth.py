"""Several sites in one report: curves over depth beside their baselines, and what the choice of a site is worth."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from report_cases import make_run, read_page

from emosae.report import draw
from emosae.report.page import Canvas
from emosae.report.sections.depth import depth_section
from emosae.report.source import read_run
from emosae.report.style import drawing

SITES = ["blocks.9.hook_resid_post", "blocks.2.hook_resid_post", "blocks.5.hook_resid_post"]


def add_sites(run: Path, sites: list[str]) -> None:
    """Write the table of sites as the geometry stage does; the first site is the best."""
    rows = [
        {
            "site": site,
            "space": f"{space}_{language}",
            "role": "model" if space == "features" else "control" if "control" in space else "baseline",
            "comparator": "rho-a",
            "score": 0.61 - 0.1 * at if space == "features" else 0.4,
            "ci_low": 0.3,
            "ci_high": 0.7,
            "p": 0.002,
            "p_max": 0.0456,
            "best": at == 0,
            "chosen": 0.73 if at == 0 else 0.0,
            "held_out": 0.5432 if at == 0 else None,
            "n_concepts": 5,
            "n_sites": len(sites),
        }
        for at, site in enumerate(sites)
        for space in ("features", "residual", "matched_control")
        for language in ("en", "zh")
    ]
    pl.DataFrame(rows).write_parquet(run / "tables" / "geometry_sites.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(
        tmp_path_factory.mktemp("depth") / "run",
        sites=SITES,
        languages=["en", "zh"],
        stages=("geometry", "ratings"),
    )
    add_sites(folder, SITES)
    return folder


@pytest.fixture(scope="module")
def blocks(run: Path) -> dict[str, object]:
    with drawing():
        section = depth_section(read_run(run), Canvas(run))
    assert section is not None
    return {getattr(block, "name", f"{block.kind}-{i}"): block for i, block in enumerate(section.blocks)}


def svg_texts(run: Path, name: str) -> list[str]:
    svg = (run / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    return [text.strip() for text in re.findall(r">([^<>]+)</text>", svg)]


def test_curves_run_from_the_first_layer_to_the_last_beside_their_baselines(
    run: Path, blocks: dict[str, object]
) -> None:
    for name, baselines in (
        ("depth_geometry", {"raw residual", "matched control", "valence alone"}),
        ("depth_ratings", {"raw residual", "static embedding"}),
    ):
        texts = svg_texts(run, name)
        assert {"SAE features", *baselines} <= set(texts), name
        layers = [text for text in texts if text in {"2", "5", "9"}]
        assert layers[:3] == ["2", "5", "9"], name
        assert any(text.startswith("ceiling") for text in texts), name
        assert any(text.startswith("Layer (block, counted from 0") for text in texts), name
        assert any("interval" in text for text in texts), name
    assert "Likeness (rho-a)" in svg_texts(run, "depth_geometry")
    assert "Correlation r with ratings" in svg_texts(run, "depth_ratings")


def test_the_highest_site_stands_beside_its_correction(blocks: dict[str, object]) -> None:
    said = [getattr(block, "text", "") for block in blocks.values()]
    (english,) = [text for text in said if text.startswith("In English the highest of 3 sites")]
    assert SITES[0] in english
    assert "0.610" in english
    assert "corrected for having looked at all of them, p = 0.046" in english
    assert "73% of the splits, and then reaches 0.543" in english
    (table,) = [block for block in blocks.values() if getattr(block, "kind", "") == "table"]
    assert {"p", "p, corrected over sites", "held out"} <= {column.title for column in table.columns}  # type: ignore[attr-defined]
    assert len(table.rows) == len(SITES) * 6  # type: ignore[attr-defined]


def test_figures_say_how_many_and_what_nothing_would_give(blocks: dict[str, object]) -> None:
    geometry, ratings = blocks["depth_geometry"], blocks["depth_ratings"]
    assert "5 emotions" in geometry.caption  # type: ignore[attr-defined]
    assert "60 words" in ratings.caption  # type: ignore[attr-defined]
    for figure in (geometry, ratings):
        assert "0 is what" in figure.caption  # type: ignore[attr-defined]
        assert figure.lead.endswith("?")  # type: ignore[attr-defined]
    assert "No correction was made" in ratings.caption  # type: ignore[attr-defined]


def test_one_site_has_no_depth(tmp_path: Path) -> None:
    one = make_run(tmp_path / "run", sites=SITES[:1], stages=("geometry", "ratings"))
    add_sites(one, SITES[:1])
    assert depth_section(read_run(one), Canvas(one)) is None
    assert not list(one.glob("figures/depth*"))


def test_sites_of_different_streams_are_named_and_in_order(tmp_path: Path) -> None:
    sites = ["blocks.5.hook_mlp_out", "blocks.3.attn.hook_z"]
    run = make_run(tmp_path / "run", sites=sites, stages=("ratings",))
    page = read_page(draw(run))
    assert page.faults == []
    texts = svg_texts(run, "depth_ratings")
    assert "Site (layer and stream)" in texts
    assert texts.index("z") < texts.index("mlp_out")
    assert "depth" in {section.get("id") for section in page.all("section")}


def test_a_site_that_was_not_scored_leaves_a_gap(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", sites=SITES, stages=("ratings",))
    path = run / "tables" / "ratings_scores.parquet"
    lost = (pl.col("site") == SITES[2]) & (pl.col("predictor") == "features")
    scores = pl.read_parquet(path).with_columns(
        pl.when(lost).then(None).otherwise(pl.col(name)).alias(name) for name in ("r", "r_low", "r_high")
    )
    scores.write_parquet(path)
    with drawing():
        section = depth_section(read_run(run), Canvas(run))
    assert section is not None
    assert "not computed" in section.blocks[0].svg  # type: ignore[union-attr]
    assert re.search(r"\bnan\b", str(section.blocks[0].svg)) is None  # type: ignore[union-attr]
