"""The shipped concept sets: numbers, overlap, script, and agreement with human ratings."""

from __future__ import annotations

import csv
import re
import statistics
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from emosae.concepts import ConceptKind, available_concepts, load_concepts, load_templates
from emosae.paths import conf_dir

EMOTION = {"ekman6": (6, 16, 0.03), "goemotions27": (27, 14, 0.10), "cowen27": (27, 10, 0.10)}
SHAPES = {**EMOTION, "control27": (27, 16, 0.10), "neutral": (1, 120, 0.0)}
LANGUAGES = ["en", "zh", "es", "fr", "de", "ja"]
OF = dict.fromkeys(SHAPES, LANGUAGES) | {"cowen27": ["en", "zh"]}
PAIRS = [(name, language) for name, languages in OF.items() for language in languages]
LETTERS = {
    "en": "[a-z]+",
    "zh": "[\u4e00-\u9fff]+",
    "es": "[a-záéíóúüñ]+",
    "fr": "[a-zàâæçéèêëîïôœùûüÿ]+",
    "de": "[A-ZÄÖÜa-zäöüß][a-zäöüß]+",
    "ja": "[\u3041-\u3096\u30a1-\u30fa\u30fc\u3005\u4e00-\u9fff]+",  # kana, the long mark, 々, kanji
}
COWEN = (
    "admiration adoration aesthetic_appreciation amusement anger anxiety awe awkwardness boredom "
    "calmness confusion craving disgust empathic_pain entrancement excitement fear horror interest joy "
    "nostalgia relief romance sadness satisfaction sexual_desire surprise"
)
# Traditional forms that GB 2312, the simplified character set, holds all the same.
TRADITIONAL_IN_GB2312 = set("乾於徵著瞭餘麽锺祇")

Norms = dict[str, tuple[float, float]]  # word -> valence, arousal, on 1 to 9


def words_of(name: str, language: str) -> pl.DataFrame:
    return load_concepts(name).words.filter(pl.col("language") == language)


@pytest.mark.parametrize(("name", "language"), PAIRS)
def test_shape(name: str, language: str) -> None:
    n_concepts, n_words, most_shared = SHAPES[name]
    concept_set = load_concepts(name)
    table = concept_set.summary().filter(pl.col("language") == language)
    assert table.height == len(concept_set.concepts) == n_concepts
    assert table["words"].min() >= n_words  # type: ignore[operator]
    assert table["label"].n_unique() == n_concepts
    words = words_of(name, language)
    shared = concept_set.restrict(language).ambiguous().height
    assert shared <= most_shared * words["word"].n_unique()
    assert concept_set.title
    assert concept_set.description
    assert concept_set.source


def test_the_shipped_sets_have_a_name_and_a_kind() -> None:
    assert set(SHAPES) <= set(available_concepts())
    assert "custom" not in available_concepts()
    kinds = {name: load_concepts(name).kind for name in SHAPES}
    assert kinds == {
        **dict.fromkeys(EMOTION, ConceptKind.emotion),
        "control27": ConceptKind.control,
        "neutral": ConceptKind.neutral,
    }


def test_concept_names() -> None:
    assert load_concepts("ekman6").concepts == ["anger", "disgust", "fear", "joy", "sadness", "surprise"]
    assert load_concepts("cowen27").concepts == COWEN.split()
    assert load_concepts("neutral").concepts == ["neutral"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_of_the_neutral_or_control_set_is_an_emotion_word(language: str) -> None:
    words = {name: {word.casefold() for word in words_of(name, language)["word"]} for name in SHAPES}
    assert all(words[name] for name, languages in OF.items() if language in languages)
    emotion = set().union(*(words[name] for name in EMOTION))
    assert not words["neutral"] & emotion
    assert not words["control27"] & emotion
    assert not words["control27"] & words["neutral"]


@pytest.mark.parametrize("name", SHAPES)
def test_english_words_are_single_lower_case_words(name: str) -> None:
    for word in words_of(name, "en")["word"]:
        assert word.isascii()
        assert word.isalpha()
        assert word.islower()


@pytest.mark.parametrize("name", SHAPES)
def test_chinese_words_are_simplified(name: str) -> None:
    words = words_of(name, "zh")["word"].to_list()
    for word in words:
        word.encode("gb2312")  # raises on a character that only traditional Chinese has
        assert not set(word) & TRADITIONAL_IN_GB2312
        assert all("\u4e00" <= character <= "\u9fff" for character in word)
    assert statistics.mode(map(len, words)) == 2


@pytest.mark.parametrize("name", SHAPES)
def test_yaml_reads_every_word_as_text(name: str) -> None:
    values = yaml.safe_load((conf_dir() / "concepts" / f"{name}.yaml").read_text(encoding="utf-8"))
    for own in values["languages"].values():
        assert list(own["labels"]) == list(own["words"])
        assert all(isinstance(word, str) for words in own["words"].values() for word in words)
    assert len({tuple(own["words"]) for own in values["languages"].values()}) == 1


@pytest.mark.parametrize("name", SHAPES)
def test_every_language_has_the_same_concepts_with_words(name: str) -> None:
    values = yaml.safe_load((conf_dir() / "concepts" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert list(values["languages"]) == OF[name]
    concepts = list(values["languages"]["en"]["words"])
    for language, own in values["languages"].items():
        assert list(own["labels"]) == list(own["words"]) == concepts, language
        for concept, words in own["words"].items():
            english = len(values["languages"]["en"]["words"][concept])
            assert words, (language, concept)
            assert 0.9 * english <= len(words) <= 1.1 * english or name == "cowen27", (language, concept)
            assert sorted(set(words)) == sorted(words), (language, concept)


@pytest.mark.parametrize(("name", "language"), PAIRS)
def test_words_are_composed_and_in_the_letters_of_their_language(name: str, language: str) -> None:
    # The file itself: what is loaded has been composed already.
    values = yaml.safe_load((conf_dir() / "concepts" / f"{name}.yaml").read_text(encoding="utf-8"))
    own = values["languages"][language]
    for text in [*own["labels"].values(), *(word for words in own["words"].values() for word in words)]:
        assert unicodedata.is_normalized("NFC", text), text
    for words in own["words"].values():
        for word in words:
            assert re.fullmatch(LETTERS[language], word), word
    for label in own["labels"].values():
        assert all(re.fullmatch(LETTERS[language], part) for part in label.split(" ")), label


@pytest.mark.parametrize("language", ["es", "fr", "de", "ja"])
def test_templates_are_neutral(language: str) -> None:
    framed = load_templates(language)[1:]
    assert len(set(framed)) == len(framed) == len(load_templates("en")) - 1
    assert len({template.index("{word}") for template in framed}) >= 4  # the word stands at different places
    emotional = {word for name in EMOTION for word in words_of(name, language)["word"]}
    for template in framed:
        assert unicodedata.is_normalized("NFC", template)
        text = template.replace("{word}", " ")
        if language == "ja":
            assert not [word for word in emotional if word in text]
        else:
            assert not set(re.findall(r"\w+", text)) & emotional


@pytest.mark.parametrize(
    ("language", "tolerance"),
    [("en", 0.3), ("zh", 0.2), ("es", 0.3), ("fr", 0.3), ("de", 0.3), ("ja", 0.2)],
)
def test_neutral_words_are_as_long_as_emotion_words(language: str, tolerance: float) -> None:
    neutral, emotion = (
        words_of(name, language)["word"].str.len_chars() for name in ("neutral", "goemotions27")
    )
    assert neutral.mean() == pytest.approx(emotion.mean(), abs=tolerance)
    assert neutral.std() == pytest.approx(emotion.std(), abs=0.4)


# --- beside human data ---


@pytest.fixture(scope="module")
def norms(shared: Path) -> dict[str, Norms]:
    """Ratings of words as they stand; CVAW is traditional: only words that both scripts write alike count."""
    folder = shared / "norms"
    warriner = _norms(folder / "Ratings_Warriner_et_al.csv", "Word", "V.Mean.Sum", "A.Mean.Sum")
    cvaw = _norms(folder / "cvaw3.csv", "Word", "Valence_Mean", "Arousal_Mean")
    yi = folder / "norare" / "Yi-2025-AffectiveRatings" / "Yi-2025-AffectiveRatings.tsv"
    chinese = _norms(yi, "CHINESE", "CHINESE_VALENCE_MEAN", "CHINESE_AROUSAL_MEAN")
    assert warriner["love"] == (8.00, 5.36)
    assert cvaw["謀殺"] == (1.6, 7.8)
    return {"en": warriner, "zh": {**chinese, **cvaw}}


def _norms(path: Path, word: str, valence: str, arousal: str) -> Norms:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    cells = [(row[word].strip(), row[valence].strip(), row[arousal].strip()) for row in rows]
    return {name: (float(v), float(a)) for name, v, a in cells if v and a}


@pytest.fixture(scope="module")
def human(shared: Path) -> dict[str, tuple[float, float]]:
    """Valence and arousal that people give the 27 emotion names, -1 to 1, in alphabetical order."""
    order = (shared / "human27" / "reordered_emotions.csv").read_text(encoding="utf-8").split()
    with (shared / "human27" / "average.csv").open(encoding="utf-8", newline="") as file:
        rows = [(float(row["valence"]), float(row["arousal"])) for row in csv.DictReader(file)]
    return dict(zip(sorted(order), rows, strict=True))


def means(name: str, language: str, norms: dict[str, Norms], least: int) -> dict[str, np.ndarray]:
    """Mean valence and arousal of each concept's rated words, where at least `least` are rated."""
    found: dict[str, list[tuple[float, float]]] = {}
    for concept, word in words_of(name, language).select("concept", "word").iter_rows():
        if word in norms[language]:
            found.setdefault(concept, []).append(norms[language][word])
    return {concept: np.mean(ratings, axis=0) for concept, ratings in found.items() if len(ratings) >= least}


@pytest.mark.real
def test_concepts_are_those_of_the_human_data(shared: Path, human: dict[str, tuple[float, float]]) -> None:
    labels = (shared / "texts" / "goemotions_labels.txt").read_text(encoding="utf-8").split()
    assert load_concepts("goemotions27").concepts == [label for label in labels if label != "neutral"]
    assert set(load_concepts("goemotions27").concepts) == set(human)


@pytest.mark.real
@pytest.mark.parametrize(
    ("language", "concepts", "valence", "arousal"), [("en", 27, 0.95, 0.9), ("zh", 20, 0.92, 0.6)]
)
def test_words_have_the_valence_of_their_concept(
    language: str,
    concepts: int,
    valence: float,
    arousal: float,
    norms: dict[str, Norms],
    human: dict[str, tuple[float, float]],
) -> None:
    own = means("goemotions27", language, norms, least=3)
    assert len(own) >= concepts
    for concept, (mean, _) in own.items():
        if abs(human[concept][0]) > 0.2:  # people put realization (.18) and surprise (.14) near the middle
            assert np.sign(mean - 5) == np.sign(human[concept][0]), concept
    for concept, word in words_of("goemotions27", language).select("concept", "word").iter_rows():
        if word in norms[language] and abs(human[concept][0]) > 0.5:
            beyond = (norms[language][word][0] - 5) * np.sign(human[concept][0])
            assert beyond > -2, word  # a word may stand beyond the middle (indebted does), but not far
    pairs = np.array([[*own[concept], *human[concept]] for concept in own])
    assert np.corrcoef(pairs[:, 0], pairs[:, 2])[0, 1] > valence
    assert np.corrcoef(pairs[:, 1], pairs[:, 3])[0, 1] > arousal


@pytest.mark.real
@pytest.mark.parametrize(("language", "rated"), [("en", 80), ("zh", 1)])
def test_neutral_words_are_neutral(language: str, rated: int, norms: dict[str, Norms]) -> None:
    own = {
        word: norms[language][word]
        for word in words_of("neutral", language)["word"]
        if word in norms[language]
    }
    assert len(own) >= rated
    for word, (valence, arousal) in own.items():
        assert abs(valence - 5) <= 1.25, word
        assert arousal <= 4.7, word
    mean = np.mean(list(own.values()), axis=0)
    assert mean[0] == pytest.approx(5.1, abs=0.3)
    assert mean[1] < 4.5


@pytest.mark.real
@pytest.mark.parametrize(("language", "categories", "most"), [("en", 27, 4.2), ("zh", 8, 5.0)])
def test_control_categories_have_no_emotional_color(
    language: str, categories: int, most: float, norms: dict[str, Norms]
) -> None:
    own = means("control27", language, norms, least=3)
    emotion = means("goemotions27", language, norms, least=3)
    assert len(own) >= categories
    for category, (valence, arousal) in own.items():
        assert abs(valence - 5) <= 1.05, category
        assert arousal <= most, category
    for word in words_of("control27", language)["word"]:
        if word in norms[language]:
            assert abs(norms[language][word][0] - 5) <= 1.75, word
    spread, emotional = (np.std([mean[0] for mean in each.values()]) for each in (own, emotion))
    assert spread < 0.25 * emotional
