"""What a sparse autoencoder is and where it reads: the known fields of a SAELens config, read once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any

from emosae.errors import UserError
from emosae.saes.kinds import (
    Activation,
    Architecture,
    Normalization,
    read_architecture,
    read_normalization,
)

__all__ = ["Activation", "Architecture", "Normalization", "SAEConfig"]

log = logging.getLogger(__name__)

# TransformerLens centres the weights that write into the residual stream only in models with LayerNorm and
# passes over the flag silently in models with RMSNorm, so there the SAE saw uncentred activations.
# Source: TransformerLens, ProcessWeights.process_weights.
_RMS_NORM_MODELS = ("llama", "gemma", "mistral", "mixtral", "qwen", "deepseek", "phi-3", "phi-4", "olmo-2")
# What is written into the residual stream, and the stream itself; the outputs of norms, heads and neurons are
# untouched by that centring.
_CENTRED_POINTS = (
    "hook_embed",
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
    "hook_attn_out",
    "hook_mlp_out",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SAEConfig:
    """Every field of a SAELens config that emosae uses; a misspelt one can not pass as None.

    Attributes:
        architecture: How feature activations are computed.
        d_in: Width of the activation that is read.
        d_sae: Number of features.
        d_out: Width of the activation that is written; `d_in` but for transcoders.
        apply_b_dec_to_input: Whether `b_dec` is subtracted before encoding.
        normalize_activations: What is done to the input and undone on the output.
        k: Features kept per token, for topk and abstopk; None otherwise.
        rescale_acts_by_decoder_norm: Whether topk ranks and reports activations times `norm(W_dec[i])`.
        center_writing_weights: Whether the SAE expects `x - mean(x)`.
        norm_scaling_factor: The scalar of expected_average_only_in that was folded into the weights.
        reshape_activations: `hook_z` if SAELens gives it heads side by side; emosae takes them flattened.
        prepend_bos: Whether the training text began with BOS; None if the release does not say.
        model_name: The model it was trained on, as SAELens names it.
        hook_name: TransformerLens' name of the site that is read.
        hook_name_out: The site that is written, for transcoders.
        hook_layer: The layer, which releases of before 2025 name apart.
        hook_head_index: The attention head it was trained on, where it was trained on one alone.
        hf_hook_name: The `transformers` module that is read, where the release names it.
        hf_hook_name_out: The `transformers` module that is written.
        context_size: Tokens per training context.
        neuronpedia_id: Its name on Neuronpedia, e.g. `gemma-2-2b/20-gemmascope-res-16k`.
        release: SAELens' release, or the Hugging Face repository it came from.
        sae_id: The id in the release, or the path in the repository.
        revision: The repository's revision that was asked for; None is its main branch.
    """

    architecture: Architecture
    d_in: int
    d_sae: int
    d_out: int
    apply_b_dec_to_input: bool = True
    normalize_activations: Normalization = Normalization.NONE
    k: int | None = None
    rescale_acts_by_decoder_norm: bool = False
    center_writing_weights: bool = False
    norm_scaling_factor: float | None = None
    reshape_activations: str = "none"
    prepend_bos: bool | None = None
    model_name: str | None = None
    hook_name: str | None = None
    hook_name_out: str | None = None
    hook_layer: int | None = None
    hook_head_index: int | None = None
    hf_hook_name: str | None = None
    hf_hook_name_out: str | None = None
    context_size: int | None = None
    neuronpedia_id: str | None = None
    release: str | None = None
    sae_id: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        for name in ("d_in", "d_sae", "d_out"):
            if not _is_int(getattr(self, name)) or getattr(self, name) < 1:
                raise _bad(name, "a positive whole number", getattr(self, name))
        top_k = self.architecture.activation in (Activation.TOPK, Activation.ABSTOPK)
        if top_k and not (_is_int(self.k) and 1 <= (self.k or 0) <= self.d_sae):
            raise _bad("k", f"a whole number from 1 to d_sae ({self.d_sae})", self.k)
        if self.rescale_acts_by_decoder_norm and not top_k:
            raise _bad("rescale_acts_by_decoder_norm", "false for any architecture but topk", True)
        if self.architecture.is_transcoder and self.apply_b_dec_to_input:
            raise _bad("apply_b_dec_to_input", "false for a transcoder, whose b_dec is in its output", True)
        if not self.architecture.is_transcoder and self.d_out != self.d_in:
            raise _bad("d_out", f"d_in ({self.d_in}) for any architecture but a transcoder", self.d_out)

    @property
    def normalizes_by_input(self) -> bool:
        """Whether decode needs a number of each input: its norm, or its mean and std."""
        per_input = (Normalization.LAYER_NORM, Normalization.CONSTANT_NORM_RESCALE)
        return self.normalize_activations in per_input and not self.architecture.is_transcoder

    @property
    def arithmetic(self) -> dict[str, Any]:
        """The fields that, with the weights, decide every number that comes out."""
        return {
            "architecture": self.architecture.value,
            "d_in": self.d_in,
            "d_sae": self.d_sae,
            "d_out": self.d_out,
            "apply_b_dec_to_input": self.apply_b_dec_to_input,
            "normalize_activations": self.normalize_activations.value,
            "k": self.k,
            "rescale_acts_by_decoder_norm": self.rescale_acts_by_decoder_norm,
            "center_writing_weights": self.center_writing_weights,
        }

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values, for JSON; `from_fields` reads them back."""
        plain = asdict(self)
        return {name: value.value if isinstance(value, Enum) else value for name, value in plain.items()}

    @classmethod
    def from_fields(cls, plain: Mapping[str, Any]) -> SAEConfig:
        """Read back what `to_dict` gave."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in plain.items() if name in known}
        values["architecture"] = Architecture(values["architecture"])
        values["normalize_activations"] = Normalization(values["normalize_activations"])
        return cls(**values)

    def replace(self, **changes: Any) -> SAEConfig:
        """Give a copy with other values in some fields."""
        return replace(self, **changes)

    @classmethod
    def from_saelens(
        cls,
        cfg: Mapping[str, Any],
        *,
        release: str | None = None,
        sae_id: str | None = None,
        revision: str | None = None,
    ) -> SAEConfig:
        """Read a SAELens config: its own fields and those of its `metadata`.

        Args:
            cfg: The content of a `cfg.json` of SAELens 6, or what its `cfg.to_dict()` gives.
            release: SAELens' release or the repository, where the SAE came from one.
            sae_id: The id in the release.
            revision: The revision that was asked for.

        Returns:
            The known fields; `normalize_activations` is as the config says, not folded yet.

        Raises:
            UserError: A field is missing, of the wrong kind, or names what emosae does not know.
        """
        metadata = cfg.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise _bad("metadata", "a table of fields", metadata)

        def about(name: str) -> Any:
            value = metadata.get(name)
            return cfg.get(name) if value is None else value

        architecture = read_architecture(cfg.get("architecture"))
        d_in, d_sae = cfg.get("d_in"), cfg.get("d_sae")
        top_k = architecture.activation in (Activation.TOPK, Activation.ABSTOPK)
        read = cls(
            architecture=architecture,
            d_in=d_in,  # type: ignore[arg-type]  # __post_init__ refuses what is no number
            d_sae=d_sae,  # type: ignore[arg-type]
            d_out=cfg.get("d_out", d_in) if architecture.is_transcoder else d_in,  # type: ignore[arg-type]
            apply_b_dec_to_input=_flag(cfg, "apply_b_dec_to_input", not architecture.is_transcoder),
            normalize_activations=read_normalization(cfg.get("normalize_activations")),
            k=cfg.get("k") if top_k else None,
            rescale_acts_by_decoder_norm=top_k and _flag(cfg, "rescale_acts_by_decoder_norm", False),
            reshape_activations=str(cfg.get("reshape_activations") or "none"),
            prepend_bos=about("prepend_bos"),
            model_name=about("model_name"),
            hook_name=about("hook_name"),
            hook_name_out=about("hook_name_out") if architecture.is_transcoder else None,
            hook_layer=about("hook_layer"),
            hook_head_index=about("hook_head_index"),
            hf_hook_name=about("hf_hook_name"),
            hf_hook_name_out=about("hf_hook_name_out"),
            context_size=about("context_size"),
            neuronpedia_id=about("neuronpedia_id"),
            release=release,
            sae_id=sae_id,
            revision=revision,
        )
        # The registry's overrides may stand beside a table in metadata that is empty.
        kwargs = dict(cfg.get("model_from_pretrained_kwargs") or {})
        kwargs |= metadata.get("model_from_pretrained_kwargs") or {}
        return read.replace(center_writing_weights=_centred(read, kwargs))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _bad(field: str, constraint: str, value: Any) -> UserError:
    return UserError(
        f"The SAE's {field} must be {constraint}, got {value!r}. Correct it in the SAE's cfg.json."
    )


def _flag(cfg: Mapping[str, Any], field: str, default: bool) -> bool:
    value = cfg.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _bad(field, "true or false", value)
    return value


def _centred(cfg: SAEConfig, kwargs: Mapping[str, Any]) -> bool:
    """Whether the activations the SAE was trained on had their mean taken off."""
    if not kwargs.get("center_writing_weights"):
        return False
    model = (cfg.model_name or "").lower()
    if any(family in model for family in _RMS_NORM_MODELS):
        log.info("%s has RMSNorm, which center_writing_weights leaves as it is", cfg.model_name)
        return False
    return cfg.hook_name is None or cfg.hook_name.endswith(_CENTRED_POINTS)
