"""Figures: what they say, that they are the same each time, and that labels do not cover each other."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_cases import AROUSAL, VALENCE, make_run
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist, squareform

from emosae.report import style
from emosae.report.bars import Bar, Panel, draw_bars, draw_counts
from emosae.report.curves import Curve, CurvePanel, draw_curves
from emosae.report.emotion_map import Layer, draw_emotion_map
from emosae.report.intervals import draw_intervals
from emosae.report.labels import place_labels
from emosae.report.matrices import draw_rdms, leaf_order, rank_scale
from emosae.report.scatter import Cloud, draw_scatter
from emosae.report.sections.space import human_attributes
from emosae.report.source import Stage
from emosae.report.style import drawing, inline_svg, save_figure

CONCEPTS = list(VALENCE)


def make_map(names: list[str] | None = None) -> object:
    names = names or CONCEPTS
    spots = {name: (np.cos(i), np.sin(2.0 * i)) for i, name in enumerate(names)}
    moved = {name: (x + 0.1, y) for name, (x, y) in spots.items()}
    layers = [Layer(name="English", positions=spots), Layer(name="Chinese", positions=moved)]
    axis_names = ("Axis 1 (1 − r)", "Axis 2 (1 − r)")
    return draw_emotion_map(layers, valence=VALENCE, arousal=AROUSAL, axis_names=axis_names)


def make_curves() -> object:
    """Features over two layers, with a gap in the baseline, a ceiling, and a site that stands out."""
    own = Curve(
        name="SAE features",
        role="features",
        x=[2, 5],
        y=[0.3, 0.5],
        low=[0.2, 0.4],
        high=[0.4, 0.6],
        ringed=[1],
    )
    curves = [
        own,
        *(Curve(name=f"baseline {i}", role="baseline", x=[2, 5], y=[0.1 * i, None]) for i in range(3)),
    ]
    panel = CurvePanel(title="English", curves=curves, axis="Likeness (rho-a)", ceiling=(0.7, 0.75))
    return draw_curves([panel, panel, panel], axis="Layer", ticks=[(2, "2"), (5, "5")], ring="the highest")


def make_figures() -> dict[str, object]:
    rng = np.random.default_rng(0)
    rdm = squareform(pdist(rng.random((5, 3))))
    bars = [
        Bar(name="SAE features", role="features", value=0.5, low=0.4, high=0.6),
        Bar(name="x", role="control", value=None),
    ]
    rating = rng.normal(5, 1, 80)
    return {
        "map": make_map(),
        "curves": make_curves(),
        "rdms": draw_rdms({"Model": rdm, "People": rdm.T}, CONCEPTS, np.arange(5)),
        "bars": draw_bars([Panel(title="t", bars=bars, axis="r (correlation)", ceiling=(0.7, 0.75))]),
        "intervals": draw_intervals(
            {"axis 1": {"valence": (0.5, 0.2, 0.7), "arousal": (None, None, None)}}, axis="r"
        ),
        "counts": draw_counts(CONCEPTS, {"English": [(1, 2)] * 5}, {"English": [0.9, None, 0.8, 0.7, 0.6]}),
        "scatter": draw_scatter(
            [
                Cloud(
                    title="Valence",
                    subtitle="r",
                    rating=rating,
                    predicted=rating + 1,
                    axis="Valence (scale 1 to 9)",
                    rated="people's ratings",
                )
            ]
        ),
    }


def test_every_axis_is_named() -> None:
    with drawing():
        for name, figure in make_figures().items():
            for ax in figure.axes:  # type: ignore[attr-defined]
                ticks = [label.get_text() for label in ax.get_xticklabels() + ax.get_yticklabels()]
                assert ax.get_xlabel() or ax.get_ylabel() or not ax.axison or set(CONCEPTS) & set(ticks), name


def test_curves_name_both_axes_in_every_panel_and_leave_no_empty_one() -> None:
    with drawing():
        figure = make_curves()
    shown = [ax for ax in figure.axes if ax.axison]  # type: ignore[attr-defined]
    assert len(shown) == 3
    for ax in shown:
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("Layer", "Likeness (rho-a)")
        assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "5"]
        assert (
            len([line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_marker() != "None"])
            == 4
        )


def test_lines_of_one_role_differ_without_colour_and_look_like_their_legend() -> None:
    with drawing():
        figure = make_curves()
    ax = figure.axes[0]  # type: ignore[attr-defined]
    marks = [line.get_marker() for line in ax.lines if line.get_marker() != "None"]
    assert len(set(marks)) == 4
    handles = dict(
        zip(
            [t.get_text() for t in figure.legends[0].get_texts()],
            figure.legends[0].legend_handles,
            strict=True,
        )
    )  # type: ignore[attr-defined]
    assert {"SAE features", "baseline 0", "baseline 2", "interval", "the highest"} <= set(handles)
    drawn = {line.get_marker(): line for line in ax.lines if line.get_marker() != "None"}
    for name in ("SAE features", "baseline 0", "baseline 1", "baseline 2"):
        line = drawn[handles[name].get_marker()]
        assert line.get_markerfacecolor() == handles[name].get_markerfacecolor()
        assert line.get_color() == handles[name].get_color()


def test_a_legend_that_is_too_wide_gets_fewer_columns() -> None:
    long = "expected for directions that were learnt from shuffled valence of emotions"
    bars = [
        Bar(name=role, role=role, value=0.5, low=0.4, high=0.6, mark=0.1)
        for role in ("features", "subset", "baseline", "control", "human")
    ]
    with drawing():
        figures = [
            draw_bars([Panel(title="t", bars=bars, axis="r", ceiling=(0.7, 0.7))], mark=long, whisker=long),
            draw_intervals({"row": {long: (0.5, 0.2, 0.7), long[:60]: (0.1, None, None)}}, axis="r"),
            make_curves(),
        ]
        for figure in figures:
            figure.draw_without_rendering()  # type: ignore[attr-defined]
            for legend in figure.legends:  # type: ignore[attr-defined]
                box = legend.get_window_extent()
                assert box.x0 >= 0
                assert box.x1 <= figure.bbox.x1  # type: ignore[attr-defined]


def test_marks_and_spreads_of_bars_lie_inside_the_axis_and_in_the_legend() -> None:
    bars = [Bar(name="random", role="control", value=0.2, mark=-0.4, spread=(0.1, 0.9))]
    with drawing():
        figure = draw_bars([Panel(title="t", bars=bars, axis="r")], mark="the null", spread="single sets")
    low, high = figure.axes[0].get_xlim()
    assert low < -0.4
    assert high > 0.9
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"the null", "single sets", "control"} == named


def test_what_is_expected_stands_hollow_beside_its_value() -> None:
    with drawing():
        figure = draw_intervals(
            {"men − women": {"features": (-0.12, -0.2, -0.05)}},
            axis="Difference of r",
            expected={"men − women": {"features": 0.31}},
            expected_name="expected",
            upper=None,
            colours={"features": style.ACCENT},
        )
    ax = figure.axes[0]
    marks = {float(line.get_xdata()[0]): line for line in ax.lines if len(line.get_xdata()) == 1}
    assert marks[0.31].get_markerfacecolor() == style.PAPER
    assert marks[-0.12].get_markerfacecolor() == style.ACCENT
    assert marks[0.31].get_ydata()[0] == marks[-0.12].get_ydata()[0]
    assert ax.get_xlim()[1] > 0.31
    assert "expected" in {text.get_text() for text in figure.legends[0].get_texts()}


def test_figures_are_the_same_each_time_and_leave_settings_alone(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    for attempt in ("one", "two"):
        with drawing():
            for name, figure in make_figures().items():
                save_figure(figure, tmp_path / attempt, name)  # type: ignore[arg-type]
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert dict(matplotlib.rcParams) == before


def test_png_has_the_resolution_of_a_paper_and_svg_no_date(tmp_path: Path) -> None:
    with drawing():
        figure = style.new_figure(7.1, 2.0)
        figure.add_subplot().set_xlabel("x (s)")
        svg = save_figure(figure, tmp_path, "f")
    width, height = struct.unpack(">II", (tmp_path / "f.png").read_bytes()[16:24])
    assert (width, height) == (1420, 400)
    assert "<metadata" not in svg
    assert "<dc:date>" not in svg
    assert (tmp_path / "f.svg").read_text() == svg


def test_text_stays_text_in_svg_and_falls_back_in_png(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(style, "_glyphs", lambda: frozenset(range(0x20, 0x7F)))
    with drawing():
        figure = make_map(["快乐", "joy", "$a$"])
        real = figure.savefig  # type: ignore[attr-defined]

        def spy(*arguments: object, **options: object) -> None:
            if options["format"] == "png":
                drawn.extend(text.get_text() for text in figure.findobj(style_text()))  # type: ignore[attr-defined]
            real(*arguments, **options)

        monkeypatch.setattr(figure, "savefig", spy)
        svg = save_figure(figure, tmp_path, "f", {"快乐": "concept 1"})  # type: ignore[arg-type]
    assert ">快乐</text>" in svg
    assert ">$a$</text>" in svg
    assert "concept 1" in drawn
    assert "快乐" not in drawn


def style_text() -> type:
    from matplotlib.text import Text

    return Text


def test_inline_svg_has_its_own_ids_and_the_pages_colours(tmp_path: Path) -> None:
    with drawing():
        svg = save_figure(make_map(), tmp_path, "f")  # type: ignore[arg-type]
    inline = inline_svg(svg, "f7", 'a "map" <b>')
    assert inline.startswith("<svg ")
    assert 'aria-label="a &quot;map&quot; &lt;b&gt;"' in inline
    drawing_part = svg.split("</style>", 1)[1]
    for colour, variable in style._VARIABLES.items():
        assert inline.count(f"var({variable},{colour})") == drawing_part.count(colour)
    assert "var(--ink,#1d2127)" in inline
    assert inline.count('id="f7-') == inline.count('id="')
    assert "url(#p" not in inline
    assert "DOCTYPE" not in inline


def test_a_label_that_reads_like_a_colour_stays_a_label(tmp_path: Path) -> None:
    with drawing():
        svg = save_figure(make_map(["#0072b2", "joy"]), tmp_path, "f")  # type: ignore[arg-type]
    assert ">#0072b2</text>" in inline_svg(svg, "f1", "x")


def test_no_pyplot_and_no_model_is_imported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=("select",))
    code = (
        "import sys; from pathlib import Path; from emosae.report import draw; "
        "assert 'matplotlib' not in sys.modules and 'polars' not in sys.modules; "
        f"draw(Path({str(run)!r})); "
        "print([m for m in ('matplotlib.pyplot', 'torch', 'transformers', 'sae_lens') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_leaves_are_ordered_so_that_neighbours_are_alike() -> None:
    rng = np.random.default_rng(3)
    rdm = squareform(pdist(rng.random((9, 2))))
    order = leaf_order(rdm)
    assert sorted(order) == list(range(9))

    def walk(leaves: np.ndarray) -> float:
        return float(sum(rdm[a, b] for a, b in itertools.pairwise(leaves)))

    assert walk(order) <= walk(leaves_list(linkage(squareform(rdm), "average")))
    line = squareform(pdist(np.array([[0.0], [5.0], [1.0], [4.0], [2.0]])))
    assert list(leaf_order(line)) in ([0, 2, 4, 3, 1], [1, 3, 4, 2, 0])


def test_leaf_order_bears_missing_pairs_and_few_concepts() -> None:
    rdm = np.array([[0.0, 1.0, np.nan], [1.0, 0.0, 2.0], [np.nan, 2.0, 0.0]])
    assert sorted(leaf_order(rdm)) == [0, 1, 2]
    assert list(leaf_order(np.zeros((2, 2)))) == [0, 1]


def test_ranks_are_shares_of_the_judged_pairs() -> None:
    rdm = np.array([[0, 1, 9, 4], [1, 0, 4, np.nan], [9, 4, 0, 7], [4, np.nan, 7, 0]], dtype=float)
    ranks = rank_scale(rdm)
    # judged pairs 1, 9, 4, 4, 7: ranks 0, 4, 1.5, 1.5, 3 of 4
    assert np.isnan(np.diag(ranks)).all()
    assert np.isnan(ranks[1, 3])
    assert [ranks[0, 1], ranks[0, 2], ranks[0, 3], ranks[1, 2], ranks[2, 3]] == [0, 1, 0.375, 0.375, 0.75]


def test_matrices_share_one_order_and_one_scale() -> None:
    rng = np.random.default_rng(1)
    one, two = (squareform(pdist(rng.random((5, 2)))) for _ in range(2))
    order = np.array([3, 0, 4, 1, 2])
    with drawing():
        figure = draw_rdms({"Model": one, "People": two}, CONCEPTS, order)
    panels = figure.axes[:2]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [CONCEPTS[i] for i in order]
    for panel, rdm in zip(panels, (one, two), strict=True):
        mesh = panel.images[0]
        assert mesh.get_clim() == (0, 1)
        shown = np.ma.filled(mesh.get_array(), np.nan)
        np.testing.assert_array_equal(shown, rank_scale(rdm)[np.ix_(order, order)])


def overlaps(centres: np.ndarray, sizes: np.ndarray) -> int:
    """Count overlapping pairs of boxes, one pair at a time."""
    found = 0
    for (a, size_a), (b, size_b) in itertools.combinations(zip(centres, sizes, strict=True), 2):
        apart_x = abs(a[0] - b[0]) >= (size_a[0] + size_b[0]) / 2 - 1e-9
        apart_y = abs(a[1] - b[1]) >= (size_a[1] + size_b[1]) / 2 - 1e-9
        found += not (apart_x or apart_y)
    return found


def test_a_lone_label_stands_right_of_its_point() -> None:
    placed = place_labels(np.zeros((1, 2)), np.ones(1), np.array([[10.0, 4.0]]), (-50, -50, 50, 50))
    np.testing.assert_allclose(placed, [[1 + 2 + 5, 0]])
    # no room on the right: the other side
    placed = place_labels(np.zeros((1, 2)), np.ones(1), np.array([[10.0, 4.0]]), (-50, -50, 9, 50))
    np.testing.assert_allclose(placed, [[-8, 0]])


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_a_crowded_map_do_not_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal([200, 300], 60, (13, 2)), rng.normal([550, 300], 60, (14, 2))])
    sizes = np.column_stack([rng.uniform(25, 80, 27), np.full(27, 12)])
    others = points + rng.normal(0, 25, points.shape)
    radii = rng.uniform(3, 9, 27)
    centres = place_labels(points, radii, sizes, (0, 0, 760, 600), obstacles=others)
    right = points + np.column_stack([radii + 2 + sizes[:, 0] / 2, np.zeros(27)])
    assert overlaps(right, sizes) > 3  # the places a careless map would take
    assert overlaps(centres, sizes) == 0
    assert (np.linalg.norm(centres - points, axis=1) < 90).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=8))
def test_labels_are_near_inside_and_repeatable(spots: list[tuple[int, int]]) -> None:
    points = np.array(spots, dtype=float).reshape(-1, 2)
    sizes = np.tile([40.0, 10.0], (len(points), 1))
    bounds = (-100.0, -100.0, 400.0, 400.0)
    centres = place_labels(points, np.full(len(points), 4.0), sizes, bounds)
    again = place_labels(points, np.full(len(points), 4.0), sizes, bounds)
    np.testing.assert_array_equal(centres, again)
    assert (centres - sizes / 2 >= -100).all()
    assert (centres + sizes / 2 <= 400).all()
    assert (np.abs(centres - points) <= [20 + 4 + 2 + 34 + 20, 5 + 4 + 2 + 34 + 20]).all()


def test_map_holds_every_concept_in_the_colour_of_its_valence() -> None:
    with drawing():
        figure = make_map()
        ax = figure.axes[0]  # type: ignore[attr-defined]
        texts = {text.get_text() for text in ax.texts}
        assert texts == set(CONCEPTS)
        faces = dict(zip(CONCEPTS, ax.collections[0].get_facecolors(), strict=True))
        areas = dict(zip(CONCEPTS, ax.collections[0].get_sizes(), strict=True))
    assert faces["joy"][0] > faces["joy"][2]  # pleasant: more red than blue
    assert faces["fear"][2] > faces["fear"][0]
    assert sorted(CONCEPTS, key=areas.__getitem__) == sorted(CONCEPTS, key=AROUSAL.__getitem__)


def test_an_unrated_concept_has_no_colour_of_valence() -> None:
    spots = {name: (float(i), float(i % 2)) for i, name in enumerate([*CONCEPTS, "awe"])}
    axis_names = ("Axis 1", "Axis 2")
    with drawing():
        one = draw_emotion_map(
            [Layer(name="English", positions=spots)], valence=VALENCE, arousal={}, axis_names=axis_names
        )
        none = draw_emotion_map(
            [Layer(name="English", positions=spots)], valence={}, arousal={}, axis_names=axis_names
        )
    faces = one.axes[0].collections[0].get_facecolors()
    assert tuple(faces[-1][:3]) == pytest.approx((0.992, 0.996, 0.996), abs=0.01)
    assert "not rated" in [text.get_text() for text in one.legends[0].get_texts()]
    assert len({tuple(face) for face in none.axes[0].collections[0].get_facecolors()}) == 1
    assert not none.legends


def square_rows(space: str, values: list[float]) -> list[dict[str, object]]:
    return [
        {
            "space": space,
            "concept_a": CONCEPTS[i],
            "concept_b": CONCEPTS[j],
            "dissimilarity": abs(values[i] - values[j]),
        }
        for i, j in itertools.combinations(range(len(values)), 2)
    ]


def test_valence_follows_from_its_differences_and_the_human_map() -> None:
    valence, arousal = [5.0, 4.0, -3.0, -6.0, 2.0], [1.0, -2.0, 4.0, 3.0, -6.0]
    rdms = pl.DataFrame(square_rows("valence", valence) + square_rows("arousal", arousal))
    places = pl.DataFrame(
        {
            "space": ["human"] * 5,
            "concept": CONCEPTS,
            "axis_1": [0.3, 0.2, -0.1, -0.4, 0.0],
            "axis_2": [0.1, -0.1, 0.4, 0.2, -0.6],
        }
    )
    found, has_zero = human_attributes(Stage(tables={"rdms": rdms, "coordinates": places}))
    assert not has_zero
    assert found["valence"] == pytest.approx(
        dict(zip(CONCEPTS, np.array(valence) - np.mean(valence), strict=True))
    )
    assert found["arousal"] == pytest.approx(
        dict(zip(CONCEPTS, np.array(arousal) - np.mean(arousal), strict=True))
    )
    table = pl.DataFrame({"concept": CONCEPTS, "valence": valence})
    known = human_attributes(Stage(tables={"attributes": table, "rdms": rdms, "coordinates": places}))
    assert known == ({"valence": dict(zip(CONCEPTS, valence, strict=True))}, True)


def test_scatter_of_many_words_is_one_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for n, pictures in ((200, 0), (3000, 1)):
        rating = rng.normal(5, 1, n)
        with drawing():
            figure = draw_scatter(
                [
                    Cloud(
                        title="t",
                        subtitle="s",
                        rating=rating,
                        predicted=rating,
                        axis="Valence",
                        rated="people's ratings",
                    )
                ]
            )
            svg = save_figure(figure, tmp_path, f"f{n}")
        assert svg.count("<image") == pictures
        assert len(svg) < 400_000
