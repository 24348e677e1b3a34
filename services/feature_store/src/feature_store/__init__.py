"""The feature store: what was known when."""

import os

# Read once, when the libraries are loaded, so before any import of them; who starts the process may say otherwise.
# deltalake brings jemalloc, which keeps what each of eight arenas has freed for ten seconds; pyarrow brings mimalloc, which
# keeps what threads that are gone have used. Appends come every half minute: what one has used is not needed until the next.
# A second costs them a tenth of their time, none at all would cost four tenths.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2,dirty_decay_ms:1000")
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
