"""The run folder: atomic writes, stage results as tables, the manifest and the status file.

A run lives in `outputs/<stage>/<date-time>/`. Every file in it is written under a temporary name and renamed,
so a reader never sees half of one. A stage's result is a frozen dataclass of polars tables, numpy arrays and
plain values; it is written field by field and read back as the same dataclass, which is what lets a stage start
from an earlier run and lets the report be drawn again without the model.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import polars as pl

from emosae.errors import MissingFileError, UserError

__all__ = [
    "RunFolder",
    "atomic_path",
    "environment",
    "load_result",
    "read_json",
    "save_result",
    "write_json",
    "write_table",
]

Result = TypeVar("Result")
CSV_ROWS = 20_000  # a table that a person opens in a spreadsheet; longer ones are Parquet only
_PACKAGES = (
    "emosae",
    "torch",
    "transformers",
    "sae-lens",
    "numpy",
    "scipy",
    "polars",
    "scikit-learn",
    "hydra-core",
)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; a result is as readable as any other file of its owner's
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    if hasattr(value, "value") and isinstance(value.value, str):  # an Enum that is not a str
        return value.value
    return str(value)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable UTF-8 JSON, atomically."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, ensure_ascii=False, indent=1, default=_plain)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is a plain error."""
    if not path.is_file():
        raise MissingFileError.at("The file", path, "Check the path; a run's folder holds manifest.json.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not readable as JSON ({error}). Name a manifest.json that emosae wrote."
        ) from error


def _spreadsheet(table: pl.DataFrame) -> pl.DataFrame:
    """Join list columns with spaces: a CSV cell holds one value."""
    lists = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]
    return table.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists)


def write_table(folder: Path, name: str, table: pl.DataFrame) -> None:
    """Write a table as Parquet, and as CSV too where a person would open it in a spreadsheet."""
    with atomic_path(folder / f"{name}.parquet") as temporary:
        table.write_parquet(temporary)
    nested = any(isinstance(dtype, (pl.Struct, pl.Object)) for dtype in table.dtypes)
    if table.height <= CSV_ROWS and not nested:
        with atomic_path(folder / f"{name}.csv") as temporary:
            _spreadsheet(table).write_csv(temporary)


def save_result(run: Path, stage: str, results: Mapping[str, Any]) -> None:
    """Write one stage's results, one dataclass for each site.

    Tables of the sites are stacked under a `site` column in `tables/<stage>_<field>.parquet`; arrays go to
    `tables/<stage>_arrays.npz` under `<site>/<field>`; everything else to `tables/<stage>.json`.

    Args:
        run: The run's folder.
        stage: The stage's name, the prefix of its files.
        results: For each site, the stage's result.
    """
    tables: dict[str, list[pl.DataFrame]] = {}
    arrays: dict[str, np.ndarray] = {}
    values: dict[str, dict[str, Any]] = {}
    for site, result in results.items():
        values[site] = {}
        for field in dataclasses.fields(result):
            value = getattr(result, field.name)
            if isinstance(value, pl.DataFrame):
                tables.setdefault(field.name, []).append(value.select(pl.lit(site).alias("site"), pl.all()))
            elif isinstance(value, np.ndarray):
                arrays[f"{site}/{field.name}"] = value
            else:
                values[site][field.name] = value
    for name, parts in tables.items():
        write_table(run / "tables", f"{stage}_{name}", pl.concat(parts, how="diagonal_relaxed"))
    if arrays:
        with atomic_path(run / "tables" / f"{stage}_arrays.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
    write_json(run / "tables" / f"{stage}.json", values)


def load_result(run: Path, stage: str, kind: type[Result]) -> dict[str, Result]:
    """Read back what `save_result` wrote.

    Args:
        run: The run's folder.
        stage: The stage's name.
        kind: The dataclass that the stage returns.

    Returns:
        For each site, the stage's result.

    Raises:
        MissingFileError: The run has no such stage.
    """
    index = run / "tables" / f"{stage}.json"
    if not index.is_file():
        raise MissingFileError.at(
            f"The {stage} stage's result", index, f"Run `emosae {stage}` first, or name another run."
        )
    values = read_json(index)
    stored_arrays = run / "tables" / f"{stage}_arrays.npz"
    arrays = dict(np.load(stored_arrays)) if stored_arrays.is_file() else {}
    tables = {
        path.name.removeprefix(f"{stage}_").removesuffix(".parquet"): pl.read_parquet(path)
        for path in (run / "tables").glob(f"{stage}_*.parquet")
    }
    results: dict[str, Result] = {}
    for site, plain in values.items():
        fields = dict(plain)
        for field in dataclasses.fields(kind):  # type: ignore[arg-type]
            if f"{site}/{field.name}" in arrays:
                fields[field.name] = arrays[f"{site}/{field.name}"]
            elif field.name in tables and field.name not in fields:
                fields[field.name] = tables[field.name].filter(pl.col("site") == site).drop("site")
        results[site] = kind(**fields)
    return results


def environment() -> dict[str, Any]:
    """Describe the machine and the versions that a number was made with."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    machine = {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()}
    torch = sys.modules.get("torch")
    if torch is not None:
        machine["threads"] = torch.get_num_threads()
        machine["accelerator"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"python": platform.python_version(), "packages": versions, "machine": machine}


class RunFolder:
    """One run's folder, its status file and its manifest.

    The status file says `running`, then `done`, `failed` or `interrupted`. A run that fails before any stage has
    finished removes its folder: nothing half-made stays behind. One that fails later keeps the finished stages.

    Args:
        folder: Where the run writes; made when the block is entered.
        manifest: What the manifest says from the start (command, configuration, overrides).
        keep: Keep the folder of a failed run in any case, as a job of a sweep does.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], *, keep: bool = False) -> None:
        self.folder = folder
        self.manifest = manifest
        self.finished: list[str] = []
        self._keep = keep
        self._log: IO[str] | None = None

    @classmethod
    def new(cls, root: Path, stage: str, manifest: dict[str, Any]) -> RunFolder:
        """Name a new folder `root/<stage>/<date-time>`; microseconds keep two runs apart."""
        return cls(root / stage / datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f"), manifest)

    def __enter__(self) -> RunFolder:
        self.folder.mkdir(parents=True, exist_ok=self._keep)
        self.manifest |= {"started": _now(), "environment": environment()}
        self.write_manifest()
        self._status("running")
        return self

    def write_manifest(self) -> None:
        """Write the manifest as it stands."""
        write_json(self.folder / "manifest.json", self.manifest)

    def complete(self) -> None:
        """Write the manifest's last lines, once: the report that is drawn from it then says when the run ended."""
        if "finished" not in self.manifest:
            self.manifest |= {"finished": _now(), "stages": self.finished, "environment": environment()}
            self.write_manifest()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self.complete()
            self._status("done")
        elif self.finished or self._keep:
            self._status("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed", str(error))
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def finish_stage(self, stage: str) -> None:
        """Record that a stage is done and its tables written."""
        self.finished.append(stage)
        self._status("running")

    def _status(self, status: str, error: str | None = None) -> None:
        write_json(
            self.folder / "status.json",
            {"status": status, "stages": self.finished, "time": _now(), "pid": os.getpid(), "error": error},
        )


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
