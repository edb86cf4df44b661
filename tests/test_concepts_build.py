"""Concept sets from associations and tables: which words, with what weight, and the file that is written."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emosae import cli
from emosae.concepts import load_concepts
from emosae.concepts.build import build_from_associations
from emosae.concepts.config import ConceptsConfig, LanguageWords
from emosae.concepts.files import WordRow
from emosae.concepts.load import assemble
from emosae.concepts.rule import AssociationRule, Direction, Multiword, Shared
from emosae.concepts.save import save_concepts
from emosae.concepts.table import build_from_table
from emosae.errors import UserError

# cue, response, count, N: what a file of strengths holds
PAIRS = [
    ("joy", "happy", 30, 100),
    ("joy", "birthday cake", 20, 100),
    ("joy", "smile", 10, 100),
    ("joy", "null", 6, 100),
    ("joy", "glee", 1, 100),
    ("sad", "cry", 40, 100),
    ("sad", "happy", 20, 100),
    ("sad", "joy", 10, 100),
    ("happy", "joy", 50, 100),
    ("smile", "joy", 10, 100),
    ("elation", "Joy", 60, 100),
    ("tears", "sad", 20, 100),
    ("joy", "sad", 8, 100),
]
LABELS = {"en": {"joy": ["joy"], "sadness": ["sad"]}}


@pytest.fixture
def norms(tmp_path: Path) -> Path:
    rows = [f"{cue}\t{response}\t{count}\t{n}\t{count / n}" for cue, response, count, n in PAIRS]
    path = tmp_path / "strength.SWOW-EN.R123.csv"
    path.write_text("\n".join(["cue\tresponse\tR123\tN\tR123.Strength", *rows, ""]), encoding="utf-8")
    return path


def words(norms: Path, concept: str, **settings: object) -> dict[str, float]:
    rule = AssociationRule(**{"keep_label": False, "direction": Direction.forward} | settings)  # type: ignore[arg-type]
    built = build_from_associations({"en": norms}, LABELS, name="mine", rule=rule)
    own = built.concepts.words.filter(pl.col("concept") == concept)
    return {word: pytest.approx(weight) for word, weight in own.select("word", "weight").iter_rows()}


def test_direction(norms: Path) -> None:
    assert words(norms, "joy") == {"happy": 0.3, "smile": 0.1, "sad": 0.08, "null": 0.06}
    back = words(norms, "joy", direction=Direction.backward)
    assert back == {"elation": 0.6, "happy": 0.5, "sad": 0.1, "smile": 0.1}
    both = words(norms, "joy", direction=Direction.both)
    assert both == {"happy": 0.4, "elation": 0.3, "smile": 0.1, "sad": 0.09, "null": 0.03}
    assert list(both)[:2] == ["happy", "elation"]


def test_limits(norms: Path) -> None:
    assert "glee" in words(norms, "joy", min_count=1)
    assert list(words(norms, "joy", min_strength=0.1)) == ["happy", "smile"]
    assert list(words(norms, "joy", max_words=1)) == ["happy"]
    assert words(norms, "joy", multiword=Multiword.keep)["birthday cake"] == 0.2
    with pytest.raises(UserError, match=r"min_strength must be above 0 and at most 1, got 0"):
        AssociationRule(min_strength=0)
    with pytest.raises(UserError, match=r"max_words must be at least 1, got 0"):
        AssociationRule(max_words=0)


def test_a_name_is_a_word_of_its_concept_as_strong_as_the_strongest(norms: Path) -> None:
    kept = words(norms, "joy", keep_label=True, max_words=3)
    assert kept == {"joy": 0.3, "happy": 0.3, "smile": 0.1}
    labels = {"en": {"joy": ["joy", "happy"], "sadness": ["sad"]}}
    built = build_from_associations({"en": norms}, labels, name="mine")
    own = built.concepts.words.filter(pl.col("concept") == "joy")["word"].to_list()
    assert own[:2] == ["joy", "happy"]
    assert built.concepts.labels["en"] == {"joy": "joy", "sadness": "sad"}


def test_a_word_of_several_concepts(norms: Path) -> None:
    assert {"happy", "sad"} <= set(words(norms, "joy"))
    assert {"happy", "joy"} <= set(words(norms, "sadness"))
    alone = {"shared": Shared.strongest}
    # happy is tied to joy by .3 and to sad by .2; sad and joy name a concept
    assert list(words(norms, "joy", **alone)) == ["happy", "smile", "null"]
    assert list(words(norms, "sadness", **alone)) == ["cry"]


def test_everything_considered_is_listed(norms: Path) -> None:
    built = build_from_associations({"en": norms}, LABELS, name="mine")
    fates = dict(built.candidates.filter(pl.col("concept") == "joy").select("word", "fate").iter_rows())
    assert fates["birthday cake"] == "several words"
    assert fates["glee"] == "weak"
    row = built.candidates.filter((pl.col("concept") == "joy") & (pl.col("word") == "null")).row(
        0, named=True
    )
    assert (row["forward"], row["backward"]) == (0.06, None)  # null is no cue: nobody was asked
    assert any("1 responses of several words" in note for note in built.notes)


def test_concepts_without_words_are_refused(norms: Path) -> None:
    def build(labels: dict[str, list[str]], **settings: object) -> None:
        rule = AssociationRule(**settings)  # type: ignore[arg-type]
        build_from_associations({"en": norms}, {"en": labels}, name="mine", rule=rule)

    with pytest.raises(UserError, match=r"neither a cue nor a response 'hapy' .* nearest cue is 'happy'"):
        build({"joy": ["hapy"]})
    with pytest.raises(UserError, match=r"'joy' .* no word .* strongest, 'happy', has strength 0.4 .* weak"):
        build({"joy": ["joy"]}, min_strength=0.9)
    with pytest.raises(UserError, match=r"'Joy' stands for 'joy' and 'bliss'"):
        build({"joy": ["joy"], "bliss": ["Joy"]})
    with pytest.raises(UserError, match=r"need names in 'zh', got names in \['en'\]"):
        build_from_associations({"zh": norms}, LABELS, name="mine")


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("a.csv", "Emotion,Word,word n,lang\njoy,null,4,en\njoy,joie,4,fr\nfear,NA,2,en\nfear,peur,4,fr\n", "utf-8"),
        ("b.csv", "word;concept;Language;notes\nnull;joy;English;x\njoie;joy;french;\nNA;fear;en;\npeur;fear;fr;\n",
         "utf-8-sig"),
        ("c.tsv", "lang\tword\tcategory\nen\tnull\tjoy\nfr\tjoie\tjoy\nen\tNA\tfear\nfr\tpeur\tfear\n", "utf-16"),
    ],
)  # fmt: skip
def test_tables_are_found_out(name: str, text: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    built = build_from_table(path, name="mine").concepts
    found = {row[:3] for row in built.words.iter_rows()}
    assert found == {
        ("joy", "en", "null"),
        ("joy", "fr", "joie"),
        ("fear", "en", "NA"),
        ("fear", "fr", "peur"),
    }


def test_tables_that_are_not_clear_are_refused(tmp_path: Path) -> None:
    def build(text: str, **settings: object) -> pl.DataFrame:
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        return build_from_table(path, name="mine", **settings).concepts.words  # type: ignore[arg-type]

    with pytest.raises(UserError, match=r"no column of languages. .* language=en"):
        build("concept,word\njoy,glad\n")
    with pytest.raises(UserError, match=r"several columns that could be the word \('word 1', 'word 2'\)"):
        build("concept,word 1,word 2\njoy,glad,gay\n", language="en")
    with pytest.raises(UserError, match=r"no column that is named like the concept"):
        build("thing,word\njoy,glad\n", language="en")
    text = "thing,word,weight\njoy,glad,0.5\njoy,glad,2\n,x,1\njoy,bliss,1\njoy\n"
    found = build(text, language="en", columns={"concept": "thing"})
    assert found.rows() == [("joy", "en", "glad", 2.0), ("joy", "en", "bliss", 1.0)]
    with pytest.raises(
        UserError, match=r"no single column for the concept in .* 'thng'. Did you mean 'thing'"
    ):
        build(text, language="en", columns={"concept": "thng"})
    with pytest.raises(UserError, match=r"weight must be a number, got 'much' in row 1"):
        build("concept,word,weight\njoy,glad,much\n", language="en")
    with pytest.raises(UserError, match=r"'fear' has no words in 'fr'"):
        build("concept,word,lang\njoy,glad,en\njoy,joie,fr\nfear,dread,en\n")


LETTERS = st.characters(exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"])
PLAIN = st.one_of(
    st.sampled_from(
        ["no", "null", "~", "1e3", "yes: no", "- x", "#tag", "{a}", "'q'", "开心", "NA", "0x1F", "=", "a b"]
    ),
    st.text(LETTERS, min_size=1, max_size=8),
)
WORDS = PLAIN.filter(lambda word: word == word.strip() and word)


@given(
    sets=st.lists(st.lists(WORDS, min_size=1, max_size=5), min_size=1, max_size=4),
    weights=st.lists(st.floats(1e-6, 1e6), min_size=20, max_size=20),
    label=WORDS,
    synonyms=st.lists(WORDS, max_size=3),
)
def test_what_is_written_is_read_back(
    sets: list[list[str]],
    weights: list[float],
    label: str,
    synonyms: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from emosae.concepts.files import clean

    rows = {(f"c{at}", "en", clean(word)): weights[5 * at + n] for at, own in enumerate(sets)
            for n, word in enumerate(own)}  # fmt: skip
    labels = {"en": LanguageWords(labels={"c0": label})}
    made = assemble(
        ConceptsConfig(
            name="x", title=label, languages=labels, synonyms={"c0": synonyms} if synonyms else {}
        ),
        [WordRow(*k, w) for k, w in rows.items()],
        "x",
    )
    path = save_concepts(made, tmp_path_factory.mktemp("yaml") / "x.yaml")
    back = load_concepts(path)
    assert back.words.equals(made.words)
    assert (back.labels, back.name, back.title, back.kind) == (made.labels, "x", label, made.kind)
    assert back.synonyms == ({"c0": synonyms} if synonyms else {})


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["concepts", *words]) == 0
    return capsys.readouterr().out


def test_the_command_builds_checks_and_lists(
    norms: Path, cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = [
        "build",
        f"en={norms}",
        "labels.joy=joy,happiness",
        "labels.sadness=sad",
        "name=swow",
        "max_words=4",
    ]
    shown = run(made, capsys)
    assert str(cache / "conf" / "concepts" / "swow.yaml") in shown
    assert "happiness" in shown  # a name that is no cue is said
    assert load_concepts("swow").concepts == ["joy", "sadness"]
    assert "swow" in run(["list"], capsys)
    assert "happy" in run(["check", "swow"], capsys)
    assert cli.main(["concepts", *made]) == 2
    assert "overwrite=true" in capsys.readouterr().err
    run([*made, "overwrite=true"], capsys)
    table = tmp_path / "mine.csv"
    table.write_text("concept,word\njoy,glad\n", encoding="utf-8")
    run(["build", str(table), "language=en", f"output={tmp_path / 'out.yaml'}"], capsys)
    assert load_concepts(tmp_path / "out.yaml").concepts == ["joy"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build"], "needs one table of words"),
        (["build", "en=a.csv", "b.csv"], "needs one table of words"),
        (["build", "b.csv", "name=ekman6"], "'ekman6' is one that emosae ships"),
        (["build", "b.csv", "name=a/b"], "letters, digits"),
        (["build", "en=NORMS", "concepts=ekman6", "direction=sideways"], "no direction 'sideways'"),
        (["build", "en=NORMS", "concepts=ekman6", "min_cuont=3"], "Did you mean 'min_count'"),
        (["build", "en=NORMS", "concepts=ekman6", "min_count=few"], "min_count must be a number"),
        (["build", "en=NORMS", "zh=NORMS", "labels.joy=x"], "Write labels.en.joy=WORD"),
        (["build", "ko=NORMS", "concepts=ekman6"], "no language 'ko'"),
        (["check"], "needs one set"),
        (["check", "ekman7"], "Did you mean 'ekman6'"),
        (["check", "ekman6", "netural=none"], "Did you mean 'neutral'"),
        (["align", "ekman6"], "needs a set and human data"),
        (["list", "x"], "takes nothing more"),
    ],
)
def test_mistakes_on_the_command_line(
    words: list[str], said: str, norms: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["concepts", *(word.replace("NORMS", str(norms)) for word in words)]) == 2
    assert said in capsys.readouterr().err
