"""The kinds of sparse autoencoder: their names in SAELens, what each computes, and which are refused and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from emosae.errors import UserError, unknown_name

__all__ = ["Activation", "Architecture", "Normalization", "read_architecture", "read_normalization"]


class Activation(StrEnum):
    """The function that turns pre-activations into feature activations."""

    RELU = "relu"
    JUMPRELU = "jumprelu"
    TOPK = "topk"
    ABSTOPK = "abstopk"
    GATED = "gated"


class Architecture(StrEnum):
    """SAELens' names of the architectures whose arithmetic emosae knows."""

    STANDARD = "standard"
    JUMPRELU = "jumprelu"
    TOPK = "topk"
    ABSTOPK = "abstopk"
    GATED = "gated"
    TRANSCODER = "transcoder"
    SKIP_TRANSCODER = "skip_transcoder"
    JUMPRELU_TRANSCODER = "jumprelu_transcoder"
    JUMPRELU_SKIP_TRANSCODER = "jumprelu_skip_transcoder"

    @property
    def activation(self) -> Activation:
        """The activation function of this architecture."""
        return _ACTIVATIONS[self]

    @property
    def is_transcoder(self) -> bool:
        """Whether it reads at one site and writes at another."""
        return self.value.endswith("transcoder")

    @property
    def has_skip(self) -> bool:
        """Whether its output adds a linear map of its input, `W_skip`."""
        return "skip" in self.value


_ACTIVATIONS = {
    Architecture.STANDARD: Activation.RELU,
    Architecture.JUMPRELU: Activation.JUMPRELU,
    Architecture.TOPK: Activation.TOPK,
    Architecture.ABSTOPK: Activation.ABSTOPK,
    Architecture.GATED: Activation.GATED,
    Architecture.TRANSCODER: Activation.RELU,
    Architecture.SKIP_TRANSCODER: Activation.RELU,
    Architecture.JUMPRELU_TRANSCODER: Activation.JUMPRELU,
    Architecture.JUMPRELU_SKIP_TRANSCODER: Activation.JUMPRELU,
}

# Names that SAELens knows and emosae refuses, each with the reason the user should read.
_REFUSED = {
    "temporal": "its features depend on the tokens before, so a single token cannot be encoded, nor one "
    "feature clamped; use SAELens' own TemporalSAE for it",
    "matching_pursuit": "it selects features one after the other on the residual, so no feature can be "
    "computed or clamped alone; use SAELens' own MatchingPursuitSAE for it",
    "batchtopk": "this is a training checkpoint; save it with SAELens' save_inference_model, which makes it "
    "a jumprelu SAE",
    "matryoshka_batchtopk": "this is a training checkpoint; save it with SAELens' save_inference_model, which "
    "makes it a jumprelu SAE",
}


class Normalization(StrEnum):
    """What is done to an activation before it is encoded, and undone after it is decoded."""

    NONE = "none"
    LAYER_NORM = "layer_norm"
    CONSTANT_NORM_RESCALE = "constant_norm_rescale"
    EXPECTED_AVERAGE_ONLY_IN = "expected_average_only_in"


_REFUSED_NORMALIZATIONS = {
    "covariance_whitening": "it has to be folded into the weights with SAELens' fold_activation_whitening "
    "before the SAE is saved",
    "constant_scalar_rescale": "only temporal SAEs use it, and they are not supported",
}


def read_architecture(name: Any) -> Architecture:
    """Return the architecture of a SAELens name.

    Raises:
        UserError: A name that emosae does not know, or one of an SAE that it cannot use, with the reason.
    """
    if name in _REFUSED:
        raise UserError(f"emosae cannot use an SAE of architecture {name!r}: {_REFUSED[name]}.")
    try:
        return Architecture(name)
    except ValueError:
        raise unknown_name("SAE architecture", str(name), [kind.value for kind in Architecture]) from None


def read_normalization(name: Any) -> Normalization:
    """Return the normalisation of a SAELens name; None is none.

    Raises:
        UserError: As `read_architecture`.
    """
    if name in _REFUSED_NORMALIZATIONS:
        raise UserError(f"emosae cannot use normalize_activations={name!r}: {_REFUSED_NORMALIZATIONS[name]}.")
    try:
        return Normalization.NONE if name is None else Normalization(name)
    except ValueError:
        options = [kind.value for kind in Normalization]
        raise unknown_name("activation normalization", str(name), options) from None
