"""A folder in SAELens' layout: `cfg.json` and `sae_weights.safetensors`, read without SAELens."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from emosae.errors import MissingFileError, UserError
from emosae.saes.config import Normalization, SAEConfig
from emosae.saes.convert import FeatureMajor, convert

__all__ = ["CFG_FILE", "WEIGHTS_FILES", "check_folder", "folder_identity", "read_folder"]

CFG_FILE = "cfg.json"
# SAELens' own name, and that of EleutherAI's sparsify, which SAELens converts.
WEIGHTS_FILES = ("sae_weights.safetensors", "sae.safetensors")
_SCALER_FILE = "activation_scaler.json"


def check_folder(folder: Path) -> Path:
    """Check that a folder is there and looks like an SAE's.

    Returns:
        The weights file in it.

    Raises:
        UserError: It is missing, is a file, or lacks its config or weights.
    """
    if not folder.exists():
        raise MissingFileError.at(
            "The SAE folder", folder, "Give a folder in SAELens' layout, with a cfg.json."
        )
    if not folder.is_dir():
        raise UserError(
            "The SAE must be a folder with a cfg.json and sae_weights.safetensors, got the file "
            f"{str(folder)!r}. Give the folder that holds it."
        )
    if not (folder / CFG_FILE).is_file():
        inner = sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/{CFG_FILE}"))
        hint = (
            f"Give one of the folders in it: {', '.join(inner[:8])}."
            if inner
            else "Give a folder that has one."
        )
        raise MissingFileError(f"The SAE folder {str(folder)!r} has no {CFG_FILE}. {hint}")
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path.name for path in folder.iterdir() if path.suffix in (".pt", ".pth", ".bin", ".npz"))
    found = f" It holds {', '.join(others[:5])}, which emosae does not read." if others else ""
    raise MissingFileError(
        f"The SAE folder {str(folder)!r} has no {WEIGHTS_FILES[0]}.{found} Save the SAE with SAELens' "
        "save_model."
    )


def folder_identity(folder: Path) -> dict[str, Any]:
    """Give what tells a folder's content apart cheaply: its place, its config, its weights' size and time.

    The weights themselves are not read; their identity is the fingerprint of the converted SAE.
    """
    weights = check_folder(folder)
    status = weights.stat()
    small = [folder / CFG_FILE, folder / _SCALER_FILE]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in small if path.is_file()}
    return {
        "path": str(folder.resolve()),
        "weights": [weights.name, status.st_size, status.st_mtime_ns],
        "digests": digests,
    }


def read_folder(
    folder: Path,
    *,
    norm_scaling_factor: float | None = None,
    release: str | None = None,
    sae_id: str | None = None,
    revision: str | None = None,
) -> FeatureMajor:
    """Read a folder; SAELens is imported only where its layout is not the present one.

    Args:
        folder: The folder.
        norm_scaling_factor: As `convert` takes it; None also looks for the one that SAELens' checkpoints
            keep beside the weights.
        release: The repository it came from, for the config.
        sae_id: The path in it.
        revision: The revision that was asked for.

    Returns:
        The SAE, feature-major, as views of the mapped file.

    Raises:
        UserError: The folder holds no SAE that can be read.
    """
    weights = check_folder(folder)
    described = _read_json(folder / CFG_FILE)
    if weights.name != WEIGHTS_FILES[0] or not _is_present_layout(described):
        from emosae.saes.lens import load_folder

        _read_tensors(weights)  # a file that is no safetensors is the user's to mend, not SAELens' to explain
        cfg, state = load_folder(folder, sparsify=weights.name != WEIGHTS_FILES[0])
        cfg = cfg.replace(release=release, sae_id=sae_id, revision=revision)
    else:
        cfg = SAEConfig.from_saelens(described, release=release, sae_id=sae_id, revision=revision)
        state = _read_tensors(weights)
    unfolded = cfg.normalize_activations is Normalization.EXPECTED_AVERAGE_ONLY_IN
    if unfolded and norm_scaling_factor is None and (folder / _SCALER_FILE).is_file():
        norm_scaling_factor = _read_json(folder / _SCALER_FILE).get("scaling_factor")
    return convert(cfg, state, norm_scaling_factor=norm_scaling_factor)


def _is_present_layout(described: dict[str, Any]) -> bool:
    """Whether the config was written by SAELens 6; the condition is SAELens' own."""
    metadata = described.get("metadata")
    version = described.get("sae_lens_version") or (metadata or {}).get("sae_lens_version")
    major = str(version or "").partition(".")[0]
    return major.isdigit() and int(major) >= 6


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{str(path)!r} is not JSON ({error}). Save the SAE with SAELens' save_model."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{str(path)!r} must hold a table of fields, got a {type(content).__name__}. "
            "Save the SAE with SAELens' save_model."
        )
    return content


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        raise UserError(
            f"{str(path)!r} is not a safetensors file ({error}). Save the SAE with SAELens' save_model."
        ) from error
