"""Steering begins with the clamped features' rows alone: nothing else of a cached SAE's matrices is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models_zoo import WIDTH, build, ids_and_mask
from saes_cases import write_folder
from steering_cases import D_SAE, fitting

import emosae
from emosae.saes import SparseAutoencoder
from emosae.saes.weights import Weights

FEATURES = [3, 9, 17, 40]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each read of a matrix."""
    sizes: list[int] = []
    original = Weights._read

    def _read(self: Weights, start: int, length: int) -> bytes:
        sizes.append(length)
        return original(self, start, length)

    monkeypatch.setattr(Weights, "_read", _read)
    monkeypatch.setattr(Weights, "matrix", lambda *_: pytest.fail("a whole matrix was read"))
    return sizes


@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "gated", "transcoder"])
def test_the_rows_of_the_clamped_features_are_read_once_and_nothing_else(
    architecture: str, cache: Path, tmp_path: Path, read: list[int]
) -> None:
    cfg, state = fitting(architecture)
    sae = SparseAutoencoder.load_from_disk(write_folder(tmp_path / "sae", cfg, state))
    model, (ids, _) = build("gpt2"), ids_and_mask((6, 6))
    size = state["W_dec"].element_size()
    read.clear()  # what the conversion checked
    clamps = [emosae.Clamp(feature, "set", 5.0) for feature in FEATURES]
    with emosae.steer(model, sae, clamps) as applied:
        model.generate(ids, max_new_tokens=3, do_sample=False)
    assert len(applied.trace) > 0
    assert read == [WIDTH * size] * (2 * len(FEATURES))  # an encoder and a decoder row of each
    with emosae.steer(model, sae, clamps):
        model(input_ids=ids)
    assert len(read) == 2 * len(FEATURES)  # entered again, the rows are there
    assert sum(read) * D_SAE == 2 * len(FEATURES) * state["W_dec"].nbytes


def test_a_wrong_row_is_said_only_where_it_is_steered(cache: Path, tmp_path: Path) -> None:
    cfg, state = fitting("jumprelu")
    folder = write_folder(tmp_path / "sae", cfg, state)
    SparseAutoencoder.load_from_disk(folder)
    (entry,) = (path for path in (cache / "saes").iterdir() if path.name.startswith("sae"))
    file = entry / "weights.safetensors"
    content = bytearray(file.read_bytes())
    row = state["W_dec"][3].numpy().tobytes()
    at = bytes(content).index(row)
    content[at] ^= 1
    file.write_bytes(content)
    sae, model, (ids, _) = SparseAutoencoder.load_from_disk(folder), build("gpt2"), ids_and_mask((6, 6))
    with emosae.steer(model, sae, [emosae.Clamp(9, "set", 5.0)]), torch.no_grad():
        model(input_ids=ids)
    plain = model(input_ids=ids).logits
    with (
        pytest.raises(emosae.UserError, match="Row 3 of W_dec"),
        emosae.steer(model, sae, [emosae.Clamp(3, "set", 5.0)]),
    ):
        pytest.fail("the block must not begin")
    assert torch.equal(model(input_ids=ids).logits, plain)  # an entry that failed leaves nothing behind
