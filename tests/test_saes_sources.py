"""Where SAEs come from: folders, SAELens' registry, Hugging Face repositories; and what is said of others.

Downloads are replaced by local files in the layouts that the releases are published in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from saes_cases import D_IN, D_SAE, activations, make_cfg, make_state, write_folder
from safetensors.torch import save_file
from torch.testing import assert_close

from emosae.errors import MissingFileError, UserError
from emosae.saes import SparseAutoencoder, list_entries, verify

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def sae_lens() -> ModuleType:
    """SAELens, whose import takes seconds."""
    import sae_lens

    return sae_lens


class Hub:
    """Local files that stand for Hugging Face."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[tuple[str, str, str | None]] = []

    def download(
        self,
        repo_id: str,
        filename: str,
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        force_download: bool = False,
    ) -> str:
        name = f"{subfolder}/{filename}" if subfolder else filename
        self.asked.append((repo_id, name, revision))
        path = self.root / repo_id / name
        if not path.is_file():
            raise EntryNotFoundError(f"404: {repo_id}/{name}")
        return str(path)

    def file(self, repo_id: str, name: str) -> Path:
        path = self.root / repo_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sae_lens: ModuleType) -> Hub:
    """The hub, with SAEs small enough to make: the sizes that SAELens reads off names are overridden."""
    local = Hub(tmp_path / "hub")
    monkeypatch.setattr("sae_lens.loading.pretrained_sae_loaders.hf_hub_download", local.download)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", local.download)
    from sae_lens.loading.pretrained_saes_directory import get_config_overrides

    def small(release: str, sae_id: str) -> dict[str, Any]:
        sizes = {"d_in": D_IN, "d_sae": D_SAE, "activation_fn_kwargs": {"k": 5}}
        return {**get_config_overrides(release, sae_id), **sizes}

    monkeypatch.setattr("sae_lens.saes.sae.get_config_overrides", small)
    return local


def gpt2_small_res_jb(hub: Hub) -> tuple[str, str]:
    state, folder = make_state("standard"), "blocks.8.hook_resid_pre"
    cfg = {
        "model_name": "gpt2-small",
        "hook_point": folder,
        "hook_point_layer": 8,
        "hook_point_head_index": None,
        "dataset_path": "Skylion007/openwebtext",
        "context_size": 128,
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "torch.float32",
        "device": "cuda",
    }
    repo = "jbloom/GPT2-Small-SAEs-Reformatted"
    hub.file(repo, f"{folder}/cfg.json").write_text(json.dumps(cfg))
    save_file(
        state | {"scaling_factor": torch.ones(D_SAE)}, hub.file(repo, f"{folder}/sae_weights.safetensors")
    )
    save_file({"sparsity": torch.zeros(D_SAE)}, hub.file(repo, f"{folder}/sparsity.safetensors"))
    return "gpt2-small-res-jb", folder


def gemma_scope(hub: Hub) -> tuple[str, str]:
    state = make_state("jumprelu")
    arrays = {name.replace("W_", "w_"): tensor.numpy() for name, tensor in state.items()}
    from emosae.saes.registry import releases

    release, sae_id = "gemma-scope-9b-it-res-canonical", "layer_20/width_16k/canonical"
    found = releases()[release]
    np.savez(hub.file(found.repo_id, f"{found.paths[sae_id]}/params.npz"), **arrays)
    return release, sae_id


def llama_scope(hub: Hub) -> tuple[str, str]:
    repo, folder = "fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L0R-8x"
    state = make_state("jumprelu")
    # Published in bfloat16, decoder and encoder as torch.nn.Linear keeps them, one threshold for all.
    weights = {
        "encoder.weight": state["W_enc"].T.contiguous(),
        "decoder.weight": state["W_dec"].T.contiguous(),
        "encoder.bias": state["b_enc"],
        "decoder.bias": state["b_dec"],
    }
    halved = {name: tensor.bfloat16() for name, tensor in weights.items()}
    save_file(halved, hub.file(repo, f"{folder}/checkpoints/final.safetensors"))
    described = {
        "d_model": D_IN,
        "d_sae": D_SAE,
        "jump_relu_threshold": 0.5,
        "hook_point_in": "blocks.0.hook_resid_post",
        "dataset_average_activation_norm": {"in": 0.0678},
    }
    hub.file(repo, f"{folder}/hyperparams.json").write_text(json.dumps(described))
    return "llama_scope_lxr_8x", "l0r_8x"


def qwen_scope(hub: Hub) -> tuple[str, str]:
    state = make_state("topk")
    rows = {
        "W_enc": state["W_enc"].T,
        "W_dec": state["W_dec"].T,
        "b_enc": state["b_enc"],
        "b_dec": state["b_dec"],
    }
    torch.save(
        {name: tensor.contiguous() for name, tensor in rows.items()},
        hub.file("Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50", "layer3.sae.pt"),
    )
    return "qwen-scope-3-1.7b-base-w32k-l50", "layer3"


def gemma_scope_transcoder(hub: Hub) -> tuple[str, str]:
    from emosae.saes.registry import releases

    (release,) = [name for name in releases() if name.startswith("gemma-scope-2b-pt-transcoders")]
    found = releases()[release]
    sae_id, path = next(iter(found.paths.items()))
    arrays = {name: tensor.numpy() for name, tensor in make_state("jumprelu_transcoder").items()}
    np.savez(hub.file(found.repo_id, f"{path}/params.npz"), **arrays)
    return release, sae_id


LAYOUTS: list[Callable[[Hub], tuple[str, str]]] = [gpt2_small_res_jb, gemma_scope, llama_scope, qwen_scope]


@pytest.mark.filterwarnings(r"ignore:\s*This SAE has non-empty model_from_pretrained_kwargs:UserWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layouts_equal_saelens(
    sae_lens: ModuleType, hub: Hub, cache: Path, layout: Callable[[Hub], tuple[str, str]]
) -> None:
    release, sae_id = layout(hub)
    oracle = sae_lens.SAE.from_pretrained(release, sae_id)
    ours = SparseAutoencoder.from_pretrained(release, sae_id)
    x = activations(8)
    seen = x - x.mean(dim=-1, keepdim=True) if ours.cfg.center_writing_weights else x
    with torch.no_grad():
        expected = oracle.encode(seen)
        assert expected.any()
        assert_close(ours.encode(x).to_dense(), expected, **TOLERANCE)
        assert_close(ours.decode(ours.encode(x)), oracle.decode(expected), **TOLERANCE)
    assert ours.W_dec.is_contiguous()
    assert ours.W_enc_rows.is_contiguous()
    assert (ours.cfg.release, ours.cfg.sae_id, ours.name) == (release, sae_id, f"{release}/{sae_id}")
    assert ours.cfg.hook_name == oracle.cfg.metadata.hook_name
    assert ours.cfg.neuronpedia_id == oracle.cfg.metadata.neuronpedia_id
    assert ours.cfg.prepend_bos is True
    assert verify()[0].ok

    asked = len(hub.asked)
    again = SparseAutoencoder.from_pretrained(release, sae_id)
    assert (again.fingerprint, len(hub.asked)) == (ours.fingerprint, asked)


def test_gemma_scope_transcoders_read_and_write_elsewhere(
    sae_lens: ModuleType, hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, sae_id = gemma_scope_transcoder(hub)

    def small(*_: str) -> dict[str, Any]:
        return {"d_in": D_IN, "d_sae": D_SAE, "d_out": 12}

    monkeypatch.setattr("sae_lens.saes.sae.get_config_overrides", small)
    oracle = sae_lens.SAE.from_pretrained(release, sae_id)
    ours = SparseAutoencoder.from_pretrained(release, sae_id)
    x = activations(8)
    with torch.no_grad():
        assert_close(ours.encode(x).to_dense(), oracle.encode(x), **TOLERANCE)
        assert_close(ours.reconstruct(x), oracle(x), **TOLERANCE)
    assert ours.cfg.hook_name_out == "blocks.0.hook_mlp_out"


def test_gpt2_small_expects_centred_activations(hub: Hub, cache: Path) -> None:
    sae = SparseAutoencoder.from_pretrained(*gpt2_small_res_jb(hub))
    assert sae.cfg.center_writing_weights
    x = activations(4)
    assert_close(sae.encode(x + 5.0).to_dense(), sae.encode(x).to_dense(), atol=1e-4, rtol=1e-4)


def test_llama_scope_has_its_factor_folded_in(hub: Hub, cache: Path) -> None:
    release, sae_id = llama_scope(hub)
    sae = SparseAutoencoder.from_pretrained(release, sae_id)
    state = {name: tensor.bfloat16().float() for name, tensor in make_state("jumprelu").items()}
    factor = 58.935251798561154  # as the registry says for l0r_8x
    threshold = 0.5 * D_IN**0.5 / 0.0678  # as the loader of SAELens makes it of hyperparams.json
    x = activations(50) / factor
    h = (x * factor) @ state["W_enc"] + state["b_enc"]
    assert_close(sae.encode(x).to_dense(), h * (h > threshold), **TOLERANCE)
    assert sae.cfg.norm_scaling_factor == factor
    assert sae.cfg.normalize_activations == "none"
    assert_close(sae.W_dec, state["W_dec"] / factor)


def test_an_unknown_factor_is_an_error(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release, sae_id = llama_scope(hub)
    monkeypatch.setattr("sae_lens.saes.sae.get_norm_scaling_factor", lambda *_: None)
    with pytest.raises(UserError, match="Pass norm_scaling_factor="):
        SparseAutoencoder.from_pretrained(release, sae_id)
    sae = SparseAutoencoder.from_pretrained(release, sae_id, norm_scaling_factor=58.935251798561154)
    assert sae.cfg.norm_scaling_factor == 58.935251798561154


def test_bfloat16_releases_stay_bfloat16(hub: Hub, cache: Path) -> None:
    state = {name: tensor.bfloat16().float() for name, tensor in make_state("jumprelu").items()}
    arrays = {name.replace("W_", "w_"): tensor.numpy() for name, tensor in state.items()}
    release, sae_id = gemma_scope(hub)
    (path,) = hub.root.rglob("params.npz")
    np.savez(path, **arrays)
    sae = SparseAutoencoder.from_pretrained(release, sae_id)
    assert sae.W_dec.dtype == sae.W_enc_rows.dtype == torch.bfloat16


def test_a_revision_reaches_every_download_and_has_an_entry_of_its_own(hub: Hub, cache: Path) -> None:
    release, sae_id = gpt2_small_res_jb(hub)
    SparseAutoencoder.from_pretrained(release, sae_id)
    assert {revision for _, _, revision in hub.asked} == {None}
    hub.asked.clear()
    sae = SparseAutoencoder.from_pretrained(release, sae_id, revision="v1")
    assert hub.asked
    assert {revision for _, _, revision in hub.asked} == {"v1"}
    assert sae.cfg.revision == "v1"
    assert len(list_entries()) == 2
    from sae_lens.loading import pretrained_sae_loaders

    assert pretrained_sae_loaders.hf_hub_download == hub.download


def test_once_converted_a_release_needs_neither_saelens_nor_a_network(hub: Hub, cache: Path) -> None:
    release, sae_id = gemma_scope(hub)
    SparseAutoencoder.from_pretrained(release, sae_id)
    code = f"""
import socket, sys
def refuse(*_): raise AssertionError("network")
socket.socket.connect = refuse
from emosae.saes import SparseAutoencoder
SparseAutoencoder.from_pretrained({release!r}, {sae_id!r}).rows([1])
assert not {{"sae_lens", "transformer_lens", "yaml", "huggingface_hub"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "EMOSAE_CACHE": str(cache)}, check=True)


def test_a_repository_in_saelens_layout(hub: Hub, cache: Path) -> None:
    write_folder(hub.root / "someone" / "saes" / "layer_1", make_cfg("gated"), make_state("gated"))
    by_path = SparseAutoencoder.from_hf("someone/saes", "layer_1", revision="main")
    assert {revision for _, _, revision in hub.asked} == {"main"}
    assert (by_path.name, by_path.cfg.release, by_path.cfg.sae_id) == (
        "someone/saes/layer_1",
        "someone/saes",
        "layer_1",
    )
    as_release = SparseAutoencoder.from_pretrained("someone/saes", "layer_1")
    in_memory = SparseAutoencoder.from_state_dict(make_cfg("gated"), make_state("gated"))
    assert by_path.fingerprint == as_release.fingerprint == in_memory.fingerprint
    write_folder(hub.root / "someone" / "root", make_cfg("topk"), make_state("topk"))
    assert SparseAutoencoder.from_hf("someone/root").name == "someone/root"


def test_a_repository_that_the_registry_lists_is_read_as_the_registry_says(hub: Hub, cache: Path) -> None:
    gpt2_small_res_jb(hub)
    sae = SparseAutoencoder.from_hf("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre")
    assert sae.cfg.center_writing_weights  # which the repository's own cfg.json does not say
    assert sae.cfg.release == "gpt2-small-res-jb"


def test_what_a_repository_lacks_is_said(hub: Hub, cache: Path) -> None:
    with pytest.raises(UserError, match=r"nobody/none/cfg\.json does not exist on Hugging Face"):
        SparseAutoencoder.from_hf("nobody/none")
    hub.file("someone/half", "cfg.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds none of sae_weights\.safetensors"):
        SparseAutoencoder.from_hf("someone/half")
    with pytest.raises(UserError, match="must be owner/name, got 'gemma'"):
        SparseAutoencoder.from_hf("gemma")
    with pytest.raises(UserError, match=r"does not exist on Hugging Face"):
        SparseAutoencoder.from_pretrained("gpt2-small-res-jb", "blocks.8.hook_resid_pre")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedRepoError", "only after accepting its terms"),
        ("RepositoryNotFoundError", "no Hugging Face repository .* or it is private"),
        ("RevisionNotFoundError", "revision that was asked for does not exist"),
        ("RemoteEntryNotFoundError", "does not exist on Hugging Face"),
        ("LocalEntryNotFoundError", "not on this machine and cannot be fetched now"),
        ("OfflineModeIsEnabled", "not on this machine and cannot be fetched now"),
        ("HfHubHTTPError", "could not be fetched"),
        ("HFValidationError", "is not a Hugging Face name"),
    ],
)
def test_the_hubs_errors_become_sentences(name: str, message: str) -> None:
    from huggingface_hub import errors

    from emosae.saes.hub import plain_hub_errors

    kind = getattr(errors, name)
    error = kind.__new__(kind)
    Exception.__init__(error, "told by the hub")
    with pytest.raises(UserError, match=message), plain_hub_errors("owner/name"):
        raise error
    with pytest.raises(PermissionError), plain_hub_errors("owner/name"):
        raise PermissionError("not the hub's")


def test_offline_is_said(cache: Path) -> None:
    """Nothing is replaced here: the tests run with HF_HUB_OFFLINE."""
    with pytest.raises(UserError, match=r"cannot be fetched now.* HF_HUB_OFFLINE is set\. Load it once"):
        SparseAutoencoder.from_hf("emosae-tests/none-such", "layer_1")
    with pytest.raises(
        UserError, match=r"gpt2-small-res-jb/blocks\.3\.hook_resid_pre .* cannot be fetched now"
    ):
        SparseAutoencoder.from_pretrained("gpt2-small-res-jb", "blocks.3.hook_resid_pre")


def test_unknown_names_are_answered_with_the_nearest_without_a_network(cache: Path) -> None:
    with pytest.raises(
        UserError, match=r"no SAE release 'gpt2-small-res-jbb'\. Did you mean 'gpt2-small-res-jb'"
    ):
        SparseAutoencoder.from_pretrained("gpt2-small-res-jbb", "blocks.8.hook_resid_pre")
    with pytest.raises(
        UserError, match=r"'blocks\.8\.hook_resid_pr'\. Did you mean 'blocks\.8\.hook_resid_pre'"
    ):
        SparseAutoencoder.from_pretrained("gpt2-small-res-jb", "blocks.8.hook_resid_pr")


def test_folders_that_are_no_sae(tmp_path: Path, cache: Path) -> None:
    load = SparseAutoencoder.load_from_disk
    with pytest.raises(MissingFileError, match=r"The SAE folder is not at .*nowhere"):
        load(tmp_path / "nowhere")
    text = tmp_path / "notes.txt"
    text.write_text("an SAE")
    with pytest.raises(UserError, match=r"must be a folder .* got the file .*notes\.txt"):
        load(text)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingFileError, match=r"has no cfg\.json\. Give a folder that has one"):
        load(empty)
    write_folder(empty / "layer_1", make_cfg("standard"), make_state("standard"))
    with pytest.raises(MissingFileError, match=r"Give one of the folders in it: layer_1"):
        load(empty)


def test_files_that_are_no_sae(tmp_path: Path, cache: Path) -> None:
    load = SparseAutoencoder.load_from_disk
    folder = write_folder(tmp_path / "sae", make_cfg("standard"), make_state("standard"))
    weights = folder / "sae_weights.safetensors"
    weights.write_text("these are no weights")
    with pytest.raises(UserError, match=r"sae_weights\.safetensors' is not a safetensors file"):
        load(folder)
    weights.unlink()
    (folder / "sae_weights.pt").write_text("")
    with pytest.raises(MissingFileError, match=r"has no sae_weights\.safetensors\. It holds sae_weights\.pt"):
        load(folder)
    (folder / "sae_weights.pt").unlink()
    save_file(make_state("jumprelu"), weights)
    with pytest.raises(UserError, match="they hold threshold too many"):
        load(folder)
    for content, message in (("{", "is not JSON"), ("[1]", "must hold a table of fields, got a list")):
        (folder / "cfg.json").write_text(content)
        with pytest.raises(UserError, match=message):
            load(folder)
    assert list_entries() == []


@pytest.mark.parametrize("version", [None, "5.10.3"])
def test_what_saelens_cannot_read_either_is_said(tmp_path: Path, cache: Path, version: str | None) -> None:
    cfg = make_cfg("standard", metadata={"sae_lens_version": version}) | {"architecture": "nonsense"}
    folder = write_folder(tmp_path / "sae", cfg, make_state("standard"))
    with pytest.raises(UserError, match=r"SAELens cannot read the SAE .*nonsense"):
        SparseAutoencoder.load_from_disk(folder)


def test_the_factor_beside_a_checkpoint_is_used(tmp_path: Path, cache: Path) -> None:
    cfg = make_cfg("standard", normalize_activations="expected_average_only_in")
    folder = write_folder(tmp_path / "sae", cfg, make_state("standard"))
    with pytest.raises(UserError, match="that number is not known"):
        SparseAutoencoder.load_from_disk(folder)
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.25}')
    beside = SparseAutoencoder.load_from_disk(folder)
    told = SparseAutoencoder.load_from_disk(folder, norm_scaling_factor=0.25)
    assert beside.fingerprint == told.fingerprint
    assert SparseAutoencoder.load_from_disk(folder, norm_scaling_factor=0.5).fingerprint != told.fingerprint


def test_warnings_of_saelens_become_log_lines(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import warnings

    from emosae.saes.lens import _saelens

    with caplog.at_level("WARNING"), _saelens("toy"):
        warnings.warn("only for finding feature activations", UserWarning, stacklevel=1)
        warnings.warn("This SAE has non-empty model_from_pretrained_kwargs.", UserWarning, stacklevel=1)
    assert [record.getMessage() for record in caplog.records] == [
        "SAELens about toy: only for finding feature activations"
    ]


@pytest.mark.real
def test_the_real_sae_is_read(shared: Path, cache: Path) -> None:
    folder = shared / "real" / "minilm_l3_jumprelu"
    if not folder.is_dir():
        pytest.skip(f"needs the real SAE at {folder}")
    sae = SparseAutoencoder.load_from_disk(folder)
    assert (sae.d_in, sae.d_sae, sae.cfg.architecture.value) == (384, 4096, "jumprelu")
    assert (sae.cfg.hook_name, sae.cfg.hf_hook_name) == ("blocks.3.hook_resid_post", "encoder.layer.3.output")
    assert sae.cfg.prepend_bos is False
    assert verify()[0].ok
