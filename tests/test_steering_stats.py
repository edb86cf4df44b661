"""Statistics from a corpus: each text alone as the oracle, every file kind, and the command."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lens_cases import tokenizer
from models_zoo import build
from saes_cases import write_folder
from steering_cases import D_SAE, fitting, make_sae

from emosae import cli
from emosae.errors import UserError
from emosae.saes import SparseAutoencoder, find_stats
from emosae.steering.corpus import open_corpus, split_long
from emosae.steering.dose import dose_stats
from emosae.steering.measure import measure_stats

TEXTS = ["Once w20 w21 w22", "joy", "", "From w40 w41 w42 w43 w44 w45", "  "] + [
    f"w{n} w{n + 1}" for n in range(20, 60)
]


def write(folder: Path, kind: str, column: str = "text") -> Path:
    path = folder / f"texts.{kind}"
    if kind == "txt":
        path.write_text("\ufeff" + "\n".join(TEXTS), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({column: text, "n": 1}) for text in TEXTS))
    else:
        pl.DataFrame({column: [*TEXTS, None]}).write_parquet(path)
    return path


@torch.no_grad()
def by_hand(sae: SparseAutoencoder) -> tuple[np.ndarray, np.ndarray]:
    """Activations and norms of every token but BOS, each text run alone."""
    model, tell = build("llama"), tokenizer()
    states = [
        model(input_ids=torch.tensor([tell(text)["input_ids"]]), output_hidden_states=True).hidden_states[2][
            0, 1:
        ]
        for text in TEXTS
        if text.strip()
    ]
    x = torch.cat(states)
    return sae.encode(x).to_dense().numpy(), x.norm(dim=1).numpy()


@pytest.mark.parametrize("kind", ["txt", "jsonl", "parquet"])
def test_every_token_but_bos_is_counted_once(tmp_path: Path, kind: str) -> None:
    sae = make_sae()
    corpus = open_corpus(write(tmp_path, kind), name="mine")
    (found,) = measure_stats(build("llama"), tokenizer(), {sae.site: sae}, corpus, max_tokens=20).values()
    f, norms = by_hand(sae)
    assert (found.corpus, found.n_tokens) == ("mine", len(f))
    assert found.density == pytest.approx((f > 0).mean(0), abs=1e-6)
    assert found.maximum == pytest.approx(f.max(0), rel=1e-4, abs=1e-5)
    assert found.residual_norm == pytest.approx(np.median(norms), rel=0.05)
    assert sum(units for _, units in corpus.chunks()) == corpus.total


def test_reading_stops_where_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("\n".join(["w20 w21"] * 1000))
    sae = make_sae()
    (found,) = measure_stats(
        build("llama"), tokenizer(), {sae.site: sae}, open_corpus(path), tokens=100
    ).values()
    assert 100 <= found.n_tokens < 1000


@given(st.lists(st.lists(st.integers(11, 95), max_size=40), max_size=6), st.integers(1, 50))
@settings(max_examples=40)
def test_no_token_of_a_long_text_is_lost(numbers: list[list[int]], window: int) -> None:
    tell = tokenizer(bos=False)
    texts = [" ".join(f"w{n}" for n in row) for row in numbers]
    pieces = split_long(tell, texts, window)
    assert "".join(pieces) == "".join(texts)
    ids = [tell(piece)["input_ids"] for piece in pieces]
    assert list(chain(*ids)) == list(chain(*numbers))
    assert all(len(row) <= window for row in ids)


def test_a_text_longer_than_the_model_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text(" ".join(f"w{20 + n % 60}" for n in range(200)))  # the model has 64 positions
    sae = make_sae()
    (found,) = measure_stats(build("llama"), tokenizer(), {sae.site: sae}, open_corpus(path)).values()
    assert found.n_tokens == 200


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, an SAE and a corpus."""
    build("llama").save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    write_folder(tmp_path / "sae", *fitting("jumprelu"))
    write(tmp_path, "jsonl", "body")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_what_doses_are_measured_by(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sae = SparseAutoencoder.load_from_disk(place / "sae")
    words = [
        "stats",
        "model=model",
        "sae=sae",
        "corpus=texts.jsonl",
        "corpus.column=body",
        "corpus.name=mine",
    ]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    stats = find_stats(sae)
    assert stats.corpus == "mine"
    assert f"{stats.n_tokens} tokens of 'mine'" in said
    assert f"of {D_SAE} features fired" in said
    assert Path(said.splitlines()[-1].removeprefix("statistics: ")).is_file()
    assert dose_stats(sae).residual_norm == stats.residual_norm


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a corpus, for example"),
        (["model=model", "sae=sae"], "needs a corpus"),
        (["model=model", "sae=sae", "corpus=none.txt"], "none.txt"),
        (["model=model", "sae=sae", "corpus=model/config.json"], "must be a .txt, .jsonl or .parquet file"),
        (["model=model", "sae=sae", "corpus=texts.jsonl"], "'text'.*corpus.column="),
        (
            ["model=model", "sae=sae", "corpus=texts.jsonl", "corpus.colum=body"],
            "Did you mean 'corpus.column'",
        ),
        (
            ["model=model", "sae=sae", "corpus=texts.jsonl", "corpus.tokens=many"],
            "whole number from 1, got 'many'",
        ),
        (["model=model", "sae=sae", "corpus=blank.txt"], "no tokens to count"),
        (["model=model", "sae=sae", "corpus=latin.txt"], "UTF-8 text, got other bytes in line 2"),
        (
            ["model=model", "sae=sae", "corpus=texts.parquet", "corpus.column=body"],
            "no column of texts.parquet 'body'",
        ),
        (["model=model", "sae=sae", "--fast"], "no option '--fast'"),
        (["model=model", "extra", "corpus=texts.jsonl"], "'extra' is not a setting"),
        (["model=model", "corpus=texts.jsonl", "corpus.column=body"], "Name the SAEs"),
    ],
)
def test_mistakes_are_one_plain_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (place / "blank.txt").write_text("\n \n")
    (place / "latin.txt").write_bytes("w20\nw21 é".encode("latin-1"))
    write(place, "parquet")
    assert cli.main(["stats", *words]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(said, sentence), sentence
    assert not list(place.rglob("stats/*"))


def test_a_corpus_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus.window must be at least 1, got 0"):
        measure_stats(None, None, {}, open_corpus(write(tmp_path, "txt")), window=0)
