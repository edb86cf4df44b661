"""One pass over a corpus keeps what reading every text by itself and sorting everything gives."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from browse_cases import lens_of, words_tokenizer

from emosae.browse.collect import BIN_EDGES, Collected, _chance, collect, expected_bytes
from emosae.browse.config import BrowseConfig
from emosae.browse.corpus import texts_corpus
from emosae.errors import UserError
from emosae.steering.corpus import split_long

WORDS = [f"word{number}" for number in range(40)] + ["愛", "恐", "喜", "123"]
CONFIG = BrowseConfig(contexts=4, examples=2, context_tokens=7, window=20, tokens=None)


def texts(n: int = 60, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    found = [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(n)]
    return [*found, "word1 <s> word2 word3", "<s>", "word4"]


@pytest.fixture(scope="module")
def lens():
    return lens_of(words_tokenizer(WORDS), languages=("en", "zh"))


def read(lens, given: list[str], config: BrowseConfig = CONFIG, **options) -> Collected:
    corpus = texts_corpus(given, "toy", len(given))
    return collect(lens.model, lens.tokenizer, lens.saes, corpus, config, **options)[next(iter(lens.saes))]


@pytest.fixture(scope="module")
def found(lens) -> Collected:
    return read(lens, texts(), max_tokens=100)


@pytest.fixture(scope="module")
def brute(lens):
    """Every activation of every token, each text run by itself through the whole model: piece, tokens, matrix."""
    sae = next(iter(lens.saes.values()))
    special = set(lens.tokenizer.all_special_ids) - {lens.tokenizer.unk_token_id}
    rows = []
    for piece in split_long(lens.tokenizer, texts(), CONFIG.window):
        ids = torch.tensor([lens.tokenizer(piece)["input_ids"]])
        with torch.no_grad():
            hidden = lens.model(ids, output_hidden_states=True).hidden_states[2][0]
        keep = [place for place, number in enumerate(ids[0].tolist()) if number not in special]
        dense = sae.encode(hidden).to_dense().numpy()
        rows.append((ids[0].numpy()[keep], dense[keep], keep))
    return rows


def test_counts_are_those_of_all_tokens(found, brute) -> None:
    dense = np.concatenate([each[1] for each in brute])
    assert found.stats.n_tokens == len(dense)
    assert found.n_texts == len(brute)
    np.testing.assert_allclose(found.stats.density, (dense > 0).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.stats.maximum, dense.max(axis=0), rtol=1e-4)
    assert (found.counts.sum(axis=1) == (dense > 0).sum(axis=0)).all()
    for feature in range(dense.shape[1]):
        own = np.sort(dense[dense[:, feature] > 0, feature])
        edges = np.repeat(BIN_EDGES[:-1], found.counts[feature])
        # Up to rounding, each value lies in its bin, a quarter of an octave wide
        assert (own >= edges * 0.999).all()
        assert (own <= edges * 2**0.25 * 1.001).all()


def test_top_contexts_are_the_largest_of_each_text(found, brute) -> None:
    for feature in range(len(found.features)):
        # Two texts that begin alike fire alike but for rounding, so that it is the values that are compared
        best = sorted((each[1][:, feature].max(initial=0) for each in brute), reverse=True)
        best = [value for value in best[: CONFIG.contexts] if value > 0]
        np.testing.assert_allclose(found.top.of(feature).value, best, rtol=1e-4)
        kept = np.flatnonzero(np.isfinite(found.top.key[feature]))
        texts_of = found.top.tie[feature, kept] >> 20
        assert len(set(texts_of.tolist())) == len(kept)
        for slot, number in zip(kept, texts_of, strict=True):
            ids, dense, position = brute[number]
            place = position.index(int(found.top.tie[feature, slot]) & (2**20 - 1))
            assert dense[place, feature] == pytest.approx(dense[:, feature].max(), rel=1e-4)
            assert found.top.value[feature, slot] == pytest.approx(dense[place, feature], rel=1e-4)
            width = min(CONFIG.context_tokens, len(ids))
            first = place - int(found.top.at[feature, slot])
            assert 0 <= first <= len(ids) - width
            assert found.top.ids[feature, slot, :width].tolist() == ids[first : first + width].tolist()
            assert (found.top.ids[feature, slot, width:] == -1).all()
            expected = dense[first : first + width, feature]
            shown = found.top.activations[feature, slot, :width]
            np.testing.assert_allclose(shown, expected, rtol=2e-3, atol=1e-6)


def test_examples_are_the_activations_with_the_largest_draws(found, brute) -> None:
    by_feature = defaultdict(list)
    for number, (_, dense, position) in enumerate(brute):
        for place, feature in np.argwhere(dense > 0):
            token = (number << 20) | position[place]
            draw = _chance(np.array([token]), np.array([feature]))[0]
            by_feature[int(feature)].append((-draw, float(dense[place, feature])))
    for feature in range(len(found.features)):
        own = sorted(by_feature[feature])[: 4 * CONFIG.examples]
        np.testing.assert_allclose(
            np.sort(found.sample.of(feature).value),
            np.sort([value for _, value in own]),
            rtol=1e-4,
            atol=1e-4,
        )


def test_draws_are_even_and_differ_from_feature_to_feature() -> None:
    token = np.arange(20_000)
    draws = [_chance(token, np.full(len(token), feature)) for feature in (0, 1)]
    for draw in draws:
        assert draw.min() >= 0
        assert draw.max() < 1
        # Counts in 20 equal bins: chi-squared with 19 degrees of freedom, 99.99 % below 51
        counts = np.histogram(draw, bins=20, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 51
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.03


def test_special_tokens_are_never_shown(lens, found) -> None:
    special = set(lens.tokenizer.all_special_ids) - {lens.tokenizer.unk_token_id}
    shown = np.concatenate([found.top.ids.ravel(), found.sample.ids.ravel()])
    assert not special & set(shown.tolist())
    assert set(shown.tolist()) > {-1, 4, 5}


def test_batches_and_chunks_change_nothing(lens, found) -> None:
    other = read(lens, texts(), max_tokens=17)
    np.testing.assert_array_equal(np.sort(other.sample.tie, axis=1), np.sort(found.sample.tie, axis=1))
    np.testing.assert_allclose(np.sort(other.top.value, axis=1), np.sort(found.top.value, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(other.counts.sum(axis=1), found.counts.sum(axis=1))


def test_scripts_are_counted_by_the_first_letter(found, brute) -> None:
    vocabulary = ["<unk>", "<pad>", "<s>", "</s>", *WORDS]
    ids = np.concatenate([each[0] for each in brute])
    dense = np.concatenate([each[1] for each in brute])
    chinese = np.array([vocabulary[number] in "愛恐喜" for number in ids])
    latin = np.array([vocabulary[number].startswith("word") for number in ids])
    for script, mask in (("CJK", chinese), ("LATIN", latin)):
        at = found.scripts.index(script)
        assert found.script_tokens[at] == mask.sum()
        assert (found.script_active[:, at] == (dense[mask] > 0).sum(axis=0)).all()
    assert len(found.scripts) == 2  # digits have no letter


def test_one_feature_alone_is_read_as_among_all(lens, found) -> None:
    feature = int(np.argmax(found.counts.sum(axis=1)))
    alone = read(lens, texts(), features=[feature])
    np.testing.assert_allclose(alone.top.of(0).value, found.top.of(feature).value, rtol=1e-5)
    np.testing.assert_allclose(
        np.sort(alone.sample.of(0).value), np.sort(found.sample.of(feature).value), rtol=1e-5
    )
    assert (alone.counts[0] == found.counts[feature]).all()


def test_memory_is_fixed_and_known_before(lens, found) -> None:
    more = read(lens, texts(300, seed=1))
    assert more.nbytes <= expected_bytes(len(more.features), CONFIG)
    assert (more.top.nbytes, more.sample.nbytes, more.counts.nbytes) == (
        found.top.nbytes,
        found.sample.nbytes,
        found.counts.nbytes,
    )
    with pytest.raises(UserError, match=r"64 features take .* and browse.memory_gb is 1e-06. Raise it"):
        read(lens, texts(), BrowseConfig(memory_gb=1e-6))


def test_reading_stops_after_the_tokens_asked_for(lens) -> None:
    given = ["word1 word2 word3 word4"] * 2000
    some = read(lens, given, BrowseConfig(tokens=1500))
    assert 1500 <= some.stats.n_tokens < 1500 + 4 * 256


def test_a_corpus_without_text_is_refused(lens) -> None:
    with pytest.raises(UserError, match="has no tokens to count"):
        read(lens, ["", "   "])
