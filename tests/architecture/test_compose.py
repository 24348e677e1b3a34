"""docker-compose.yml against the services' own settings, images and ports: no engine is needed to see that it fits."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import stat
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
import yaml
from pydantic import ValidationError
from tree import ROOT, SERVICES

from driftloop_kit.refusals import refuse_settings
from driftloop_kit.settings import ConfigurationRefused, ServiceSettings, from_environment
from driftloop_local.databases import ensure_database
from driftloop_local.kafka import server_properties
from driftloop_local.stack import LocalStack

Block = dict[str, Any]
NAMES = [source.name for source in SERVICES]
# Processes of a service beside its own.
BESIDES = {"monitor-rollups": "monitor"}
# Where they are differs between one machine and a network of containers.
PLACES = ("listeners", "advertised", "controller", "process.roles", "node.id", "listener.security", "log.dirs")
# Tuned for a heap of 256 MiB, and for tests that kill the broker.
OF_THE_LOCAL_STACK = ("broker.session", "broker.heartbeat", "log.cleaner", "num.network", "num.io")


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What infra/secrets.sh prints."""
    printed = subprocess.run([ROOT / "infra" / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in printed.splitlines() if not line.startswith("#"))


@pytest.fixture(scope="module")
def compose(secrets: dict[str, str]) -> Block:
    """The file with its variables filled in."""
    found: Block = yaml.safe_load(filled((ROOT / "docker-compose.yml").read_text(), secrets))
    return found


def filled(text: str, secrets: dict[str, str]) -> str:
    """As compose does it. Raises KeyError for a secret that nobody makes."""
    return re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda found: secrets[found[1]], text)


def image_environment(name: str) -> dict[str, str]:
    """The ENV of the service's Dockerfile."""
    lines = (ROOT / "services" / name / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return dict(pair.split("=", 1) for line in lines if line.startswith("ENV ") for pair in line[4:].split())


def settings_of(name: str) -> type[ServiceSettings]:
    found: type[ServiceSettings] = importlib.import_module(f"{name}.settings").Settings
    return found


def variables_of(settings: type[ServiceSettings]) -> set[str]:
    """Every variable that the settings read."""
    prefix = str(settings.model_config["env_prefix"])
    return {str(field.validation_alias or prefix + name).upper() for name, field in settings.model_fields.items()}


def misfits(name: str, block: Block) -> list[str]:
    """What the service would refuse, miss or not know of the block's environment."""
    settings = settings_of(name)
    given = {key: str(value) for key, value in block["environment"].items()}
    found = [f"nobody reads {key}" for key in sorted(set(given) - variables_of(settings))]
    with patch.dict(os.environ, image_environment(name) | given, clear=True):
        try:
            made = from_environment(settings)
            refuse_settings(made)
        except (ValidationError, ConfigurationRefused) as refused:
            return [*found, str(refused)]
    return found + [f"{field} is needed" for field in sorted(needed(name)) if getattr(made, field) is None]


def needed(name: str) -> set[str]:
    """Settings without a default that the code can't do without."""
    source = next(source for source in SERVICES if source.name == name)
    said = {
        found for path in source.rglob("*.py") for found in re.findall(r'settings\.needed\("(\w+)"\)', path.read_text())
    }
    return said | ({"database_url"} if keeps(name) else set())


def keeps(name: str) -> bool:
    """Whether the service has tables."""
    return any((ROOT / "services" / name / "src" / name / "migrations").glob("*.sql"))


# All services at once: a new one obeys the rules of the house before it has a block.
def test_every_service_has_a_block_whose_settings_it_accepts(compose: Block) -> None:
    assert [name for name in NAMES if name not in compose["services"]] == []
    assert {name: found for name in NAMES if (found := misfits(name, compose["services"][name]))} == {}


def test_image_and_port_are_those_of_its_dockerfile(compose: Block) -> None:
    for name in NAMES:
        check_image_and_port(name, compose["services"][name])


def check_image_and_port(name: str, block: Block) -> None:
    dockerfile = ROOT / block["build"]["dockerfile"]
    assert dockerfile == ROOT / "services" / name / "Dockerfile"
    (exposed,) = re.findall(r"^EXPOSE (\d+)$", dockerfile.read_text(), re.MULTILINE)
    environment = image_environment(name)
    assert environment[f"{name.upper()}_HTTP_PORT"] == exposed
    assert block["ports"] == [f"127.0.0.1:{exposed}:{exposed}"], "on the loopback of this machine alone"
    assert f"http://127.0.0.1:{exposed}/ready" in block["healthcheck"]["test"][-1]
    assert environment["DRIFTLOOP_DATA"] in [volume.partition(":")[2] for volume in block["volumes"]]
    assert f'"{name}"' in block["environment"]["DRIFTLOOP_HTTP_NAMES"], "known under its name in the network"


def test_a_service_with_tables_is_migrated_by_their_owner_before_it_starts(compose: Block) -> None:
    for name in NAMES:
        if keeps(name):
            check_migration(name, compose)


def check_migration(name: str, compose: Block) -> None:
    job, block = compose["services"][f"{name}-migrate"], compose["services"][name]
    variable = f"{name.upper()}_DATABASE_URL"
    assert job["command"] == ["python", "-m", name, "migrate"]
    assert job["image"] == block["image"]
    assert set(job["environment"]) == {variable}
    assert job["environment"][variable].startswith(f"postgresql://{name}_owner:")
    assert block["environment"][variable].startswith(f"postgresql://{name}:")
    assert block["depends_on"][f"{name}-migrate"] == {"condition": "service_completed_successfully"}
    assert name in compose["services"]["databases"]["environment"]["SERVICES"].split()


def test_no_two_doors_share_a_port(compose: Block) -> None:
    ports = [port for block in compose["services"].values() for port in block.get("ports", [])]
    assert len(ports) == len(set(ports))
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_rollups_are_the_monitors_image_with_its_settings(compose: Block) -> None:
    for process, name in BESIDES.items():
        block = compose["services"][process]
        assert block["image"] == compose["services"][name]["image"]
        assert misfits(name, block) == []
        assert block["command"] == ["python", "-m", name, process.removeprefix(f"{name}-")]


def test_nothing_runs_that_is_neither_service_nor_job_nor_store(compose: Block) -> None:
    jobs = {"topics", "databases", "folders", *(f"{name}-migrate" for name in NAMES if keeps(name))}
    assert set(compose["services"]) == {*NAMES, *BESIDES, *jobs, "kafka", "postgres"}
    assert all(compose["services"][job]["restart"] == "on-failure" for job in jobs)


def test_every_dependency_and_volume_exists(compose: Block) -> None:
    blocks, volumes = compose["services"], set()
    for block in blocks.values():
        assert set(block.get("depends_on", {})) <= set(blocks)
        volumes |= {volume.partition(":")[0] for volume in block.get("volumes", [])}
    named = {volume for volume in volumes if not volume.startswith(".")}
    assert named == set(compose["volumes"])
    assert all((ROOT / volume).exists() for volume in volumes - named)


def test_kafka_and_postgres_are_the_versions_of_the_local_stack_and_set_as_they_are(compose: Block) -> None:
    (pinned,) = (ROOT / "infra" / "local" / "src" / "driftloop_local" / "pins").glob("coords-*.txt")
    kafka = compose["services"]["kafka"]
    assert kafka["image"] == f"apache/kafka:{pinned.stem.removeprefix('coords-')}"
    assert compose["services"]["postgres"]["image"] == "postgres:18"
    lines = [line for line in server_properties(1, 2).splitlines() if line and not line.startswith("#")]
    wanted = {
        f"KAFKA_{key.upper().replace('.', '_')}": value
        for key, value in (line.split("=", 1) for line in lines)
        if not key.startswith(PLACES + OF_THE_LOCAL_STACK)
    }
    assert len(wanted) > 8
    assert {key: str(kafka["environment"].get(key)) for key in wanted} == wanted


WRONG = {
    "nobody reads DRIFTLOOP_KAFKAS": lambda environment: environment.update(DRIFTLOOP_KAFKAS="kafka:9092"),
    "DRIFTLOOP_KAFKA": lambda environment: environment.pop("DRIFTLOOP_KAFKA"),
    "artifacts is needed": lambda environment: environment.pop("DRIFTLOOP_ARTIFACTS"),
    "database_url is needed": lambda environment: environment.pop("REGISTRY_DATABASE_URL"),
    "database_url": lambda environment: environment.update(REGISTRY_DATABASE_URL="mysql://registry"),
    "only with DRIFTLOOP_API_KEY set": lambda environment: environment.pop("DRIFTLOOP_API_KEY"),
    "at least 40 are needed": lambda environment: environment.update(DRIFTLOOP_API_KEY="short"),
}


@pytest.mark.parametrize("told", WRONG)
def test_what_does_not_fit_is_seen(told: str, compose: Block) -> None:
    block = deepcopy(compose["services"]["registry"])
    WRONG[told](block["environment"])
    assert told in "; ".join(misfits("registry", block))


def test_a_secret_that_nobody_makes_is_seen(secrets: dict[str, str]) -> None:
    with pytest.raises(KeyError, match="FORGOTTEN"):
        filled("${FORGOTTEN:?make it}", secrets)
    assert len(set(secrets.values())) == len(secrets), "each its own"
    assert all(len(secret) == 40 for secret in secrets.values())


@pytest.fixture
def programs() -> str:
    """Postgres' own programs on the PATH: psql comes with the wheel."""
    from driftloop_local.postgres import programs as folder

    return f"{folder()}:{os.environ['PATH']}"


@pytest.mark.stack
async def test_databases_and_roles_are_those_of_the_local_stack(stack: LocalStack, programs: str) -> None:
    administrator = stack.record.postgres
    assert administrator is not None
    parts = re.fullmatch(r"postgresql://(\w+):([^@]+)@([\d.]+):(\d+)/postgres", administrator)
    assert parts is not None
    user, password, host, port = parts.groups()
    environment = {
        "PATH": programs, "PGHOST": host, "PGPORT": port, "PGUSER": user, "PGPASSWORD": password, "SERVICES": "composed twice",
        "COMPOSED_OWNER_PASSWORD": "owner's", "COMPOSED_PASSWORD": "login's", "TWICE_OWNER_PASSWORD": "a", "TWICE_PASSWORD": "b",
    }  # fmt: skip
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            "sh", str(ROOT / "infra" / "postgres" / "databases.sh"), env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, complained = await asyncio.wait_for(process.communicate(), 60)
        assert (process.returncode, complained.decode()) == (0, "")
    await ensure_database(administrator, "local_twin", "a", "b")
    at = f"{host}:{port}"
    assert await rights(f"postgresql://{user}:{password}@{at}/composed", "composed") == await rights(
        f"postgresql://{user}:{password}@{at}/local_twin", "local_twin"
    )
    owner = await asyncpg.connect(f"postgresql://composed_owner:owner's@{at}/composed")
    await owner.execute("create table kept (n int)")
    await owner.close()
    login = await asyncpg.connect(f"postgresql://composed:login's@{at}/composed")
    await login.execute("insert into kept values (1)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await login.execute("create table mine (n int)")
    await login.close()


async def rights(address: str, name: str) -> list[tuple[str, str]]:
    """Who may do what by default, with the database's name left out."""
    connection = await asyncpg.connect(address)
    rows = await connection.fetch("""
        select 'database', datacl::text from pg_database where datname = current_database()
        union all select 'schema', nspacl::text from pg_namespace where nspname = 'public'
        union all select 'default ' || defaclobjtype::text, defaclacl::text from pg_default_acl
        order by 1
    """)
    await connection.close()
    return [(str(what), ",".join(sorted(str(acl).strip("{}").replace(name, "NAME").split(",")))) for what, acl in rows]


@pytest.mark.stack
def test_the_job_of_the_topics_makes_them_or_says_why_not(kafka: str) -> None:
    def job(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "driftloop_bus.topics", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    made = job(kafka)
    assert (made.returncode, made.stdout, made.stderr) == (0, "made: none, all were there\n", "")
    away = job("127.0.0.1:9")
    assert away.returncode == 1
    assert "the broker is away" in away.stderr
    assert job().returncode == 64


def test_scripts_may_be_run() -> None:
    assert shutil.which("sh")
    for script in (ROOT / "infra" / "secrets.sh", ROOT / "infra" / "postgres" / "databases.sh"):
        assert Path(script).stat().st_mode & stat.S_IXUSR
