"""Adding a table of one's own: what is found out by looking, and what is asked for."""

from __future__ import annotations

import csv
import math
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import given, settings

from emosae.cli import main
from emosae.errors import MissingFileError, UserError
from emosae.norms import (
    Format,
    NormEntry,
    Script,
    add,
    add_from_words,
    find,
    list_entries,
    load_ratings,
    remove,
    show,
)
from emosae.norms.headers import header_tokens
from emosae.norms.infer import guess_scale
from emosae.norms.intake import entry_yaml
from emosae.norms.scripts import guess_language

SIMPLE = "word,valence,arousal\nlove,8.5,5\nmurder,1.5,6\n"


@pytest.fixture
def table(tmp_path, cache):
    """Write a table into a folder of its own."""

    def make(content: str | bytes, name: str = "my table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_add_copies_writes_and_registers(table, cache):
    source = table(SIMPLE)
    entry = add(source, language="en")
    assert (entry.name, entry.file, entry.n_words, entry.verified) == ("my_table", "my_table.csv", 2, True)
    assert (cache / "data" / "my_table.csv").read_bytes() == source.read_bytes()
    assert find("my_table") == entry
    source.unlink()
    ratings = load_ratings(find("my_table"))
    assert ratings.table.select("word", "valence", "arousal").rows() == [("love", 8.5, 5), ("murder", 1.5, 6)]
    assert ratings.checksum_ok is True
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == [
        "my_table.csv",
        "my_table.yaml",
    ]


def test_what_was_added_is_ones_own_and_can_go_again(table, cache, capsys):
    source = table(SIMPLE)
    add(source, language="en")
    assert list_entries().filter(name="my_table")["verified"].to_list() == ["own"]
    assert dict(show("my_table"))["verified"].startswith("your own: ")
    with pytest.raises(
        UserError, match=r"already .* or take it out first with `emosae norms remove my_table`"
    ):
        add(source, language="en")
    assert main(["norms", "remove", "my_table"]) == 0
    assert "my_table: removed " in capsys.readouterr().out
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert source.is_file()
    add(source, language="en")  # the name is free again


def test_a_data_set_of_emosaes_stays(cache):
    with pytest.raises(UserError, match=r"'warriner' belongs to emosae and stays"):
        remove("warriner")
    with pytest.raises(UserError, match=r"no data set 'wariner'. Did you mean 'warriner'"):
        remove("wariner")
    assert find("warriner").name == "warriner"


def test_notes_say_what_was_found_out(table):
    entry, notes = add_from_words(table("詞;效價;喚醒度\n快樂;7,5;6,5\n謀殺;1,5;7,5\n"), {"name": "tw"})
    assert notes == [
        "Read as utf-8, cells separated by semicolons, decimal commas.",
        "Columns: word = '詞', valence = '效價', arousal = '喚醒度'.",
        "Scale of valence taken to be 1 to 9: values 1.5 to 7.5.",
        "Scale of arousal taken to be 1 to 9: values 6.5 to 7.5.",
        "Language taken to be zh by traditional Chinese characters.",
        "2 words (zh) from 2 rows, no row dropped, no word repeated.",
    ]
    assert (entry.language, entry.script) == ("zh", Script.traditional)
    assert all(note in entry.notes for note in notes)


def test_what_is_given_is_not_guessed(table):
    source = table("id,english,x,y,valence\n1,love,50,20,3\n2,hate,10,80,4\n")
    settings = {"name": "own", "valence": "x", "columns.arousal": "y", "scale": "0..100", "language": "sco"}
    entry, notes = add_from_words(source, settings)
    assert entry.columns == {"word": "english", "valence": "x", "arousal": "y"}
    assert (entry.scale_min, entry.scale_max, entry.language) == (0, 100, "sco")
    assert not any("taken to be" in note for note in notes)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (
            "Word,V.Mean.Sum,V.SD.Sum,V.Rat.Sum,V.Mean.M,A.Mean.M,A.Mean.Sum",
            ["Word", "V.Mean.Sum", "V.SD.Sum", "V.Rat.Sum", "A.Mean.Sum"],
        ),
        (
            "Word,ValenceMean,ValenceSD,n_valence,N,arousal rating,other",
            ["Word", "ValenceMean", "ValenceSD", "n_valence", "arousal rating"],
        ),
        (
            "Palabra,VAL_M,VAL_SD,x1,VAL_N,ARO_M,x2",
            ["Palabra", "VAL_M", "VAL_SD", "VAL_N", "ARO_M"],
        ),
    ],
)
def test_headers_are_understood(table, header, columns):
    source = table(f"{header}\nlove,8,1,9,8,5,5\nmurder,1,2,8,2,6,6\n")
    entry = add(source, language="en", name="h")
    assert list(entry.columns) == ["word", "valence", "valence_sd", "valence_n", "arousal"]
    assert list(entry.columns.values()) == columns


def test_words_are_told_from_labels_and_definitions(table):
    rows = "".join(f"noun,w{i},{'a long definition of it ' * 3}{i},{i % 7 + 1},3\n" for i in range(20))
    assert add(table(f"x,y,z,valence,arousal\n{rows}"), language="en", name="t").columns["word"] == "y"


def test_named_word_column_wins_over_shorter_codes_and_ids_are_recognised(table):
    header = "code,CONCEPTICON_ID,Item,Frequency,valence,arousal"
    source = table(f"{header}\nA1,10,firewood,80,5,5\nA2,100,faithful,90,6,6\n")
    columns = add(source, language="en", name="coded").columns
    assert (columns["word"], columns["concepticon_id"], columns["frequency"]) == (
        "Item",
        "CONCEPTICON_ID",
        "Frequency",
    )


def test_index_column_without_a_header_is_no_word_and_a_header_may_be_blank(table):
    indexed = add(table(",word,valence,arousal\n1,a,5,5\n2,b,6,6\n"), language="en", name="indexed")
    assert indexed.columns["word"] == "word"
    named_rows = add(table(",valence,arousal\na,5,5\nb,6,6\n"), language="en", name="named_rows")
    assert named_rows.columns["word"] == ""
    assert load_ratings(find("named_rows")).table["word"].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.2, 8.4], (1, 9)),
        ([1.2, 6.9], (1, 7)),
        ([1.2, 4.9], (1, 5)),
        ([0.01, 0.98], (0, 1)),
        ([-2.9, 2.7], (-3, 3)),
        ([-0.9, 1.0], (-1, 1)),
        ([0.0, 8.5], (0, 9)),
        ([3.0, 99.0], (0, 100)),
        ([5000.0], None),
        ([], None),
    ],
)
def test_scale_is_the_tightest_usual_one(values, scale):
    assert guess_scale(pl.Series(values, dtype=pl.Float64)) == scale


def test_dimensions_with_scales_of_their_own(table):
    source = table("word,valence,arousal\na,-2.8,1.1\nb,2.5,4.8\n")
    entry = add(source, language="de", name="bawl")
    assert (entry.scale_min, entry.scale_max, entry.arousal_min, entry.arousal_max) == (-3, 3, 1, 5)
    assert load_ratings(find("bawl")).scales == {"valence": (-3, 3), "arousal": (1, 5)}


@pytest.mark.parametrize(
    ("words", "header", "expected"),
    [
        (["快乐", "谋杀"], "w", ("zh", Script.simplified)),
        (["快樂", "謀殺"], "w", ("zh", Script.traditional)),
        (["大小", "人"], "w", ("zh", None)),
        (["사랑", "살인"], "w", ("ko", None)),
        (["愛", "殺す", "さくら"], "w", ("ja", None)),
        (["αγάπη"], "w", ("el", None)),
        (["love", "murder"], "ENGLISH", ("en", None)),
        (["love", "murder"], "word", ("", None)),
        (["любовь"], "word", ("", None)),
        (["123", ""], "word", ("", None)),
    ],
)
def test_language_by_script(words, header, expected):
    assert guess_language(words, header)[:2] == expected


@pytest.mark.parametrize(
    ("encoding", "language", "words"),
    [
        ("utf-8-sig", None, "사랑 살인 기쁨 슬픔"),
        ("utf-16", None, "사랑 살인 기쁨 슬픔"),
        ("cp949", None, "사랑 살인 기쁨 슬픔 분노 공포 놀람 행복 평화 전쟁 죽음 생명 희망 절망 가족 친구"),
        ("big5", None, "快樂 謀殺 悲傷 憤怒 恐懼 驚訝 幸福 和平 戰爭 死亡 生命 希望 絕望 家庭 朋友 愛情"),
        ("gb18030", None, "快乐 谋杀 悲伤 愤怒 恐惧 惊讶 幸福 和平 战争 死亡 生命 希望 绝望 家庭 朋友 爱情"),
        ("cp1252", "es", "niño corazón canción pájaro"),
        ("cp1250", "pl", "miłość śmierć żaba źródło"),
        ("cp1251", "ru", "любовь смерть радость"),
    ],
)
def test_encodings(table, encoding, language, words):
    rows = "".join(f"{word},5.5,3.5\n" for word in words.split())
    entry = add(table(f"word,valence,arousal\n{rows}".encode(encoding)), language=language, name="coded")
    assert load_ratings(find("coded")).table["word"].to_list() == words.split()
    assert ("a guess" in entry.notes) == (not encoding.startswith("utf"))


def test_one_byte_encoding_without_a_language_is_asked_for(table):
    source = table("word,valence,arousal\nniño,5,5\naño,6,6\n".encode("cp1252"))
    with pytest.raises(
        UserError, match=r"must be text in UTF-8, and is not. .*encoding=NAME .*language=CODE"
    ):
        add(source)
    assert add(source, language="es", encoding="latin-1").encoding == "latin-1"
    assert load_ratings(find("my_table")).table["word"].to_list() == ["niño", "año"]


def test_tabs_bars_and_stray_quotes(table):
    text = 'word\tvalence\tarousal\n"un\t5\t5\ndeux\t4\t4\ntrois"\t3\t3\n'
    stray = add(table(text, "a.tsv"), language="fr")
    assert (stray.format, stray.quote) == (Format.tsv, "")
    assert load_ratings(find("a")).table["word"].to_list() == ['"un', "deux", 'trois"']
    bars = add(table("word|valence|arousal\na;b,c|5|5\nd|4|4\n", "b.csv"), language="fr")
    assert (bars.delimiter, load_ratings(find("b")).table["word"].to_list()) == ("|", ["a;b,c", "d"])


def test_parquet(table, tmp_path):
    words = ["NA", "null", "schön", "5", "a, b"]
    frame = pl.DataFrame({"Wort": words, "Valenz": [1.5, 2, 3, 6.9, 5], "Erregung": [1, 2, 3, 4, None]})
    frame.write_parquet(tmp_path / "t.parquet")
    add(tmp_path / "t.parquet", language="de")
    ratings = load_ratings(find("t"))
    assert ratings.table["word"].to_list() == words[:4]
    assert ratings.dropped.rows() == [(6, "a, b", "arousal is blank")]


def test_excel_without_an_engine_is_a_sentence(table, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as workbook:
        workbook.writestr("x", "y")
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(UserError, match=r"not installed \(fastexcel\). .*or `pip install fastexcel`"):
        add(tmp_path / "t.xlsx")
    with pytest.raises(UserError, match="cannot be read as xlsx"):
        add(table(SIMPLE, "u.xlsx"))
    with pytest.raises(UserError, match="cannot be read as parquet"):
        add(table(SIMPLE, "u.parquet"))


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (SIMPLE, {}, r"language of .* cannot be told .*\(Latin letters.*language=en"),
        (SIMPLE, {"nme": "x"}, r"no setting of `emosae norms add` 'nme'. Did you mean 'name'"),
        (SIMPLE, {"name": "my norms"}, r"got 'my norms'. Choose one with name=NAME"),
        (SIMPLE, {"name": "warriner"}, r"There is a data set 'warriner' already .*name=NAME"),
        (
            SIMPLE,
            {"language": "en", "scale": "nine"},
            r"scale must be its two ends, got 'nine'. Write scale=1..9",
        ),
        (SIMPLE, {"language": "en", "valence": "pleasure"}, r"No column has the header 'pleasure'"),
        (SIMPLE, {"language": "en", "scale": "1..7"}, r"gives valence 8.5 for 'love'"),
        (
            "word,a1,b1\nx,1,2\n",
            {"language": "en"},
            r"Neither valence nor arousal .* numbers are: 'a1', 'b1'. .*valence=HEADER",
        ),
        ("valence,arousal\n1,2\n", {"language": "en"}, r"must have a column of words. .*word=HEADER"),
        (
            "word,valence,arousal\nx,5000,2\n",
            {"language": "en"},
            r"run from 2 to 5000. Say which it is: scale=MIN..MAX",
        ),
        ("just text\nno table\n", {}, r"at least two columns"),
        (b"\x00\x01\x02PNG", {}, r"must be a table of text, and is not"),
        ("", {}, r"at least two columns"),
    ],
)
def test_what_cannot_be_found_out_is_asked_for(table, cache, content, settings, message):
    source = table(content)
    with pytest.raises(UserError, match=message):
        add_from_words(source, settings)
    assert not cache.exists()


def test_absent_file(cache, tmp_path):
    with pytest.raises(MissingFileError, match="The table of ratings is not at"):
        add(tmp_path / "absent.csv")


def test_nothing_is_overwritten(table, cache):
    add(table(SIMPLE), language="en", name="mine")
    before = (cache / "data" / "mine.csv").read_bytes()
    other = table(SIMPLE + "joy,8,7\n")
    with pytest.raises(UserError, match="There is a data set 'mine' already"):
        add(other, language="en", name="mine")
    (cache / "conf" / "norms" / "mine.yaml").unlink()
    with pytest.raises(UserError, match="is in the way: another file is there"):
        add(other, language="en", name="mine")
    assert (cache / "data" / "mine.csv").read_bytes() == before
    assert not (cache / "conf" / "norms" / "mine.yaml").exists()


def test_failed_write_leaves_no_entry(table, cache):
    full = mock.patch("emosae.norms.intake.os.replace", side_effect=OSError("disk full"))
    with full, pytest.raises(OSError, match="disk full"):
        add(table(SIMPLE), language="en", name="mine")
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_yaml_keeps_words_that_yaml_and_omegaconf_would_read_otherwise(table):
    source = table("no,${v},a\\${b},arousal\nx,5,4,5\ny,6,7,6\n")
    columns = {"word": "no", "valence": "${v}", "dominance": "a\\${b}"}
    entry = add(source, language="no", columns=columns, name="yaml")
    assert find("yaml") == entry
    assert find("yaml").language == "no"
    assert load_ratings(find("yaml")).table["dominance"].to_list() == [4, 7]


def test_entry_yaml_says_only_what_differs():
    text = entry_yaml(NormEntry(name="x", columns={"word": "w", "valence": "v"}))
    assert text == "# @package norms.x\nname: x\nkind: ratings\ncolumns:\n  word: w\n  valence: v\n"


def test_header_tokens_split_as_people_read():
    assert header_tokens("ENGLISH_VALENCE_MEAN") == ["english", "valence", "mean"]
    assert header_tokens("V.Rat.Sum") == ["v", "rat", "sum"]


SPECIAL = "\n\t\",;|'\\"
NASTY = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cf"), include_characters=SPECIAL), min_size=1, max_size=12
)
RATED = st.tuples(NASTY, st.floats(1, 9), st.floats(1, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(RATED, min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_round_trip_of_nasty_words(rows, delimiter):
    known = ["NA", "null", "-", "#NULL!", "a,b", 'say "no"', "two\nlines"]
    rows = [*rows, *((word, 1.0 + i, 9.0 - i) for i, word in enumerate(known))]
    expected: dict[str, list[tuple[float, float]]] = {}
    for word, valence, arousal in rows:
        if word.strip():
            expected.setdefault(word.strip(), []).append((valence, arousal))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"EMOSAE_CACHE": f"{folder}/cache"}),
    ):
        path = Path(folder) / "nasty.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([("word", "valence", "arousal"), *rows])
        entry = add(path, language="en", scale=(1, 9))
        ratings = load_ratings(find("nasty"))
    assert entry.columns == {"word": "word", "valence": "valence", "arousal": "arousal"}
    assert ratings.table["word"].to_list() == list(expected)
    for word, valence, arousal in ratings.table.select("word", "valence", "arousal").rows():
        n = len(expected[word])
        assert math.isclose(valence, math.fsum(v for v, _ in expected[word]) / n, rel_tol=1e-12)
        assert math.isclose(arousal, math.fsum(a for _, a in expected[word]) / n, rel_tol=1e-12)
    assert len(ratings) + ratings.dropped.height == len(rows) - sum(
        len(twice) - 1 for twice in expected.values()
    )


def test_a_column_that_is_taken_for_nothing_is_said(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "mine.csv"
    words = ["joy", "table", "grief", "party", "river", "anger", "sleep"]
    rows = [f"{word},{1 + i},{7 - i}" for i, word in enumerate(words)]
    file.write_text("\n".join(["word,pleasantness,excitement", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="must be a code of ISO 639 such as en, zh or de, got 'german'"):
        add_from_words(file, {"language": "german"})
    _, found = add_from_words(file, {"language": "en"})
    assert (
        "Not used: 'excitement'. If one of them is arousal or dominance, say so: arousal='excitement'."
        in found
    )
