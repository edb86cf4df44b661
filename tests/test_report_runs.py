"""Geometry beyond one space and one number: other runs, single raters, CEBRA's latents, layer beside layer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_cases import SITE, VALENCE, make_run, read_page

from emosae.report import draw
from emosae.report.page import Canvas, FigureBlock, Paragraph, Table
from emosae.report.sections.depth import depth_section
from emosae.report.sections.geometry import geometry_section
from emosae.report.source import read_run
from emosae.report.style import drawing, legend_columns

CONCEPTS = list(VALENCE)
OTHERS = {"features": 0.4321, "residual": 0.5432, "embedding": 0.6543, "matched_control": 0.1234}


def run_row(kind: str, score: float | None, **changes: Any) -> dict[str, Any]:
    row = {
        "run": "outputs/run/a",
        "model": "another model",
        "other_site": "blocks.7.hook_resid_post",
        "space": f"{kind}_en",
        "other_space": f"{kind}_en",
        "kind": kind,
        "comparator": "rho-a",
        "score": score,
        "ci_low": None if score is None else score - 0.1,
        "ci_high": None if score is None else score + 0.1,
        "p": 0.0321,
        "n_concepts": 5,
    }
    return row | changes


def both_languages(**changes: Any) -> list[dict[str, Any]]:
    rows = [run_row(kind, score, **changes) for kind, score in OTHERS.items()]
    rows += [
        run_row(kind, score - 0.05, other_space=f"{kind}_zh", **changes) for kind, score in OTHERS.items()
    ]
    return rows


def cebra_row(space: str, **changes: Any) -> dict[str, Any]:
    row = {
        "space": space,
        "labels": "valence and arousal",
        "loss": 2.1111,
        "loss_shuffled": 2.9999,
        "p_loss": 0.05,
        "comparator": "rho-a",
        "score": 0.5151,
        "score_shuffled": 0.1212,
        "shuffled_low": 0.0101,
        "shuffled_high": 0.2323,
        "p": 0.05,
        "n_items": 5,
        "n_features": 40,
        "n_dimensions": 3,
        "n_iterations": 1000,
        "n_shuffles": 19,
    }
    return row | changes


def cebra_places(space: str) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = []
    for kind in ("true", "shuffled"):
        for concept, place in zip(CONCEPTS, rng.standard_normal((len(CONCEPTS), 3)), strict=True):
            latents = {f"latent_{at + 1}": float(value) for at, value in enumerate(place)}
            rows.append({"space": space, "labels": kind, "concept": concept} | latents)
    return rows


def rater_rows(space: str, slope: float) -> list[dict[str, Any]]:
    return [
        {
            "space": space,
            "role": "model",
            "comparator": "rho-a",
            "rater": at,
            "rho_model": slope * agreement,
            "rho_others": agreement,
            "n_pairs": 10,
        }
        for at, agreement in enumerate((0.2, 0.5, 0.8))
    ]


def summary_row(space: str, **changes: Any) -> dict[str, Any]:
    row = {
        "space": space,
        "role": "model" if space.startswith("features") else "baseline",
        "comparator": "rho-a",
        "rho_model": 0.3456,
        "rho_others": 0.5,
        "disattenuated": 0.6789,
        "reliability_others": 0.9,
        "spread": 0.0777,
        "spread_expected": 0.0555,
        "spread_low": 0.0444,
        "spread_high": 0.0666,
        "spread_beyond": 0.0888,
        "p": 0.0123,
        "n_raters": 3,
        "n_simulations": 1000,
    }
    return row | changes


def write(run: Path, name: str, rows: list[dict[str, Any]]) -> None:
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.lit(SITE).alias("site"))
    table.write_parquet(run / "tables" / f"geometry_{name}.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", languages=["en", "zh"], stages=("geometry",))


def blocks_of(folder: Path) -> list[Any]:
    run = read_run(folder)
    with drawing():
        section = geometry_section(run, run.stages[SITE]["geometry"], Canvas(folder), "space")
    return list(section.blocks)


def figures(blocks: list[Any]) -> dict[str, FigureBlock]:
    return {block.name: block for block in blocks if isinstance(block, FigureBlock)}


def tables(blocks: list[Any], start: str) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table) and block.caption.startswith(start)]


def svg_texts(run: Path, name: str) -> list[str]:
    svg = (run / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    return [text.strip() for text in re.findall(r">([^<>]+)</text>", svg)]


def said(blocks: list[Any]) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))


def test_nothing_is_drawn_of_what_a_run_does_not_hold(folder: Path) -> None:
    assert not {"other_runs", "raters", "cebra", "cebra_map"} & set(figures(blocks_of(folder)))


def test_another_run_stands_beside_this_one_kind_by_kind(folder: Path) -> None:
    write(folder, "runs", both_languages())
    blocks = blocks_of(folder)
    figure = figures(blocks)["other_runs"]
    texts = svg_texts(folder, "other_runs")
    assert texts.count("another model, blocks.7.hook_resid_post") == 1
    names = [
        "SAE features (English)",
        "raw residual (English)",
        "static embedding (English)",
        "matched control (English)",
    ]
    assert [text for text in texts if text in names] == names, "features first, the control last"
    assert not any("Chinese" in text for text in texts), "pairs of one language; the others are in the table"
    assert {"0.432", "0.543", "0.654", "0.123", "SAE features", "control"} <= set(texts)
    assert "Likeness of the two RDMs (rho-a)" in texts
    assert "5 emotions that both runs have" in figure.caption
    assert figure.lead.endswith("?")
    assert (
        "SAE features (English) beside another model, blocks.7.hook_resid_post: 0.432 (rho-a; interval 0.332 to "
        "0.532; p = 0.032), where the raw residuals reach 0.543."
    ) in said(blocks)
    (table,) = tables(blocks, "Every space beside those of the same kind")
    assert len(table.rows) == 8
    assert [row[0] for at, row in enumerate(table.rows) if at in table.marked] == [
        "SAE features (English)",
        "SAE features (English with Chinese)",
    ]
    assert "not corrected" in table.caption


def test_runs_of_one_model_are_told_apart_and_many_sites_make_one_panel(folder: Path) -> None:
    write(folder, "runs", both_languages() + both_languages(run="outputs/run/b"))
    blocks_of(folder)
    texts = svg_texts(folder, "other_runs")
    assert "another model (a), blocks.7.hook_resid_post" in texts
    assert "another model (b), blocks.7.hook_resid_post" in texts
    sites = [f"blocks.{layer}.hook_resid_post" for layer in range(9)]
    write(folder, "runs", [row for site in sites for row in both_languages(other_site=site)])
    blocks = blocks_of(folder)
    texts = svg_texts(folder, "other_runs")
    assert "SAE features, site by site" in texts
    assert [text for text in texts if text.startswith("another model")] == [
        f"another model, {site}" for site in sites
    ]
    assert "The baselines are in the table below." in figures(blocks)["other_runs"].caption
    assert "where the raw residuals" not in said(blocks)


def test_a_likeness_that_could_not_be_computed_is_said(folder: Path) -> None:
    write(folder, "runs", [run_row("features", None, p=None), run_row("residual", 0.4)])
    blocks = blocks_of(folder)
    assert "not computed" in svg_texts(folder, "other_runs")
    assert "beside another model" not in said(blocks)
    write(folder, "runs", [run_row("features", None, p=None)])
    assert "other_runs" not in figures(blocks_of(folder))


def test_latents_stand_beside_shuffled_labels(folder: Path) -> None:
    write(folder, "cebra", [cebra_row("residual_en", score=0.2), cebra_row("features_en")])
    write(folder, "cebra_coordinates", cebra_places("features_en"))
    blocks = blocks_of(folder)
    drawn = figures(blocks)
    texts = svg_texts(folder, "cebra")
    assert {"0.515", "2.111", "mean of the fits to shuffled labels"} <= set(texts)
    assert "Likeness of the latents to people" in texts
    assert "Loss (InfoNCE; lower fits better)" in texts
    assert any(text.startswith("ceiling") for text in texts)
    assert texts.index("SAE features (English)") < texts.index("raw residual (English)")
    assert "SAE features (English) 0.515, shuffled 0.121" in drawn["cebra"].svg
    assert "valence and arousal" in drawn["cebra"].caption
    assert "19 fits to shuffled labels" in drawn["cebra"].caption
    maps = svg_texts(folder, "cebra_map")
    assert {"SAE features (English), true labels", "SAE features (English), shuffled labels"} <= set(maps)
    assert all(maps.count(concept) == 2 for concept in CONCEPTS), "every emotion on both maps"
    (table,) = tables(blocks, "CEBRA's latents.")
    assert table.rows[0][:7] == [
        "SAE features (English)", "valence and arousal", "2.111", "3.000", "0.050", "0.515", "0.010 to 0.232",
    ]  # fmt: skip
    assert table.rows[0][8] == "0.581", "the space itself, without CEBRA"
    assert table.marked == {0}
    assert "the same fit to shuffled labels" in said(blocks)


def test_latents_without_people_show_their_loss_alone(folder: Path) -> None:
    nothing = dict.fromkeys(("score", "score_shuffled", "shuffled_low", "shuffled_high", "p"))
    write(folder, "cebra", [cebra_row("features_en", labels="concept", **nothing)])
    blocks = blocks_of(folder)
    texts = svg_texts(folder, "cebra")
    assert "2.111" in texts
    assert not any("Likeness" in text for text in texts)
    assert "cebra_map" not in figures(blocks), "no coordinates, no map"
    (table,) = tables(blocks, "CEBRA's latents.")
    assert table.rows[0][5:8] == ["\u2013"] * 3


def test_a_map_of_latents_shows_the_plane_of_most_spread() -> None:
    from emosae.report.sections.latents import _plane

    rng = np.random.default_rng(0)
    flat = np.column_stack([5 * rng.standard_normal(30), 2 * rng.standard_normal(30), np.zeros(30)])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    found = _plane(flat @ turn + 7)
    centred = flat - flat.mean(axis=0)
    assert np.allclose(found @ found.T, centred @ centred.T)
    assert found[:, 0].var() > found[:, 1].var()


def test_raters_stand_beside_what_one_truth_would_give(folder: Path) -> None:
    write(folder, "raters", rater_rows("features_en", 0.5) + rater_rows("residual_en", 0.25))
    write(folder, "raters_summary", [summary_row("residual_en", p=0.4), summary_row("features_en")])
    blocks = blocks_of(folder)
    figure = figures(blocks)["raters"]
    assert "SAE features (English): 3 raters, likeness to the model 0.100 to 0.400, slope 0.500" in figure.svg
    assert "raw residual (English): 3 raters, likeness to the model 0.050 to 0.200, slope 0.250" in figure.svg
    texts = svg_texts(folder, "raters")
    assert {"Likeness to the other raters (rho-a)", "raters of one truth", "their noise, 1 SD"} <= set(texts)
    assert "3 raters, a point each" in figure.caption
    assert "1,000 simulations" in figure.caption
    assert (
        "In English, the features agree by 0.679 with what a rater shares with the others (disattenuated; 0.346 with "
        "single raters). They are closer to some raters than one shared truth explains: raters spread by 0.078 about "
        "the line, where one truth gives 0.056 (0.044 to 0.067; p = 0.012)."
    ) in said(blocks)
    (table,) = tables(blocks, "Each space and the raters")
    assert [row[0] for row in table.rows] == ["SAE features (English)", "raw residual (English)"]
    assert table.marked == {0}


def test_raters_that_do_not_differ_beyond_noise_and_raters_that_were_not_simulated(folder: Path) -> None:
    write(folder, "raters", rater_rows("features_en", 0.5))
    write(folder, "raters_summary", [summary_row("features_en", p=0.4)])
    assert "no sign that they are closer to some raters" in said(blocks_of(folder))
    nothing = dict.fromkeys(("spread_expected", "spread_low", "spread_high", "spread_beyond", "p"))
    write(folder, "raters_summary", [summary_row("features_en", n_simulations=None, **nothing)])
    blocks = blocks_of(folder)
    assert "their noise, 1 SD" not in svg_texts(folder, "raters")
    assert "closer to some" not in said(blocks)
    assert "lie along the line, but for noise" in figures(blocks)["raters"].caption
    write(folder, "raters_summary", [summary_row("features_en", n_raters=1)])
    assert "raters" not in figures(blocks_of(folder))


LAYERS = [f"blocks.{layer}.hook_resid_post" for layer in (9, 2, 5)]


def layer_rows(sites: list[str]) -> list[dict[str, Any]]:
    score = {(0, 1): 0.11, (0, 2): 0.22, (1, 2): 0.33}
    return [
        {
            "site_a": sites[a],
            "site_b": sites[b],
            "space": space,
            "role": "model",
            "comparator": "rho-a",
            "score": value + (0.4 if space.startswith("residual") else 0.0),
            "ci_low": 0.0,
            "ci_high": 0.9,
            "p": 0.0222,
            "n_concepts": 5,
        }
        for (a, b), value in score.items()
        if b < len(sites)
        for space in ("features_en", "features_zh", "residual_en", "error_en")
    ]


def test_layers_stand_beside_each_other_with_the_residual(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", languages=["en", "zh"], sites=LAYERS, stages=("geometry",))
    pl.DataFrame(layer_rows(LAYERS)).write_parquet(folder / "tables" / "geometry_layers.parquet")
    with drawing():
        section = depth_section(read_run(folder), Canvas(folder))
    assert section is not None
    figure = figures(list(section.blocks))["depth_layers"]
    texts = svg_texts(folder, "depth_layers")
    titles = ["SAE features (English)", "SAE features (Chinese)", "raw residual (English)"]
    assert [text for text in texts if text in titles] == titles
    assert "SAE error term (English)" not in texts
    names = [text for text in texts if text.endswith("resid post") and text[0].isdigit()]
    assert names[:3] == ["2 resid post", "5 resid post", "9 resid post"], "in the order of depth"
    numbers = [text for text in texts if re.fullmatch(r"0\.[1-9]\d", text)]
    assert numbers[:6] == ["0.33", "0.11", "0.33", "0.22", "0.11", "0.22"], "the same on both sides"
    assert "5 emotions" in figure.caption
    (table,) = tables(list(section.blocks), "Every space at every two sites")
    assert len(table.rows) == 12
    assert len(table.marked) == 6


def test_two_layers_need_no_matrix(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", languages=["en", "zh"], sites=LAYERS[:2], stages=("geometry",))
    pl.DataFrame(layer_rows(LAYERS[:2])).write_parquet(folder / "tables" / "geometry_layers.parquet")
    with drawing():
        section = depth_section(read_run(folder), Canvas(folder))
    assert section is not None
    assert not figures(list(section.blocks))
    (table,) = tables(list(section.blocks), "Every space at every two sites")
    assert len(table.rows) == 4


def test_the_whole_page_with_all_of_them_is_sound(folder: Path) -> None:
    write(folder, "runs", both_languages(model="<script>alert(1)</script>"))
    write(folder, "cebra", [cebra_row("features_en"), cebra_row("features_zh")])
    write(folder, "cebra_coordinates", cebra_places("features_en") + cebra_places("features_zh"))
    write(folder, "raters", rater_rows("features_en", 0.5))
    write(folder, "raters_summary", [summary_row("features_en")])
    page = read_page(draw(folder))
    assert page.faults == []
    assert not page.all("script") or all("alert" not in str(each) for each in page.all("script"))
    leads = [a for a in page.all("p") if a.get("class") == "lead"]
    assert len(page.all("figure")) == len(leads)
    assert re.search(r"\b(nan|None)\b", page.text) is None
    assert "<script>alert(1)</script>" in page.text
    for words in (
        "spread of the raters",
        "in other runs",
        "to shuffled labels",
        "Learnable latent embeddings",
    ):
        assert words in page.text, "in the methods and what they cite"


def test_a_legend_has_as_many_columns_as_fit_when_the_first_ones_are_the_longest() -> None:
    # matplotlib deals four entries to three columns as 2, 1 and 1, to two as 2 and 2; an entry of n Latin
    # letters is taken as (0.57 n + 4) ems of 8/72 inches: 1.08 for ten letters, 2.34 for thirty
    short, long = "a" * 10, "b" * 30
    assert legend_columns([short, short, long, long], 5.7) == 2, "1.08 + 2.34 + 2.34 = 5.76 does not fit"
    assert legend_columns([short, short, long, long], 5.8) == 3
    assert legend_columns([short, long, short, short], 4.6) == 3, "2.34 + 1.08 + 1.08"
    assert legend_columns([short, long, short, short], 4.4) == 2
    assert legend_columns([short, short, long, long, short], 4.6) == 3, "two, two and one: 1.08 + 2.34 + 1.08"
