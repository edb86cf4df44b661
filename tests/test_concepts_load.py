"""Concept sets from files and configurations, and what is said when they are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest
from omegaconf import OmegaConf

from emosae.concepts import (
    ConceptsConfig,
    ConceptSet,
    LanguageWords,
    available_concepts,
    from_config,
    load_concepts,
)
from emosae.errors import MissingFileError, UserError
from emosae.paths import conf_dir

TWO = """
languages:
  en:
    labels: {joy: Joy}
    words: {joy: [glad, happy], fear: [afraid, glad]}
    weights: {joy: {happy: 0.5}}
  fr:
    words: {joy: [heureux, "e\u0301panoui "], fear: [peur]}
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def two(tmp_path: Path) -> ConceptSet:
    return load_concepts(write(tmp_path, TWO))


def test_yaml(two: ConceptSet) -> None:
    assert two.name == two.title == "mine"
    assert two.concepts == ["joy", "fear"]
    assert two.languages == ["en", "fr"]
    assert two.words.rows() == [
        ("joy", "en", "glad", 1.0),
        ("joy", "en", "happy", 0.5),
        ("fear", "en", "afraid", 1.0),
        ("fear", "en", "glad", 1.0),
        ("joy", "fr", "heureux", 1.0),
        ("joy", "fr", "\u00e9panoui", 1.0),  # composed, without the space
        ("fear", "fr", "peur", 1.0),
    ]
    assert two.labels == {"en": {"joy": "Joy", "fear": "fear"}, "fr": {"joy": "joy", "fear": "fear"}}


def test_ambiguous_and_summary(two: ConceptSet) -> None:
    assert two.ambiguous().rows() == [("en", "glad", ["joy", "fear"])]
    assert two.summary().rows() == [
        ("en", "joy", "Joy", 2, 1, ["fear"]),
        ("en", "fear", "fear", 2, 1, ["joy"]),
        ("fr", "joy", "joy", 2, 0, []),
        ("fr", "fear", "fear", 1, 0, []),
    ]


def test_restrict(two: ConceptSet) -> None:
    small = two.restrict("fr", ["fear"])
    assert small.words.rows() == [("fear", "fr", "peur", 1.0)]
    assert small.labels == {"fr": {"fear": "fear"}}
    same = two.restrict(concepts=["fear", "joy"])
    assert same.concepts == list(same.labels["en"]) == ["joy", "fear"]
    assert two.restrict().words.equals(two.words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"languages": ["de"]}, r"no language 'de'.*There are: en, fr.*set 'mine'"),
        ({"languages": "en-US"}, r"no language 'en-US'\. Did you mean 'en'\?"),
        ({"concepts": ["joi"]}, r"no concept 'joi'\. Did you mean 'joy'\?"),
        ({"concepts": []}, r"At least one concept must be chosen, got none\. There are: joy, fear"),
    ],
)
def test_restrict_to_what_is_not_there(two: ConceptSet, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        two.restrict(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["concept,word,language,weight", "Concept ; word; LANGUAGE;weight"])
def test_table(tmp_path: Path, head: str) -> None:
    mark = ";" if ";" in head else ","
    rows = [
        "joy,glad,en,2",
        "joy, 高兴 ,zh,1",
        "",
        "fear,null,en,0.5",
        "fear,NA,zh,1",
        'fear,"up, in arms",en,1',
    ]
    lines = [head, *(row.replace(",", mark) if '"' not in row else row for row in rows)]
    if mark == ";":
        lines[-1] = 'fear;"up, in arms";en;1'
    loaded = load_concepts(write(tmp_path, "\ufeff" + "\r\n".join(lines), "words.csv"))
    assert loaded.name == "words"
    assert loaded.words.rows() == [
        ("joy", "en", "glad", 2.0),
        ("joy", "zh", "高兴", 1.0),
        ("fear", "en", "null", 0.5),
        ("fear", "zh", "NA", 1.0),
        ("fear", "en", "up, in arms", 1.0),
    ]


def test_table_without_language(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "word\tconcept\nFreude\tgreat_joy", "words.tsv")
    assert load_concepts(path, language="de").labels == {"de": {"great_joy": "great joy"}}
    assert not caplog.records
    assert load_concepts(path).languages == ["en"]
    assert "taken as English" in caplog.text


LAYOUT = r"See conf/concepts/ekman6\.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "languages: {en: {words: {joy: [glad, glad]}}}",
            r"'glad' stands twice under 'joy' in 'en'.*Remove one",
        ),
        ('languages: {en: {words: {joy: [glad, " glad"]}}}', r"'glad' stands twice"),
        ("languages: {en: {words: {joy: []}}}", r"The concept 'joy' has no words in 'en'.*Give it some"),
        ("languages: {en: {words: {joy: }}}", r"The concept 'joy' has no words in 'en'"),
        (
            "languages: {en: {words: {joy: [glad], fear: [afraid]}}, fr: {words: {joy: [heureux]}}}",
            r"The concept 'fear' has no words in 'fr'",
        ),
        ("languages: {en: {words: {joy: [glad]}}, fr: {words: {}}}", r"The language 'fr' .*has no words"),
        ("languages: {en: {words: {joy: [glad], no: [never]}}}", r"the words of False must be a list"),
        (
            "languages: {no: {words: {joy: [glede]}}}",
            r"False under 'languages' must be a language in quotation",
        ),
        ("languages: {en: {words: {joy: [yes]}}}", r"must be text, got True under 'joy'.*write \"no\""),
        ('languages: {en: {words: {joy: [" "]}}}', r"must be text on one line, got ''"),
        ('languages: {en: {words: {joy: ["a\\nb"]}}}', r"must be text on one line, got 'a\\nb'"),
        (
            "languages: {en: {words: {joy: [glad]}, weights: {joy: {glad: 0}}}}",
            r"A weight must be a number above 0, got 0 for 'glad'.*0\.5",
        ),
        (
            "languages: {en: {words: {joy: [glad]}, weights: {joy: {glad: -1}}}}",
            r"above 0, got -1 for 'glad'",
        ),
        ("languages: {en: {words: {joy: [glad]}, weights: {joy: {glad: .inf}}}}", r"above 0, got inf"),
        (
            "languages: {en: {words: {joy: [glad]}, weights: {joy: {glee: 1}}}}",
            r"no word with a weight.*'glee'.*glad",
        ),
        (
            "languages: {en: {words: {joy: [glad]}, weights: {joi: {glad: 1}}}}",
            r"no concept with weights.*'joi'.*'joy'",
        ),
        (
            "languages: {en: {words: {joy: [glad]}, labels: {joi: Joy}}}",
            r"no concept with labels.*Did you mean 'joy'",
        ),
        (
            "languages: {en: {words: {joy: [glad]}, weights: {joy: {glad: heavy}}}}",
            r"number above 0, got 'heavy'",
        ),
        (
            "languages: {en: {words: {joy: [glad]}, weights: {joy: 2}}}",
            r"weights of 'joy' .* as word: weight",
        ),
        ("languages: {en: {words: {joy: [glad]}, weights: 2}}", r"The weights of 'en' .* concept by concept"),
        ("languages: {en: {words: {joy: [glad]}, labels: {joy: no}}}", r"A label must be text, got False"),
        ("languages: {en: {words: {joy: [glad]}, wieghts: {}}}", r"no key of the language 'en'.*'weights'"),
        ("languages: {en: {words: {joy: [glad]}}}\nsource: 1992", r"The source of .* must be text, got 1992"),
        ("languages: {en: {word: {joy: [glad]}}}", rf"'en' under 'languages' must be a language.*{LAYOUT}"),
        (
            "languages: {en: {words: {joy: [glad]}}}\nkind: emotoin",
            r"no kind of concept set .*Did you mean 'emotion'",
        ),
        (
            "languages: {en: {words: {joy: [glad]}}}\ntitel: x",
            r"no key of a concept set .*Did you mean 'title'",
        ),
        ("languages: {}", r"holds no words"),
        ("joy: [glad]", rf"no key 'languages'.*{LAYOUT}"),
        ("just a text", rf"no key 'languages'.*{LAYOUT}"),
        ("languages: {en: [", rf"must be YAML.*\(line \d\).*{LAYOUT}"),
    ],
)
def test_wrong_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        load_concepts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word,language\nglad,en", r"must have the columns concept and word.*'word,language'"),
        ("", r"must have the columns concept and word"),
        ("concept,word,wieght\njoy,glad,1", r"a column 'wieght' that is unknown"),
        ("concept,word,word\njoy,glad,glad", r"a column 'word' that is unknown or stands twice"),
        ("concept,word\njoy,glad\njoy,", r"Line 3 of .* has an empty word"),
        ("concept,word\njoy,glad,happy", r"Line 2 of .* must have 2 cells, got 3.*quotation marks"),
        ("concept,word,weight\njoy,glad,much", r"A weight must be a number, got 'much' in line 2"),
        ("concept,word,weight\njoy,glad,nan", r"A weight must be a number above 0, got nan"),
        ("concept,word\njoy,glad\njoy,glad", r"'glad' stands twice"),
        ("concept,word", r"holds no words"),
        ("concept,word,language\njoy,glad,en\nfear,peur,fr", r"'fear' has no words in 'en'"),
    ],
)
def test_wrong_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_concepts(write(tmp_path, text, "words.csv"))


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no concept set 'ekman7'\. Did you mean 'ekman6'\?.*YAML, CSV or TSV"
    ):
        load_concepts("ekman7")
    with pytest.raises(MissingFileError, match=r"none\.csv.*Give a file, or one of control27"):
        load_concepts(tmp_path / "none.csv")
    with pytest.raises(MissingFileError, match=r"ekman6"):
        load_concepts(tmp_path)
    with pytest.raises(UserError, match=r"must be a \.yaml, \.csv or \.tsv file, got .*words\.xlsx"):
        load_concepts(write(tmp_path, "x", "words.xlsx"))
    (tmp_path / "latin.csv").write_bytes("concept,word\njoy,été".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.csv must be UTF-8 text"):
        load_concepts(tmp_path / "latin.csv")


def test_sets_of_the_users_own_are_found_by_name(cache: Path) -> None:
    folder = cache / "conf" / "concepts"
    folder.mkdir(parents=True)
    write(folder, TWO, "mine.yaml")
    write(folder, TWO, "ekman6.yaml")
    assert "mine" in available_concepts()
    assert load_concepts("mine").concepts == ["joy", "fear"]
    assert len(load_concepts("ekman6").concepts) == 6  # a shipped name means the shipped set


@pytest.mark.parametrize("file", sorted((conf_dir() / "concepts").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_configuration_gives_the_set_of_its_name(file: Path) -> None:
    merged = OmegaConf.merge(OmegaConf.structured(ConceptsConfig), OmegaConf.load(file))
    config = OmegaConf.to_object(merged)
    assert isinstance(config, ConceptsConfig)
    again = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ConceptsConfig), asdict(config)))
    assert again == config
    json.dumps(asdict(config))
    if file.stem == "custom":
        with pytest.raises(UserError, match=r"concepts=custom needs a file.*concepts\.path=FILE"):
            from_config(config)
    else:
        loaded, named = from_config(config), load_concepts(file.stem)
        assert loaded.words.equals(named.words)
        assert (loaded.name, loaded.kind, loaded.labels) == (named.name, named.kind, named.labels)
        assert loaded.name == file.stem


def test_the_sets_that_go_with_a_set() -> None:
    config = ConceptsConfig()
    for name in (config.neutral, config.control):
        assert name in available_concepts()


def test_a_configuration_may_name_a_file(tmp_path: Path) -> None:
    path = str(write(tmp_path, TWO))
    assert from_config(ConceptsConfig(path=path)).languages == ["en", "fr"]
    words = {"en": LanguageWords(words={"joy": ["glad"]})}
    with pytest.raises(
        UserError, match=r"words of 'ekman6' are given too\. Write concepts=custom concepts\.path="
    ):
        from_config(ConceptsConfig(name="ekman6", languages=words, path=path))


def test_weights_pass_through_a_configuration() -> None:
    text = "languages: {en: {words: {joy: [glad, happy, merry]}, weights: {joy: {glad: 2, happy: 0.5}}}}"
    config = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(ConceptsConfig), OmegaConf.create(text))
    )
    assert isinstance(config, ConceptsConfig)
    assert from_config(config).words["weight"].to_list() == [2.0, 0.5, 1.0]
    config.languages["en"].weights["joy"]["glad"] = "heavy"
    with pytest.raises(UserError, match=r"A weight must be a number above 0, got 'heavy' for 'glad'"):
        from_config(config)


def test_the_schema_imports_no_polars() -> None:
    code = "import sys; from emosae.concepts import ConceptsConfig; print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_a_set_cannot_be_changed(two: ConceptSet) -> None:
    with pytest.raises(AttributeError):
        two.name = "other"  # type: ignore[misc]
    assert two.words.schema == {
        "concept": pl.String,
        "language": pl.String,
        "word": pl.String,
        "weight": pl.Float64,
    }
