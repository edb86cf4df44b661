"""The recipe's parts on small numbers, against SAELens and by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emosae.phantom.head_loss import head_loss
from emosae.phantom.lessons import batches
from emosae.phantom.measure_features import auroc
from emosae.phantom.muon import Muon, orthogonalize
from emosae.phantom.sae_training import Architecture, SAERecipe, load_sae, save_sae, train_sae
from emosae.phantom.tokenizer import BOS, EOS, train_tokenizer
from emosae.phantom.train import QUICK, train

SMALL = {"d_sae": 32, "k": 3, "n_steps": 150, "batch": 256, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def planted() -> torch.Tensor:
    """Sums of two of 24 directions in 12 dimensions."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(24, 12, generator=generator), dim=1)
    active = torch.rand(6000, 24, generator=generator).topk(2, dim=1).indices
    return (
        sum(directions[active[:, i]] * (1 + torch.rand(6000, 1, generator=generator)) for i in (0, 1)) + 0.5
    )


@pytest.mark.parametrize("architecture", list(Architecture))
def test_sae_explains_sparse_data_and_saelens_agrees(
    planted: torch.Tensor, architecture: Architecture, tmp_path: Path
) -> None:
    sae_lens = pytest.importorskip("sae_lens")
    sae = train_sae(planted, SAERecipe(layer=1, architecture=architecture, **SMALL), seed=0)
    assert sae.explained_variance > 0.75
    assert sae.l0 == pytest.approx(3, abs=0.3)
    assert sae.W_dec.norm(dim=1) == pytest.approx(torch.ones(32), abs=1e-5)
    save_sae(sae, tmp_path, "toy")
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path))
    assert theirs.cfg.architecture() == architecture.value
    x = planted[:50]
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode(x), sae.encode(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            theirs.decode(sae.encode(x)), sae.decode(sae.encode(x)), atol=1e-5, rtol=1e-5
        )
    torch.testing.assert_close(load_sae(tmp_path).encode(x), sae.encode(x))
    assert theirs.cfg.metadata.hook_name == "blocks.1.hook_resid_post"


def test_sae_is_the_same_from_the_same_seed(planted: torch.Tensor) -> None:
    recipe = SAERecipe(layer=0, architecture=Architecture.TOPK, **(SMALL | {"n_steps": 20}))
    first, second, other = (train_sae(planted, recipe, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.W_enc, second.W_enc)
    assert not torch.equal(first.W_enc, other.W_enc)


def test_first_features_of_a_matryoshka_reconstruct_alone(planted: torch.Tensor) -> None:
    recipe = {"layer": 0, "architecture": Architecture.TOPK} | SMALL | {"n_steps": 300}
    explained = {}
    for prefixes in ((), (8,)):
        sae = train_sae(planted, SAERecipe(prefixes=prefixes, **recipe), seed=0)
        f = sae.encode(planted)[:, :8]
        error = (planted - f @ sae.W_dec[:8] - sae.b_dec).square().sum()
        explained[prefixes] = 1 - float(error / (planted - planted.mean(0)).square().sum())
    assert explained[8,] > explained[()] + 0.15


@given(st.integers(1, 700), st.integers(2, 40), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_loss_of_the_head_and_its_gradient_are_those_of_cross_entropy(
    n: int, vocabulary: int, seed: int
) -> None:
    torch.manual_seed(seed)
    hidden, weight = (torch.randn(size, 8, dtype=torch.float64) for size in (n, vocabulary))
    target = torch.randint(vocabulary, (n,))
    found = []
    for loss in (head_loss, lambda x, w, y: torch.nn.functional.cross_entropy(x @ w.T, y)):
        x, w = (t.clone().requires_grad_() for t in (hidden, weight))
        value = 3.0 * loss(x, w, target)
        value.backward()
        found.append((value.detach(), x.grad, w.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_orthogonal_steps_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((8, 8), (20, 6), (6, 20)):
        s = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert s.min() > 0.3
        assert s.max() < 1.3


def test_muon_descends() -> None:
    torch.manual_seed(0)
    target, w = torch.randn(6, 4), torch.nn.Parameter(torch.zeros(6, 4))
    optimizer = Muon([w], lr=0.05)
    before = (w - target).square().mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        (w - target).square().mean().backward()
        optimizer.step()
    assert (w - target).square().mean().item() < 0.2 * before


def test_batches_hold_every_row_once_within_the_bound() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 50, size=n) for n in rng.integers(3, 30, size=40)]
    seen = []
    for ids, labels in batches(rows, 90, rng):
        assert ids.numel() <= 90
        for row, mask in zip(ids, labels != -100, strict=True):
            seen.append(tuple(row[mask].tolist()))
    assert sorted(seen) == sorted(tuple(row.tolist()) for row in rows)


def test_auroc_counts_ties_half() -> None:
    values = np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    positive = np.array([False, False, True, True])
    assert auroc(values, positive) == pytest.approx([1.0, 0.25])


def test_tokenizer_keeps_text_words_and_offsets(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(tmp_path, vocab_size=3500, n_passages=400, seed=0)
    assert (tokenizer.bos_token, tokenizer.eos_token) == (BOS, EOS)
    assert json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))["model"]["type"] == "BPE"
    for text in ('Anna felt joy. "Look," she said.', "她心里有一丝喜悦。“看，”", "naïve 龘 42"):
        ids = tokenizer(text)["input_ids"]
        assert ids.count(tokenizer.bos_token_id) == 1
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    alone = tokenizer("joy")["input_ids"][1:]
    assert alone == tokenizer("a joy")["input_ids"][-len(alone) :]
    found = tokenizer("my joy", return_offsets_mapping=True)["offset_mapping"]
    assert "my joy"[found[-1][0] : found[-1][1]].endswith("joy")


@pytest.mark.slow
def test_one_seed_gives_the_same_bytes_after_a_stop_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole recipe on the small scale, twice, once cut off: every weight, token and statistic is the same."""
    from emosae.phantom import train as module

    train(tmp_path / "first", QUICK)
    with monkeypatch.context() as patch:
        whole, rounds = module._teach, []

        def cut(*args):
            rounds.append(args[2])
            if len(rounds) == 2:
                raise KeyboardInterrupt
            return whole(*args)

        patch.setattr(module, "_teach", cut)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "second", QUICK)
        rounds.append("after the stop")
        train(tmp_path / "second", QUICK)
    assert [type(each).__name__ for each in rounds] == ["Round", "StateRound", "str", "StateRound"]
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file())
    assert any(p.suffix == ".safetensors" and "stats" in p.parts for p in files)
    assert Path("model/model.safetensors") in files
    for path in files:
        if path.name != "training.json":
            assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes(), path
    assert train(tmp_path / "second", QUICK, keep_model=True)["tokens"] > 10_000
    other = train(tmp_path / "other", replace(QUICK, seed=1))
    first = json.loads((tmp_path / "first" / "training.json").read_text(encoding="utf-8"))
    assert other["heldout_loss"] != first["heldout_loss"]
