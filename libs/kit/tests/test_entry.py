"""What a process is spared before it begins to work."""

from __future__ import annotations

import subprocess
import sys

PACK = "import pyarrow as pa; pa.array(['a', None]); import sys; print('pandas.core' in sys.modules)"
SPARE = "from driftloop_kit.entry import spare_pandas; spare_pandas(); "


def said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_first_array_of_a_service_imports_no_pandas() -> None:
    assert said(PACK) == "True", "pyarrow does so by itself no more: there is nothing to spare"
    assert said(SPARE + PACK) == "False"


def test_who_needs_pandas_and_has_imported_it_keeps_it() -> None:
    assert said("import pandas; " + SPARE + "import pandas; print(pandas.Series([1]).sum())") == "1"
