"""Corpora of a browser: a file, a data set, the phantom's own text; mistakes are sentences."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from browse_cases import HOSTILE

from emosae.browse.config import BrowseConfig
from emosae.browse.corpus import choose_corpus, texts_corpus
from emosae.errors import MissingFileError, UserError
from emosae.phantom.corpus import passages


def read(config: BrowseConfig, preset: str = "custom") -> list[str]:
    return [text for texts, _ in choose_corpus(config, preset).chunks() for text in texts]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one\n\n  \ntwo\n", encoding="utf-8")
    lines = [json.dumps({"text": text, "body": "x"}) for text in HOSTILE]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pl.DataFrame({"text": ["one", None, "two"], "n": [1, 2, 3]}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "set").mkdir()
    pl.DataFrame({"text": ["one", "", "two"]}).write_parquet(tmp_path / "set" / "train.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["a.txt", "a.parquet", "set"])
def test_files_and_folders_of_a_data_set_are_read_without_empty_texts(files: Path, name: str) -> None:
    assert read(BrowseConfig(corpus=str(files / name))) == ["one", "two"]


def test_lone_surrogates_are_replaced_and_everything_else_stays(files: Path) -> None:
    found = read(BrowseConfig(corpus=str(files / "a.jsonl")))
    assert found == [
        text.replace("\ud800", "\ufffd").replace("\udfff", "\ufffd") for text in HOSTILE if text.strip()
    ]
    assert all(text.encode("utf-8") for text in found)


def test_the_phantom_reads_its_own_text() -> None:
    corpus = choose_corpus(BrowseConfig(), "phantom")
    first = next(iter(corpus.chunks()))[0]
    assert first[:5] == [passage.text for passage in passages("browse", 5)]


def test_an_iterable_is_read_a_few_at_a_time() -> None:
    taken = []

    def lines():
        for number in range(10_000):
            taken.append(number)
            yield f"text {number}"

    next(iter(texts_corpus(lines(), "mine").chunks()))
    assert len(taken) < 1000


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, r"The browser needs a corpus whose contexts it shows. Give corpus=FILE"),
        ({"corpus": "missing.txt"}, r"The corpus is not at 'missing.txt'"),
        (
            {"corpus": "nobody/nothing"},
            r"The data set 'nobody/nothing' cannot be read .* give a file as corpus=",
        ),
        (
            {"corpus": "{files}/a.parquet", "column": "txt"},
            r"no column of a.parquet 'txt'. Did you mean 'text'",
        ),
        ({"corpus": "{files}/set", "column": "txt"}, r"no column of .*set 'txt'. Did you mean 'text'"),
        ({"corpus": "{files}/set", "split": "test"}, r"cannot be read .*browse.split="),
    ],
)
def test_mistakes_are_sentences(files: Path, config: dict[str, str], said: str) -> None:
    own = {key: value.replace("{files}", str(files)) for key, value in config.items()}
    with pytest.raises(UserError, match=said):
        read(BrowseConfig(**own))


def test_a_missing_file_is_a_missing_file() -> None:
    with pytest.raises(MissingFileError):
        choose_corpus(BrowseConfig(corpus="missing.jsonl"), "custom")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"contexts": 0}, "browse.contexts must be at least 1, got 0. The default is 10"),
        ({"tokens": 0}, "browse.tokens must be at least 1"),
        ({"context_tokens": 128}, "browse.context_tokens must be at most 127"),
        ({"output_score": "some"}, "no choice for browse.output_score 'some'"),
    ],
)
def test_settings_out_of_range_are_sentences(setting, said: str) -> None:
    with pytest.raises(UserError, match=said):
        BrowseConfig(**setting)
