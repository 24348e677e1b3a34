"""A new version answers once it is verified and warm; until then the old one does, and nobody is turned away."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from driftloop_artifacts import ArtifactStore, Digest, StoreUnavailable
from driftloop_bus.testing.waiting import eventually
from driftloop_models import Encoder, TableModel, columns_of, save
from serving.scoring import Question, Row
from serving.shelf import load_table_model
from serving.testing import DEADLINE_S, Bench, a_declaration, linear_model

ROW = Row({"wind": 3.0, "origin": "EWR"})


def champion(bench: Bench, model: str = "late") -> str | None:
    shown = bench.shelf.shown(model)
    return shown.champion.version if shown and shown.champion else None


async def test_a_revision_that_is_not_newer_changes_nothing() -> None:
    async with Bench().open() as bench:
        await bench.deploy(await bench.served("1", linear_model(1.0)), revision=5)
        await bench.settled()
        await bench.deploy(await bench.served("2", linear_model(2.0)), revision=5)
        await bench.deploy(await bench.served("3", linear_model(3.0)), revision=4)
        await bench.settled()
        assert champion(bench) == "1"


async def test_a_flipped_bit_is_refused_the_old_version_answers_on_and_the_reason_is_said(tmp_path: Path) -> None:
    async with Bench(store=ArtifactStore.open(f"file://{tmp_path}")).open() as bench:
        await bench.deploy(await bench.served("1", linear_model(1.0)))
        await bench.settled()
        second = await bench.served("2", linear_model(2.0))
        file = tmp_path / Digest(second["artifact_digest"]).key
        whole = file.read_bytes()
        file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        await bench.deploy(second)
        await bench.settled()
        assert champion(bench) == "1"
        assert "holds bytes of" in bench.shelf.errors("late")["2"]
        file.write_bytes(whole)
        await eventually(lambda: champion(bench) == "2")
        assert bench.shelf.errors("late") == {}


async def test_bytes_that_are_no_model_are_refused_for_good() -> None:
    async with Bench().open() as bench:
        await bench.deploy(await bench.served("1", b"\x80\x04 a pickle"))
        await bench.settled()
        assert champion(bench) is None
        assert "pickle" in bench.shelf.errors("late")["1"]


async def test_a_missing_artifact_is_waited_for() -> None:
    async with Bench().open() as bench:
        data = linear_model(1.0)
        elsewhere = ArtifactStore.open("memory://")
        digest = str(await elsewhere.put(data))
        await bench.deploy({**await bench.served("1", b"other"), "artifact_digest": digest})
        await bench.settled()
        assert "no artifact" in bench.shelf.errors("late")["1"]
        await bench.artifacts.put(data)
        await eventually(lambda: champion(bench) == "1")


async def test_while_the_store_is_away_a_model_without_a_champion_is_pending() -> None:
    class Away:
        def __init__(self, store: ArtifactStore) -> None:
            self.store, self.away = store, True

        async def get(self, digest: str, *, max_bytes: int) -> bytes:
            if self.away:
                raise StoreUnavailable("get", "s3://models", "no route")
            return await self.store.get(digest, max_bytes=max_bytes)

    store = ArtifactStore.open("memory://")
    away = Away(store)
    async with Bench(store=store, reached_by=lambda store: away).open() as bench:
        await bench.deploy(await bench.served("1", linear_model(1.0)))
        await eventually(lambda: bool(bench.shelf.errors("late")))
        assert bench.shelf.pending() == ["late"]
        away.away = False
        await bench.settled()
        assert champion(bench) == "1"


async def test_golden_rows_must_come_out_as_they_were_trained() -> None:
    async with Bench().open() as bench:
        data = linear_model(1.0)
        score = load_table_model(data).score({"wind": [3.0], "origin": ["EWR"]})[0]
        row = {"features": {"wind": 3.0, "origin": "EWR"}, "score": float(score)}
        await bench.deploy(await bench.served("1", data, golden_rows=[row]))
        await bench.settled()
        assert champion(bench) == "1"
        await bench.deploy(await bench.served("2", linear_model(1.001), golden_rows=[row]))
        await bench.settled()
        assert champion(bench) == "1"
        assert "golden row" in bench.shelf.errors("late")["2"]


async def test_a_shadow_that_can_not_be_loaded_does_not_hold_up_the_champion() -> None:
    async with Bench().open() as bench:
        broken = await bench.served("2", b"nothing")
        await bench.deploy(await bench.served("1", linear_model(1.0)), challengers=[broken])
        await bench.settled()
        assert champion(bench) == "1"
        assert list(bench.shelf.errors("late")) == ["2"]


async def test_a_challenger_that_becomes_champion_is_not_loaded_again() -> None:
    loads: list[bytes] = []

    def load(data: bytes) -> Any:
        loads.append(data)
        return load_table_model(data)

    async with Bench(load).open() as bench:
        one, two = await bench.served("1", linear_model(1.0)), await bench.served("2", linear_model(2.0))
        await bench.deploy(one, challengers=[two])
        await bench.settled()
        await bench.deploy(two, previous=one)
        await bench.settled()
        assert champion(bench) == "2"
        assert len(loads) == 2


async def test_the_old_version_answers_until_the_new_one_is_warm_and_no_request_fails() -> None:
    """The second version takes its time to load, outside the event loop; requests go on all the while."""
    may_load = threading.Event()
    second = linear_model(2.0)

    def load(data: bytes) -> Any:
        if data == second:
            assert may_load.wait(DEADLINE_S)
        return load_table_model(data)

    async with Bench(load).open() as bench:
        await bench.declare(a_declaration())
        await bench.deploy(await bench.served("1", linear_model(1.0)))
        await bench.settled()
        versions: list[str] = []

        async def caller(name: str) -> None:
            for n in range(200):
                said = await bench.ticks.predict(Question("late", [ROW], f"{name}-{n}"))
                versions.append(said.version)
                if (name, n) == ("c0", 50):
                    await bench.deploy(await bench.served("2", second))
                if (name, n) == ("c0", 100):
                    may_load.set()
                if n == 150:
                    await eventually(lambda: champion(bench) == "2")

        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(caller(f"c{c}") for c in range(8)))
        assert versions == sorted(versions)
        assert versions.count("1") > 100
        assert versions.count("2") >= 8 * 49
        assert len(bench.spool.events) == 8 * 200


async def test_a_newer_deployment_overtakes_one_that_is_still_loading() -> None:
    may_load = threading.Event()
    second = linear_model(2.0)

    def load(data: bytes) -> Any:
        if data == second:
            assert may_load.wait(DEADLINE_S)
        return load_table_model(data)

    async with Bench(load).open() as bench:
        await bench.deploy(await bench.served("2", second), revision=1)
        await asyncio.sleep(0)
        await bench.deploy(await bench.served("3", linear_model(3.0)), revision=2)
        may_load.set()
        await bench.settled()
        assert champion(bench) == "3"


async def test_many_models_are_loaded_side_by_side() -> None:
    async with Bench().open() as bench:
        for n in range(12):
            await bench.deploy(await bench.served("1", linear_model(float(n))), model=f"m{n}")
        await bench.settled()
        assert {champion(bench, f"m{n}") for n in range(12)} == {"1"}


async def test_loads_and_failed_loads_are_counted_and_every_change_is_told() -> None:
    pending: list[list[str]] = []
    async with Bench().open() as bench:
        bench.shelf.changed = lambda: pending.append(bench.shelf.pending())
        await bench.deploy(await bench.served("1", linear_model(1.0)), challengers=[await bench.served("2", b"no")])
        await bench.settled()
        assert pending == [["late"], []]
        assert bench.tally.seen["loaded", "1"] == 1
        assert bench.tally.seen["load_failed", "2: ModelRefused"] == 1


@pytest.mark.parametrize("columns", [{"wind": [1.0]}])
def test_a_model_without_a_column_answers_as_if_it_were_missing(columns: Mapping[str, Any]) -> None:
    assert load_table_model(linear_model(1.0)).score(columns).shape == (1,)


async def test_boosted_trees_answer_as_they_were_trained() -> None:
    rows = pa.table({"wind": [float(n % 17) for n in range(200)], "origin": ["EWR", "JFK"] * 100})
    encoder = Encoder.fit(rows, {"wind": "number", "origin": "category"}, "ordinal")
    matrix = encoder.matrix(columns_of(rows, encoder.features))
    fitted = HistGradientBoostingClassifier(max_iter=5, random_state=7).fit(matrix, [n % 17 > 8 for n in range(200)])
    model = TableModel(encoder, fitted, "binary", (False, True))
    async with Bench().open() as bench:
        await bench.declare(a_declaration())
        golden = [{"features": {"wind": 3.0, "origin": "EWR"}, "score": float(model.score({"wind": [3.0]})[0])}]
        await bench.deploy(await bench.served("1", save(model), golden_rows=golden))
        await bench.settled()
        assert bench.shelf.errors("late") == {}
        said = await bench.ticks.predict(Question("late", [ROW], "p1"))
        assert said.scores == model.score({"wind": [3.0], "origin": ["EWR"]}).tolist()
