"""Sense, not words: how well features tell passages that do not name what they carry."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lens_cases import SITE, tiny_lens
from sklearn.metrics import roc_auc_score

from emosae.concepts import load_concepts
from emosae.lens import Lens
from emosae.models import Site
from emosae.steering.evaluation.sense import SENSE_SCHEMA, _areas, _weights, measure_sense

VALUES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=8)


@given(VALUES, VALUES, st.integers(0, 99))
def test_areas_are_those_of_scikit_learn(own: list[float], others: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = _weights(len(own), 5, rng), _weights(len(others), 5, rng)
    found = _areas(np.array(own), np.array(others), *weights)
    truth = [1] * len(own) + [0] * len(others)
    for at, area in enumerate(found):
        each = np.concatenate([weights[0][at], weights[1][at]])
        assert area == pytest.approx(roc_auc_score(truth, own + others, sample_weight=each))
    assert weights[0][0] == pytest.approx(1 / len(own))


@pytest.fixture(scope="module")
def lens(tmp_path_factory: pytest.TempPathFactory) -> Lens:
    return tiny_lens(tmp_path_factory.mktemp("sense"), languages=("en", "zh"))


def passages(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["concept", "language", "text"], orient="row")
    ends = pl.col("text").str.len_chars().cast(pl.Int64).alias("end")
    return table.with_columns(pl.lit("necessity").alias("part"), pl.lit(0).alias("start"), ends)


def test_a_feature_of_the_passages_tells_them_and_a_silent_one_does_not(lens: Lens) -> None:
    concepts = load_concepts("ekman6").restrict(languages=["en", "zh"])
    joy = ["w20 w21", "w20 w22", "w20 w23"]
    fear = ["w30 w31", "w32 w33", "w34 w35"]
    named = "w20 joy"  # says what it carries
    rows = [("joy", "en", text) for text in [*joy, named]] + [("fear", "en", text) for text in fear]
    rows += [("joy", "zh", "w20 w21")]  # nothing to tell it from in its language
    csr = lens.encode([*joy, *fear], pooling="mean").csr.toarray()
    apart = csr[:3].min(0) - csr[3:].max(0)
    best, worst = int(apart.argmax()), int((csr[3:].min(0) - csr[:3].max(0)).argmax())
    assert apart[best] > 0
    assert csr[3:, worst].min() > csr[:3, worst].max()
    sets = {"good": {"joy": {best: 2.0}}, "bad": {"joy": {worst: 2.0}, "fear": {worst: 1.0}}}
    found = measure_sense(lens, Site.parse(SITE), passages(rows), concepts, sets, n_resamples=20)
    assert found.schema == pl.Schema(SENSE_SCHEMA)
    by = {(row["set"], row["emotion"]): row for row in found.iter_rows(named=True)}
    assert set(by) == {("good", "joy"), ("bad", "joy"), ("bad", "fear")}
    good = by["good", "joy"]
    assert (good["n_passages"], good["n_others"], good["n_naming"], good["language"]) == (3, 3, 1, "en")
    assert (good["auroc"], good["auroc_low"], good["auroc_high"]) == (1.0, 1.0, 1.0)
    assert by["bad", "joy"]["auroc"] == 0.0
    assert by["bad", "fear"]["n_others"] == 4  # what names joy is still no passage of fear
    assert measure_sense(
        lens, Site.parse(SITE), passages(rows).clear(), concepts, sets, n_resamples=5
    ).is_empty()


def test_targets_weigh_what_fires(lens: Lens) -> None:
    concepts = load_concepts("ekman6").restrict(languages=["en", "zh"])
    rows = [
        ("joy", "en", "w20 w21"),
        ("joy", "en", "w22 w23"),
        ("fear", "en", "w30 w31"),
        ("fear", "en", "w32 w33"),
    ]
    csr = lens.encode([text for *_, text in rows], pooling="mean").csr.toarray()
    pair = next(
        (a, b)
        for a in range(csr.shape[1])
        for b in range(csr.shape[1])
        if csr[:2, a].min() > csr[2:, a].max() + 0.01 and csr[2:, b].min() > csr[:2, b].max() + 0.01
    )
    sets = {"a": {"joy": {pair[0]: 1e4, pair[1]: 1.0}}, "b": {"joy": {pair[0]: 1.0, pair[1]: 1e4}}}
    found = measure_sense(lens, Site.parse(SITE), passages(rows), concepts, sets, n_resamples=5)
    assert dict(found.select("set", "auroc").rows()) == {"a": 1.0, "b": 0.0}


def test_a_passage_is_read_where_it_carries_the_emotion(lens: Lens) -> None:
    concepts = load_concepts("ekman6").restrict(languages=["en", "zh"])
    texts = [f"w{a} w{b}" for a in range(20, 26) for b in range(40, 46)]
    whole, last = (lens.encode(texts, pooling=how).csr.sum(1) for how in ("mean", "last"))
    one, two = next(  # of two passages the first says more as a whole, the second at its end
        (a, b)
        for a in range(len(texts))
        for b in range(len(texts))
        if whole[a] > whole[b] + 0.01 and last[a] < last[b] - 0.01
    )
    table = passages([("joy", "en", texts[one]), ("fear", "en", texts[two])])
    cut = table.with_columns(pl.lit(4).cast(pl.Int64).alias("start"))
    sets = {"all": {"joy": dict.fromkeys(range(lens.saes[Site.parse(SITE)].d_sae), 1.0)}}
    areas = [
        measure_sense(lens, Site.parse(SITE), each, concepts, sets, n_resamples=5)["auroc"].to_list()
        for each in (table, cut)
    ]
    assert areas == [[1.0], [0.0]]
