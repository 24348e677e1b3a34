"""The real Kafka and Postgres: they come up, survive kills, are never there twice, and leave nobody behind."""

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from driftloop_local.errors import StackRefused
from driftloop_local.ports import is_free
from driftloop_local.record import read_record
from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
BOTH = {"kafka", "postgres"}
# No part waits longer than this, on a machine that is busy with other things.
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, and not inside a folder that only root may pass; its name has a space as users' folders do."""
    folder = Path(tempfile.mkdtemp(prefix="drift loop "))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[LocalStack]:
    with LocalStack(folder / "module", BOTH) as stack:
        yield stack


def test_both_answer_on_loopback_ports_that_are_written_down(stack: LocalStack) -> None:
    record = read_record(stack.home)
    assert stack.kafka == f"127.0.0.1:{record.ports['kafka']}"
    assert f"@127.0.0.1:{record.ports['postgres']}/" in stack.postgres
    assert {name: part.state for name, part in record.parts.items()} == {"kafka": "ready", "postgres": "ready"}


async def test_postgres_wants_a_password_and_keeps_what_it_acknowledged(stack: LocalStack) -> None:
    without = stack.postgres.replace(stack.postgres.split(":")[2].split("@")[0], "wrong")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(without)
    connection = await asyncpg.connect(stack.postgres)
    assert str(await connection.fetchval("show server_version")).startswith("18")
    assert await connection.fetchval("show synchronous_commit") == "on"
    assert await connection.fetchval("show fsync") == "on"
    await connection.close()


async def test_what_kafka_acknowledged_is_there_after_a_kill(stack: LocalStack) -> None:
    await make_topic(stack.kafka, "kept")
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, acks="all", enable_idempotence=True)
    await producer.start()
    for number in range(50):
        await producer.send_and_wait("kept", str(number).encode())
    killed = stack.kill("kafka")
    await producer.send_and_wait("kept", b"50")  # the very producer goes on
    await producer.stop()
    stack.wait_until_ready()
    assert stack.pid("kafka") != killed
    assert await read(stack.kafka, "kept", 51) == [str(number).encode() for number in range(51)]


async def test_no_topic_comes_into_being_by_being_named(stack: LocalStack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.describe_topics(["a-typing-error"])
    assert "a-typing-error" not in await admin.list_topics()
    await admin.close()


async def test_what_postgres_committed_is_there_after_a_kill(stack: LocalStack) -> None:
    connection = await asyncpg.connect(stack.postgres)
    await connection.execute("create table kept (number int); insert into kept values (1), (2)")
    killed_at = time.monotonic()
    killed = stack.kill("postgres")
    await asyncio.to_thread(until, lambda: stack.status("postgres").pid is not None)
    assert time.monotonic() - killed_at < 1  # started again; it answers when it has recovered
    connection.terminate()
    stack.wait_until_ready()
    assert stack.pid("postgres") != killed
    assert stack.status("postgres").restarts >= 1
    connection = await asyncpg.connect(stack.postgres)
    assert await connection.fetchval("select count(*) from kept") == 2
    await connection.close()


async def test_a_service_uses_its_tables_and_owns_nothing(stack: LocalStack) -> None:
    database = stack.create_service_database("monitor")
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute("create table loss (id serial primary key, value float8)")
    login = await asyncpg.connect(database.login_url)
    await login.execute("insert into loss (value) values (0.5); update loss set value = 1; delete from loss")
    for forbidden in ("create table mine (id int)", "drop table loss", "truncate loss", "create schema mine"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.execute(forbidden)
    await asyncio.gather(owner.close(), login.close())
    assert stack.create_service_database("monitor") == database


async def test_a_service_cannot_enter_the_database_of_another(stack: LocalStack) -> None:
    mine, others = stack.create_service_database("monitor"), stack.create_service_database("registry")
    trespass = mine.login_url.removesuffix("/monitor") + "/registry"
    assert others.login_url.endswith("/registry")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(trespass)


def test_a_part_that_is_held_stays_away_until_it_is_released(stack: LocalStack) -> None:
    stack.hold("postgres")
    port = stack.record.ports["postgres"]
    assert is_free(port)
    with pytest.raises(StackRefused, match="postgres is not running"):
        stack.pid("postgres")
    stack.release("postgres")
    assert not is_free(port)


def test_a_second_up_attaches(stack: LocalStack) -> None:
    before = stack.record
    answer = driftloop_local(stack, "up", "--detach", "--only", "kafka,postgres")
    assert answer.returncode == 0
    assert before.supervisor is not None
    assert f"attached to supervisor {before.supervisor.pid}" in answer.stdout
    assert stack.record.supervisor == before.supervisor
    assert stack.record.parts["kafka"].pid == before.parts["kafka"].pid


def test_addresses_in_the_environment_replace_the_embedded_parts(stack: LocalStack, folder: Path) -> None:
    given = {"DRIFTLOOP_KAFKA": stack.kafka, "DRIFTLOOP_POSTGRES": stack.postgres}
    other = LocalStack(folder / "other")
    answer = driftloop_local(other, "up", "--detach", "--infra-only", **given)
    try:
        assert answer.returncode == 0, answer.stderr
        assert {part.state for part in other.record.parts.values()} == {"external"}
        assert (other.kafka, other.postgres) == (stack.kafka, stack.postgres)
        assert not (other.home.kafka / "data").exists()
        assert not (other.home.postgres / "data").exists()
    finally:
        other.stop()
    assert stack.record.is_running


def test_an_address_where_nobody_answers_is_named_with_the_next_step(folder: Path) -> None:
    other = LocalStack(folder / "nobody")
    options = ("up", "--only", "kafka", "--timeout-s", "2")
    answer = driftloop_local(other, *options, DRIFTLOOP_KAFKA="127.0.0.1:9")
    assert answer.returncode == 1
    assert "no broker at 127.0.0.1:9" in answer.stderr
    assert "next step" in answer.stderr
    assert not other.record.is_running


def test_status_and_doctor_tell_what_is(stack: LocalStack) -> None:
    status = driftloop_local(stack, "status", "--json")
    assert status.returncode == 0
    assert f'"kafka": "{stack.kafka}"' in status.stdout
    doctor = driftloop_local(stack, "doctor")
    assert "46 of 46" in doctor.stdout
    assert "stack: everything is ready" in doctor.stdout


def test_a_part_that_cannot_start_is_shown_as_a_crash_loop(folder: Path) -> None:
    stack = LocalStack(folder / "loop", {"postgres"})
    stack.start()
    stack.hold("postgres")
    # A cluster of another version: Postgres refuses it at every start.
    (stack.home.postgres / "data" / "PG_VERSION").write_text("17\n")
    stack.home.hold("postgres").unlink()
    until(lambda: stack.status("postgres").state == "crash loop")
    assert "exit 1" in str(stack.status("postgres").reason)
    assert driftloop_local(stack, "status").returncode == 1
    answer = driftloop_local(stack, "up", "--detach", "--only", "postgres", "--timeout-s", "1")
    assert answer.returncode == 1
    assert "incompatible with server" in answer.stderr
    stack.stop()


def test_killing_the_supervisor_leaves_nobody_and_the_next_start_resumes(folder: Path) -> None:
    stack = LocalStack(folder / "killed", BOTH)
    stack.start()
    asyncio.run(make_topic(stack.kafka, "remembered"))
    before, family = stack.record, everybody(stack)
    assert before.supervisor is not None
    os.kill(before.supervisor.pid, signal.SIGKILL)
    os.waitpid(before.supervisor.pid, 0)
    until(lambda: not any(map(is_there, family)))
    assert not stack.record.is_running
    stack.start()
    assert stack.record.ports == before.ports
    assert asyncio.run(topics_of(stack.kafka)) == {"remembered"}
    stack.stop()


def test_down_leaves_no_process_and_no_port_and_the_next_up_takes_another_where_one_is_gone(folder: Path) -> None:
    stack = LocalStack(folder / "downed", BOTH)
    assert driftloop_local(stack, "up", "--detach", "--only", "kafka,postgres").returncode == 0
    family, ports = everybody(stack), stack.record.ports
    assert len(family) >= 4
    assert driftloop_local(stack, "down").returncode == 0
    assert not any(map(is_there, family))
    assert all(map(is_free, ports.values()))
    assert driftloop_local(stack, "status").returncode == 3
    assert "nothing runs" in driftloop_local(stack, "down").stdout
    with socket.create_server(("127.0.0.1", ports["kafka"])):
        stack.start()
        assert stack.record.ports["kafka"] != ports["kafka"]
        assert stack.record.ports["postgres"] == ports["postgres"]
    stack.stop()


def test_a_foreground_up_takes_everything_down_when_it_is_interrupted(folder: Path) -> None:
    stack = LocalStack(folder / "front", {"postgres"})
    command = [sys.executable, "-m", "driftloop_local", "up", "--only", "postgres"]
    environment = os.environ | {"DRIFTLOOP_HOME": str(stack.home.folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as front:
        until(lambda: stack.record.parts.get("postgres") is not None and stack.status("postgres").is_up)
        family = everybody(stack)
        front.send_signal(signal.SIGINT)
        # 130 when the interrupt came before it had said that everything is ready.
        assert front.wait(PATIENCE_S) in (0, 130)
    assert not any(map(is_there, family))


def test_what_holds_secrets_is_for_its_owner_alone(stack: LocalStack) -> None:
    for path in (stack.home.record, *(stack.home.folder / "secrets").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((stack.home.postgres / "data").stat().st_mode) == 0o700


def driftloop_local(stack: LocalStack, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, for this stack's folder."""
    command = [sys.executable, "-m", "driftloop_local", *arguments]
    told = os.environ | {"DRIFTLOOP_HOME": str(stack.home.folder)} | environment
    return subprocess.run(command, env=told, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def everybody(stack: LocalStack) -> list[psutil.Process]:
    """The supervisor and all that descend from it."""
    supervisor = stack.record.supervisor
    assert supervisor is not None
    process = psutil.Process(supervisor.pid)
    return [process, *process.children(recursive=True)]


def is_there(process: psutil.Process) -> bool:
    """Not counting the dead whom a slow init has not buried yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


async def make_topic(kafka: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    await admin.close()


async def topics_of(kafka: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    names = set(await admin.list_topics())
    await admin.close()
    return names


async def read(kafka: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    records = [await asyncio.wait_for(consumer.getone(), PATIENCE_S) for _ in range(count)]
    await consumer.stop()
    return [record.value for record in records]
