"""Reading similarity judgements: pairs by rater, and square matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from emosae.errors import MissingFileError, UserError
from emosae.norms import Format, Kind, Layout, NormEntry, load_similarity

PARTS = {"raters": "r.csv", "concepts": "c.csv", "attributes": "a.csv"}


@pytest.fixture
def folder(tmp_path: Path):
    """Three concepts, two raters, CRLF ends, one missing judgement and one that was filled in."""
    (tmp_path / "c.csv").write_bytes(b"joy\r\nfear\r\ncalm\r\n")
    (tmp_path / "r.csv").write_bytes(b"V1,V2,V3\r\n9,2.5,8\r\n7,NA,6\r\n")
    (tmp_path / "a.csv").write_bytes(b"arousal,valence\r\n0.7,1\r\n0.9,0\r\n0,0.8\r\n")
    return tmp_path


def pairs(folder: Path, **fields) -> NormEntry:
    return NormEntry(
        **{
            "name": "sim",
            "kind": Kind.similarity,
            "language": "en",
            "parts": PARTS,
            "path": str(folder),
            **fields,
        }
    )


def test_pairs_by_rater(folder):
    human = load_similarity(pairs(folder, step=1))
    assert human.concepts == ("joy", "fear", "calm")
    assert np.array_equal(human.raters, [[9, 2.5, 8], [7, np.nan, 6]], equal_nan=True)
    assert human.raters.dtype == np.float64
    assert human.mean.tolist() == [8, 2.5, 7]
    assert human.n_filled == 1
    assert human.scale == (1, 9)
    assert human.attributes.rows(named=True)[1] == {"concept": "fear", "arousal": 0.9, "valence": 0}


def test_pairs_are_in_the_order_of_scipy(folder):
    square = squareform(load_similarity(pairs(folder)).mean)
    assert square[0, 1] == 8  # joy-fear
    assert square[0, 2] == 2.5  # joy-calm
    assert square[1, 2] == 7  # fear-calm


def test_similarities_are_turned_round(folder):
    human = load_similarity(pairs(folder, dissimilarity=False))
    assert human.raters[0].tolist() == [1, 7.5, 2]


def test_rater_names_and_files_without_header_are_understood(folder):
    (folder / "r.csv").write_text("anna,9,2,8\nbert,7,1,6\n")
    assert load_similarity(pairs(folder)).raters.tolist() == [[9, 2, 8], [7, 1, 6]]


def test_attributes_with_names_are_put_into_order(folder):
    (folder / "a.csv").write_text("concept,valence\ncalm,0.8\njoy,1\nfear,0\n")
    assert load_similarity(pairs(folder)).attributes.rows() == [("joy", 1), ("fear", 0), ("calm", 0.8)]


def test_attributes_may_be_absent(folder):
    entry = pairs(folder, parts={"raters": "r.csv", "concepts": "c.csv"})
    assert load_similarity(entry).attributes.columns == ["concept"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("r.csv", "1,2\n3,4\n", r"a column for each of the 3 pairs of the 3 concepts in c.csv, and has 2"),
        ("r.csv", "1,2,10\n", r"scale 1 to 9, but row 1 gives 10 for fear-calm \(1 such values\)"),
        ("r.csv", "1,,3\n2,,4\n", r"judged by somebody, and joy-calm is not"),
        ("a.csv", "valence\n1\n2\n", r"a row for each of the 3 concepts, and has 2"),
        ("c.csv", "joy\njoy\ncalm\n", r"at least 3 concepts with different names"),
        ("c.csv", "", r"c.csv must hold a table, and is empty"),
    ],
)
def test_files_that_do_not_go_together_are_refused(folder, file, content, message):
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=message):
        load_similarity(pairs(folder))


def test_entry_without_parts_and_ratings_entry_are_refused(folder):
    with pytest.raises(UserError, match=r"sim.parts must name the file of the concepts"):
        load_similarity(pairs(folder, parts={"raters": "r.csv"}))
    with pytest.raises(UserError, match="Use load_ratings"):
        load_similarity(NormEntry(name="r", columns={"word": "w", "valence": "v"}))


def test_folder_without_a_part_is_missing(folder):
    (folder / "a.csv").unlink()
    with pytest.raises(
        MissingFileError, match=r"with r.csv, c.csv, a.csv of the data set 'sim'.*path=FOLDER"
    ):
        load_similarity(pairs(folder))


def square(tmp_path: Path, text: str, **fields) -> NormEntry:
    path = tmp_path / "square.csv"
    path.write_text(text)
    return NormEntry(
        **{
            "name": "sq",
            "kind": Kind.similarity,
            "layout": Layout.square,
            "path": str(path),
            "scale_min": 0,
            **fields,
        }
    )


def test_square_matrix_with_names_on_both_sides(tmp_path):
    human = load_similarity(square(tmp_path, ",a,b,c\na,0,1,2\nb,1,0,3\nc,2,3,0\n"))
    assert human.concepts == ("a", "b", "c")
    assert human.raters.tolist() == [[1, 2, 3]]
    assert human.mean.tolist() == [1, 2, 3]


def test_square_matrix_with_half_of_it_blank(tmp_path):
    human = load_similarity(square(tmp_path, "a\tb\tc\n0\t\t\n1\t\t\n2\t3\t\n", format=Format.tsv))
    assert human.mean.tolist() == [1, 2, 3]


def test_square_of_similarities(tmp_path):
    entry = square(tmp_path, "a,b,c\n9,1,2\n1,9,3\n2,3,9\n", dissimilarity=False)
    assert load_similarity(entry).mean.tolist() == [8, 7, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n0,1,2\n1,0,3\n2,4,0\n", r"symmetric, but b-c is 3 one way and 4 the other"),
        (",a,b,c\na,0,1,2\nc,1,0,3\nb,2,3,0\n", r"same concepts in the same order"),
        ("a,b,c\n0,1,2\n1,0,3\n", r"has 2 rows for 3 names"),
        ("a,b,c\n9,1,2\n1,9,3\n2,3,9\n", r"Set norms.sq.dissimilarity=false"),
    ],
)
def test_matrices_that_are_none_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load_similarity(square(tmp_path, text))
