"""Cards hold what the corpus, the decoder and the study say; the folder holds the cards as plain data."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from browse_cases import HOSTILE, bytes_tokenizer, lens_of, read_call, unpack, wide_llama, words_tokenizer
from models_zoo import build
from steering_cases import make_sae

from emosae.browse.cards import Cards
from emosae.browse.collect import collect
from emosae.browse.config import BrowseConfig
from emosae.browse.corpus import texts_corpus
from emosae.browse.decoder import LogitLens, Neighbours
from emosae.browse.facts import Facts
from emosae.browse.languages import Rates, name_scripts
from emosae.browse.site import CARDS_PER_FILE, About, script, write_site

CONFIG = BrowseConfig(contexts=3, examples=2, context_tokens=8, logit_lens=4, neighbours=3, tokens=None)
WORDS = [f"word{number}" for number in range(30)] + ["愛", "恐"]


def score(feature: int, concept: str, language: str, auroc: float, *, selected: bool = True) -> dict:
    return {
        "language": language, "concept": concept, "feature": feature, "auroc": auroc, "mean_difference": 0.1,
        "p_adjusted": 0.01, "rank": 1, "significant": True, "selected": selected,
    }  # fmt: skip


FACTS = Facts(
    concepts=("joy", "fear"),
    scores=pl.DataFrame(
        [
            score(3, "joy", "en", 0.7),
            score(3, "joy", "zh", 0.9),
            score(3, "fear", "en", 0.8, selected=False),
            score(9, "fear", "en", 0.95),
        ]
    ),
    sets=pl.DataFrame({"set": ["universal", "en"], "concept": ["joy", "fear"], "feature": [3, 9]}),
    words=pl.DataFrame({"language": ["en"], "feature": [3], "word": ["glad"], "activation": [1.5]}),
    weights=pl.DataFrame(
        {
            "language": ["en", "zh", "en"], "target": ["valence", "valence", "arousal"], "feature": [3, 3, 3],
            "weight": [1.0, 2.0, 5.0], "stability": [1.0] * 3, "importance": [0.5, 0.25, 0.125], "rank": [1, 2, 3],
        }
    ),
    output={3: 0.25},
)  # fmt: skip


def cards_of(lens, given: list[str], facts: Facts | None = None, config: BrowseConfig = CONFIG) -> Cards:
    corpus = texts_corpus(given, "toy", len(given))
    site = next(iter(lens.saes))
    found = collect(lens.model, lens.tokenizer, lens.saes, corpus, config)[site]
    return Cards(lens, site, found, facts, config)


@pytest.fixture(scope="module")
def cards() -> Cards:
    rng = np.random.default_rng(0)
    given = [" ".join(rng.choice(WORDS, 12)) for _ in range(40)]
    return cards_of(lens_of(words_tokenizer(WORDS), languages=("en", "zh")), given, FACTS)


def test_a_card_joins_what_is_known(cards: Cards) -> None:
    card = next(cards.make([3]))
    assert card.feature == 3
    assert [(each["concept"], each["auroc"]) for each in card.concepts] == [
        ("joy", 0.9),
        ("fear", 0.8),
        ("joy", 0.7),
    ]
    assert card.sets == [("universal", "joy")]
    assert card.concept_words == [("en", "glad", 1.5)]
    assert [each["target"] for each in card.weights] == ["valence", "valence", "arousal"]
    assert card.output_score == 0.25
    assert card.neuronpedia is None
    other = next(cards.make([9]))
    assert other.output_score is None
    assert other.weights == []


def test_contexts_are_text_with_the_token_that_is_meant(cards: Cards) -> None:
    seen = 0
    for card in cards.make(range(64)):
        assert [each.value for each in card.top] == sorted((each.value for each in card.top), reverse=True)
        assert sum(count for _, _, count in card.histogram) == card.n_active
        groups = [each for _, _, own in card.groups for each in own]
        values = [each.value for each in groups]
        assert values == sorted(values, reverse=True)
        assert len(card.groups) <= 4
        for each in [*card.top, *groups]:
            seen += 1
            text, value = each.pieces[each.at]
            assert value == each.value > 0
            assert text.strip() in WORDS
            assert text.strip() in {word for word, _ in card.words} or len(card.words) == 12
            assert set(each.text.split()) <= set(WORDS)
            # Text that does not fire is one piece
            assert not any(a[1] == b[1] == 0 for a, b in zip(each.pieces, each.pieces[1:], strict=False))
        if card.top:
            assert card.top[0].value == pytest.approx(card.maximum)
    assert seen > 200


def test_neighbours_are_those_of_the_whole_matrix_of_cosines() -> None:
    sae = make_sae()
    rows = sae.W_dec.numpy().astype(float)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -9)
    found = Neighbours(sae, 5).of(range(64))
    for feature, own in enumerate(found):
        best = np.argsort(-cosine[feature])[:5]
        assert [number for number, _ in own] == best.tolist()
        np.testing.assert_allclose([value for _, value in own], cosine[feature, best], rtol=1e-5)
    assert Neighbours(sae, 0).of([1, 2]) == [[], []]


def test_the_logit_lens_is_final_norm_and_unembedding() -> None:
    model, sae = build("llama"), make_sae()
    with torch.no_grad():
        logits = model.lm_head(model.model.norm(sae.W_dec)).numpy()
    for feature, (up, down) in enumerate(LogitLens(model, sae, 4).of(range(64))):
        order = np.argsort(-logits[feature])
        assert [token for token, _ in up] == order[:4].tolist()
        assert [token for token, _ in down] == order[::-1][:4].tolist()
        np.testing.assert_allclose([value for _, value in up], logits[feature, order[:4]], rtol=1e-4)


def test_an_encoder_has_no_logit_lens() -> None:
    assert LogitLens(build("bert"), make_sae(), 4).of([1]) == [([], [])]


def test_universality_is_the_smallest_rate_over_the_largest() -> None:
    rates = Rates(
        names=["en", "zh", "Cyrillic script"],
        share=np.array([[0.8, 0.2, 0.0], [0, 0, 0]]),
        rate=np.array([[0.4, 0.1, 0.9], [0, 0, 0]]),
        counted=np.array([True, True, False]),  # the third is met by chance
    )
    assert rates.universality(0) == pytest.approx(0.25)
    assert rates.universality(1) is None
    assert rates.main(0) == [0]
    assert rates.main(1) == []
    assert rates.card(0) == [("en", 0.8, 0.4), ("zh", 0.2, 0.1)]
    assert replace(rates, counted=np.array([True, False, False])).universality(0) is None


@pytest.mark.parametrize(
    ("languages", "names"),
    [
        (["en", "zh"], ["en", "zh", "ja", "Cyrillic script"]),
        (["en", "fr"], ["Latin script", "zh", "ja", "Cyrillic script"]),
        (["ru", "ja"], ["Latin script", "zh", "ja", "ru"]),
    ],
)
def test_scripts_are_called_by_the_language_that_is_meant(languages: list[str], names: list[str]) -> None:
    assert name_scripts(["LATIN", "CJK", "HIRAGANA", "CYRILLIC"], languages) == names


def test_the_link_to_neuronpedia_is_made_where_the_sae_names_it() -> None:
    sae = make_sae()
    sae.cfg = sae.cfg.replace(neuronpedia_id="gpt2-small/8-res-jb")
    lens = lens_of(words_tokenizer(WORDS), sae=sae)
    card = next(cards_of(lens, ["word1 word2 word3"]).make([5]))
    assert card.neuronpedia == "https://www.neuronpedia.org/gpt2-small/8-res-jb/5"


def test_data_can_close_no_script_and_end_no_line() -> None:
    line = script("emosae.cards", "</script><!--", "\u2028\u2029", 1.5, None)
    assert line == 'emosae.cards("\\u003c/script>\\u003c!--", "\\u2028\\u2029", 1.5, null);\n'


def test_the_folder_holds_the_cards(cards: Cards, tmp_path: Path) -> None:
    page = write_site(tmp_path, [cards], About(title="a <b> & c", notes={cards.site: ("a note",)}))
    assert "<title>a &lt;b&gt; &amp; c · emosae features</title>" in page.read_text()
    place = tmp_path / "data" / "blocks-1-hook-resid-post"
    slug, index = read_call(place / "index.js")
    assert slug == "blocks-1-hook-resid-post"
    assert index["features"] == 64
    index = unpack(index)
    columns = index["columns"]
    assert all(len(column) == 64 for column in columns.values())
    assert columns["selectivity"][3] == pytest.approx(0.9)
    assert columns["selectivity"][4] is None
    assert columns["valence"][3] == 0.375
    assert columns["output_score"][3] == 0.25
    assert [index["concepts"][index["concept"][feature]] for feature in (3, 9)] == ["joy", "fear"]
    assert index["sets"] == {
        "joy": [[3], [0.9]],
        "fear": [[9], [0.95]],
    }  # the largest AUROC of both languages
    files = sorted(place.glob("0*.js"))
    assert len(files) == -(-64 // CARDS_PER_FILE)
    _, number, first = read_call(files[0])
    assert number == 0
    card = next(cards.make([3]))
    assert first[3]["maximum"] == pytest.approx(card.maximum, rel=1e-3)
    assert first[3]["top"][0][0] == pytest.approx(card.top[0].value, rel=1e-3)
    shown = "".join(piece if isinstance(piece, str) else piece[0] for piece in first[3]["top"][0][2])
    assert shown == card.top[0].text
    np.testing.assert_allclose(columns["maximum"], [each["maximum"] for each in first])
    assert [words.split("\t")[0] for words in index["words"]] == [each["words"][0][0] for each in first]


def test_hostile_text_is_data_alone(tmp_path: Path) -> None:
    tokenizer = bytes_tokenizer()
    lens = lens_of(tokenizer, model=wide_llama(len(tokenizer)))
    made = cards_of(lens, HOSTILE, config=replace(CONFIG, context_tokens=40))
    write_site(tmp_path, [made], About(title="</title><script>window.hacked = 1</script>"))
    for path in (tmp_path / "data").rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert "<" not in text
        assert not set(text) & {"\u2028", "\u2029"}
        assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff\u202a-\u202e]", text)
        assert read_call(path)
    assert "<script>window" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_feature_that_never_fires_has_an_empty_card() -> None:
    lens = lens_of(words_tokenizer(WORDS))
    sae = next(iter(lens.saes.values()))
    made = cards_of(lens, ["word1"])
    dead = int(np.flatnonzero(made.collected.stats.maximum == 0)[0])
    card = next(made.make([dead]))
    assert (card.top, card.groups, card.histogram, card.words, card.maximum) == ([], [], [], [], 0.0)
    assert len(card.neighbours) == CONFIG.neighbours
    assert sae.d_sae == 64


def test_facts_of_a_run_must_be_of_the_same_sae(tmp_path: Path) -> None:
    from emosae.artifacts import write_json
    from emosae.browse.facts import facts_of_run
    from emosae.errors import UserError

    site = "blocks.1.hook_resid_post"
    write_json(tmp_path / "manifest.json", {"inputs": {"saes": {site: {"fingerprint": "other"}}}})
    lens = SimpleNamespace(saes={site: make_sae()})
    with pytest.raises(UserError, match="is of another SAE at blocks"):
        facts_of_run(tmp_path, lens)
