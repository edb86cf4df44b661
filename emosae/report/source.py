"""What a report is drawn from: a run's folder and nothing else.

Stages are read as tables by name rather than as the dataclasses that wrote them: that needs neither torch
nor the stages' own imports, and a run of an earlier version is shown as far as its tables go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from emosae.artifacts import read_json
from emosae.errors import MissingFileError, UserError
from emosae.report.voice import PEOPLE, PLANTED, Voice

__all__ = ["STAGES", "Run", "Stage", "part", "read_run"]

STAGES = ("features", "select", "geometry", "ratings", "steer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage's result at one site.

    Attributes:
        tables: By field name, rows of this site only.
        values: Plain values by field name.
    """

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str, *columns: str) -> pl.DataFrame:
        """Return a table, or an empty one where it or one of `columns` is missing."""
        found = self.tables.get(name)
        if found is None or not set(columns) <= set(found.columns):
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run's folder, read.

    Attributes:
        folder: The folder.
        manifest: What manifest.json says.
        stages: By site, then by stage; a stage that was not run is absent.
    """

    folder: Path
    manifest: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Stage]]

    @property
    def config(self) -> Mapping[str, Any]:
        """The study's settings; empty where the manifest has none."""
        return part(self.manifest, "config")

    @property
    def languages(self) -> list[str]:
        """The study's languages, in its order."""
        found = self.config.get("language") or []
        return [str(each) for each in ([found] if isinstance(found, str) else found)]

    @property
    def is_phantom(self) -> bool:
        """Whether the model is the embedded test body, or one made by its recipe and studied by its preset."""
        named = str(part(self.config, "model").get("name", "")).startswith("phantom:")
        return named or self.config.get("preset") == "phantom"

    @property
    def voice(self) -> Voice:
        """What the data of comparison are called."""
        return PLANTED if self.is_phantom else PEOPLE

    def label(self, concept: str, language: str) -> str:
        """Return the concept's name in a language, where the concept set gives one."""
        languages = part(part(self.config, "concepts"), "languages")
        return str(part(part(languages, language), "labels").get(concept, concept))


def part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a nested part of a manifest, empty where it is missing or something else."""
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        MissingFileError: There is no such folder, or no manifest.json in it.
        UserError: A file in it is no manifest, or a table cannot be read.
    """
    if not folder.is_dir():
        raise MissingFileError.at("The run's folder", folder, "Name a folder in outputs/.")
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict):
        raise UserError(
            f"{folder / 'manifest.json'} is not a run's manifest. Name a folder that emosae wrote."
        )
    stages: dict[str, dict[str, Stage]] = {}
    for name in STAGES:
        for site, stage in _read_stage(folder / "tables", name).items():
            stages.setdefault(site, {})[name] = stage
    return Run(folder=folder, manifest=manifest, stages=stages)


def _read_stage(folder: Path, stage: str) -> dict[str, Stage]:
    index = folder / f"{stage}.json"
    if not index.is_file():
        return {}
    values = read_json(index)
    tables = {}
    for path in sorted(folder.glob(f"{stage}_*.parquet")):
        try:
            tables[path.name.removeprefix(f"{stage}_").removesuffix(".parquet")] = pl.read_parquet(path)
        except pl.exceptions.PolarsError as error:
            raise UserError(
                f"{path} is not readable as a table ({error}). Run the {stage} stage again."
            ) from error
    return {
        site: Stage(
            tables={
                # what compares sites belongs to each of them
                name: table.filter(pl.col("site") == site).drop("site") if "site" in table.columns else table
                for name, table in tables.items()
            },
            values=plain if isinstance(plain, dict) else {},
        )
        for site, plain in values.items()
    }
