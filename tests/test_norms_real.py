"""The shipped entries on the real files beside the checkout."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import pdist

from emosae.norms import add_from_words, fetch, find, list_entries, load_ratings, load_similarity, merge

pytestmark = pytest.mark.real

COUNTS = {  # rows of the file and distinct words, counted by hand
    "warriner": (13_915, 13_915),
    "glasgow": (5_553, 5_553),
    "cvaw3": (3_552, 3_548),
    "va_kor": (1_339, 1_338),
    "yi2025": (991, 991),
    "warriner_concepticon": (2_298, 2_298),
}
RATINGS = ["cvaw3", "glasgow", "va_kor", "warriner", "warriner_concepticon", "yi2025"]


@pytest.fixture(autouse=True)
def data(shared: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOSAE_DATA", str(shared))
    return shared


def rating(name: str, word: str) -> tuple[float, float]:
    return load_ratings(find(name)).table.filter(pl.col("word") == word).select("valence", "arousal").row(0)


def numbers(path: Path) -> np.ndarray:
    """Read a table of numbers with the standard library alone."""
    with path.open(newline="") as file:
        return np.array([[float(cell) for cell in row] for row in list(csv.reader(file))[1:] if row])


@pytest.mark.parametrize("name", RATINGS)
def test_every_file_is_found_whole_and_as_described(name):
    entry = find(name)
    ratings = load_ratings(entry)
    assert ratings.checksum_ok is True
    assert len(ratings) == entry.n_words
    assert ratings.dropped.height == 0
    assert ratings.table["word"].n_unique() == len(ratings)
    for dimension in ratings.dimensions:
        assert ratings.table[dimension].null_count() == 0
        assert ratings.table[f"{dimension}_scaled"].is_between(-1, 1).all()


@pytest.mark.parametrize(("name", "counts"), COUNTS.items())
def test_rows_and_words_of_every_file(name, counts):
    ratings = load_ratings(find(name))
    assert (ratings.n_rows, len(ratings)) == counts


@pytest.mark.parametrize("name", RATINGS)
def test_every_number_equals_a_plain_reading(name):
    """Against csv.DictReader and a dictionary: every word's valence and arousal."""
    entry = find(name)
    ratings = load_ratings(entry)
    columns = [entry.columns[meaning] for meaning in ("word", "valence", "arousal")]
    expected: dict[str, list[tuple[float, float]]] = {}
    with ratings.path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, delimiter="\t" if ratings.path.suffix == ".tsv" else ","):
            word, valence, arousal = (row[column] for column in columns)
            expected.setdefault(word.strip(), []).append((float(valence), float(arousal)))
    assert ratings.table["word"].to_list() == list(expected)
    for word, valence, arousal in ratings.table.select("word", "valence", "arousal").rows():
        n = len(expected[word])
        assert math.isclose(valence, sum(v for v, _ in expected[word]) / n, rel_tol=1e-15)
        assert math.isclose(arousal, sum(a for _, a in expected[word]) / n, rel_tol=1e-15)


def test_warriner():
    ratings = load_ratings(find("warriner"))
    assert (len(ratings), ratings.n_rows) == (13915, 13915)
    assert rating("warriner", "love") == (8.00, 5.36)
    assert rating("warriner", "murder") == (1.48, 6.24)
    present = set(ratings.table["word"])
    assert {"null", "TRUE", "FALSE", "AIDS", "Dr. Pepper", "soda/pop"} <= present
    assert ratings.groups == ["male", "female", "young", "old", "low_education", "high_education"]
    assert len([column for column in ratings.table.columns if column[:5] in {"male_", "femal"}]) == 18
    love = ratings.group("female").filter(pl.col("word") == "love").row(0, named=True)
    assert set(love) == {
        "word",
        "language",
        *(f"{d}{s}" for d in ratings.dimensions for s in ("", "_sd", "_n")),
    }
    # One cell of the 65 columns is NA: the deviation of a single rater.
    assert ratings.unread.rows() == [("high_education_arousal_sd", 1, "NA")]
    assert int(ratings.table["multiword"].sum()) == 102


def test_cvaw3():
    ratings = load_ratings(find("cvaw3"))
    assert (len(ratings), ratings.n_rows) == (3548, 3552)
    assert rating("cvaw3", "快樂") == (7.2, 6.4)
    assert rating("cvaw3", "謀殺") == (1.6, 7.8)
    assert ratings.duplicated["word"].to_list() == ["偏袒", "征服", "忍耐", "出乎意料"]
    assert not any(word != word.strip() for word in ratings.table["word"])


def test_va_kor():
    ratings = load_ratings(find("va_kor"))
    assert (len(ratings), ratings.n_rows) == (1338, 1339)
    assert ratings.duplicated.rows() == [("전기", 2)]
    assert ratings.table["multiword"].sum() == 4


def test_concepticon_ids_pair_the_languages():
    english, chinese = (load_ratings(find(name)).table for name in ("warriner_concepticon", "yi2025"))
    both = english.join(chinese, on="concepticon_id", suffix="_zh")
    assert len(both) > 900
    # Agreement across languages is high for valence: ids that did not pair would give about 0.
    assert both.select(pl.corr("valence", "valence_zh")).item() > 0.7


def test_merge_of_real_sets():
    sets = [load_ratings(find(name)) for name in ("warriner", "glasgow", "cvaw3")]
    merged = merge(sets)
    words = [set(one.table["word"]) for one in sets]
    assert len(merged) == len(words[0] | words[1]) + len(words[2])
    love = merged.table.filter(pl.col("word") == "love").row(0, named=True)
    by_hand = [(one.table.filter(pl.col("word") == "love")["valence"].item() - 5) / 4 for one in sets[:2]]
    assert love["valence"] == pytest.approx(np.mean(by_hand))
    assert love["sources"] == "warriner+glasgow"


def test_human27_raters_and_their_mean(data):
    human = load_similarity(find("human27"))
    assert human.checksum_ok is True
    assert human.raters.shape == (61, 351)
    assert (human.concepts[0], human.concepts[-1], len(human.concepts)) == ("realization", "remorse", 27)
    average = numbers(data / "human27" / "avg_dist_subjective_comparison.csv")[:, 0]
    assert np.allclose(human.mean, average, rtol=0, atol=1e-12)
    assert np.isfinite(human.raters).all()


def test_human27_values_between_whole_numbers_are_means_of_the_other_raters():
    human = load_similarity(find("human27"))
    filled = human.raters != np.round(human.raters)
    assert human.n_filled == filled.sum() == 131
    others = np.nanmean(np.where(filled, np.nan, human.raters), axis=0)
    assert np.allclose(
        human.raters[filled], np.broadcast_to(others, filled.shape)[filled], rtol=0, atol=1e-12
    )


def test_human27_attributes_reproduce_the_distances_up_to_a_factor(data):
    human = load_similarity(find("human27"))
    published = numbers(data / "human27" / "dist_emotional_PCs.csv")
    attributes = human.attributes.drop("concept")
    assert attributes.shape == (27, 14)
    for place, name in enumerate(attributes.columns):
        ours = pdist(attributes[name].to_numpy()[:, None])
        factor = (ours @ published[:, place]) / (ours @ ours)
        assert np.allclose(factor * ours, published[:, place], rtol=0, atol=1e-9), name
    valence = dict(human.attributes.select("concept", "valence").iter_rows())
    assert max(valence, key=valence.get) in {"joy", "love", "excitement", "gratitude"}
    assert valence["grief"] < 0.1


def test_everything_is_listed_as_here_and_fetch_finds_it(data):
    table = list_entries()
    assert table.filter(pl.col("here") == "no").filter(pl.col("verified") == "yes").is_empty()
    assert fetch("human27") == data / "human27"


@pytest.mark.parametrize("name", RATINGS)
def test_adding_a_real_file_finds_out_what_its_entry_says(name):
    entry = find(name)
    path = load_ratings(entry).path
    added, _ = add_from_words(
        path, {"name": f"my_{name}", **({"language": "en"} if entry.language == "en" else {})}
    )
    groupless = {key: header for key, header in entry.columns.items() if key.split("_")[0] not in {
        "male", "female", "young", "old", "low", "high"}}  # fmt: skip
    assert added.columns == groupless
    for field in (
        "format",
        "encoding",
        "decimal",
        "quote",
        "language",
        "script",
        "scale_min",
        "scale_max",
        "n_words",
    ):
        assert getattr(added, field) == getattr(entry, field), field
    assert set(added.sha256.values()) == set(entry.sha256.values())
