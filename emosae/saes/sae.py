"""SparseAutoencoder: one object for every architecture, backed by a mapped file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emosae.errors import UserError, unknown_name
from emosae.saes.config import Activation, SAEConfig
from emosae.saes.decode import dense_product, sparse_product
from emosae.saes.encode import Encoder, NormedInput, encode_rows, normalize
from emosae.saes.rows import SAERows, feature_numbers, read_rows
from emosae.saes.sparse import SparseFeatures
from emosae.saes.weights import Weights

if TYPE_CHECKING:
    from jaxtyping import Float

    from emosae.models.sites import Site
    from emosae.saes.cache import CacheEntry

__all__ = ["SparseAutoencoder"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ROW_MEMORY = 8  # steering asks for the same few sets of rows at every token


class SparseAutoencoder:
    """A pretrained sparse autoencoder (or transcoder) on a `transformers` model.

    Nothing but the vectors is read when it is made. The matrices are mapped when they are first used; `rows`
    and a partial `encode` read those rows alone. All arithmetic accumulates in float32, whatever the dtypes
    of activations and weights.

    Attributes:
        cfg: Its config.
        name: What results call it: `release/sae_id`, or the folder's name.
        fingerprint: The identity of its content, the same by whatever way it was loaded.
        homes: Folders in which statistics of its features may lie (`emosae.saes.find_stats`).

    Example:
        >>> import torch
        >>> cfg = {"architecture": "standard", "d_in": 2, "d_sae": 2}
        >>> weights = {"W_enc": torch.eye(2), "W_dec": torch.eye(2)}
        >>> weights |= {"b_enc": torch.zeros(2), "b_dec": torch.zeros(2)}
        >>> sae = SparseAutoencoder.from_state_dict(cfg, weights)
        >>> sae.encode(torch.tensor([3.0, -1.0])).to_dense()
        tensor([3., 0.])
    """

    def __init__(
        self,
        cfg: SAEConfig,
        weights: Weights,
        *,
        name: str,
        fingerprint: str,
        homes: tuple[Path, ...] = (),
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
    ) -> None:
        self.cfg = cfg
        self.name = name
        self.fingerprint = fingerprint
        self.homes = homes
        self._weights = weights
        self._device = torch.device("cpu")
        self._dtype: torch.dtype | None = None
        self._vectors: dict[str, Tensor] = {}
        self._matrices: dict[str, Tensor] = {}
        self._rows: dict[tuple[int, ...], SAERows] = {}
        self.to(device, dtype)

    @classmethod
    def from_pretrained(
        cls,
        release: str,
        sae_id: str,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        norm_scaling_factor: float | None = None,
    ) -> SparseAutoencoder:
        """Load an SAE by SAELens' name: through SAELens the first time, from the cache after that.

        Args:
            release: A release of SAELens' registry, or a Hugging Face repository in SAELens' layout.
            sae_id: The id in the release, or the folder in the repository.
            revision: Branch, tag or commit of the repository; None is its main branch.
            device: Where the weights go when they are used.
            dtype: `float32`, `bfloat16` or `float16` for the matrices; None keeps the release's own.
            norm_scaling_factor: For releases whose scaling factor SAELens does not know.

        Returns:
            The SAE.

        Raises:
            UserError: No such release or id (the nearest is named), no network, or an SAE of a kind that
                emosae cannot use.
        """
        from emosae.saes.sources import entry_of_release

        entry = entry_of_release(release, sae_id, revision=revision, norm_scaling_factor=norm_scaling_factor)
        return cls.from_entry(entry, device=device, dtype=dtype)

    @classmethod
    def load_from_disk(
        cls,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        norm_scaling_factor: float | None = None,
    ) -> SparseAutoencoder:
        """Load an SAE from a folder in SAELens' layout, or from an entry of the cache.

        Args:
            folder: The folder with `cfg.json` and `sae_weights.safetensors`.
            device: As in `from_pretrained`.
            dtype: As in `from_pretrained`.
            norm_scaling_factor: For an SAE whose config says `expected_average_only_in`: the number that
                activations were multiplied with in training; None takes the one beside the weights.

        Returns:
            The SAE.

        Raises:
            UserError: The folder is missing, is a file, or holds no SAE that emosae can use.
        """
        from emosae.saes.sources import entry_of_folder

        entry = entry_of_folder(folder, norm_scaling_factor=norm_scaling_factor)
        return cls.from_entry(entry, device=device, dtype=dtype)

    @classmethod
    def from_hf(
        cls,
        repo_id: str,
        path: str | None = None,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        norm_scaling_factor: float | None = None,
    ) -> SparseAutoencoder:
        """Load an SAE from a folder of a Hugging Face repository in SAELens' layout.

        Where SAELens' registry lists that folder, it is loaded as the registry says.

        Args:
            repo_id: The repository, `owner/name`.
            path: The folder in it; None is its root.
            revision: As in `from_pretrained`.
            device: As in `from_pretrained`.
            dtype: As in `from_pretrained`.
            norm_scaling_factor: As in `load_from_disk`.

        Returns:
            The SAE.

        Raises:
            UserError: It cannot be fetched, or emosae cannot use it.
        """
        from emosae.saes.sources import entry_of_repository

        entry = entry_of_repository(
            repo_id, path or "", revision=revision, norm_scaling_factor=norm_scaling_factor
        )
        return cls.from_entry(entry, device=device, dtype=dtype)

    @classmethod
    def from_entry(
        cls,
        entry: CacheEntry,
        *,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
    ) -> SparseAutoencoder:
        """Open a converted entry of the cache where it lies."""
        from emosae.saes.cache import WEIGHTS_FILE

        weights = Weights.open(entry.path / WEIGHTS_FILE, entry.checksums)
        name = entry.source.get("name") or entry.key
        homes = (entry.path, *((Path(entry.source["path"]),) if entry.source.get("kind") == "folder" else ()))
        return cls(
            entry.cfg,
            weights,
            name=name,
            fingerprint=entry.fingerprint,
            homes=homes,
            device=device,
            dtype=dtype,
        )

    @classmethod
    def from_state_dict(
        cls,
        cfg: Mapping[str, Any] | SAEConfig,
        state: Mapping[str, Tensor],
        *,
        name: str = "in memory",
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
        norm_scaling_factor: float | None = None,
    ) -> SparseAutoencoder:
        """Make an SAE from weights in memory; nothing is written.

        Args:
            cfg: A SAELens config, or one that was read.
            state: SAELens' state dict: `W_enc` [d_in, d_sae], `W_dec` [d_sae, d_out], and the vectors.
            name: What results will call it.
            device: As in `from_pretrained`.
            dtype: As in `from_pretrained`.
            norm_scaling_factor: As in `load_from_disk`.

        Returns:
            The SAE, which holds its own copy of the weights.

        Raises:
            UserError: The config is not understood, or the weights do not fit it.
        """
        from emosae.saes.convert import convert
        from emosae.saes.pack import plan

        read = cfg if isinstance(cfg, SAEConfig) else SAEConfig.from_saelens(cfg)
        held = {key: tensor.detach().cpu() for key, tensor in state.items()}
        raw = convert(read, held, norm_scaling_factor=norm_scaling_factor)
        file = io.BytesIO()
        packed = plan(raw).write(file)
        weights = Weights(bytearray(file.getbuffer()), packed.checksums, name)
        return cls(raw.cfg, weights, name=name, fingerprint=packed.fingerprint, device=device, dtype=dtype)

    def __repr__(self) -> str:
        cfg = self.cfg
        return (
            f"SparseAutoencoder({self.name!r}, {cfg.architecture.value}, {cfg.d_in} -> {cfg.d_sae} -> "
            f"{cfg.d_out}, {cfg.hook_name}, device={str(self.device)!r})"
        )

    def to(
        self, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
    ) -> SparseAutoencoder:
        """Move the SAE, in place; the matrices follow when they are next used.

        Args:
            device: Where to; None leaves it.
            dtype: The matrices' dtype; None leaves it.

        Returns:
            This SAE.
        """
        if device is not None:
            self._device = torch.device(device)
        if dtype is not None:
            self._dtype = _dtype(dtype)
        self._vectors = {name: vector.to(self._device) for name, vector in self._weights.vectors.items()}
        self._matrices.clear()
        self._rows.clear()
        return self

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the encoder's matrix."""
        return self._dtype or self._weights.dtype("W_enc")

    @property
    def d_in(self) -> int:
        """Width of the activation that is read."""
        return self.cfg.d_in

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.cfg.d_sae

    @property
    def d_out(self) -> int:
        """Width of the activation that is written."""
        return self.cfg.d_out

    @property
    def site(self) -> Site:
        """Where it reads.

        Raises:
            UserError: The config names no site, or a single attention head.
        """
        return self._site("reads", "hook_name", (self.cfg.hook_name, self.cfg.hf_hook_name))

    @property
    def site_out(self) -> Site:
        """Where it writes: its own site, but for transcoders."""
        if not self.cfg.architecture.is_transcoder:
            return self.site
        names = (self.cfg.hook_name_out, self.cfg.hf_hook_name_out)
        return self._site("writes", "hook_name_out", names)

    @property
    def W_enc_rows(self) -> Float[Tensor, "d_sae d_in"]:
        """The encoder, feature-major."""
        return self._matrix("W_enc")

    @property
    def W_enc(self) -> Float[Tensor, "d_in d_sae"]:
        """The encoder as SAELens has it: a transposed view."""
        return self.W_enc_rows.T

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_out"]:
        """The decoder."""
        return self._matrix("W_dec")

    @property
    def W_skip(self) -> Float[Tensor, "d_out d_in"] | None:
        """A skip transcoder's map from its input to its output; None for others."""
        return self._matrix("W_skip") if self.cfg.architecture.has_skip else None

    @property
    def b_enc(self) -> Float[Tensor, " d_sae"] | None:
        """The encoder's bias; None for gated."""
        return self._vectors.get("b_enc")

    @property
    def b_dec(self) -> Float[Tensor, " d_out"]:
        """The decoder's bias."""
        return self._vectors["b_dec"]

    @property
    def threshold(self) -> Float[Tensor, " d_sae"] | None:
        """What a jumprelu feature must exceed; None for others."""
        return self._vectors.get("threshold")

    @property
    def vectors(self) -> dict[str, Float[Tensor, ...]]:
        """Every vector by SAELens' name, `b_gate`, `b_mag` and `r_mag` of gated SAEs among them."""
        return dict(self._vectors)

    @property
    def decoder_norm(self) -> Float[Tensor, " d_sae"]:
        """The norm of each decoder row."""
        return self._vectors["decoder_norm"]

    def rows(self, features: Sequence[int] | Tensor | np.ndarray) -> SAERows:
        """Read all there is of a few features, and nothing of the others.

        Args:
            features: Feature numbers; any order, repeats allowed.

        Returns:
            Their rows, float32, on this SAE's device.

        Raises:
            UserError: A number is not a feature's.
            CorruptSAEError: A row is not as it was written.
        """
        key = feature_numbers(features, self.d_sae)
        if key not in self._rows:
            if len(self._rows) >= _ROW_MEMORY:
                self._rows.clear()
            self._rows[key] = read_rows(self._weights, key, device=self._device, dtype=self._dtype)
        return self._rows[key]

    def normalize(self, x: Float[Tensor, "n d_in"]) -> NormedInput:
        """Give what the encoder sees of `x`, and the scale and shift that undo it.

        Args:
            x: Activations [n, d_in].

        Returns:
            The encoder's input; its `scale` is the factor of a clamp's edit, None where that is 1.
        """
        flat = self._checked(x).reshape(-1, self.d_in)
        normed = normalize(flat, self.cfg, self.b_dec)
        if self.cfg.architecture.is_transcoder:
            return NormedInput(normed.x, None, None)
        return normed

    def encode(
        self,
        x: Float[Tensor, "*lead d_in"],
        features: Sequence[int] | Tensor | np.ndarray | None = None,
    ) -> SparseFeatures:
        """Compute feature activations.

        The dense pre-activations are computed in tiles of at most 64 MiB; beside them only non-zeros are
        held. No gradient is recorded.

        Args:
            x: Activations at the SAE's site, in any floating dtype; heads of `hook_z` flattened.
            features: Compute these alone, reading only their rows. Exact for standard, jumprelu and gated
                SAEs; a topk SAE needs all features to know the largest, so it encodes in full and then
                picks. None computes all.

        Returns:
            The activations in float32, of shape (*lead, d_sae), or (*lead, len(features)) in the order
            asked for.

        Raises:
            UserError: `x` has another width, holds no floating-point numbers, or is not finite.
        """
        x = self._checked(x)
        flat = x.reshape(-1, self.d_in)
        lead = tuple(x.shape[:-1])
        if features is None:
            encoder = self._encoder(self.W_enc_rows, self._vectors)
            return encode_rows(flat, self.cfg, self.b_dec, encoder).reshape(*lead)
        if self.cfg.k is not None:
            chosen = feature_numbers(features, self.d_sae)
            return self.encode(x).columns(torch.tensor(chosen, dtype=torch.int64, device=self.device))
        rows = self.rows(features)
        found = encode_rows(flat, self.cfg, self.b_dec, self._encoder(rows.W_enc, rows.vectors))
        return replace(found.reshape(*lead), features=rows.features)

    def decode(self, f: SparseFeatures | Float[Tensor, "*lead d_sae"]) -> Float[Tensor, "*lead d_out"]:
        """Reconstruct activations from features.

        Under `center_writing_weights` it reconstructs `x - mean(x)`, what such an SAE was trained on.

        Args:
            f: What `encode` gave; a dense tensor too, where the SAE does not normalise by its input.

        Returns:
            The reconstruction in float32, without a skip transcoder's skip term (see `reconstruct`).

        Raises:
            UserError: `f` has another width, holds some features only, or lacks what the input was
                normalised by.
        """
        norms = self.decoder_norm if self.cfg.rescale_acts_by_decoder_norm else None
        if f.shape[-1] != self.d_sae:
            raise UserError(
                f"Features must have d_sae={self.d_sae} columns to be decoded, got {f.shape[-1]}. Encode all "
                "features, without features=."
            )
        if isinstance(f, Tensor):
            if self.cfg.normalizes_by_input:
                raise UserError(
                    f"This SAE normalises by its input ({self.cfg.normalize_activations.value}), so a dense "
                    "tensor does not say how to scale back. Pass the SparseFeatures that encode gave."
                )
            flat = f.to(self.device).reshape(-1, self.d_sae)
            return (dense_product(flat, self.W_dec, norms=norms) + self.b_dec).reshape(
                *f.shape[:-1], self.d_out
            )
        if f.features is not None:
            raise UserError(
                "Only some features were encoded, and decode needs all. Encode without features=."
            )
        if self.cfg.normalizes_by_input and f.scale is None:
            raise UserError(
                f"This SAE normalises by its input ({self.cfg.normalize_activations.value}), and these "
                "features carry no scale. Pass the SparseFeatures that encode gave, or scale= to "
                "SparseFeatures."
            )
        f = f.to(self.device)
        out = sparse_product(f, self.W_dec, norms=norms).add_(self.b_dec)
        if f.scale is not None:
            out *= f.scale[:, None]
        if f.shift is not None:
            out += f.shift[:, None]
        return out.reshape(*f.shape[:-1], self.d_out)

    def reconstruct(self, x: Float[Tensor, "*lead d_in"]) -> Float[Tensor, "*lead d_out"]:
        """Give `decode(encode(x))`, plus `x @ W_skip.T` for a skip transcoder."""
        out = self.decode(self.encode(x))
        if self.W_skip is not None:
            with torch.no_grad():
                out += self._checked(x).to(torch.float32) @ self.W_skip.to(torch.float32).T
        return out

    def _site(self, does: str, field: str, names: tuple[str | None, str | None]) -> Site:
        """The site that the first of the names means; releases give SAELens' name, the module's, or both."""
        from emosae.models.sites import Site

        if self.cfg.hook_head_index is not None:
            raise UserError(
                f"The SAE {self.name!r} reads attention head {self.cfg.hook_head_index} alone, which emosae "
                "does not locate. Use an SAE on a whole site."
            )
        given = [name for name in names if name]
        if not given:
            raise UserError(
                f"The SAE {self.name!r} does not say where it {does}. Add metadata.{field} to its cfg.json, "
                "e.g. 'blocks.8.hook_resid_pre'."
            )
        try:
            return Site.parse(given[0])
        except UserError:
            if len(given) == 1:
                raise
            return Site.parse(given[1])

    def _matrix(self, name: str) -> Tensor:
        if name not in self._matrices:
            stored = self._weights.matrix(name)
            self._matrices[name] = stored.to(self._device, self._dtype or stored.dtype)
        return self._matrices[name]

    def _encoder(self, W: Tensor, vectors: Mapping[str, Tensor]) -> Encoder:
        activation = self.cfg.architecture.activation
        return Encoder(
            activation=activation,
            W=W,
            bias=vectors.get("b_enc"),
            threshold=vectors.get("threshold") if activation is Activation.JUMPRELU else None,
            b_gate=vectors.get("b_gate"),
            b_mag=vectors.get("b_mag"),
            r_mag=vectors.get("r_mag"),
            rank_norm=vectors["decoder_norm"] if self.cfg.rescale_acts_by_decoder_norm else None,
            k=self.cfg.k,
        )

    def _checked(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise UserError(
                f"Activations must be a floating-point tensor, got {got}. Convert them with torch."
            )
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            heads = " with the heads flattened" if self.cfg.reshape_activations == "hook_z" else ""
            raise UserError(
                f"Activations for {self.name!r} must have d_in={self.d_in} as their last dimension{heads}, "
                f"got shape {tuple(x.shape)}. Read them at "
                f"{self.cfg.hook_name or 'the site the SAE was trained on'}."
            )
        return x.detach().to(self.device)


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise unknown_name("dtype for an SAE", name, _DTYPES)
    return _DTYPES[name]
