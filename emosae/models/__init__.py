"""Transformers models: loading them, naming their sites, and streaming activations."""

from __future__ import annotations

from emosae.models.capture import context_length, forward_to_sites, input_device
from emosae.models.load import ModelDtype, load_model
from emosae.models.sites import Located, Side, Site, Stream, is_decoder, locate, n_layers, text_model
from emosae.models.stream import ActivationBatch, StreamRecord, plan_batches, stream_activations
from emosae.models.tokens import TokenizedItems, tokenize
from emosae.models.widths import check_width, site_width

__all__ = [
    "ActivationBatch",
    "Located",
    "ModelDtype",
    "Side",
    "Site",
    "Stream",
    "StreamRecord",
    "TokenizedItems",
    "check_width",
    "context_length",
    "forward_to_sites",
    "input_device",
    "is_decoder",
    "load_model",
    "locate",
    "n_layers",
    "plan_batches",
    "site_width",
    "stream_activations",
    "text_model",
    "tokenize",
]
