"""The libraries' own allocators hear what the feature store asks of them."""

from __future__ import annotations

import subprocess
import sys

# jemalloc prints its settings when the process ends, if asked to before it is loaded.
SAYING = """
import os
import feature_store
os.environ["_RJEM_MALLOC_CONF"] += ",stats_print:true"
import deltalake
import pyarrow
print("arrow:", pyarrow.default_memory_pool().backend_name)
"""


def test_what_appends_have_used_is_not_kept_for_long() -> None:
    ended = subprocess.run([sys.executable, "-c", SAYING], capture_output=True, check=True, text=True, timeout=60)
    said = ended.stdout + ended.stderr
    assert "arrow: system" in said
    assert "opt.narenas: 2" in said
    assert "opt.dirty_decay_ms: 1000" in said
