"""The registry: the shipped entries, finding files, fetching them."""

from __future__ import annotations

import hashlib
import http.server
import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from emosae import norms
from emosae.errors import MissingFileError, UserError
from emosae.norms import Kind, NormEntry
from emosae.norms.files import locate
from emosae.paths import cache_root, conf_dir, data_dirs

SHIPPED = sorted(path.stem for path in (conf_dir() / "norms").glob("*.yaml"))
CONTENT = b"word,v,a\nlove,8,5\nmurder,1,6\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def mine(cache, monkeypatch):
    """Write an entry of the user's own; returns a function of the fields that differ."""
    monkeypatch.delenv("EMOSAE_DATA", raising=False)

    def make(name: str = "mine", **fields) -> Path:
        body = {
            "name": name,
            "language": "en",
            "file": f"{name}.csv",
            "columns": {"word": "word", "valence": "v", "arousal": "a"},
            **fields,
        }
        path = cache / "conf" / "norms" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# @package norms.{name}\n{yaml.safe_dump(body)}")
        return path

    return make


@pytest.fixture
def server(tmp_path):
    """Serve a folder over HTTP on this machine."""
    root = tmp_path / "served"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(root), **kwargs)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield root, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


# The shipped entries


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_entry_is_complete(name):
    entry = norms.find(name)
    for field in ("title", "language", "license", "citation", "file", "notes"):
        assert getattr(entry, field), field
    needed = set(entry.parts.values() or [entry.file])
    assert entry.download.keys() <= needed
    assert entry.archive.keys() <= entry.download.keys()
    assert (entry.script is not None) == (entry.language == "zh")
    assert all(
        address.startswith("http")
        for address in [*([entry.url] if entry.url else []), *entry.download.values()]
    )
    assert not entry.doi.startswith("http")
    if entry.verified:
        assert entry.n_words > 0
    if entry.path is None:  # what the package itself carries has no address and no checksum to hold it to
        # Only a file that was really read has a checksum, and a checksum is what `verified` stands on.
        assert entry.verified == bool(entry.sha256)
        assert entry.verified <= (needed <= entry.sha256.keys())
        assert all(len(checksum) == 64 for checksum in entry.sha256.values())
        assert entry.url or "confirmed" in entry.notes


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_entry_says_what_was_not_confirmed(name):
    entry = norms.find(name)
    if entry.kind is Kind.ratings and not entry.columns:
        assert "looked at" in entry.notes
    if entry.kind is Kind.ratings and entry.scale_min is None:
        assert "scale" in entry.notes
    if entry.access is norms.Access.open and not entry.download and not entry.verified:
        assert "confirmed" in entry.notes or "PDF" in entry.notes


def test_shipped_entries_cover_the_languages_that_researchers_use():
    raters = [norms.find(name) for name in SHIPPED if not name.startswith(("phantom", "nrc_vad_"))]
    spoken = {entry.language for entry in raters if entry.kind is Kind.ratings}
    assert spoken >= {
        "en",
        "zh",
        "es",
        "nl",
        "de",
        "it",
        "pl",
        "pt",
        "fr",
        "ko",
        "fi",
        "id",
        "tr",
        "el",
        "hr",
    }
    assert len(raters) >= 40


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_entry_composes_with_hydra(name):
    from hydra import compose, initialize_config_dir

    assert (conf_dir() / "norms" / f"{name}.yaml").read_text().startswith(f"# @package norms.{name}\n")
    with initialize_config_dir(str(conf_dir()), version_base=None):
        composed = compose(f"norms/{name}").norms[name]
    entry = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(NormEntry), composed))
    assert entry == norms.find(name)


def test_schema_is_cheap_to_import():
    heavy = "{'polars', 'torch', 'numpy'}"
    code = f"import sys; from emosae.norms import NormEntry; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_resolves():
    assert all(getattr(norms, name) is not None for name in norms.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = norms.nothing


# Places


def test_places_follow_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOSAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EMOSAE_DATA", os.pathsep.join([str(tmp_path / "one"), "", str(tmp_path / "two")]))
    assert cache_root() == tmp_path / "cache"
    assert data_dirs() == [tmp_path / "one", tmp_path / "two", tmp_path / "cache" / "data"]


def test_cache_of_a_checkout_and_of_an_installed_package(tmp_path, monkeypatch):
    import emosae.paths

    monkeypatch.delenv("EMOSAE_CACHE", raising=False)
    assert cache_root() == Path(emosae.paths.__file__).parent.parent / "sae_cache"
    monkeypatch.setattr(emosae.paths, "_PACKAGE", tmp_path / "site-packages" / "emosae")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root().name == "emosae"
    assert "site-packages" not in str(cache_root())
    (tmp_path / "site-packages" / "emosae" / "conf").mkdir(parents=True)
    assert conf_dir() == tmp_path / "site-packages" / "emosae" / "conf"


def test_shallowest_file_wins_and_hidden_folders_do_not_count(tmp_path):
    entry = NormEntry(name="x", file="x.csv")
    for place in (".trash", "b/c", "m", "z/c"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "x.csv").touch()
    assert locate(entry, [tmp_path]) == tmp_path / "m" / "x.csv"


def test_file_with_the_right_checksum_wins_over_an_earlier_one(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.csv").write_text(place)
    entry = NormEntry(name="x", file="x.csv", sha256={"x.csv": sha256(b"two")})
    folders = [tmp_path / "one", tmp_path / "two"]
    assert locate(entry, folders) == tmp_path / "two" / "x.csv"
    assert locate(replace(entry, sha256={}), folders) == tmp_path / "one" / "x.csv"


def test_folder_counts_only_when_whole_and_may_be_named_itself(tmp_path):
    parts = {"raters": "r.csv", "concepts": "c.csv"}
    entry = NormEntry(name="s", kind=Kind.similarity, file="s", parts=parts)
    for place in ("s", "deep/s"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "r.csv").touch()
    assert locate(entry, [tmp_path]) is None
    (tmp_path / "deep" / "s" / "c.csv").touch()
    assert locate(entry, [tmp_path]) == tmp_path / "deep" / "s"
    assert locate(entry, [tmp_path / "deep" / "s"]) == tmp_path / "deep" / "s"


def test_search_survives_links_in_a_circle(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    assert locate(NormEntry(name="x", file="x.csv"), [tmp_path]) is None


# Entries of one's own


def test_list_says_what_is_here(mine, cache):
    mine()
    (cache / "data").mkdir(parents=True)
    (cache / "data" / "mine.csv").write_bytes(CONTENT)
    table = norms.list_entries()
    assert table.columns == [
        "name",
        "kind",
        "language",
        "words",
        "access",
        "here",
        "verified",
        "licence",
        "path",
    ]
    rows = {row["name"]: row for row in table.rows(named=True)}
    assert set(rows) == {*SHIPPED, "mine"}
    assert (rows["mine"]["here"], rows["mine"]["path"]) == ("yes", str(cache / "data" / "mine.csv"))
    absent = rows["warriner"]
    assert (absent["here"], absent["path"], absent["words"], absent["access"]) == (
        "no",
        "",
        13915,
        "download",
    )
    ways = {name: rows[name]["access"] for name in ("anew", "bawl_r", "yao2017", "phantom_en")}
    assert ways == {"anew": "form", "bawl_r": "request", "yao2017": "page", "phantom_en": "built in"}
    assert rows["anew"]["words"] is None
    kinds = table["kind"].to_list()
    assert kinds == sorted(kinds, key=["ratings", "similarity", "associations"].index)
    assert rows["cvaw3"]["language"] == "zh (traditional)"


def test_unknown_name_lists_the_nearest(cache):
    with pytest.raises(UserError, match=r"no data set 'warinner'. Did you mean 'warriner'.*emosae norms add"):
        norms.find("warinner")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colums": {}}, "must be a registry entry, and is not .*colums"),
        ({"kind": "rating"}, "must be a registry entry, and is not .*rating"),
        ({"name": "other"}, "name in .* must be 'mine', got 'other'"),
        ({"columns": {"word": "w"}}, "valence or arousal"),
    ],
)
def test_broken_entry_of_the_user_is_named(mine, fields, message):
    path = mine()
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **fields}))
    with pytest.raises(UserError, match=message):
        norms.find("mine")


def test_broken_yaml_is_a_sentence(mine):
    mine().write_text("name: [mine")
    with pytest.raises(UserError, match=r"mine.yaml must be a registry entry, and is not"):
        norms.find("mine")


def test_own_entry_takes_the_place_of_a_shipped_one_with_a_warning(mine, caplog):
    mine("glasgow", title="my own")
    with caplog.at_level(logging.WARNING):
        assert norms.find("glasgow").title == "my own"
    assert "takes the place of the shipped one" in caplog.text


# Fetching


def test_fetch_downloads_checks_and_leaves_nothing_else(mine, cache, server):
    root, address = server
    (root / "a.csv").write_bytes(CONTENT)
    mine(download={"mine.csv": f"{address}/a.csv"}, sha256={"mine.csv": sha256(CONTENT)})
    path = norms.fetch("mine")
    assert path == cache / "data" / "mine.csv"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["mine.csv"]
    assert norms.load_ratings(norms.find("mine")).checksum_ok is True
    (root / "a.csv").unlink()
    assert norms.fetch("mine") == path  # it is here: no second download


def test_fetch_of_a_folder(mine, cache, server):
    root, address = server
    (root / "r").write_text("1,2,3\n")
    (root / "c").write_text("a\nb\nc\n")
    mine(
        kind="similarity",
        file="mine",
        columns={},
        parts={"raters": "r.csv", "concepts": "c.csv"},
        download={"r.csv": f"{address}/r", "c.csv": f"{address}/c"},
    )
    assert norms.fetch("mine") == cache / "data" / "mine"
    assert norms.load_similarity(norms.find("mine")).mean.tolist() == [1, 2, 3]
    assert [entry.name for entry in (cache / "data").iterdir()] == ["mine"]


def test_fetch_refuses_another_file_and_keeps_nothing(mine, cache, server):
    root, address = server
    (root / "a.csv").write_text("<html>please log in</html>")
    mine(download={"mine.csv": f"{address}/a.csv"}, sha256={"mine.csv": sha256(CONTENT)}, url="http://page")
    with pytest.raises(
        UserError, match=r"not the mine.csv .*newer edition, or an error page.*fetch mine FILE"
    ):
        norms.fetch("mine")
    assert list((cache / "data").iterdir()) == []


@pytest.mark.parametrize("address", ["{server}/absent.csv", "http://127.0.0.1:9/a.csv"])
def test_fetch_without_an_answer_is_a_sentence_with_the_next_step(mine, cache, server, address):
    mine(download={"mine.csv": address.format(server=server[1])}, url="http://page")
    with pytest.raises(UserError) as caught:
        norms.fetch("mine")
    goal = str(cache / "data" / "mine.csv")
    for part in ("could not be downloaded", "by hand from http://page", "fetch mine FILE", goal):
        assert part in str(caught.value)
    assert list((cache / "data").iterdir()) == []


def test_fetch_without_an_address_says_where_to_get_it(mine, cache):
    mine(url="http://page")
    with pytest.raises(UserError, match=r"No direct address is known for mine.csv.*by hand from http://page"):
        norms.fetch("mine")
    assert not (cache / "data").exists()


def test_fetch_takes_a_file_that_is_here(mine, cache, tmp_path, caplog):
    mine(sha256={"mine.csv": sha256(b"the first edition")})
    source = tmp_path / "Download (1).csv"
    source.write_bytes(CONTENT)
    with caplog.at_level(logging.WARNING):
        path = norms.fetch("mine", source=source)
    assert path == cache / "data" / "mine.csv"
    assert path.read_bytes() == CONTENT
    assert "not the file that the entry mine was checked against" in caplog.text
    assert norms.fetch("mine", source=source) == path  # the same file again is no conflict
    source.write_bytes(CONTENT + b"joy,9,7\n")
    with pytest.raises(UserError, match="is in the way: another file is there"):
        norms.fetch("mine", source=source)
    assert path.read_bytes() == CONTENT


def test_fetch_takes_a_folder(cache, tmp_path, monkeypatch):
    monkeypatch.delenv("EMOSAE_DATA", raising=False)
    entry = norms.find("human27")
    with pytest.raises(MissingFileError, match=r"reordered_emotions\.csv"):
        norms.fetch("human27", source=tmp_path)
    n = 4
    (tmp_path / entry.parts["concepts"]).write_text("a\nb\nc\nd\n")
    (tmp_path / entry.parts["raters"]).write_text("1,2,3,4,5,6\n")
    (tmp_path / entry.parts["attributes"]).write_text("valence\n" + "0.5\n" * n)
    (tmp_path / "unrelated.txt").touch()
    path = norms.fetch("human27", source=tmp_path)
    assert sorted(file.name for file in path.iterdir()) == sorted(entry.parts.values())


def test_fetch_refuses_a_file_that_the_entry_does_not_describe(mine, cache, tmp_path):
    mine()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="No column has the header"):
        norms.fetch("mine", source=tmp_path / "other.csv")
    with pytest.raises(MissingFileError, match="Give the path of the file you have"):
        norms.fetch("mine", source=tmp_path / "absent.csv")
    assert not (cache / "data").exists()
