"""The one place that imports SAELens: its loaders read what is not in its own present layout.

SAELens' import takes about six seconds, so it happens only while something is converted.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from emosae.errors import UserError
from emosae.saes.config import Normalization, SAEConfig
from emosae.saes.hub import plain_hub_errors

__all__ = ["load_folder", "load_release"]

log = logging.getLogger(__name__)


def load_folder(folder: Path, *, sparsify: bool = False) -> tuple[SAEConfig, dict[str, Tensor]]:
    """Read a folder of an older layout through SAELens.

    Args:
        folder: The folder.
        sparsify: Whether it is in EleutherAI's layout, `sae.safetensors`.

    Returns:
        The config and SAELens' state dict, on the CPU.

    Raises:
        UserError: SAELens cannot read it either.
    """
    with _saelens(str(folder)):
        from sae_lens import SAE
        from sae_lens.loading import pretrained_sae_loaders as loaders

        converter = loaders.sparsify_disk_loader if sparsify else loaders.sae_lens_disk_loader
        dtype = "float32" if sparsify else None
        sae = SAE.load_from_disk(folder, device="cpu", dtype=dtype, converter=converter)
    return SAEConfig.from_saelens(sae.cfg.to_dict()), _state(sae)


def load_release(release: str, sae_id: str, *, revision: str | None) -> tuple[SAEConfig, dict[str, Tensor]]:
    """Fetch and read an SAE of the registry through SAELens.

    Args:
        release: SAELens' name of the release.
        sae_id: The id in it.
        revision: Branch, tag or commit of the repository; None is its main branch.

    Returns:
        The config and SAELens' state dict, on the CPU, float32, its norm scaling factor folded in.

    Raises:
        UserError: It cannot be fetched or read.
    """
    what = f"{release}/{sae_id}"
    with _saelens(what), plain_hub_errors(what):
        from sae_lens import SAE
        from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor

        with _revision(revision):
            sae, cfg, _ = SAE.from_pretrained_with_cfg_and_sparsity(release, sae_id, dtype="float32")
        described = {**cfg, **sae.cfg.to_dict()}
        folded = get_norm_scaling_factor(release, sae_id)
    read = SAEConfig.from_saelens(described, release=release, sae_id=sae_id, revision=revision)
    if folded is not None and read.normalize_activations is Normalization.NONE:
        read = read.replace(norm_scaling_factor=float(folded))
    return read, _state(sae)


def _state(sae: Any) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in sae.state_dict().items()}


@contextlib.contextmanager
def _saelens(what: str) -> Iterator[None]:
    """Run SAELens: its warnings become log lines, its errors sentences."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (OSError, UserError):  # these say what is wrong already
            raise
        except Exception as error:
            text = " ".join(str(error).split())
            raise UserError(
                f"SAELens cannot read the SAE {what!r}: {type(error).__name__}: {text[:400]}. Check that the "
                "files belong together, and that the installed sae-lens knows this kind of SAE."
            ) from error
    for warning in caught:
        # What these two say is seen to: centring in encode, the factor in convert.
        known = ("model_from_pretrained_kwargs", "norm_scaling_factor not found")
        if issubclass(warning.category, UserWarning) and not any(
            part in str(warning.message) for part in known
        ):
            log.warning("SAELens about %s: %s", what, warning.message)


@contextlib.contextmanager
def _revision(revision: str | None) -> Iterator[None]:
    """Make SAELens' loaders fetch one revision; they take none themselves."""
    from sae_lens.loading import pretrained_sae_loaders as loaders

    if revision is None:
        yield
        return
    names = ("hf_hub_download", "hf_hub_url")
    plain = {name: getattr(loaders, name) for name in names}

    def pinned(name: str) -> Any:
        def fetch(*args: Any, **kwargs: Any) -> Any:
            return plain[name](*args, **{**kwargs, "revision": revision})

        return fetch

    try:
        for name in names:
            setattr(loaders, name, pinned(name))
        yield
    finally:
        for name in names:
            setattr(loaders, name, plain[name])
