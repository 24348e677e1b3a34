"""`python -m <name>`: the service; `migrate`: its tables; `try-record`: see `trial`; and what else a service offers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib.abc import MetaPathFinder
from typing import Any, Final, NoReturn, TypeVar

from pydantic import ValidationError

from driftloop_kit.service import Service
from driftloop_kit.settings import ConfigurationRefused, ServiceSettings, database_url_of, from_environment
from driftloop_kit.telemetry import configure_logging

S = TypeVar("S", bound=ServiceSettings)
EX_USAGE: Final = 64
EX_CONFIG: Final = 78
Run = Callable[[S], Service[Any] | Awaitable[Service[Any] | None]]


def main(name: str, run: Run[S], settings: type[S], commands: Mapping[str, Run[S]] | None = None) -> NoReturn:
    """Does what the command line asks, then exits: 0, 1 for a crash, 64 for an unknown command, 78 for bad settings.

    run: makes the service from its settings (or runs it itself). commands: further ones, by name.
    """
    import uvloop

    offered: dict[str, Callable[[], Awaitable[None]]] = {
        "": lambda: _run(name, run, settings),
        "migrate": lambda: _migrate(name, settings),
        "try-record": lambda: _try_record(run, settings),
        **{word: _command(name, command, settings) for word, command in (commands or {}).items()},
    }
    words = sys.argv[1:] or [""]
    if len(words) != 1 or words[0] not in offered:
        known = ", ".join(sorted(word for word in offered if word))
        print(f"{name}: unknown command {' '.join(words)!r}; known are {known}, or none to run it", file=sys.stderr)
        sys.exit(EX_USAGE)
    try:
        uvloop.run(_awaited(offered[words[0]]()))
    except (ValidationError, ConfigurationRefused) as error:
        print(f"{name}: {_told(error, settings)}", file=sys.stderr)
        sys.exit(EX_CONFIG)
    sys.exit(0)


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _command(name: str, run: Run[S], settings: type[S]) -> Callable[[], Awaitable[None]]:
    return lambda: _run(name, run, settings)


async def _run(name: str, run: Run[S], settings: type[S]) -> None:
    from driftloop_bus.failpoints import arm
    from driftloop_kit.refusals import refuse_settings
    from driftloop_kit.run import run_service
    from driftloop_kit.trial import Trial

    given = from_environment(settings)
    configure_logging(name, given.log_level)
    refuse_settings(given)
    arm(given.failpoints)
    service = await _made(run, given)
    if service is not None:
        spare_pandas()
        await run_service(service, trial=Trial(_itself("try-record")))


def _itself(command: str) -> list[str]:
    """How this program is begun with that command."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "a service is begun by `python -m`"
    return [sys.executable, "-m", spec.name.removesuffix(".__main__"), command]


async def _try_record(run: Run[S], settings: type[S]) -> None:
    from driftloop_kit.trial import try_record

    service = await _made(run, from_environment(settings))
    if service is not None:
        await try_record(service)


async def _made(run: Run[S], given: S) -> Service[Any] | None:
    made = run(given)
    return await made if inspect.isawaitable(made) else made


def spare_pandas() -> None:
    """Whoever has not imported pandas by now never will.

    pyarrow looks for it at the first array it makes, in the middle of the work: half a second in which nobody is answered,
    and 40 MiB, for a library that the service has no use for.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("a running service imports no pandas: import it before", name=name)


async def _migrate(name: str, settings: type[S]) -> None:
    from driftloop_kit.schema import migrate

    applied = await migrate(name, database_url_of(settings))
    print(f"{name}: {', '.join(applied) or 'nothing to migrate'}")


def _told(error: ValidationError | ConfigurationRefused, settings: type[ServiceSettings]) -> str:
    if isinstance(error, ConfigurationRefused):
        return str(error)
    prefix = str(settings.model_config.get("env_prefix", ""))
    return "; ".join(f"{_variable(found['loc'], prefix)}: {found['msg']}" for found in error.errors())


def _variable(place: tuple[int | str, ...], prefix: str) -> str:
    first = str(place[0]) if place else "settings"
    return first if first.isupper() else f"{prefix}{first}".upper()
