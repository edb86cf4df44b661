"""Adding tables as people have them: odd delimiters, encodings, headers, words and scales."""

from __future__ import annotations

import zipfile
from pathlib import Path

import polars as pl
import pytest

from emosae.errors import UserError
from emosae.norms import Format, add, add_from_words, find, load_ratings
from emosae.norms import sheet as sheets
from emosae.norms.infer import find_header


@pytest.fixture
def table(tmp_path, cache):
    def make(content: str | bytes, name: str = "odd.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def read(name: str) -> list[tuple[str, float, float]]:
    return load_ratings(find(name)).table.select("word", "valence", "arousal").rows()


def test_semicolons_and_decimal_commas_in_latin_1(table):
    source = table("Wort;Valenz;Erregung\r\nGlück;8,25;6\r\nÜbel;1,5;7,75\r\n".encode("latin-1"))
    entry = add(source, language="de")
    assert (entry.delimiter, entry.decimal, entry.encoding) == (";", ",", "cp1252")
    assert read("odd") == [("Glück", 8.25, 6), ("Übel", 1.5, 7.75)]


def test_tabs_in_utf_16(table):
    add(table("слово\tвалентность\tarousal\nлюбовь\t8.5\t5\nзло\t1.5\t7\n".encode("utf-16")), language="ru")
    assert (find("odd").format, find("odd").encoding) == (Format.tsv, "utf-16")
    assert read("odd") == [("любовь", 8.5, 5), ("зло", 1.5, 7)]


def test_words_that_look_like_missing_values_capitals_repeats_and_several_words(table):
    text = (
        "word,valence,arousal\nNA,2,3\nnull,4,5\nNaN,6,7\nJoy,9,7\njoy,8,6\nold age,3,3\njoy,7,5\na|b,5,5\n"
    )
    add(table(text), language="en")
    assert read("odd") == [
        ("NA", 2, 3), ("null", 4, 5), ("NaN", 6, 7), ("Joy", 9, 7), ("joy", 7.5, 5.5), ("old age", 3, 3),
        ("a|b", 5, 5),
    ]  # fmt: skip
    ratings = load_ratings(find("odd"))
    assert ratings.duplicated.rows() == [("joy", 2)]
    assert ratings.table.filter("multiword")["word"].to_list() == ["old age"]


def test_null_of_a_statistics_program_is_no_value_and_said(table):
    text = "mot;valence;arousal\nami;4,5;2,0\nrien;#NULL!;3,0\npeur;1,5;4,5\n"
    entry = add(table(text), language="fr")
    ratings = load_ratings(find("odd"))
    assert ratings.dropped.rows() == [(3, "rien", "valence is '#NULL!', not a number")]
    assert "1 row dropped" in entry.notes


@pytest.mark.parametrize(
    ("above", "skip_rows", "header_rows", "header"),
    [
        ("", 0, 1, "word,valence,arousal"),
        ("Norms of 2013\n\nSee the article.\n", 3, 1, "word,valence,arousal"),
        ("Norms, revised,2013\n", 1, 1, "word,valence,arousal"),
        (",valence,arousal\n", 0, 1, "word,M,M"),
    ],
)
def test_header_under_titles_and_notes(table, above, skip_rows, header_rows, header):
    if header == "word,M,M":
        above, header_rows = "", 2
        header = ",valence,,arousal,\nword,M,SD,M,SD"
        rows = "love,8.5,1,5,2\nmurder,1.5,.5,6,2\n"
    else:
        rows = "love,8.5,5\nmurder,1.5,6\n"
    entry = add(table(f"{above}{header}\n{rows}"), language="en")
    assert (entry.skip_rows, entry.header_rows) == (skip_rows, header_rows)
    assert read("odd") == [("love", 8.5, 5), ("murder", 1.5, 6)]
    assert ("header in line" in entry.notes) == bool(above or header_rows == 2)


def test_two_line_header_keeps_deviations_apart(table):
    add(
        table("Words,,VAL,,,AROU,,\n,,M,SD,N,M,SD,N\nlove,x,8,1,30,5,2,31\nhate,y,2,1,30,6,2,31\n"),
        language="en",
    )
    assert find("odd").columns == {
        "word": "Words",
        "valence": "VAL M",
        "valence_sd": "VAL SD",
        "valence_n": "VAL N",
        "arousal": "AROU M",
        "arousal_sd": "AROU SD",
        "arousal_n": "AROU N",
    }
    assert load_ratings(find("odd")).table["arousal_n"].to_list() == [31, 31]


def test_a_first_row_without_ratings_is_no_header():
    rows = [(1, ["word", "valence", "arousal"]), (2, ["x", "NA", "NA"]), (3, ["y", "5", "6"])]
    assert find_header(rows) == (0, 1)


def test_table_without_a_header_is_asked_about(table):
    with pytest.raises(UserError, match=r"numbers are: '1', '2'. Say which they are: valence=HEADER"):
        add(table("love\t0.9\t0.5\nhate\t0.1\t0.8\n"), language="en")
    add_from_words(
        table("love\t0.9\t0.5\nhate\t0.1\t0.8\n"), {"language": "en", "valence": "1", "arousal": "2"}
    )
    assert find("odd").header_rows == 0
    assert read("odd") == [("love", 0.9, 0.5), ("hate", 0.1, 0.8)]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ("1.2 8.8", (1, 9)),
        ("1.2 6.8", (1, 7)),
        ("1.1 4.9", (1, 5)),
        ("-2.8 2.9", (-3, 3)),
        ("0.02 0.99", (0, 1)),
    ],
)
def test_scales_are_found_and_said(table, values, scale):
    low, high = values.split()
    entry = add(table(f"word,valence,arousal\na,{low},{high}\nb,{high},{low}\n"), language="en")
    assert (entry.scale_min, entry.scale_max) == scale
    assert f"Scale of valence taken to be {scale[0]} to {scale[1]}" in entry.notes


def test_scale_that_no_norms_use_is_asked_for(table):
    with pytest.raises(
        UserError, match=r"not a usual one: its values run from -200 to 300\. .*scale=MIN\.\.MAX"
    ):
        add(table("word,valence,arousal\na,-7,300\nb,300,-200\n"), language="en")


def test_web_page_in_place_of_the_file(table):
    with pytest.raises(UserError, match=r"is a web page: .* Open the address in a browser"):
        add(table("<!DOCTYPE html>\n<html><body>Please log in, then wait</body></html>"), language="en")


WORKBOOK = [
    ["Norms of 2013", None, None, None],
    [None, None, None, None],
    ["Word", "ValenceM", "ArousalM", "ValenceM"],
    ["NA", "1.5", "5", "9"],
    ["schön", "7", "3.25", "9"],
]


@pytest.fixture
def workbook(tmp_path, monkeypatch):
    """A workbook as polars hands it over, without a package that reads one."""
    path = tmp_path / "odd.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    frame = pl.DataFrame(WORKBOOK, schema={f"column_{i}": pl.String for i in range(4)}, orient="row")
    asked: list[int] = []

    def fake(_path, _form, sheet):
        asked.append(sheet)
        return frame

    monkeypatch.setattr(sheets, "_read_excel", fake)
    return path, asked


def test_workbook_with_a_title_and_a_repeated_header(workbook, cache):
    path, asked = workbook
    settings = {"language": "de", "valence": "ValenceM [1]", "sheet": "2", "scale": "1..9"}
    add_from_words(path, settings)
    assert (find("odd").skip_rows, find("odd").sheet, set(asked)) == (2, 2, {2})
    assert read("odd") == [("NA", 1.5, 5), ("schön", 7, 3.25)]
    assert cache.joinpath("data/odd.xlsx").read_bytes() == path.read_bytes()


def test_workbook_with_two_columns_of_one_name_is_asked_about(workbook, cache):
    with pytest.raises(
        UserError, match=r"2 columns have the header 'ValenceM' .*number it: 'ValenceM \[1\]'"
    ):
        add_from_words(workbook[0], {"language": "de", "valence": "ValenceM"})
    with pytest.raises(UserError, match=r"sheet must be a number from 1, got 'two'"):
        add_from_words(workbook[0], {"sheet": "two"})


@pytest.mark.parametrize("suffix", [".xlsx", ".xls"])
def test_workbook_without_a_package_names_the_next_step(tmp_path, cache, monkeypatch, suffix):
    path = tmp_path / f"odd{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    monkeypatch.setattr(sheets.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"not installed \(fastexcel\)\. .*CSV, or `pip install fastexcel`"):
        add(path, language="de")
