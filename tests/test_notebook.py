"""What a notebook shows: the content of each object, its text escaped, a plain text beside it."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from report_cases import selection
from steering_cases import make_sae

from emosae.features import FeatureMatrix
from emosae.lens import Lens
from emosae.notebook import table_html
from emosae.selection import Selection
from emosae.steering import Clamp
from emosae.steering.applied import Applied
from emosae.steering.plan import Plan, PlannedSAE

NASTY = '<img src=x onerror=alert(1)> & "quoted" \x00 \ud800'
MARKS = {"table", "caption", "thead", "tbody", "tr", "th", "td", "p", "pre"}


class Shown(HTMLParser):
    """HTML taken apart: its rows of cells, its other text, and tags and attributes that should not be there."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.text = ""
        self.odd: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        if tag not in MARKS or any(name != "style" for name, _ in attrs):
            self.odd.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data
        else:
            self.text += data


def show(html: str) -> Shown:
    shown = Shown(html)
    assert shown.odd == []
    html.encode("utf-8")  # no lone surrogate is left
    assert "\x00" not in html
    return shown


def test_cells_are_escaped_and_numbers_are_short() -> None:
    shown = show(table_html(NASTY, [NASTY, "b"], [[NASTY, 1.23456], [None, 12]], NASTY))
    assert shown.rows[1] == [shown.rows[0][0], "1.235"]
    assert shown.rows[0][0].startswith('<img src=x onerror=alert(1)> & "quoted"')
    assert shown.rows[2] == ["", "12"]
    assert shown.text.count("<img") == 2  # the caption and the note, as text
    assert len(show(table_html("long", ["a"], [["x" * 500]])).rows[1][0]) == 120


def test_a_feature_matrix_shows_items_with_their_strongest_features() -> None:
    dense = np.zeros((10, 50), dtype=np.float32)
    dense[0, [3, 7, 20]] = [0.5, 2.0, 1.0]
    items = pl.DataFrame({"text": [NASTY[:-1], *map(str, range(1, 10))], "word": ["joy"] * 10})
    matrix = FeatureMatrix(
        csr=sp.csr_array(dense), items=items, site="blocks.1.hook_resid_post", sae="<b>sae</b>"
    )
    shown = show(matrix._repr_html_())
    assert shown.rows[0] == ["text", "word", "active", "strongest features"]
    assert shown.rows[1][1:] == ["joy", "3", "7=2, 20=1, 3=0.5"]
    assert shown.rows[2] == ["1", "joy", "0", ""]
    assert len(shown.rows) == 9
    assert "10 items, 50 features of <b>sae</b>" in shown.text
    assert "0.3 features are active in the mean item" in shown.text
    assert "The first 8 are shown" in shown.text
    assert repr(matrix) == "FeatureMatrix(10 items x 50 features, 0.3 active each, blocks.1.hook_resid_post)"


def test_a_lens_shows_where_it_reads() -> None:
    sae = make_sae()
    lens = Lens(model=torch.nn.Linear(1, 1), tokenizer=None, saes={sae.site: sae}, name="<i>toy</i>")
    shown = show(lens._repr_html_())
    assert shown.rows[1][:2] == [str(sae.site), sae.name]
    assert shown.rows[1][3:5] == [str(sae.d_in), str(sae.d_sae)]
    assert "Lens <i>toy</i>: Linear" in shown.text
    assert repr(lens) == f"Lens('<i>toy</i>', {sae.site})"


def test_clamps_plans_and_what_was_applied() -> None:
    shown = show(Clamp(12, "add", 1.5, "norm", only_if_active=True, sae=NASTY)._repr_html_())
    assert shown.rows[1][1:] == ["12", "add", "1.5", "norm", "yes"]
    assert show(Clamp(3, "ablate")._repr_html_()).rows[1] == ["", "3", "ablate", "", "activation", "no"]
    saes = (PlannedSAE(fingerprint="abc", name="one", hook_name="blocks.2.hook_resid_post"),)
    rows = (
        (Clamp(1, value=2.0, sae="abc"),),
        (Clamp(5, value=3.0, sae="abc"), Clamp(6, "ablate", sae="abc")),
    )
    plan = Plan(saes=saes, rows=rows, model="<u>m</u>")
    shown = show(plan._repr_html_())
    assert [row[:3] for row in shown.rows] == [
        ["row", "site", "feature"],
        ["0", "blocks.2.hook_resid_post", "1"],
        ["1", "blocks.2.hook_resid_post", "5"],
        ["1", "blocks.2.hook_resid_post", "6"],
    ]
    assert "Plan for <u>m</u>" in shown.text
    assert "Scope: all. Special tokens are left as they are." in shown.text
    chosen = "set at blocks.2:\n  joy at dose 1: <b>12</b>=3"
    applied = SimpleNamespace(plan=plan, n_forwards=7, overflowed=True, chosen=chosen)
    shown = show(Applied._repr_html_(applied))
    assert "7 forward passes so far. float16 could not hold" in shown.text
    assert chosen in shown.text


def test_results_show_their_tables() -> None:
    made = vars(selection(["en"], ["joy", "fear"]))
    empty = pl.DataFrame({NASTY[:-1]: ["a"]})
    tables = {name: made[name] for name in ("scores", "sets", "words", "summary", "notes")}
    found = Selection(**tables, matching=empty, n_features=64, alpha=0.05)
    shown = show(found._repr_html_())
    rows = {row[0]: row[1:] for row in shown.rows[1:]}
    assert list(rows) == list(Selection.__dataclass_fields__)
    assert rows["scores"][0] == "table, 4 rows"
    assert "auroc" in rows["scores"][1]
    assert rows["matching"][1].startswith("<img")
    assert rows["n_features"] == ["value", "64"]
    assert rows["alpha"] == ["value", "0.05"]
    assert "n_features=64" in repr(found)
