"""A job of its own process: the topics of the catalogue exist, with leaders. `python -m driftloop_local.topics ADDRESS`."""

import asyncio
import sys


def main() -> None:
    # Imported here: the stack itself must start where only Kafka and Postgres are wanted.
    from driftloop_bus.topics import ensure_topics

    made = asyncio.run(ensure_topics(sys.argv[1]))
    print(f"made: {', '.join(made) or 'none, all were there'}", flush=True)


if __name__ == "__main__":
    main()
