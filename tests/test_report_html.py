"""The report as a page: complete, well formed, self-contained, escaped, the same each time."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from report_cases import NASTY, SITE, Page, Tables, make_run, manifest, ratings, read_page, selection

from emosae.artifacts import save_result, write_json
from emosae.errors import MissingFileError, UserError
from emosae.report import draw

FIGURES = {
    "emotion_map",
    "emotion_map_reference",
    "rdms",
    "rsa",
    "axes",
    "beyond_valence",
    "ratings_scatter",
    "ratings_bars",
    "selection",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every stage in two languages, drawn."""
    run = make_run(tmp_path_factory.mktemp("whole") / "run", languages=["en", "zh"])
    draw(run)
    return run


@pytest.fixture(scope="module")
def page(whole: Path) -> Page:
    return read_page(whole / "report.html")


def test_every_section_and_figure_is_there(whole: Path, page: Page) -> None:
    sections = {attributes.get("id") for attributes in page.all("section")}
    assert {"glance", "space", "ratings", "features", "coverage", "methods", "again"} <= sections
    for name in FIGURES:
        assert (whole / "figures" / f"{name}.svg").stat().st_size > 1000, name
        assert (whole / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG", name
    assert {path.stem for path in (whole / "figures").iterdir()} == FIGURES
    assert len(page.all("svg")) == len(FIGURES)


def test_page_is_well_formed(page: Page) -> None:
    assert page.faults == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    known = set(ids)
    for _, attributes in page.tags:
        for name in ("href", "xlink:href"):
            if attributes.get(name, "").startswith("#"):
                assert attributes[name][1:] in known
        for name in ("aria-labelledby", "clip-path", "aria-describedby"):
            target = attributes.get(name, "").removeprefix("url(#").removesuffix(")")
            assert not target or target in known, (name, target)


def test_page_is_usable_without_seeing_it(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    landmarks = [tag for tag, _ in page.tags if tag in {"header", "nav", "main", "footer"}]
    assert landmarks == ["header", "nav", "main", "footer"]
    assert page.all("html")[0]["lang"] == "en"
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in page.all("svg"))
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(FIGURES)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(cell.get("scope") in {"col", "row"} for cell in page.all("th"))
    assert len(page.all("summary")) == len(page.all("details"))
    # what scrolls can be reached by keyboard and says what it is
    boxes = [attributes for _, attributes in page.tags if "table-box" in attributes.get("class", "")]
    boxes += [attributes for _, attributes in page.tags if "figure-box" in attributes.get("class", "")]
    assert len(boxes) == len(page.all("table")) + len(FIGURES)
    assert all(box["role"] == "group" and "tabindex" in box and box["aria-label"] for box in boxes)


def test_nothing_is_loaded_from_elsewhere(whole: Path, page: Page) -> None:
    html = (whole / "report.html").read_text(encoding="utf-8")
    loaded = [
        attributes[name]
        for tag, attributes in page.tags
        for name in ("src", "href", "xlink:href", "data", "srcset", "poster")
        if name in attributes and tag != "a"
    ]
    assert all(address.startswith(("#", "data:")) for address in loaded), loaded
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert all(a["href"].startswith(("#", "https://")) for a in page.all("a"))
    assert "default-src 'none'" in html
    assert len(html) < 5_000_000


def test_numbers_of_the_tables_stand_beside_their_baselines(page: Page) -> None:
    for number in ("0.721", "0.736", "0.562", "0.577", "0.954", "0.581", "0.571", "0.614", "0.752", "0.993"):
        assert number in page.text, number
    assert "raw residual" in page.text
    assert "valence alone" in page.text


def test_nothing_is_invented(page: Page) -> None:
    assert "not computed" in page.text  # arousal has no ceiling in these tables
    assert re.search(r"\b(nan|None|NaN|inf)\b", page.text) is None


def test_tiles_set_each_score_beside_its_baselines(page: Page) -> None:
    tiles = re.findall(
        r"words predicted, (\w+), r ([\d.]+) interval ([\d.]+ to [\d.]+) raw residual ([\d.]+)", page.text
    )
    assert ("English", "0.721", "0.701 to 0.741", "0.736") in tiles
    assert len(tiles) == 4


def test_words_that_differ_most_are_listed(page: Page) -> None:
    # predicted - rating is 2 - 4 i / 60 + sin(i): by hand greatest at i = 2 (2.776) and smallest at i = 55 (-2.667)
    assert "word2 English valence 1.27 4.04 2.78" in page.text
    assert "word55 English valence 8.33 5.67 −2.67" in page.text
    assert "word30 English" not in page.text


def test_words_are_marked_and_named_in_their_language(page: Page) -> None:
    marks = page.all("mark")
    assert marks
    assert {attributes["lang"] for attributes in page.all("td") if "lang" in attributes} == {"en", "zh"}
    assert "joy (快乐)" in page.text


def test_manifest_is_told(page: Page) -> None:
    assert "emosae run 'model=some folder' 'norms=[warriner,human27]'" in page.text
    assert "emosae run --from manifest.json" in page.text
    assert "The raters judged English words." in page.text
    assert "Half of the selections fill up." in page.text
    assert "0.883" in page.text  # coverage
    assert "selection: 5 of 5 concepts have a feature" in page.text
    assert "Warriner et al. (2013)." in page.text
    assert {"href": "https://doi.org/10.3758/s13428-012-0314-x", "rel": "noreferrer"} in page.all("a")
    assert "beef" in page.text  # the SAE's fingerprint


def test_same_folder_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    again = make_run(tmp_path / "elsewhere", languages=["en", "zh"])
    draw(again)
    first = {
        path.relative_to(whole): path.read_bytes()
        for path in whole.rglob("*")
        if path.suffix in {".html", ".svg", ".png"}
    }
    second = {
        path.relative_to(again): path.read_bytes()
        for path in again.rglob("*")
        if path.suffix in {".html", ".svg", ".png"}
    }
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    draw(again)
    assert (again / "report.html").read_bytes() == first[Path("report.html")]


@pytest.mark.parametrize("stages", [(), ("select",), ("ratings",), ("select", "geometry")])
def test_missing_stages_name_the_command_that_adds_them(tmp_path: Path, stages: tuple[str, ...]) -> None:
    text = read_page(draw(make_run(tmp_path / "run", stages=stages))).text
    commands = {
        "select": "emosae select adds it",
        "geometry": "emosae geometry adds it",
        "ratings": "emosae ratings",
    }
    if not stages:
        assert "emosae run adds it" in text
        return
    for stage, command in commands.items():
        missing = f"{command} adds it" if stage == "ratings" else command
        assert (missing in text) == (stage not in stages), stage


def test_without_ratings_named_the_line_says_so(tmp_path: Path) -> None:
    about: dict[str, Any] = {"config": manifest(["en"])["config"] | {"norms": {}}}
    text = read_page(draw(make_run(tmp_path / "run", stages=("select",), about=about))).text
    assert "names no human ratings" in text


def test_several_sites_have_a_section_each_and_none_is_the_best(tmp_path: Path) -> None:
    sites = [SITE, "blocks.5.hook_mlp_out"]
    run = make_run(tmp_path / "run", sites=sites, stages=("select", "ratings"))
    page = read_page(draw(run))
    assert page.faults == []
    assert {f"Site {site}" for site in sites} <= {text.strip() for text in page.texts}
    assert {a.get("id") for a in page.all("section")} >= {"s1-site", "s2-site", "s1-ratings", "s2-features"}
    assert {path.name for path in (run / "figures").glob("*selection.svg")} == {
        "blocks-3-hook-resid-post-selection.svg",
        "blocks-5-hook-mlp-out-selection.svg",
    }
    assert "None is named the best" in page.text


def test_a_site_that_lacks_a_stage_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("select",), sites=["a", "b"])
    save_result(run, "ratings", {"a": ratings(["en"])})
    page = read_page(draw(run))
    assert page.text.count("This run did not predict ratings.") == 1


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    concepts = ["joy<b>", "<script>alert(3)</script>", "愤怒", "$5 & more", "שמחה"]
    about = {
        "headline": ["<script>alert(4)</script>"],
        "notes": ["</style><script>alert(5)</script>", "\ud83d lone"],
        "command": ["emosae", "run", "model=<i>x</i>"],
        "config": manifest(["en"])["config"]
        | {
            "name": "<svg onload=alert(6)>",
            "norms": {
                "bad": {
                    "kind": "ratings",
                    "language": "en",
                    "url": "javascript:alert(7)",
                    "citation": "<u>c</u>",
                }
            },
        },
    }
    run = make_run(tmp_path / "run", concepts=concepts, words=NASTY)
    text = json.dumps(manifest(["en"]) | about)  # escapes: a lone surrogate is legal there and nowhere else
    (run / "manifest.json").write_text(text, encoding="utf-8")
    report = draw(run)
    page = read_page(report)
    html = report.read_text(encoding="utf-8")
    assert page.faults == []
    assert not page.all("script")
    assert not page.all("img")
    assert not page.all("i")
    assert not page.all("u")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(a["href"].startswith(("#", "https://")) for a in page.all("a"))
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "<svg onload=alert(6)>" in page.text
    assert "שלום עולם" in page.text
    assert re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", html) is None
    assert "a" * 200 not in html
    assert "\ufffd lone" in page.text
    for name in ("selection", "rdms", "emotion_map"):
        svg = (run / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert "&lt;script&gt;" in svg, name
        assert "<script" not in svg
        assert "愤怒" in svg  # text stays text, whatever fonts this machine has
        assert "$5 &amp; more" in svg


@pytest.mark.parametrize(
    "named", [{"model": {"name": "phantom:model"}}, {"model": {"name": "/made/model"}, "preset": "phantom"}]
)
def test_the_phantom_is_called_what_it_is(tmp_path: Path, page: Page, named: dict[str, Any]) -> None:
    config = manifest(["en"])["config"] | named
    text = read_page(draw(make_run(tmp_path / "run", stages=("ratings",), about={"config": config}))).text
    assert "Nothing here is evidence about real language models." in text
    assert "whose emotions were planted" in text
    assert "planted" not in page.text


def test_planted_data_are_never_called_peoples(tmp_path: Path) -> None:
    config = manifest(["en", "zh"])["config"] | {"model": {"name": "phantom:model"}}
    run = make_run(tmp_path / "run", languages=["en", "zh"], about={"config": config, "notes": []})
    for path in (run / "tables").glob("geometry_rsa.parquet"):
        pl.read_parquet(path).with_columns(
            pl.lit(1).alias("n_raters"),
            pl.lit(None, pl.Float64).alias("ceiling_lower"),
            pl.lit(None, pl.Float64).alias("ceiling_upper"),
        ).write_parquet(path)
    text = read_page(draw(run)).text
    svgs = " ".join(path.read_text() for path in (run / "figures").glob("*.svg"))
    assert re.search("[Pp]eople", text + svgs) is None
    assert "the planted distances" in text
    assert "single rater" not in text
    assert "mean of raters" not in text
    assert "in a way that agrees with the planted distances by 0.581 for English words" in text


def test_coverage_of_many_concepts_is_added_up(tmp_path: Path) -> None:
    rows = [
        {
            "set": "set5",
            "language": "en",
            "concept": f"fine_{i}",
            "n_words": 10,
            "known": 9,
            "dropped": 1,
            "share": 0.9,
        }
        for i in range(20)
    ]
    run = make_run(tmp_path / "run", stages=("select",), about={"coverage": {"concepts": rows}})
    page = read_page(draw(run))
    assert "set5 English 200 180 20" in page.text
    assert "fine 19 10 9 1 0.900" in page.text


def test_a_folder_of_this_machine_is_not_the_models_name(tmp_path: Path) -> None:
    config = manifest(["en"])["config"] | {"model": {"name": "/home/someone/models/own"}}
    text = read_page(draw(make_run(tmp_path / "run", about={"config": config}))).text
    assert "Model example model" in text
    assert "We read the language model example model through" in text
    assert text.count("/home/someone") == 1  # in the settings, to run it again


def test_headline_of_the_manifest_leads_where_there_are_no_scores(tmp_path: Path) -> None:
    page = read_page(draw(make_run(tmp_path / "run", stages=("select",))))
    index = next(i for i, (tag, a) in enumerate(page.tags) if a.get("class") == "headline")
    assert page.tags[index][0] == "p"
    assert "selection: 5 of 5 concepts have a feature" in page.text


def test_headline_sentence_holds_score_ceiling_and_valence(page: Page) -> None:
    assert (
        "The features of example model place 5 emotions in a way that agrees with a single rater's view by "
        "0.581 for English words and 0.571 for Chinese words; the raters' own disagreement allows at most "
        "0.752, and valence alone, without a model, reaches 0.614."
    ) in page.text


def test_the_headline_of_several_sites_goes_from_the_lowest_to_the_highest(tmp_path: Path) -> None:
    sites = [SITE, "blocks.5.hook_mlp_out"]
    run = make_run(tmp_path / "run", sites=sites, stages=("geometry", "ratings"))
    for name, columns, lift in (("geometry_rsa", ["score"], 0.1), ("ratings_scores", ["r"], -0.2)):
        path = run / "tables" / f"{name}.parquet"
        second = pl.when(pl.col("site") == sites[1]).then(lift).otherwise(0.0)
        pl.read_parquet(path).with_columns(pl.col(columns) + second).write_parquet(path)
    text = read_page(draw(run)).text
    assert (
        "was read at 2 sites: blocks.3.hook_resid_post and blocks.5.hook_mlp_out. Each score above goes"
        in text
    )
    assert "by 0.581 to 0.681; the raters' own disagreement allows at most 0.752" in text
    assert (
        "valence with r = 0.521 to 0.721 (raw residual 0.536 to 0.736, ceiling 0.954) and "
        "arousal with r = 0.362 to 0.562 (raw residual 0.377 to 0.577)."
    ) in text


def test_missing_numbers_are_not_computed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("select",))
    table = ratings(["en"])
    assert table.scores is not None
    table.scores = table.scores.with_columns(
        pl.when(pl.col("predictor") == "residual").then(float("nan")).otherwise(pl.col("r")).alias("r"),
        pl.lit(None, pl.Float64).alias("r_low"),
        pl.lit(None, pl.Float64).alias("r_high"),
    )
    save_result(run, "ratings", {SITE: table})
    page = read_page(draw(run))
    assert page.faults == []
    assert "not computed" in page.text
    assert re.search(r"\b(nan|None)\b", page.text) is None
    assert ">not computed</text>" in (run / "figures" / "ratings_bars.svg").read_text()


def test_empty_tables_leave_the_figure_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=())
    chosen = selection(["en"], ["joy"])
    assert chosen.scores is not None
    chosen.scores = chosen.scores.clear()
    save_result(run, "select", {SITE: chosen})
    save_result(run, "geometry", {SITE: Tables(notes=[])})
    page = read_page(draw(run))
    assert page.faults == []
    assert "no candidate feature" in page.text
    assert "no similarity judgements" in page.text
    assert not page.all("figure")


def test_geometry_without_people_shows_the_models_own_map(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("select", "geometry"))
    for path in (run / "tables").glob("geometry_*.parquet"):
        table = pl.read_parquet(path)
        if path.name == "geometry_rsa.parquet":
            table.clear().write_parquet(path)
        elif "space" in table.columns:
            table.filter(~pl.col("space").is_in(["human", "valence", "arousal"])).write_parquet(path)
    values = json.loads((run / "tables" / "geometry.json").read_text())
    values[SITE]["reference"] = "features"
    write_json(run / "tables" / "geometry.json", values)
    page = read_page(draw(run))
    assert "norms=[…] adds it" in page.text
    drawn = {path.stem for path in (run / "figures").glob("*.svg")}
    assert {"emotion_map", "rdms", "axes"} <= drawn
    assert "rsa" not in drawn
    svg = (run / "figures" / "emotion_map.svg").read_text()
    assert "Valence, rated by people" not in svg
    assert "Axis 1 (1 − r)" in svg


def test_thirteen_thousand_words_stay_a_small_file(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("ratings",), n_words=13_915)
    assert draw(run).stat().st_size < 2_000_000
    assert "<image" in (run / "figures" / "ratings_scatter.svg").read_text()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="folder in outputs/"):
        draw(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match=r"manifest\.json"):
        draw(tmp_path)
    (tmp_path / "manifest.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="not a run's manifest"):
        draw(tmp_path)


def test_a_broken_table_is_refused_with_the_stage_to_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("select",))
    (run / "tables" / "select_scores.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="Run the select stage again"):
        draw(run)
    assert not (run / "report.html").exists()
