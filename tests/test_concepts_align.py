"""Names of emotions between languages and human data: sure matches are taken, the others are said."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae import cli
from emosae.concepts import load_concepts
from emosae.concepts.align import Match, align_names, align_words, shared_labels
from emosae.concepts.config import ConceptsConfig, LanguageWords
from emosae.concepts.files import WordRow
from emosae.concepts.load import assemble
from emosae.concepts.sets import ConceptSet
from emosae.errors import UserError


def small(labels: dict[str, dict[str, str]]) -> ConceptSet:
    concepts = list(dict.fromkeys(concept for own in labels.values() for concept in own))
    rows = [WordRow(concept, language, f"{concept}_word", 1.0) for language in labels for concept in concepts]
    languages = {language: LanguageWords(labels=own) for language, own in labels.items()}
    return assemble(ConceptsConfig(name="small", languages=languages), rows, "small")


def matched(concepts: ConceptSet, names: list[str], **settings: object) -> dict[str, tuple[str | None, str]]:
    table = align_names(concepts, names, **settings).table  # type: ignore[arg-type]
    return {row[0]: row[1:3] for row in table.iter_rows()}


def test_synonyms_then_keys_then_labels() -> None:
    concepts = small(
        {"en": {"joy": "gladness", "sexual_desire": "lust"}, "zh": {"joy": "快乐", "sexual_desire": "性欲"}}
    )
    assert matched(concepts, ["Joy", "Sexual Desire"]) == {
        "joy": ("Joy", Match.key),
        "sexual_desire": ("Sexual Desire", Match.key),
    }
    assert matched(concepts, ["快乐", "lust"]) == {
        "joy": ("快乐", Match.label),
        "sexual_desire": ("lust", Match.label),
    }
    assert matched(concepts, ["快乐"], languages=["en"])["joy"] == (None, Match.missing)
    own = matched(concepts, ["joy", "bliss"], synonyms={"joy": ["rapture", "bliss"]})
    assert own["joy"] == ("bliss", Match.synonym)


def test_what_is_not_sure_is_not_taken() -> None:
    concepts = small({"en": {"joy": "gladness"}, "zh": {"joy": "快乐"}})
    found = align_names(concepts, ["gladness", "快乐"])
    assert found.pairs == {}
    assert found.table.row(0) == ("joy", None, "ambiguous", ["gladness", "快乐"])
    assert found.unused == ["gladness", "快乐"]
    assert "ambiguous: joy" in found.summary()
    # one label for two concepts: neither takes it; a key outdoes a label
    concepts = small({"de": {"anger": "Ärger", "annoyance": "Ärger"}})
    assert matched(concepts, ["Ärger"]) == {
        "anger": (None, Match.ambiguous),
        "annoyance": (None, Match.ambiguous),
    }
    assert shared_labels(concepts).rows() == [("de", "Ärger", ["anger", "annoyance"])]
    concepts = small({"en": {"fear": "fear", "panic": "fear"}})
    assert matched(concepts, ["fear"]) == {"fear": ("fear", Match.key), "panic": (None, Match.ambiguous)}


def test_wrong_input_is_refused() -> None:
    concepts = small({"en": {"joy": "joy"}})
    with pytest.raises(UserError, match=r"A name must stand once, got \['Joy', 'joy'\]"):
        align_names(concepts, ["joy", "Joy"])
    with pytest.raises(UserError, match=r"no concept with synonyms 'jy'. Did you mean 'joy'"):
        align_names(concepts, ["joy"], synonyms={"jy": "joy"})
    with pytest.raises(UserError, match=r"no language of the concept set 'xx'"):
        align_names(concepts, ["joy"], languages=["xx"])


@given(
    keys=st.lists(st.sampled_from("abcdef"), unique=True, min_size=1),
    labels=st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=6),
    names=st.permutations("abcdefgh"),
    n=st.integers(0, 8),
)
def test_pairs_are_one_to_one_whatever_the_order(
    keys: list[str], labels: list[str], names: list[str], n: int
) -> None:
    concepts = small({"en": dict(zip(keys, labels, strict=False))})
    found = align_names(concepts, names[:n])
    assert len(set(found.pairs.values())) == len(found.pairs)
    assert sorted([*found.pairs.values(), *found.unused]) == sorted(names[:n])
    assert align_names(concepts, sorted(names[:n])).pairs == found.pairs
    for concept, name in found.pairs.items():
        # a concept whose own key is there wants nothing else
        wanting = [
            key for key, label in zip(keys, labels, strict=False) if label == name and key not in names[:n]
        ]
        assert name == concept or (wanting == [concept] and name not in keys)


def test_labels_among_rated_words() -> None:
    concepts = small({"en": {"joy": "gladness", "Awe": "awe"}, "zh": {"joy": "快乐", "Awe": "敬畏"}})
    rated = pl.DataFrame({"language": ["en", "en", "de"], "word": ["Gladness", "awe_word", "Freude"]})
    assert align_words(concepts, rated).rows() == [
        ("en", "joy", "gladness", "Gladness", 1, 0),
        ("en", "Awe", "awe", None, 1, 1),
    ]


def test_labels_name_one_concept_each() -> None:
    for name in ("ekman6", "goemotions27", "cowen27"):
        assert shared_labels(load_concepts(name)).is_empty()


@pytest.mark.real
def test_shipped_sets_beside_the_judgements_of_27_emotions(
    shared: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (shared / "human27" / "reordered_emotions.csv").read_text(encoding="utf-8").split()
    every = align_names(load_concepts("goemotions27"), names)
    assert every.pairs == {name: name for name in names}
    assert not every.unused
    by_label = align_names(
        load_concepts("goemotions27"), list(load_concepts("goemotions27").labels["zh"].values())
    )
    assert len(by_label.pairs) == 27
    monkeypatch.setenv("EMOSAE_DATA", str(shared))
    assert cli.main(["concepts", "align", "cowen27", "human27", "synonyms.anxiety=nervousness"]) == 0
    shown = capsys.readouterr().out
    assert "12 of 27 concepts match" in shown
    assert "nervousness" in shown
