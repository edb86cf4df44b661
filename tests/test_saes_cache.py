"""The cache of converted SAEs: written once and whole, read in parts, checked where it is read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from saes_cases import D_IN, D_SAE, activations, make_cfg, make_state, write_folder
from safetensors.torch import load_file
from torch.testing import assert_close

from emosae.errors import UserError
from emosae.saes import (
    CorruptSAEError,
    SparseAutoencoder,
    cache_root,
    list_entries,
    prune,
    verify,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "my sae", make_cfg("jumprelu"), make_state("jumprelu"))


def run(code: str, cache: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with that cache."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "EMOSAE_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=check,
    )


def only_entry(cache: Path) -> Path:
    (path,) = [path for path in (cache / "saes").iterdir() if not path.name.startswith(".")]
    return path


def flip(entry: Path, tensor: str, byte: int) -> None:
    """Change one bit of one tensor in an entry's file."""
    path = entry / "weights.safetensors"
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    start = json.loads(content[8 : 8 + length])[tensor]["data_offsets"][0]
    content[8 + length + start + byte] ^= 1
    path.write_bytes(content)


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSAE_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.setenv("EMOSAE_CACHE", "~/there")
    assert cache_root() == Path.home() / "there"
    monkeypatch.delenv("EMOSAE_CACHE")
    checkout = Path(__file__).resolve().parent.parent
    assert cache_root() == checkout / "sae_cache"
    monkeypatch.setattr("emosae.paths._PACKAGE", tmp_path / "site-packages" / "emosae")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root().name == "emosae"
    assert checkout not in cache_root().parents


def test_the_first_load_converts_and_the_next_only_reads(folder: Path, cache: Path) -> None:
    first = SparseAutoencoder.load_from_disk(folder)
    written = (only_entry(cache) / "weights.safetensors").stat().st_mtime_ns
    second = SparseAutoencoder.load_from_disk(folder)
    assert (only_entry(cache) / "weights.safetensors").stat().st_mtime_ns == written
    assert first.fingerprint == second.fingerprint
    assert first.name == second.name == "my sae"
    x = activations(5)
    assert torch.equal(first.encode(x).to_dense(), second.encode(x).to_dense())
    in_memory = SparseAutoencoder.from_state_dict(make_cfg("jumprelu"), make_state("jumprelu"))
    assert in_memory.fingerprint == first.fingerprint


def test_an_entry_is_feature_major_safetensors(folder: Path, cache: Path) -> None:
    SparseAutoencoder.load_from_disk(folder)
    held, source = load_file(only_entry(cache) / "weights.safetensors"), make_state("jumprelu")
    assert torch.equal(held["W_enc"], source["W_enc"].T)
    assert torch.equal(held["W_dec"], source["W_dec"])
    assert torch.equal(held["threshold"], source["threshold"])
    described = json.loads((only_entry(cache) / "entry.json").read_text())
    assert described["format"] == 1
    assert described["source"]["kind"] == "folder"
    assert described["source"]["path"] == str(folder)
    assert described["arithmetic"]["architecture"] == "jumprelu"
    assert described["config"]["hook_name"] == "blocks.1.hook_resid_post"


def test_the_sources_dtype_is_kept(tmp_path: Path, cache: Path) -> None:
    state = {name: tensor.bfloat16() for name, tensor in make_state("jumprelu").items()}
    sae = SparseAutoencoder.load_from_disk(write_folder(tmp_path / "half", make_cfg("jumprelu"), state))
    assert sae.dtype == sae.W_dec.dtype == torch.bfloat16
    assert sae.threshold is not None
    assert sae.threshold.dtype == torch.float32
    assert_close(
        sae.encode(activations(4)).to_dense(), sae.to(dtype="float32").encode(activations(4)).to_dense()
    )


def test_a_changed_folder_is_converted_anew(folder: Path, cache: Path) -> None:
    before = SparseAutoencoder.load_from_disk(folder)
    write_folder(folder, make_cfg("jumprelu"), make_state("jumprelu", seed=9))
    os.utime(folder / "sae_weights.safetensors", ns=(1, 10**18))
    after = SparseAutoencoder.load_from_disk(folder)
    assert after.fingerprint != before.fingerprint
    cfg = make_cfg("jumprelu", apply_b_dec_to_input=False)
    (folder / "cfg.json").write_text(json.dumps(cfg))
    assert SparseAutoencoder.load_from_disk(folder).fingerprint != after.fingerprint
    assert len(list_entries()) == 3
    outdated = prune()
    assert len(outdated) == 2
    assert all("has changed since" in found.problems[0] for found in outdated)
    assert len(list_entries()) == 1


def test_an_entry_can_be_opened_where_it_lies(folder: Path, cache: Path, tmp_path: Path) -> None:
    sae = SparseAutoencoder.load_from_disk(folder)
    moved = only_entry(cache).rename(tmp_path / "moved")
    again = SparseAutoencoder.load_from_disk(moved)
    assert (again.fingerprint, again.name) == (sae.fingerprint, sae.name)
    assert not list_entries()


def test_rows_are_those_of_the_matrices(folder: Path, cache: Path) -> None:
    sae, source = SparseAutoencoder.load_from_disk(folder), make_state("jumprelu")
    rows = sae.rows([7, 0, 47, 7])
    assert rows.features.tolist() == [7, 0, 47, 7]
    assert torch.equal(rows.W_enc, source["W_enc"].T[[7, 0, 47, 7]])
    assert torch.equal(rows.W_dec, source["W_dec"][[7, 0, 47, 7]])
    assert rows.threshold is not None
    assert torch.equal(rows.threshold, source["threshold"][[7, 0, 47, 7]])
    assert_close(rows.decoder_norm, source["W_dec"][[7, 0, 47, 7]].norm(dim=-1))
    assert rows.b_gate is None
    assert not sae._matrices  # neither matrix was made


def test_gated_rows(cache: Path) -> None:
    source = make_state("gated")
    rows = SparseAutoencoder.from_state_dict(make_cfg("gated"), source).rows([3])
    assert rows.b_enc is None
    assert rows.r_mag is not None
    assert torch.equal(rows.r_mag, source["r_mag"][[3]])


@pytest.mark.parametrize("matrix", ["W_enc", "W_dec"])
def test_a_flipped_bit_is_found_when_its_row_is_read(folder: Path, cache: Path, matrix: str) -> None:
    SparseAutoencoder.load_from_disk(folder)
    flip(only_entry(cache), matrix, 12 * D_IN * 4 + 5)
    sae = SparseAutoencoder.load_from_disk(folder)
    sae.rows([11, 13])
    assert sae.encode(activations(2), features=[11, 13]).shape == (2, 2)
    with pytest.raises(CorruptSAEError, match=rf"Row 12 of {matrix} .* does not match its checksum\. Delete"):
        sae.rows([11, 12])
    with pytest.raises(CorruptSAEError, match=f"Row 12 of {matrix}"):
        sae.reconstruct(activations(2))
    with pytest.raises(CorruptSAEError):  # a second attempt does not take the row for checked
        sae.rows([12])


def test_a_flipped_bit_in_a_vector_is_found_at_once(folder: Path, cache: Path) -> None:
    SparseAutoencoder.load_from_disk(folder)
    flip(only_entry(cache), "threshold", 8)
    with pytest.raises(CorruptSAEError, match=r"tensor threshold .* does not match"):
        SparseAutoencoder.load_from_disk(folder)


def test_a_flipped_bit_in_the_checksums_is_found_at_once(folder: Path, cache: Path) -> None:
    SparseAutoencoder.load_from_disk(folder)
    flip(only_entry(cache), "checksum.W_dec", 0)
    with pytest.raises(CorruptSAEError, match=r"tensor checksum\.W_dec"):
        SparseAutoencoder.load_from_disk(folder)


def test_verify_names_the_rows(folder: Path, cache: Path) -> None:
    SparseAutoencoder.load_from_disk(folder)
    (sound,) = verify()
    assert sound.ok
    entry = only_entry(cache)
    flip(entry, "W_enc", 3 * D_IN * 4)
    flip(entry, "W_enc", 5 * D_IN * 4)
    (found,) = verify(entry.name)
    assert found.problems == ("2 rows of W_enc do not match their checksums: 3, 5",)
    with pytest.raises(UserError, match="There is no converted SAE 'nothing'"):
        verify("nothing")
    assert prune() == []
    assert [removed.path for removed in prune(check=True, dry_run=True)] == [entry]
    assert entry.exists()
    prune(check=True)
    assert not entry.exists()


def test_verify_sees_a_changed_config(folder: Path, cache: Path) -> None:
    SparseAutoencoder.load_from_disk(folder)
    path = only_entry(cache) / "entry.json"
    described = json.loads(path.read_text())
    described["config"]["apply_b_dec_to_input"] = False
    path.write_text(json.dumps(described))
    (found,) = verify()
    assert "fingerprint" in found.problems[0]


@pytest.mark.parametrize("damage", ["cut", "no weights", "no json", "other format", "json missing"])
def test_an_entry_that_cannot_be_read_is_converted_again(folder: Path, cache: Path, damage: str) -> None:
    first = SparseAutoencoder.load_from_disk(folder)
    entry = only_entry(cache)
    if damage == "cut":
        os.truncate(entry / "weights.safetensors", 1000)
    elif damage == "no weights":
        (entry / "weights.safetensors").unlink()
    elif damage == "no json":
        (entry / "entry.json").write_text("{")
    elif damage == "json missing":
        (entry / "entry.json").unlink()
    else:
        described = json.loads((entry / "entry.json").read_text())
        (entry / "entry.json").write_text(json.dumps(described | {"format": 0}))
    assert list_entries() == []
    assert [removed.path for removed in prune(dry_run=True)] == [entry]
    again = SparseAutoencoder.load_from_disk(folder)
    assert again.fingerprint == first.fingerprint
    assert verify()[0].ok


def test_a_killed_conversion_leaves_nothing_that_is_read(folder: Path, cache: Path) -> None:
    killed = run(
        f"""
        import os, signal
        import emosae.saes.cache as cache
        plain = os.fsync
        def die(number):
            os.kill(os.getpid(), signal.SIGKILL)  # the weights are written, the entry is not
        cache.os.fsync = die
        from emosae.saes import SparseAutoencoder
        SparseAutoencoder.load_from_disk({str(folder)!r})
        """,
        cache,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = (cache / "saes").glob(".writing-*")
    assert (left / "weights.safetensors").stat().st_size > 0
    assert list_entries() == []
    assert [removed.path for removed in prune(dry_run=True)] == [left]
    sae = SparseAutoencoder.load_from_disk(folder)
    assert verify()[0].ok
    assert not left.exists()
    assert sae.encode(activations(2)).nnz


def test_prune_removes_what_killed_conversions_left(folder: Path, cache: Path) -> None:
    left = cache / "saes" / ".writing-some--0123.abcdefgh"
    left.mkdir(parents=True)
    assert [removed.path for removed in prune()] == [left]
    assert not left.exists()


def test_two_processes_that_convert_at_once_end_with_one_entry(folder: Path, cache: Path) -> None:
    code = f"""
    import logging, time
    import emosae.saes.sources as sources
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plain = sources.read_folder
    def slow(*args, **kwargs):
        time.sleep(2)
        return plain(*args, **kwargs)
    sources.read_folder = slow
    from emosae.saes import SparseAutoencoder
    print(SparseAutoencoder.load_from_disk({str(folder)!r}).fingerprint)
    """
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "EMOSAE_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    done = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], done
    assert len({printed for printed, _ in done}) == 1
    assert sum("this is done once" in logged for _, logged in done) == 1
    assert len(list_entries()) == 1
    assert verify()[0].ok
    assert not list((cache / "saes").glob(".writing-*"))


def test_saelens_is_not_imported_for_its_own_layout_nor_from_the_cache(folder: Path, cache: Path) -> None:
    code = f"""
    import sys, torch
    from emosae.saes import SparseAutoencoder, list_entries, verify
    sae = SparseAutoencoder.load_from_disk({str(folder)!r})
    x = torch.ones(3, {D_IN})
    sae.decode(sae.encode(x)); sae.encode(x, features=[1]); sae.rows([0]); verify()
    assert len(list_entries()) == 1
    assert not [name for name in sys.modules if name.partition(".")[0] in ("sae_lens", "transformer_lens")]
    """
    for _ in range(2):
        run(code, cache)


def test_looking_at_the_cache_imports_no_torch(folder: Path, cache: Path) -> None:
    SparseAutoencoder.load_from_disk(folder)
    code = """
    import sys
    from emosae.saes import cache_root, list_entries
    assert len(list_entries()) == 1 and cache_root().exists()
    assert "torch" not in sys.modules
    """
    run(code, cache)


def test_a_failed_conversion_leaves_nothing(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> tuple[int, int, int]:
        return type("Usage", (), {"free": 10})  # type: ignore[return-value]

    monkeypatch.setattr("emosae.saes.cache.shutil.disk_usage", full)
    with pytest.raises(UserError, match=r"needs 0\.0 GiB, and 0\.0 GiB are free .* EMOSAE_CACHE"):
        SparseAutoencoder.load_from_disk(folder)
    assert not [path for path in (cache / "saes").iterdir() if path.name != ".locks"]


def test_a_cache_that_cannot_be_written_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("EMOSAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written .* Set EMOSAE_CACHE"):
        SparseAutoencoder.load_from_disk(folder)


def test_reading_a_few_rows_touches_little_memory(tmp_path: Path, cache: Path) -> None:
    """Sixteen features of an entry of 128 MiB are 128 KiB."""
    state = make_state("jumprelu", d_in=1024, d_sae=16384)
    cfg = make_cfg("jumprelu", d_in=1024, d_sae=16384)
    SparseAutoencoder.load_from_disk(write_folder(tmp_path / "large", cfg, state))
    code = f"""
    import re
    from emosae.saes import SparseAutoencoder
    def resident():
        with open("/proc/self/status") as status:
            return int(re.search(r"VmRSS:\\s+(\\d+)", status.read())[1]) / 1024
    sae = SparseAutoencoder.load_from_disk({str(tmp_path / "large")!r})
    sae.rows([0]); before = resident()
    sae.rows(list(range(100, 16000, 1000)))
    print(resident() - before)
    """
    assert float(run(code, cache).stdout) < 2


def test_entries_describe_themselves(folder: Path, cache: Path) -> None:
    sae = SparseAutoencoder.load_from_disk(folder)
    (entry,) = list_entries()
    assert (entry.cfg, entry.fingerprint) == (sae.cfg, sae.fingerprint)
    assert entry.nbytes == (entry.path / "weights.safetensors").stat().st_size
    assert entry.nbytes > 2 * D_IN * D_SAE * 4
    assert entry.key == entry.path.name
    assert entry.key.startswith("my-sae--")
