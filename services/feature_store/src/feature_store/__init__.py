"""The feature store: what was known when."""

from driftloop_kit.memory import libraries_hold_little

# Before deltalake and pyarrow are loaded by any module of this package: their allocators listen only then.
libraries_hold_little()
