"""Reading word ratings: the traps that real files hold, on small files written here."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from emosae.errors import MissingFileError, UserError
from emosae.norms import Format, Kind, Multiword, NormEntry, load_ratings

COLUMNS = {"word": "word", "valence": "v", "arousal": "a"}


@pytest.fixture
def write(tmp_path: Path):
    """Write a file and make the entry that describes it."""

    def make(content: str | bytes, **fields) -> NormEntry:
        path = tmp_path / "ratings.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return NormEntry(
            **{"name": "mine", "language": "en", "columns": COLUMNS, "path": str(path), **fields}
        )

    return make


def words(ratings) -> list[str]:
    return ratings.table["word"].to_list()


def test_words_that_look_like_missing_values_stay(write):
    ratings = load_ratings(write("word,v,a\nNA,1,2\nnull,3,4\nnan,5,6\nTRUE,7,8\n#N/A,2,3\n-,4,5\n"))
    assert words(ratings) == ["NA", "null", "nan", "TRUE", "#N/A", "-"]
    assert ratings.table["valence"].to_list() == [1, 3, 5, 7, 2, 4]
    assert ratings.dropped.height == 0


def test_bom_crlf_blanks_in_cells_and_line_breaks_in_quotes(write):
    text = '\ufeffword,v,a,note\r\n 快樂 ,7.2 , 6.4,"two\r\nlines"\r\n謀殺,1.6 ,7.8\t,"a ""quote"""\r\n'
    ratings = load_ratings(write(text + '"one\r\nword",5,5,\r\n'))
    assert words(ratings) == ["快樂", "謀殺", "one\r\nword"]
    assert ratings.table["valence"].to_list() == [7.2, 1.6, 5]
    assert ratings.table["arousal"].to_list() == [6.4, 7.8, 5]


def test_rescaled_columns_are_linear_in_the_scale(write):
    entry = write("word,v,a\nlow,-3,0\nmid,0,2.5\nhigh,3,10\n", scale_min=-3, scale_max=3)
    ratings = load_ratings(replace(entry, arousal_min=0, arousal_max=10))
    assert ratings.table["valence_scaled"].to_list() == [-1, 0, 1]
    assert ratings.table["arousal_scaled"].to_list() == [-1, -0.5, 1]
    assert ratings.table["arousal"].to_list() == [0, 2.5, 10]
    assert ratings.scales == {"valence": (-3, 3), "arousal": (0, 10)}


def test_reversed_scale_is_turned_round_in_the_rescaled_column_only(write):
    ratings = load_ratings(write("word,v,a\ncalm,5,9\nwild,5,1\n", arousal_min=9, arousal_max=1))
    assert ratings.table["arousal_scaled"].to_list() == [-1, 1]
    assert ratings.table["arousal"].to_list() == [9, 1]


def test_repeated_words_are_averaged_and_reported(write):
    text = "word,v,s,n,a\nb,2,1,10,3\na,5,1,5,5\nb,4,7,30,6\nB,9,1,2,1\n"
    ratings = load_ratings(write(text, columns={**COLUMNS, "valence_sd": "s", "valence_n": "n"}))
    assert words(ratings) == ["b", "a", "B"]
    assert ratings.table["valence"].to_list() == [3, 5, 9]
    assert ratings.table["arousal"].to_list() == [4.5, 5, 1]
    assert ratings.table["valence_sd"].to_list() == [5, 1, 1]  # root of (1 + 49) / 2
    assert ratings.table["valence_n"].to_list() == [40, 5, 2]
    assert ratings.duplicated.to_dicts() == [{"word": "b", "rows": 2}]


def test_deviation_is_dropped_where_a_repeated_word_lacks_one(write):
    text = "word,v,s,a\nb,2,1,3\nb,4,,6\nc,4,2,6\n"
    ratings = load_ratings(write(text, columns={**COLUMNS, "valence_sd": "s"}))
    assert ratings.table["valence_sd"].to_list() == [None, 2]


def test_rows_without_a_number_are_dropped_with_line_and_reason(write):
    text = 'word,v,a\nok,1,2\n,3,4\n"gap\nped", ,4\nbad,#NULL!,4\nnone,5,NA\ninf,inf,2\n'
    text += "fine,5,5\nok2,3,3\nok3,1,1\nok4,1,1\n"
    ratings = load_ratings(write(text))
    assert words(ratings) == ["ok", "fine", "ok2", "ok3", "ok4"]
    assert ratings.dropped.rows() == [
        (3, "", "no word"),
        (4, "gap\nped", "valence is blank"),
        (6, "bad", "valence is '#NULL!', not a number"),
        (7, "none", "arousal is 'NA', not a number"),
        (8, "inf", "valence is 'inf', not a number"),
    ]
    assert ratings.n_rows == 10


def test_row_shifted_by_an_unquoted_comma_is_dropped_not_misread(write):
    ratings = load_ratings(write("word,v,a\nyes,5,5\nwell, well,2,3\nno,4,4\n"))
    assert words(ratings) == ["yes", "no"]
    assert ratings.dropped.rows() == [(3, "", "4 cells instead of 3")]


def test_optional_cells_become_null_and_are_counted(write):
    ratings = load_ratings(
        write("word,v,a,d\nx,1,2,NA\ny,2,3,4\nz,2,3,\n", columns={**COLUMNS, "dominance": "d"})
    )
    assert ratings.table["dominance"].to_list() == [None, 4, None]
    assert ratings.unread.rows() == [("dominance", 2, "NA")]
    assert ratings.dropped.height == 0


def test_decimal_commas_when_declared(write):
    entry = write(
        "word;v;a\nx;1,5;2\ny;−2,25;3\nz;1.5;3\n", delimiter=";", decimal=",", scale_min=-3, scale_max=3
    )
    ratings = load_ratings(entry)
    assert ratings.table["valence"].to_list() == [1.5, -2.25]
    assert ratings.dropped["word"].to_list() == ["z"]  # a point is no decimal sign in this file


def test_undeclared_decimal_commas_are_named(write):
    with pytest.raises(
        UserError, match=r"At least half of the rows .* 2 of 2 .*decimal commas: set norms.mine.decimal=','"
    ):
        load_ratings(write("word;v;a\nx;1,5;2\ny;2,5;3\n", delimiter=";"))


def test_codes_for_no_value_apply_to_numbers_only(write):
    ratings = load_ratings(write("word,v,a\n-99,5,5\nx,-99,5\ny,5,5\n", missing=["-99"]))
    assert words(ratings) == ["-99", "y"]


def test_entries_of_several_words_are_flagged_or_dropped(write):
    entry = write(
        "word,v,a\nalarm clock,5,5\napple (fruit),6,5\n더럽다(기분이),5,4\nclock,5,4\nwell-known,5,4\n"
    )
    kept = load_ratings(entry)
    assert kept.table["multiword"].to_list() == [True, True, True, False, False]
    dropped = load_ratings(replace(entry, multiword=Multiword.drop))
    assert words(dropped) == ["clock", "well-known"]
    assert dropped.dropped["reason"].to_list() == ["several words"] * 3


def test_groups_are_columns_and_a_table_of_their_own(write):
    text = "word,v,a,vm,sm,nm\nx,5,5,4,1,9\ny,5,5,NA,NA,1\n"
    groups = {"male_valence": "vm", "male_valence_sd": "sm", "male_valence_n": "nm"}
    ratings = load_ratings(write(text, columns={**COLUMNS, **groups}))
    assert ratings.groups == ["male"]
    assert ratings.group("male").rows(named=True) == [
        {"word": "x", "language": "en", "valence": 4, "valence_sd": 1, "valence_n": 9},
        {"word": "y", "language": "en", "valence": None, "valence_sd": None, "valence_n": 1},
    ]
    with pytest.raises(UserError, match=r"no group of raters in mine 'mail'\. Did you mean 'male'"):
        ratings.group("mail")


def test_ids_and_frequencies_come_along(write):
    text = "id,word,v,a,f\n07,x,1,2,80\n08,y,1,2,\n"
    ratings = load_ratings(write(text, columns={**COLUMNS, "concepticon_id": "id", "frequency": "f"}))
    assert ratings.table["concepticon_id"].to_list() == ["07", "08"]
    assert ratings.table["frequency"].to_list() == [80, None]


def test_stray_quotes_are_text_when_quote_is_empty(write):
    entry = write('word\tv\ta\n"un\t5\t5\ndeux"\t4\t4\n', format=Format.tsv, quote="")
    assert words(load_ratings(entry)) == ['"un', 'deux"']


def test_absent_column_names_those_that_are_there(write):
    with pytest.raises(
        UserError, match=r"No column has the header 'v' in .*ratings.csv \(mine\).*'word', 'val', 'a'"
    ):
        load_ratings(write("word,val,a\nx,1,2\n"))


def test_two_columns_of_one_header_are_refused_only_if_asked_for(write):
    assert words(load_ratings(write("word,v,a,z,z\nx,1,2,3,4\n"))) == ["x"]
    with pytest.raises(UserError, match="2 columns have the header 'v'"):
        load_ratings(write("word,v,v,a\nx,1,2,3\n"))


def test_rating_outside_the_scale_names_line_and_value(write):
    with pytest.raises(
        UserError, match=r"scale 1 to 9, but line 3 of .* gives arousal 55 for 'y' \(1 such rows\)"
    ):
        load_ratings(write("word,v,a\nx,1,2\ny,4,55\n"))


def test_group_mean_outside_the_scale_is_refused_too(write):
    entry = write("word,v,a,m\nx,1,2,0.5\n", columns={**COLUMNS, "male_valence": "m"})
    with pytest.raises(UserError, match=r"male_valence 0\.5"):
        load_ratings(entry)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold a table, and is empty"),
        ("word,v,a\n", "has only a header"),
        ("word,v,a\nx,,\ny,,\nz,1,1\n", "2 of 3 are not; the first is line 2: valence is blank"),
        ("word,v,a\n\xff,1,1\n".encode("latin-1"), "encoding 'utf-8', and is not"),
        ('word,v,a\n"' + "x" * 200_000 + ",1,1\n", "cannot be split into cells"),
    ],
)
def test_unusable_files_are_refused_in_a_sentence(write, content, message):
    with pytest.raises(UserError, match=message):
        load_ratings(write(content))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": {"word": "word"}}, "which column holds valence or arousal"),
        ({"columns": {"valence": "v"}}, "which column holds the words"),
        (
            {"columns": {**COLUMNS, "valenze": "v"}},
            "no column meaning in norms.mine.columns 'valenze'. Did you mean 'valence'",
        ),
        ({"scale_min": 9}, "two different ends, got 9 and 9"),
        ({"name": "my norms"}, "letters, digits and underscores, starting with a letter, got 'my norms'"),
        ({"decimal": ";"}, "decimal must be '.' or ',', got ';'"),
        (
            {"kind": Kind.similarity, "parts": {"raters": "a", "concepts": "b"}},
            "not word ratings. Use load_similarity",
        ),
        ({"encoding": "utf-99"}, "encoding 'utf-99'"),
    ],
)
def test_entries_that_contradict_themselves_are_refused(write, fields, message):
    with pytest.raises(UserError, match=message):
        load_ratings(write("word,v,a\nx,1,2\n", **fields))


def test_valence_alone_is_enough(write):
    ratings = load_ratings(write("word,v\nx,1\n", columns={"word": "word", "valence": "v"}))
    assert ratings.dimensions == ["valence"]
    assert "arousal" not in ratings.table.columns


def test_missing_file_says_where_and_what_next(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("EMOSAE_DATA", str(tmp_path / "nowhere"))
    entry = NormEntry(name="mine", columns=COLUMNS, file="there.csv")
    with pytest.raises(MissingFileError) as caught:
        load_ratings(entry)
    message = str(caught.value)
    for part in ("'there.csv'", "'mine'", f"{tmp_path / 'nowhere'} (no such folder)", str(cache / "data")):
        assert part in message
    for step in ("emosae norms fetch mine", "norms.mine.path=FILE", "EMOSAE_DATA"):
        assert step in message


def test_another_edition_is_read_with_a_warning_and_a_flag(write, caplog):
    entry = write("word,v,a\nx,1,2\n", file="ratings.csv")
    assert load_ratings(entry).checksum_ok is None
    with caplog.at_level(logging.WARNING):
        other = load_ratings(replace(entry, sha256={"ratings.csv": "0" * 64}))
    assert other.checksum_ok is False
    assert "not the file that the entry mine was checked against" in caplog.text
    right = hashlib.sha256(b"word,v,a\nx,1,2\n").hexdigest()
    assert load_ratings(replace(entry, sha256={"ratings.csv": right})).checksum_ok is True


def test_summary_says_what_was_lost(write):
    ratings = load_ratings(write("word,v,a\nx,1,2\nx,3,2\ny,,2\n"))
    assert ratings.summary() == "mine: 1 words (en) from 3 rows, 1 row dropped, 1 repeated word averaged"
