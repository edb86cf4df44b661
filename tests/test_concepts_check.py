"""The report on a concept set: overlap, word families, names, lengths, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae import cli
from emosae.concepts import load_concepts
from emosae.concepts.check import check_concepts, check_words
from emosae.concepts.files import WordRow
from emosae.errors import UserError

ROWS = [
    WordRow("joy", "en", "joy", 1.0),
    WordRow("joy", "en", "happiness", 1.0),
    WordRow("joy", "en", "Tears", 0.5),
    WordRow("joy", "en", "tears", 0.5),
    WordRow("joy", "en", "over the moon", 1.0),
    WordRow("sadness", "en", "sad", 1.0),
    WordRow("sadness", "en", "tears", 1.0),
    WordRow("sadness", "en", "happy", 1.0),
    WordRow("sadness", "en", "mirth", 1.0),
    WordRow("sadness", "zh", "悲伤", 1.0),
    WordRow("amusement", "en", "funny", 1.0),
    WordRow("amusement", "zh", "悲伤", 1.0),
]
LABELS = {"en": {"amusement": "mirth"}}


def test_each_table_says_what_it_should() -> None:
    found = check_words(ROWS, labels=LABELS)
    assert found.shared.rows() == [
        ("en", "Tears", ["joy", "sadness"]),
        ("zh", "悲伤", ["sadness", "amusement"]),
    ]
    # Snowball: happi; the shared word is not listed once more
    assert found.families.rows() == [("en", "happi", "joy", "happiness", "sadness", "happy")]
    assert found.names.rows() == [("en", "mirth", "sadness", "amusement")]
    assert found.spaces.rows() == [("en", "joy", "over the moon")]
    assert found.duplicates.rows() == [("en", "joy", "Tears", 2)]
    assert found.missing.rows() == [("zh", "joy")]
    counts = {row[:2]: row[2:] for row in found.counts.iter_rows()}
    assert counts["en", "joy"] == ("joy", 4, 1, True)
    assert counts["zh", "joy"] == ("joy", 0, 0, False)
    assert counts["en", "amusement"] == ("mirth", 1, 0, False)
    assert found.frequency.is_empty()


def test_a_concept_that_has_no_word_anywhere_is_missing() -> None:
    found = check_words(ROWS, expected=["joy", "awe"])
    assert found.missing.rows() == [("en", "awe"), ("zh", "joy"), ("zh", "awe")]
    with pytest.raises(UserError, match="must hold words to be checked"):
        check_words([])


def test_lengths_stand_beside_the_neutral_words() -> None:
    neutral = pl.DataFrame({"language": ["en", "en", "en"], "word": ["lamp", "window", "tables"]})
    rows = [WordRow("joy", "en", word, 1.0) for word in ("joy", "delight")]
    found = check_words([*rows, WordRow("fear", "en", "fear", 1.0)], neutral=neutral).lengths
    whole, beside, joy, fear = found.rows(named=True)
    assert (whole["group"], beside["group"], joy["group"]) == ("all words", "neutral words", "joy")
    assert (joy["n"], joy["mean"], joy["least"], joy["most"]) == (2, 5.0, 3.0, 7.0)
    assert joy["sd"] == pytest.approx(np.std([3, 7], ddof=1))
    assert whole["difference"] == pytest.approx(np.mean([3, 7, 4]) - np.mean([4, 6, 6]))
    # Cohen's d by its definition for two groups of equal size
    pooled = np.sqrt((np.var([3, 7, 4], ddof=1) + np.var([4, 6, 6], ddof=1)) / 2)
    assert whole["cohens_d"] == pytest.approx(whole["difference"] / pooled)
    assert beside["difference"] is None
    assert fear["sd"] is None
    assert check_words(rows).lengths["difference"].null_count() == 2


def test_frequency_is_told_only_where_a_list_is_given() -> None:
    neutral = pl.DataFrame({"language": ["en"], "word": ["lamp"]})
    rows = [WordRow("joy", "en", word, 1.0) for word in ("Joy", "delight", "glee")]
    found = check_words(rows, neutral=neutral, frequencies={"en": {"joy": 1000, "delight": 10, "lamp": 100}})
    whole = found.frequency.row(0, named=True)
    assert (whole["n"], whole["known"], whole["mean_log"], whole["difference"]) == (3, 2, 2.0, 0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["en", "zh"]), st.sampled_from("uvwxyz")),
        min_size=1,
    )
)
def test_counts_agree_with_sets(triples: list[tuple[str, str, str]]) -> None:
    found = check_words([WordRow(*triple, 1.0) for triple in triples])
    for language, concept, _, words, shared, _ in found.counts.iter_rows():
        own = {word for c, t, word in triples if (c, t) == (concept, language)}
        others = {word for c, t, word in triples if c != concept and t == language}
        assert (words, shared) == (len(own), len(own & others))
    assert found.duplicates["times"].sum() == sum(
        triples.count(triple) for triple in set(triples) if triples.count(triple) > 1
    )
    listed = {(t, word): set(concepts) for t, word, concepts in found.shared.iter_rows()}
    for (language, word), concepts in listed.items():
        assert concepts == {c for c, t, w in triples if (t, w) == (language, word)}


def test_shipped_sets_hold_no_name_of_another_concept() -> None:
    for name in ("ekman6", "goemotions27", "cowen27"):
        found = check_concepts(load_concepts(name), load_concepts("neutral"))
        assert found.missing.is_empty()
        assert found.spaces.is_empty()
        assert found.names.is_empty()
        if name == "goemotions27":  # the neutral words were matched to these
            whole = found.lengths.filter(pl.col("group") == "all words")
            assert whole["cohens_d"].abs().max() < 0.2  # type: ignore[operator]


def test_the_command_reports_a_set_that_does_not_load(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "languages:\n  en: {words: {joy: [glad, glad, '[b]'], fear: [glad]}}\n  zh: {words: {joy: [开心], fear: []}}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="has no words in 'zh'"):
        load_concepts(path)
    assert cli.main(["concepts", "check", str(path), "neutral=none"]) == 0
    shown = capsys.readouterr().out
    assert "Concepts without words in a language (1)" in shown
    assert "joy, fear" in shown
    assert "Words that stand more than once in a concept, capitals ignored (1)" in shown
    listed = tmp_path / "f.csv"
    listed.write_text("word,count\nglad,100\n", encoding="utf-8")
    assert cli.main(["concepts", "check", str(path), "neutral=none", f"frequency.en={listed}"]) == 0
    assert "Frequency (log10)" in capsys.readouterr().out
