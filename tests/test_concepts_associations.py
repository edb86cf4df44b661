"""Free-association norms: the layouts of SWOW, what is no response, and strengths against a second computation."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae.concepts.associations import Responses, read_associations
from emosae.errors import MissingFileError, UserError

# The columns of SWOW-EN.R100 as the authors' preprocessData.R writes them: R quotes text and writes NA bare.
R100 = """"","id","age","gender","nativeLanguage","country","education","created_at","cue","R1","R2","R3"
"1",1,30,"Fe","United States","US",4,"2018","joy","happy","smile",NA
"2",2,31,"Ma","United States","US",4,"2018","joy","Happy","NA","null"
"3",3,32,"Ma","Canada","CA",4,"2018","nan","grandmother","joy","nan"
"4",4,33,"Fe","Canada","CA",4,"2018","NA","sodium","joy",NA
"5",5,34,"Fe","Canada","CA",4,"2018","ecstasy",NA,NA,NA
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def pairs(table: pl.DataFrame) -> dict[tuple[str, str], tuple[int | None, int | None, float]]:
    return {row[:2]: row[2:] for row in table.iter_rows()}


def test_responses_as_r_writes_them(tmp_path: Path) -> None:
    found = read_associations(write(tmp_path, "R100.csv", R100), ["joy"], language="en")
    assert pairs(found.table) == {
        ("joy", "happy"): (2, 5, 0.4),
        ("joy", "smile"): (1, 5, 0.2),
        ("joy", "NA"): (1, 5, 0.2),  # quoted: the word
        ("joy", "null"): (1, 5, 0.2),
        ("nan", "joy"): (1, 3, 1 / 3),
        ("NA", "joy"): (1, 2, 0.5),
    }
    assert found.cues == {"joy", "nan", "na", "ecstasy"}
    assert (found.n_rows, found.n_missing, found.n_odd) == (5, 5, 0)
    first = read_associations(tmp_path / "R100.csv", ["joy"], language="en", responses=Responses.R1)
    assert pairs(first.table) == {("joy", "happy"): (2, 2, 1.0)}


def test_complete_files_hold_the_buttons_as_text(tmp_path: Path) -> None:
    text = (
        "id,cue,R1Raw,R2Raw,R3Raw,R1,R2,R3\n"
        "1,joy,Happy,x,x,happy,No more responses,No more responses\n"
        '2,joy,x,x,x,"""Unknown word",Unknown word,Unknown word\n'
        '3,joy,x,"a, b",x,unknown,happy,happy\n'
        "4,joy,too,many,cells,here,by,one,cell\n"
    )
    found = read_associations(write(tmp_path, "complete.csv", text), ["JOY"], language="en")
    # happy counts once for the participant who repeats it; `unknown` is a word
    assert pairs(found.table) == {("joy", "happy"): (2, 3, 2 / 3), ("joy", "unknown"): (1, 3, 1 / 3)}
    assert (found.n_rows, found.n_odd) == (4, 1)


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (("没有了", "空", "无"), ["没有了", "空", "无"]),  # an answer: emptiness
        (("空", "没有了", "没有了"), ["空"]),
        (("空", "无", "没有了"), ["空", "无"]),
        (("没有了", "没有了", "没有了"), []),
        (("不认识", "不认识", "不认识"), []),
        (("陌生", "不认识", "路人"), ["陌生", "不认识", "路人"]),  # an answer: not acquainted
        (("#Unknown", "#Unknown", "#Unknown"), []),
        (("空", "#Missing", "#Long"), ["空"]),
        (("没有了", "没有了", "空"), ["没有了", "空"]),
    ],
)
def test_the_chinese_buttons_are_phrases_too(
    row: tuple[str, str, str], kept: list[str], tmp_path: Path
) -> None:
    text = f"cue,R1Raw,R2Raw,R3Raw,R1,R2,R3\n消失,,,,{','.join(row)}\n"
    found = read_associations(write(tmp_path, "zh.csv", text), ["消失"], language="zh")
    assert sorted(found.table["response"]) == sorted(kept)
    assert set(found.table["n"]) <= {len(kept)}


def test_files_of_strengths(tmp_path: Path) -> None:
    # createAssoStrengthTable.R: tabs, no quotation marks, missing responses left out before
    text = 'cue\tresponse\tR1\tN\tR1.Strength\njoy\tNA\t10\t40\t.25\njoy\t"smile\t20\t40\t.5\nNA\tjoy\t3\t30\t.1\n'
    found = read_associations(write(tmp_path, "strength.R1.csv", text), ["joy"], language="en")
    assert found.responses is Responses.R1
    assert pairs(found.table) == {
        ("joy", "NA"): (10, 40, 0.25),
        ("joy", '"smile'): (20, 40, 0.5),
        ("NA", "joy"): (3, 30, 0.1),
    }
    # SWOW-ZH separates by commas; tags that were counted as responses leave the denominator too
    text = "cue,response,R123,N,R123.Strength\n快乐,开心,30,100,.3\n快乐,#Missing,40,100,.4\n"
    found = read_associations(write(tmp_path, "strength.R123.csv", text), ["快乐"], language="zh")
    assert pairs(found.table) == {("快乐", "开心"): (30, 60, 0.5)}
    text = "cue,response,R123.Strength\njoy,happy,0.3\njoy,glad,0.1\n"
    found = read_associations(write(tmp_path, "only.csv", text), ["joy"], language="en")
    assert pairs(found.table) == {("joy", "happy"): (None, None, 0.3), ("joy", "glad"): (None, None, 0.1)}


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="The file of associations is not at"):
        read_associations(tmp_path / "nowhere.csv", ["joy"], language="en")
    with pytest.raises(UserError, match=r"must have one column 'r3' .* its columns are: 'cue', 'r1', 'r2'"):
        read_associations(write(tmp_path, "two.csv", "cue,R1,R2\njoy,a,b\n"), ["joy"], language="en")
    text = "cue,response,R1,N,R1.Strength\njoy,happy,many,3,.1\n"
    path = write(tmp_path, "s.csv", text)
    with pytest.raises(UserError, match=r"column 'r1' of .* must hold numbers, got 'many'"):
        read_associations(path, ["joy"], language="en")
    with pytest.raises(UserError, match=r"counts R1, and R123 was asked for"):
        read_associations(path, ["joy"], language="en", responses=Responses.R123)


WORDS = st.sampled_from(
    ["joy", "Joy", "glad", "NA", "null", "nan", "None", "no", "a, b", 'say "x"', "开心", "None "]
)
CELLS = st.one_of(st.none(), WORDS)


@given(rows=st.lists(st.tuples(WORDS, CELLS, CELLS, CELLS), min_size=1, max_size=25))
def test_strengths_are_those_of_a_second_computation(
    rows: list[tuple[str | None, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["cue", "R1", "R2", "R3"])
    writer.writerows([["#Missing" if cell is None else cell for cell in row] for row in rows])
    path = write(tmp_path_factory.mktemp("swow"), "r.csv", text.getvalue())
    found = read_associations(path, ["joy"], language="en")

    # the authors' way: long format, missing ones out, count by cue and response, divide by the cue's sum
    frame = pl.DataFrame(rows, schema=dict.fromkeys(["cue", "R1", "R2", "R3"], pl.String), orient="row")
    long = (
        frame.with_row_index("row")
        .unpivot(index=["row", "cue"], value_name="response")
        .drop_nulls("response")
        .with_columns(pl.col("cue", "response").str.strip_chars().str.to_lowercase())
        .unique(["row", "response"])
    )
    n = pl.col("response").count().over("cue")
    expected = (
        long.with_columns(n=n)
        .group_by("cue", "response")
        .agg(pl.len().alias("count"), pl.col("n").first())
        .filter((pl.col("cue") == "joy") | (pl.col("response") == "joy"))
    )
    lower = {(cue.lower(), response.lower()): value for (cue, response), value in pairs(found.table).items()}
    assert lower == {(c, r): (k, total, k / total) for c, r, k, total in expected.iter_rows()}
    # what people answer to one cue adds up to one
    own = found.table.filter(pl.col("cue").str.to_lowercase() == "joy")["strength"]
    assert own.is_empty() or own.sum() == pytest.approx(1)
