"""Where there is no GPU, the Triton kernels run through Triton's interpreter, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent


def start(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TRITON_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE.parent,
        env=env | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.mark.skipif(find_spec("triton") is None, reason="needs the package triton")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run on the GPU that is here")
@pytest.mark.parametrize(("file", "least"), [("test_kernels_triton.py", 100), ("test_steering_fused.py", 40)])
def test_the_kernels_pass_in_the_interpreter(file: str, least: int) -> None:
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file)]
    done = start(arguments, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > least  # they ran, and were not skipped


def test_importing_the_kernels_imports_no_triton() -> None:
    code = "import sys, emosae.kernels as k; k.sparse_decode; assert 'triton' not in sys.modules, 'imported'"
    done = start(["-c", code])
    assert done.returncode == 0, done.stderr


def test_importing_emosae_imports_no_torch() -> None:
    done = start(["-c", "import sys, emosae; assert not {'torch', 'triton'} & set(sys.modules), 'imported'"])
    assert done.returncode == 0, done.stderr
