"""The cache of readings: a study that is run again does not run the model again."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from filelock import FileLock

from emosae.features.extract import Reading, extract
from emosae.features.matrix import FeatureMatrix
from emosae.models import Site
from emosae.paths import cache_root
from emosae.saes import SparseAutoencoder

__all__ = ["cached_extract", "list_readings", "model_fingerprint", "prune_readings", "reading_key"]

log = logging.getLogger(__name__)
_FORMAT = 1  # raised when what extraction computes changes
_WHOLE = 2**29  # bytes up to which a model's weights are hashed whole
_SAMPLE = 4096  # values of each tensor that are hashed in a larger model, beside the tensor's sum


def model_fingerprint(model: Any, tokenizer: Any) -> str:
    """Identify a model and its tokenizer by what they are, not by where they lie.

    Up to 512 MB of weights are hashed whole. A larger model is identified by its configuration and, for each
    tensor, its sum and 4,096 values spread over it.

    Args:
        model: A transformers model.
        tokenizer: Its fast tokenizer.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    settings = {
        k: v for k, v in model.config.to_dict().items() if k not in {"_name_or_path", "transformers_version"}
    }
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    weights = list(model.state_dict().items())
    whole = sum(tensor.numel() * tensor.element_size() for _, tensor in weights) <= _WHOLE
    for name, tensor in weights:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().reshape(-1)
        if not whole:
            digest.update(
                str(float(flat.double().sum() if flat.numel() < 2**24 else flat.float().sum())).encode()
            )
            flat = flat[:: max(1, flat.numel() // _SAMPLE)]
        digest.update(flat.contiguous().cpu().view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()


def reading_key(
    model_id: str, sae: SparseAutoencoder, items: pl.DataFrame, options: Mapping[str, Any]
) -> str:
    """Name a reading by everything that determines its numbers.

    Args:
        model_id: The model's and tokenizer's fingerprint.
        sae: The SAE.
        items: Table of items; its texts and spans count, and all its columns, since they are stored beside.
        options: Pooling, batch bound, length bound, baselines, dtype, kind of device.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    about = {"format": _FORMAT, "model": model_id, "sae": sae.fingerprint, "site": str(sae.site)} | dict(
        options
    )
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    digest.update(json.dumps(items.schema, default=str).encode())
    digest.update(items.write_ndjson().encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def cached_extract(
    model: Any,
    tokenizer: Any,
    saes: Mapping[Site, SparseAutoencoder],
    items: pl.DataFrame,
    *,
    model_id: str,
    use_cache: bool = True,
    step: Callable[[int], None] | None = None,
    **options: Any,
) -> dict[Site, Reading]:
    """Call `extract`, or read its result from `sae_cache/features/` when it is there.

    Args:
        model: A transformers model.
        tokenizer: Its fast tokenizer.
        saes: The SAEs by site. Each site has an entry of its own; sites that are missing are read in one pass.
        items: Table of items.
        model_id: `model_fingerprint(model, tokenizer)`.
        use_cache: Look for and write entries; off, every call reads the model.
        step: Called with the number of items done.
        options: Passed on to `extract`, and part of the key.

    Returns:
        For each site its `Reading`.
    """
    precision = {"dtype": str(model.dtype), "device": model.device.type}
    root = _root()
    folders = {
        site: root / reading_key(model_id, sae, items, options | precision) for site, sae in saes.items()
    }
    readings = {
        site: _load(folder) for site, folder in folders.items() if use_cache and (folder / "done").is_file()
    }
    missing = {site: sae for site, sae in saes.items() if site not in readings}
    if missing:
        made = extract(model, tokenizer, missing, items, step=step, **options)
        for site, reading in made.items():
            if use_cache:
                # what was just written is read back, so that a first run and a later one see the same bytes in the
                # same layout, and their sums agree to the last bit
                _save(folders[site], reading)
                readings[site] = _load(folders[site])
            else:
                readings[site] = reading
    elif step is not None:
        step(items.height)
    log.info("%d of %d sites read from the cache", len(saes) - len(missing), len(saes))
    return {site: readings[site] for site in saes}


def _save(folder: Path, reading: Reading) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / "done").is_file():
            return
        reading.features.save(folder)
        for name, values in reading.dense.items():
            np.save(folder / f"dense_{name}.npy", values)
        (folder / "done").touch()  # last: a folder without it is not read


def _load(folder: Path) -> Reading:
    files = sorted(folder.glob("dense_*.npy"))
    dense = {path.stem.removeprefix("dense_"): np.load(path, mmap_mode="r") for path in files}
    return Reading(features=FeatureMatrix.load(folder), dense=dense)


def _root() -> Path:
    return cache_root() / "features"


def list_readings() -> list[tuple[str, int, str, Path]]:
    """List the readings in the cache: their kind, number of items, SAE and site, and folder."""
    found = []
    for folder in sorted(path.parent for path in _root().glob("*/done")):
        matrix = FeatureMatrix.load(folder)
        found.append(("reading", len(matrix), f"{matrix.sae} {matrix.site}", folder))
    return found


def prune_readings() -> int:
    """Remove readings that were stopped before their end, and count them."""
    unfinished = [path for path in _root().glob("*") if path.is_dir() and not (path / "done").is_file()]
    for folder in unfinished:
        shutil.rmtree(folder)
    for lock in _root().glob("*.lock"):
        lock.unlink()
    return len(unfinished)
