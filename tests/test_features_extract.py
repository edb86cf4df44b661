"""Extraction on a tiny GPT-2, against a loop over texts with plain dense arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import transformers as tf
from saes_cases import D_SAE, make_cfg, make_state, write_folder
from tokenizers import Tokenizer, models, pre_tokenizers

from emosae.errors import UserError
from emosae.features import cache as cache_module
from emosae.features import cached_extract, encode_tokens, extract, model_fingerprint, reading_key, text_items
from emosae.models import Site
from emosae.saes import SparseAutoencoder

WORDS = ["[UNK]", "[PAD]", "[BOS]", "the", "sea", "is", "calm", "she", "sings", "storm", "a", "card"]
TEXTS = ["the sea is calm", "she sings", "a storm", "a card", "storm"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", bos_token="[BOS]", model_max_length=32
    )


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = tf.GPT2Config(
        vocab_size=len(WORDS), n_embd=16, n_layer=3, n_head=2, n_positions=32, bos_token_id=2
    )
    return tf.GPT2LMHeadModel(config).eval()


def sae_at(layer: int, folder: Path, *, prepend_bos: bool = True) -> SparseAutoencoder:
    cfg = make_cfg("jumprelu")
    cfg["metadata"] = cfg["metadata"] | {
        "hook_name": f"blocks.{layer}.hook_resid_post",
        "prepend_bos": prepend_bos,
    }
    return SparseAutoencoder.load_from_disk(write_folder(folder, cfg, make_state("jumprelu", seed=layer)))


@pytest.fixture
def saes(cache: Path, tmp_path: Path) -> dict[Site, SparseAutoencoder]:
    loaded = [sae_at(layer, tmp_path / f"sae{layer}") for layer in (0, 1)]
    return {sae.site: sae for sae in loaded}


def by_hand(model: Any, text: str, layer: int, words: slice) -> torch.Tensor:
    """Encode one text's tokens `words` (BOS not counted) with dense products."""
    ids = torch.tensor([[2, *(WORDS.index(word) for word in text.split())]])
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states[layer + 1][0, 1:][words]
    state, cfg = make_state("jumprelu", seed=layer), make_cfg("jumprelu")
    centred = hidden - state["b_dec"] if cfg["apply_b_dec_to_input"] else hidden
    pre = centred @ state["W_enc"] + state["b_enc"]
    return torch.relu(pre) * (pre > state["threshold"])


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("max_tokens", [4, 4096])
def test_extraction_equals_a_loop_over_texts(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder], pooling: str, max_tokens: int
) -> None:
    readings = extract(
        model, tokenizer, saes, text_items(TEXTS), pooling=pooling, baselines=True, max_tokens=max_tokens
    )
    for site, reading in readings.items():
        for row, text in enumerate(TEXTS):
            tokens = by_hand(model, text, site.layer, slice(None))
            expected = {"mean": tokens.mean(0), "max": tokens.amax(0), "last": tokens[-1]}[pooling]
            np.testing.assert_allclose(reading.features.csr[[row]].toarray()[0], expected, atol=1e-5)
        assert reading.features.csr.nnz > 0
        assert reading.features.items["n_tokens"].to_list() == [4, 2, 2, 2, 1]


def test_baselines_are_the_pooled_activation_and_the_static_embedding(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]
) -> None:
    site = list(saes)[1]
    reading = extract(model, tokenizer, saes, text_items(TEXTS), baselines=True)[site]
    ids = torch.tensor([[2, 3, 4, 5, 6]])
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states[site.layer + 1][0, 1:].mean(0)
        static = model.transformer.wte(ids)[0, 1:].mean(0)
    np.testing.assert_allclose(reading.dense["residual"][0], hidden, atol=1e-5)
    np.testing.assert_allclose(reading.dense["embedding"][0], static, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("centred", [False, True])
def test_reconstruction_and_error_are_pooled_token_by_token(
    model: Any, tokenizer: Any, cache: Path, tmp_path: Path, pooling: str, centred: bool
) -> None:
    cfg, state = make_cfg("jumprelu"), make_state("jumprelu", seed=1)
    cfg["metadata"] |= {"hook_name": "blocks.1.hook_resid_post", "prepend_bos": True}
    cfg["metadata"] |= {"model_from_pretrained_kwargs": {"center_writing_weights": centred}}
    sae = SparseAutoencoder.load_from_disk(write_folder(tmp_path / "sae", cfg, state))
    found = extract(
        model,
        tokenizer,
        {sae.site: sae},
        text_items(TEXTS),
        pooling=pooling,
        reconstruction=True,
        max_tokens=8,
    )[sae.site]
    assert set(found.dense) == {"reconstruction", "error"}
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([[2, *(WORDS.index(word) for word in text.split())]])
        with torch.no_grad():
            hidden = model(ids, output_hidden_states=True).hidden_states[2][0, 1:]
        x = hidden - hidden.mean(dim=1, keepdim=True) if centred else hidden
        pre = (x - state["b_dec"]) @ state["W_enc"] + state["b_enc"]
        made = (torch.relu(pre) * (pre > state["threshold"])) @ state["W_dec"] + state["b_dec"]
        for name, tokens in (("reconstruction", made), ("error", x - made)):
            expected = {"mean": tokens.mean(0), "max": tokens.amax(0), "last": tokens[-1]}[pooling]
            np.testing.assert_allclose(found.dense[name][row], expected, atol=1e-5)


def test_what_is_reconstructed_and_what_is_left_out_make_the_activation(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]
) -> None:
    readings = extract(model, tokenizer, saes, text_items(TEXTS), baselines=True, reconstruction=True)
    for reading in readings.values():
        both = reading.dense["reconstruction"] + reading.dense["error"]
        np.testing.assert_allclose(both, reading.dense["residual"], atol=1e-5)
        assert np.abs(reading.dense["error"]).max() > 0.1


def test_a_transcoder_has_no_reconstruction_of_what_it_reads(
    model: Any, tokenizer: Any, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = make_cfg("transcoder")
    sae = SparseAutoencoder.load_from_disk(write_folder(tmp_path / "sae", cfg, make_state("transcoder")))
    with caplog.at_level("INFO", logger="emosae"):
        found = extract(
            model, tokenizer, {sae.site: sae}, text_items(TEXTS), baselines=True, reconstruction=True
        )
    assert set(found[sae.site].dense) == {"residual", "embedding"}
    assert "is a transcoder" in caplog.text


def test_only_the_words_own_tokens_are_pooled(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]
) -> None:
    items = pl.DataFrame({"text": ["the sea is calm"], "start": [4], "end": [7], "word": ["sea"]})
    site = next(iter(saes))
    features = extract(model, tokenizer, saes, items)[site].features
    np.testing.assert_allclose(
        features.csr.toarray()[0], by_hand(model, "the sea is calm", site.layer, slice(1, 2))[0], atol=1e-5
    )
    assert features.items["word"].to_list() == ["sea"]


def test_a_row_a_token(model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]) -> None:
    site = next(iter(saes))
    tokens = encode_tokens(model, tokenizer, saes, text_items(TEXTS), max_tokens=6)[site]
    assert tokens.items["token"].to_list() == " ".join(TEXTS).split()
    assert tokens.items["item"].to_list() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert tokens.items["position"].to_list()[:4] == [1, 2, 3, 4]  # BOS is position 0
    np.testing.assert_allclose(
        tokens.csr[[4, 5]].toarray(), by_hand(model, "she sings", site.layer, slice(None)), atol=1e-5
    )


def test_unknown_words_are_marked(model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]) -> None:
    reading = extract(model, tokenizer, saes, text_items(["storm", "快樂", ""]))[next(iter(saes))]
    assert reading.features.items["unknown"].to_list() == [False, True, True]


def test_no_items_give_an_empty_matrix(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]
) -> None:
    reading = extract(model, tokenizer, saes, text_items([]))[next(iter(saes))]
    assert reading.features.shape == (0, D_SAE)


def test_saes_that_disagree_about_bos_are_refused(
    model: Any, tokenizer: Any, cache: Path, tmp_path: Path
) -> None:
    pair = [sae_at(0, tmp_path / "a"), sae_at(1, tmp_path / "b", prepend_bos=False)]
    with pytest.raises(UserError, match="disagree about the beginning-of-sequence token"):
        extract(model, tokenizer, {sae.site: sae for sae in pair}, text_items(TEXTS))


def test_one_string_is_not_a_list_of_texts() -> None:
    with pytest.raises(UserError, match="got one string"):
        text_items("joy")


def test_a_second_reading_comes_from_the_cache(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"model_id": model_fingerprint(model, tokenizer), "pooling": "mean", "baselines": True}
    first = cached_extract(model, tokenizer, saes, text_items(TEXTS), **arguments)
    calls = []
    monkeypatch.setattr(cache_module, "extract", lambda *a, **k: calls.append(a) or extract(*a, **k))
    second = cached_extract(model, tokenizer, saes, text_items(TEXTS), **arguments)
    assert not calls
    for site, reading in first.items():
        np.testing.assert_array_equal(reading.features.csr.toarray(), second[site].features.csr.toarray())
        np.testing.assert_array_equal(reading.dense["residual"], second[site].dense["residual"])
        assert reading.features.items.equals(second[site].features.items)
    cached_extract(model, tokenizer, saes, text_items(TEXTS[:2]), **arguments)
    assert len(calls) == 1


def test_the_key_changes_with_whatever_changes_the_numbers(
    model: Any, tokenizer: Any, saes: dict[Site, SparseAutoencoder]
) -> None:
    one, two = saes.values()
    items = text_items(TEXTS)
    keys = {
        reading_key("m", one, items, {"pooling": "mean"}),
        reading_key("n", one, items, {"pooling": "mean"}),
        reading_key("m", two, items, {"pooling": "mean"}),
        reading_key("m", one, items.reverse(), {"pooling": "mean"}),
        reading_key("m", one, items.with_columns(start=pl.lit(1)), {"pooling": "mean"}),
        reading_key("m", one, items, {"pooling": "max"}),
        reading_key("m", one, items, {"pooling": "mean", "reconstruction": True}),
    }
    assert len(keys) == 7
    assert reading_key("m", one, items.clone(), {"pooling": "mean"}) in keys


def test_a_models_fingerprint_follows_its_weights(model: Any, tokenizer: Any) -> None:
    before = model_fingerprint(model, tokenizer)
    assert model_fingerprint(model, tokenizer) == before
    weight = model.transformer.h[0].mlp.c_fc.bias
    with torch.no_grad():
        weight[0] += 1e-3
    assert model_fingerprint(model, tokenizer) != before
    with torch.no_grad():
        weight[0] -= 1e-3


def test_a_large_models_fingerprint_follows_its_weights(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_WHOLE", 0)
    before = model_fingerprint(model, tokenizer)
    weight = model.transformer.wte.weight
    with torch.no_grad():
        weight[3, 5] += 1.0
    assert model_fingerprint(model, tokenizer) != before
    with torch.no_grad():
        weight[3, 5] -= 1.0
