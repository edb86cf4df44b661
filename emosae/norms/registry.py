"""The registry: which human data sets exist, which are here, and how one comes by the others."""

from __future__ import annotations

import logging
from pathlib import Path

import polars as pl
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from emosae.errors import UserError, unknown_name
from emosae.norms.entry import DIMENSIONS, Access, Kind, NormEntry, check_entry, is_mapped, scale_of
from emosae.norms.files import locate, walk
from emosae.paths import cache_root, conf_dir, data_dirs

__all__ = [
    "entry_files",
    "find",
    "is_own",
    "list_entries",
    "next_step",
    "show",
    "target_of",
    "way_in",
    "without_address",
]

log = logging.getLogger(__name__)


def entry_files() -> dict[str, Path]:
    """List the entries by name: the shipped ones and the user's own; of two of one name the user's."""
    shipped = {path.stem: path for path in sorted((conf_dir() / "norms").glob("*.yaml"))}
    own = {path.stem: path for path in sorted(_own_folder().glob("*.yaml"))}
    for name in shipped.keys() & own.keys():
        log.warning("The data set %s of %s takes the place of the shipped one.", name, own[name])
    return dict(sorted((shipped | own).items()))


def is_own(name: str) -> bool:
    """Whether an entry is one of the user's own."""
    return (_own_folder() / f"{name}.yaml").is_file()


def find(name: str) -> NormEntry:
    """Read a data set's entry by its name.

    Raises:
        UserError: There is no such entry, or its YAML is wrong.
    """
    files = entry_files()
    if name not in files:
        raise unknown_name("data set", name, files, hint="Add one of your own with `emosae norms add FILE`.")
    return _read_entry(files[name])


def list_entries() -> pl.DataFrame:
    """List every data set and whether it is on this machine.

    Returns:
        Columns `name`, `kind`, `language`, `words` (concepts, for similarity; null where not known), `access`
        (download: `emosae norms fetch` gets it; page: by hand from a page that is open to anybody; form, licence
        or request: by hand, and that comes first; built in), `here` (yes or no), `verified` (yes or no: the
        mapping was checked against the real file; own: you added it, and its columns were found by looking),
        `licence`, `path` (empty where not here). Ratings first, by language.
    """
    trees = {folder: list(walk(folder)) for folder in data_dirs()}
    entries = [_read_entry(path) for path in entry_files().values()]
    order = list(Kind)
    rows = []
    for entry in sorted(entries, key=lambda entry: (order.index(entry.kind), entry.language, entry.name)):
        where = locate(entry, trees=trees)
        language = f"{entry.language} ({entry.script.value})" if entry.script else entry.language
        here = "yes" if where else "no"
        verified = "own" if is_own(entry.name) else "yes" if entry.verified else "no"
        known = (entry.name, entry.kind.value, language, entry.n_words or None, way_in(entry))
        rows.append((*known, here, verified, entry.license, str(where or "")))
    text = ["name", "kind", "language", "access", "here", "verified", "licence", "path"]
    columns = [*text[:3], "words", *text[3:]]
    return pl.DataFrame(rows, schema={c: pl.String if c in text else pl.Int64 for c in columns}, orient="row")


def way_in(entry: NormEntry) -> str:
    """Say in a word how one comes by an entry's file; the words are those of `list_entries`."""
    if entry.path is not None:
        return "built in"
    if entry.access is not Access.open:
        return entry.access.value
    return "page" if without_address(entry) else "download"


def show(name: str) -> list[tuple[str, str]]:
    """Describe a data set: what it is, whose, under which terms, where its file is and how it is read.

    Returns:
        Pairs of a word and what there is to say; what is not known is left out.
    """
    entry = find(name)
    where = locate(entry)
    ends = entry.scale_min is not None and entry.scale_max is not None
    scales = {d: "{:g} to {:g}".format(*scale_of(entry, d)) for d in DIMENSIONS} if ends else {}
    own = {d: scale for d, scale in scales.items() if d != "valence" and scale != scales["valence"]}
    said = [
        ("name", f"{name} ({entry.kind.value})"),
        ("title", entry.title),
        ("language", f"{entry.language} ({entry.script.value})" if entry.script else entry.language),
        (
            "words",
            f"{entry.n_words:,}{'' if entry.verified else ', by the article'}" if entry.n_words else "",
        ),
        ("cite", entry.citation),
        ("doi", f"https://doi.org/{entry.doi}" if entry.doi else ""),
        ("licence", entry.license),
        ("page", entry.url),
        ("download", " ".join(entry.download.values())),
        ("here", str(where) if where else f"no. {next_step(entry)}"),
        ("scale", "; ".join([scales["valence"], *(f"{d} {s}" for d, s in own.items())]) if ends else ""),
        ("columns", ", ".join(f"{meaning} = {header}" for meaning, header in entry.columns.items())),
        ("verified", _verified(entry)),
        ("notes", entry.notes),
    ]
    if not is_mapped(entry):
        said.append(
            ("reading", "columns were never confirmed: the file is looked at, and what is found is said")
        )
    return [(word, text) for word, text in said if text]


def _verified(entry: NormEntry) -> str:
    if is_own(entry.name):
        return "your own: its columns were found by looking at the file when it was added, or are as you said"
    return "yes" if entry.verified else "no: nobody has checked this entry against the file itself"


def next_step(entry: NormEntry) -> str:
    """Say in one sentence what to do to have an entry's file on this machine."""
    if not without_address(entry):
        return f"Get it with `emosae norms fetch {entry.name}`."
    what = "folder" if entry.parts else "file"
    where = entry.url or (f"https://doi.org/{entry.doi}" if entry.doi else "")
    first = {
        Access.form: f"{entry.name} is given out through a form: fill it in{f' at {where}' if where else ''}",
        Access.licence: f"{entry.name} is given out under terms: accept them{f' at {where}' if where else ''}",
        Access.request: f"{entry.name} comes from its authors on request: ask them{f' ({where})' if where else ''}",
        Access.open: (
            f"No direct address is known for {', '.join(without_address(entry))} of the data set {entry.name!r}: "
            f"{f'download it by hand from {where}' if where else 'get it from its authors'}"
        ),
    }[entry.access]
    return (
        f"{first}, then run `emosae norms fetch {entry.name} {what.upper()}` with the {what} you got, or put it at "
        f"{target_of(entry)}."
    )


def without_address(entry: NormEntry) -> list[str]:
    """List the files of an entry that have no direct address."""
    needed = list(entry.parts.values()) or [entry.file]
    return [file for file in needed if file not in entry.download]


def target_of(entry: NormEntry) -> Path:
    """Return where an entry's file belongs: in `data/` of the cache."""
    return cache_root() / "data" / entry.file


def _own_folder() -> Path:
    return cache_root() / "conf" / "norms"


def _read_entry(path: Path) -> NormEntry:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(NormEntry), OmegaConf.load(path))
        entry = OmegaConf.to_object(merged)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} must be a registry entry, and is not ({reason}). Correct or remove it."
        ) from error
    assert isinstance(entry, NormEntry)
    if entry.name != path.stem:
        raise UserError(
            f"The name in {path} must be {path.stem!r}, got {entry.name!r}. Correct one of the two."
        )
    check_entry(entry)
    return entry
