"""Registry entries that nobody has confirmed: getting their files, and looking at them when they are read."""

from __future__ import annotations

import logging
import re
import zipfile
from pathlib import Path

import polars as pl
import pytest
import yaml

from emosae import norms
from emosae.cli import main
from emosae.errors import UserError
from emosae.norms.entry import is_mapped
from emosae.norms.headers import guess_columns
from emosae.norms.sheet import Sheet
from emosae.norms.table import markdown_table
from emosae.paths import conf_dir

SHIPPED = sorted(path.stem for path in (conf_dir() / "norms").glob("*.yaml"))
TABLE = "Wort;Valenz;Erregung\nGlück;2,8;1,5\nMord;-2,9;4,5\n"


@pytest.fixture
def mine(cache, monkeypatch):
    monkeypatch.delenv("EMOSAE_DATA", raising=False)

    def make(**fields) -> norms.NormEntry:
        body = {
            "name": "mine",
            "language": "de",
            "file": "mine.csv",
            "scale_min": None,
            "scale_max": None,
            **fields,
        }
        path = cache / "conf" / "norms" / "mine.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(body))
        return norms.find("mine")

    return make


@pytest.fixture
def served(monkeypatch):
    """Let downloads bring these bytes."""
    content: list[bytes] = []

    def retrieve(_address, *, known_hash, fname, path, downloader):
        Path(path).mkdir(exist_ok=True)
        (Path(path) / fname).write_bytes(content[0])

    monkeypatch.setattr("pooch.retrieve", retrieve)
    return content


def zipped(tmp_path: Path, **members: str) -> bytes:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return (tmp_path / "a.zip").read_bytes()


def test_file_placed_by_hand_is_looked_at_and_what_was_found_is_said(mine, cache, caplog):
    entry = mine()
    (cache / "data").mkdir(parents=True)
    (cache / "data" / "mine.csv").write_bytes(TABLE.encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        ratings = norms.load_ratings(entry)
    assert ratings.table.select("word", "valence", "arousal").rows() == [
        ("Glück", 2.8, 1.5),
        ("Mord", -2.9, 4.5),
    ]
    assert ratings.scales == {"valence": (-3, 3), "arousal": (1, 5)}
    for said in ("never checked", "decimal commas", "valence = 'Valenz'", "taken to be -3 to 3"):
        assert said in caplog.text


def test_known_scale_is_not_guessed(mine, cache):
    entry = mine(scale_min=-4, scale_max=4, arousal_min=1, arousal_max=7)
    (cache / "data").mkdir(parents=True)
    (cache / "data" / "mine.txt").write_text(TABLE)  # another ending will do while nothing was verified
    assert norms.load_ratings(entry).scales == {"valence": (-4, 4), "arousal": (1, 7)}


def test_confirmed_columns_stay_where_the_file_was_saved_in_another_format(mine, cache, tmp_path):
    mine(
        format="xlsx",
        file="mine.xlsx",
        columns={"word": "Wort", "arousal": "Valenz"},
        scale_min=-3,
        scale_max=3,
    )
    source = tmp_path / "export.csv"
    source.write_text(TABLE)
    path = norms.fetch("mine", source=source)
    assert path == cache / "data" / "mine.csv"
    assert norms.load_ratings(norms.find("mine")).table["arousal"].to_list() == [2.8, -2.9]


def test_format_is_told_by_content_where_the_name_does_not(mine, cache, served, tmp_path):
    pl.DataFrame({"Wort": ["Glück"], "Valenz": [2.5], "Erregung": [4.0]}).write_parquet(tmp_path / "t")
    served.append((tmp_path / "t").read_bytes())
    mine(file="mine.table", download={"mine.table": "https://example.org/1"})
    assert norms.fetch("mine") == cache / "data" / "mine.table"
    assert norms.load_ratings(norms.find("mine")).table["valence"].to_list() == [2.5]


def test_what_looking_cannot_tell_says_how_to_say_it(mine, cache):
    entry = mine()
    (cache / "data").mkdir(parents=True)
    (cache / "data" / "mine.csv").write_text("a,b\nx,1\ny,2\n")
    with pytest.raises(
        UserError, match=r"Neither valence.*emosae norms add .*mine.csv name=my_mine language=de"
    ):
        norms.load_ratings(entry)


@pytest.mark.parametrize("place", ["lists/mine.csv", "mine.csv"])
def test_member_of_an_archive_is_unpacked(mine, cache, served, tmp_path, place):
    served.append(zipped(tmp_path, **{"lists__mine.csv": TABLE, "lists__other.csv": "x"}))
    mine(download={"mine.csv": "https://example.org/a.zip"}, archive={"mine.csv": place})
    assert norms.fetch("mine").read_text() == TABLE
    assert [path.name for path in (cache / "data").iterdir()] == ["mine.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>log in</html>", r"not the archive with mine.csv in it .*by hand from http://page"),
        (None, r"not the archive with mine.csv in it .*it holds lists/other.csv"),
    ],
)
def test_what_is_no_such_archive_is_refused(mine, cache, served, tmp_path, content, message):
    served.append(content or zipped(tmp_path, lists__other_csv="x").replace(b"_csv", b".csv"))
    mine(
        download={"mine.csv": "https://example.org/a.zip"},
        archive={"mine.csv": "mine.csv"},
        url="http://page",
    )
    with pytest.raises(UserError, match=message):
        norms.fetch("mine")
    assert list((cache / "data").iterdir()) == []


def test_download_without_a_checksum_is_read_before_it_is_kept(mine, cache, served):
    served.append(b"<!DOCTYPE html><title>Not found</title>")
    mine(download={"mine.csv": "https://example.org/a"}, url="http://page")
    with pytest.raises(UserError, match=r"cannot be read as mine .*is a web page.*norms fetch mine FILE"):
        norms.fetch("mine")
    assert list((cache / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("anew", "given out through a form: fill it in at https://csea"),
        ("swow_en", "given out through a form: fill it in at https://smallworldofwords.org"),
        ("bawl_r", "comes from its authors on request: ask them"),
        ("yao2017", "No direct address is known for yao2017.csv"),
        ("imbir2015", "get it from its authors"),
    ],
)
def test_fetch_of_what_has_no_address_is_one_sentence_with_the_next_step(name, step, cache, monkeypatch):
    monkeypatch.delenv("EMOSAE_DATA", raising=False)
    with pytest.raises(UserError) as caught:
        norms.fetch(name)
    message = str(caught.value)
    assert step in message
    assert f"`emosae norms fetch {name} FILE`" in message
    assert str(cache / "data") in message
    assert len(re.findall(r"\. [A-Z]", message)) == 0


def test_associations_are_taken_but_are_no_ratings(cache, tmp_path, monkeypatch):
    monkeypatch.delenv("EMOSAE_DATA", raising=False)
    source = tmp_path / "download.csv"
    source.write_text('"id","cue","R1","R2","R3"\n1,joy,love,fun,smile\n')
    assert norms.fetch("swow_en", source=source).name == "SWOW-EN.R100.20180827.csv"
    with pytest.raises(UserError, match=r"word associations, not word ratings\. Make concepts"):
        norms.load_ratings(norms.find("swow_en"))
    with pytest.raises(UserError, match="word associations, not similarity"):
        norms.load_similarity(norms.find("swow_en"))
    source.write_text("word,valence\nx,1\n")
    with pytest.raises(UserError, match="with a column `cue`"):
        norms.fetch("swow_zh", source=source)


MAPPED = [
    name
    for name in SHIPPED
    if is_mapped(norms.find(name))
    and norms.find(name).kind is norms.Kind.ratings
    and norms.find(name).header_rows
]
CANNOT_BE_FOUND = {"moors2013"}  # V and A behind M, in repeated headers


@pytest.mark.parametrize("name", sorted(set(MAPPED) - CANNOT_BE_FOUND))
def test_looking_finds_the_columns_that_entries_name(name):
    """The headers of real files, among columns of English words and of groups of raters that must not be taken."""
    entry = norms.find(name)
    other = "German translation" if entry.language == "en" else "English translation"
    headers = [*dict.fromkeys(entry.columns.values()), other]
    texts = {entry.columns["word"], other}
    row = [f"w{i}" if header in texts else "5" for i, header in enumerate(headers)]
    sheet = Sheet(header=headers, rows=[row, row], lines=[2, 3], odd=[])
    found = guess_columns(sheet, ".", {}, Path("x"), entry.language)
    meant = {
        meaning: header
        for meaning, header in entry.columns.items()
        if meaning in {"word", "valence", "arousal", "dominance", "valence_sd", "arousal_sd"}
    }
    assert {meaning: found[meaning] for meaning in meant} == meant


@pytest.mark.parametrize(
    ("headers", "language", "expected"),
    [
        (
            ["English Word", "Valence", "Arousal", "Dominance", "Japanese-ja"],
            "ja",
            ["Japanese-ja", "Valence", "Arousal"],
        ),
        (["Word", "Wdnum", "ValMn", "ValSD", "AroMn", "AroSD"], "en", ["Word", "ValMn", "AroMn"]),
        (
            ["WORD", "WORD_CLASS", "EMO_MEAN", "EMO_STD", "AROUSAL_MEAN"],
            "de",
            ["WORD", "EMO_MEAN", "AROUSAL_MEAN"],
        ),
        (
            ["English Word", "Finnish Word", "English Valence mean", "Finnish Valence mean"],
            "fi",
            ["Finnish Word", "Finnish Valence mean", None],
        ),
        (["Ord", "Valens", "SD Valens", "Arousal"], "sv", ["Ord", "Valens", "Arousal"]),
        (
            ["Word", "Val_Female_Mean", "Val_Total_Mean", "Aro_Total_Mean"],
            "hr",
            ["Word", "Val_Total_Mean", "Aro_Total_Mean"],
        ),
    ],
)
def test_headers_of_files_that_are_looked_at(headers, language, expected):
    row = ["w" if "word" in header.lower() or header in {"Ord", "Japanese-ja"} else "5" for header in headers]
    found = guess_columns(Sheet(header=headers, rows=[row], lines=[2], odd=[]), ".", {}, Path("x"), language)
    assert [found.get(meaning) for meaning in ("word", "valence", "arousal")] == expected


def test_list_and_show_on_the_command_line(cache, capsys, monkeypatch):
    monkeypatch.delenv("EMOSAE_DATA", raising=False)
    assert main(["norms", "list", "language=zh", "verified=yes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["cvaw3", "phantom_zh", "yi2025"]
    assert max(map(len, lines)) < 160
    assert main(["norms", "list"]) == 0
    everything = capsys.readouterr().out.splitlines()
    assert len(everything) == len(SHIPPED) + 2  # a line each, the header, and the count
    assert main(["norms", "list", "colour=red"]) == 2
    assert "no column of `emosae norms list` 'colour'" in capsys.readouterr().err
    assert main(["norms", "show", "nawl_riegel2015"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "Riegel",
        "https://doi.org/10.3758/s13428-014-0552-1",
        "-3 to 3; arousal 1 to 5",
        "norms fetch nawl",
    ):
        assert part in shown


def test_the_documentation_lists_what_the_registry_holds(cache):
    page = (conf_dir().parent / "docs" / "norms.md").read_text(encoding="utf-8")
    assert markdown_table() in page
    assert all(f"| `{name}` |" in page for name in SHIPPED)
