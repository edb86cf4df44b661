"""Which features are chosen: sets, filter by output score, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lens_cases import scores

from emosae.errors import UserError
from emosae.steering.choice import choose_features, languages_of

ENGLISH, CHINESE = {"joy": [1, 2, 3, 4], "fear": [5, 9]}, {"joy": [4, 2, 7], "fear": [6]}
BOTH = pl.concat([scores("en", ENGLISH), scores("zh", CHINESE)])
ALL = np.ones(20, bool)


def choose(name: str = "universal", concept: str = "joy", n: int = 8, **options: Any) -> list[int]:
    languages = {"en": ["en"], "zh": ["zh"]}.get(name, ["en", "zh"])
    given: dict[str, Any] = {"fired": ALL, "output_score": None} | options
    table = BOTH.filter(pl.col("language").is_in(languages))
    return choose_features(table, concept, name, languages, n, **given).features["feature"].to_list()


def scoring(values: dict[int, float]) -> Any:
    def score(features: Sequence[int]) -> np.ndarray:
        return np.array([values.get(feature, 0.5) for feature in features])

    return score


def test_sets_are_what_their_names_say() -> None:
    assert choose("en") == [1, 2, 3, 4]
    assert choose("zh") == [4, 2, 7]
    # 2 has .85 in both; 4 has .75 and .9
    assert choose("universal") == [2, 4]
    assert choose("en_only") == [1, 3]
    assert set(choose("space")) == {1, 2, 3, 4, 7}
    assert choose("en", n=2) == [1, 2]


def test_the_output_score_filters_and_auroc_ranks() -> None:
    assert choose("en", output_score=scoring({1: 0.009, 3: 0.9})) == [2, 3, 4]
    # nothing writes: the best writers, and the record says so
    weak = scoring({1: 0.001, 2: 0.002, 3: 0.004, 4: 0.003})
    assert choose("en", n=2, output_score=weak) == [3, 4]
    table = BOTH.filter(pl.col("language") == "en")
    choice = choose_features(table, "joy", "en", ["en"], 2, fired=ALL, output_score=weak)
    assert "none with an output score of 0.01" in choice.how
    assert choice.features["output_score"].to_list() == [0.004, 0.003]


def test_features_that_never_fire_in_running_text_are_left_out() -> None:
    fired = ALL.copy()
    fired[[1, 4]] = False
    assert choose("en", fired=fired) == [2, 3]
    with pytest.raises(UserError, match=r"must fire in the running text .* got none of \[1, 2, 3, 4\]"):
        choose("en", fired=np.zeros(20, bool))


@given(
    st.lists(st.integers(0, 19), min_size=1, max_size=8, unique=True),
    st.lists(st.integers(0, 19), min_size=1, max_size=8, unique=True),
    st.integers(1, 9),
)
@settings(max_examples=30)
def test_universal_is_the_intersection_and_never_more_than_asked_for(
    a: list[int], b: list[int], n: int
) -> None:
    table = pl.concat([scores("en", {"joy": a}), scores("zh", {"joy": b})])
    shared = set(a) & set(b)
    if not shared:
        with pytest.raises(UserError, match=r"in each of en, zh, got none"):
            choose_features(table, "joy", "universal", ["en", "zh"], n, fired=ALL, output_score=None)
        return
    found = choose_features(table, "joy", "universal", ["en", "zh"], n, fired=ALL, output_score=None).features
    assert len(found) == min(n, len(shared))
    assert set(found["feature"]) <= shared
    assert found["auroc"].is_sorted(descending=True)


def test_wrong_names_and_numbers_are_refused() -> None:
    with pytest.raises(UserError, match=r"in each of en, zh, got none.*language='en'"):
        choose("universal", "fear")
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(UserError, match="n_features must be a whole number from 1"):
            choose("en", n=wrong)  # type: ignore[arg-type]
    known = ["en", "zh", "fr"]
    assert languages_of("universal", ["en", "zh"], known) == ["en", "zh"]
    assert languages_of("fr", ["en", "zh"], known) == ["fr"]
    with pytest.raises(UserError, match=r"no language or feature set 'univrsal'. Did you mean 'universal'"):
        languages_of("univrsal", ["en", "zh"], known)
    with pytest.raises(UserError, match=r"no language 'tlh'.*no words in it"):
        languages_of("universal", ["en", "tlh"], known)
