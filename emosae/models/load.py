"""Load a transformers model and its tokenizer, or say plainly why not."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from emosae.errors import MissingFileError, UserError, unknown_name
from emosae.models.capture import context_length
from emosae.models.sites import is_decoder

__all__ = ["ModelDtype", "load_model"]

log = logging.getLogger(__name__)


class ModelDtype(StrEnum):
    """The precision a model is loaded in; `AUTO` is the one it was saved in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


# What transformers and huggingface_hub raise over a name, a file or a config that they cannot use
_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str | ModelDtype = ModelDtype.AUTO,
    device: str | torch.device = "cpu",
    device_map: str | dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Load a decoder with its language-model head, or an encoder, and the fast tokenizer beside it.

    Args:
        name: A folder with config.json, weights and tokenizer, or a name on the Hugging Face hub.
        revision: Branch, tag or commit on the hub; None means its main branch. A folder has none.
        dtype: auto, float32, bfloat16 or float16.
        device: Where the model goes, e.g. `cpu`, `cuda`, `cuda:1`, `mps`. Not used with `device_map`.
        device_map: Spread the model as accelerate does (`"auto"`, or a map of modules to devices); None puts
            it on `device` whole.

    Returns:
        The model in evaluation mode, and its tokenizer, whose `model_max_length` is lowered to the number of
        positions of the model.

    Raises:
        MissingFileError: `name` is a path at which there is nothing.
        UserError: The folder or hub name holds no model that can be read, its weights do not fit its config,
            its tokenizer knows no offsets, or the dtype or device does not exist here.

    Example:
        >>> model, tokenizer = load_model("openai-community/gpt2", dtype="float32")  # doctest: +SKIP
    """
    precision = _parse_dtype(dtype)
    where = None if device_map is not None else _parse_device(device)
    source = _check_source(name, revision)
    if device_map is not None and find_spec("accelerate") is None:
        raise UserError("device_map needs the package accelerate. Install it with: pip install accelerate")
    with _quiet():
        from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

        with _explained(name, "model", revision):
            config = AutoConfig.from_pretrained(source, revision=revision)
        if getattr(config, "is_encoder_decoder", False):
            raise UserError(
                f"The model must be a decoder or an encoder, got {str(name)!r}, which is both "
                f"({config.model_type}). Choose a language model such as GPT-2 or Gemma, or an encoder such "
                "as BERT."
            )
        kind = AutoModelForCausalLM if is_decoder(config) else AutoModel
        with _explained(name, "model", revision):
            model, report = kind.from_pretrained(
                source,
                revision=revision,
                dtype=precision.value,
                device_map=device_map,
                output_loading_info=True,
            )
        _check_weights(name, model, report)
        tokenizer = _load_tokenizer(name, source, revision)
    if where is not None:
        model = model.to(where)
    limit = context_length(model)
    if limit is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, limit)
    return model.eval(), tokenizer


def _parse_dtype(dtype: str | ModelDtype) -> ModelDtype:
    try:
        return ModelDtype(dtype)
    except ValueError:
        raise unknown_name("dtype", str(dtype), [known.value for known in ModelDtype]) from None


def _parse_device(device: str | torch.device) -> torch.device:
    try:
        parsed = torch.device(device)
    except RuntimeError:
        raise UserError(f"The device must be cpu, cuda, cuda:N or mps, got {device!r}. Correct it.") from None
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(parsed.type, True):
        raise UserError(
            f"The device {str(device)!r} is not on this machine, or this torch ({torch.__version__}) is "
            "built without it. Use device='cpu', or install a torch build for it."
        )
    if parsed.type == "cuda" and (parsed.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"The device must be cuda:0 to cuda:{torch.cuda.device_count() - 1} on this machine, got "
            f"{device!r}. Choose one of these."
        )
    return parsed


def _check_source(name: str | Path, revision: str | None) -> str:
    text = str(name)
    path = Path(text).expanduser()
    if path.is_file():
        raise UserError(
            f"The model must be a folder or a hub name, got the file {str(name)!r}. Give its folder."
        )
    if path.is_dir() and text:
        if not (path / "config.json").is_file():
            raise MissingFileError(
                f"The folder {str(name)!r} holds no config.json, so it is no transformers model. Give the "
                "folder that model.save_pretrained wrote, with the tokenizer saved beside it."
            )
        if revision is not None:
            raise UserError(
                f"A folder has no revisions, got revision={revision!r} for {str(name)!r}. Leave it out."
            )
        return str(path)
    # A hub name is NAME or OWNER/NAME
    if isinstance(name, Path) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", text):
        raise MissingFileError(
            f"There is no folder {text!r}. Check the path, or give a name on the Hugging Face hub."
        )
    return text


@contextmanager
def _explained(name: str | Path, what: str, revision: str | None) -> Iterator[None]:
    """Turn what the loaders raise into one sentence with the next step."""
    try:
        yield
    except UserError:
        raise
    except _LOAD_ERRORS as error:
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        reason = reason[:300].rstrip(".")
        if Path(name).expanduser().is_dir():
            raise UserError(
                f"The {what} in {str(name)!r} cannot be loaded: {reason}. Check that the folder is complete "
                "and was written by save_pretrained."
            ) from error
        at = f" at revision {revision!r}" if revision else ""
        raise UserError(
            f"{str(name)!r}{at} is no folder here, and its {what} could not be had from the Hugging Face "
            f"hub: {reason}. Check the spelling and the connection, log in with `hf auth login` if the model "
            "is gated, or give a folder."
        ) from error


def _load_tokenizer(name: str | Path, source: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    with _explained(name, "tokenizer", revision):
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, use_fast=True)
    if not tokenizer.is_fast:
        raise UserError(
            f"The tokenizer of {str(name)!r} must be a fast one, which knows the characters of each token, "
            f"got {type(tokenizer).__name__}. Add a tokenizer.json to the model."
        )
    # Where there are no tokenizer files, transformers makes up a vocabulary of special tokens alone
    if set(tokenizer.get_vocab().values()) <= {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}:
        raise UserError(
            f"The model {str(name)!r} has no tokenizer beside it, or one without words. Save it in the same "
            "folder with tokenizer.save_pretrained."
        )
    return tokenizer


def _check_weights(name: str | Path, model: Any, report: dict[str, Any]) -> None:
    """Refuse weights that would be random: transformers fills in what a checkpoint lacks and only logs it."""
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    trunk = [key for key in missing if key.startswith(f"{model.base_model_prefix}.") or not is_decoder(model)]
    if trunk:
        raise UserError(
            f"The weights of {str(name)!r} lack {len(trunk)} tensors that its config asks for, such as "
            f"{trunk[0]!r}. Check that config.json and the weights belong together."
        )
    if missing:
        log.warning(
            "%s holds no language-model head (%s): it can be analysed, but what it generates means nothing",
            name,
            ", ".join(missing),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and notices of the libraries that load, and let them speak after."""
    from transformers.utils import logging as notices

    verbosity, bars = notices.get_verbosity(), notices.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    notices.set_verbosity_error()
    notices.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        notices.set_verbosity(verbosity)
        if bars:
            notices.enable_progress_bar()
        hub.setLevel(hub_level)
