"""A process whose loop is blocked ends with 1; one that was only stopped for a while goes on."""

from __future__ import annotations

import asyncio
import signal
import sys

PROGRAM = """
import asyncio, time
from driftloop_kit.turning import keep_turning

async def main():
    watching = asyncio.create_task(keep_turning(2.0))
    await asyncio.sleep(0.1)
    print("on", flush=True)
    {work}
    print("well", flush=True)

asyncio.run(main())
"""


async def a_process(work: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.format(work=work),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"on\n"
    return process


async def test_a_blocked_loop_ends_the_process_and_is_shown() -> None:
    process = await a_process("time.sleep(60)")
    async with asyncio.timeout(30):
        said, complained = await process.communicate()
    assert (process.returncode, said) == (1, b"")
    assert b"stood still" in complained
    assert b"in main" in complained


async def test_a_process_that_was_stopped_for_longer_goes_on() -> None:
    process = await a_process("await asyncio.sleep(5)")
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(4)
    process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    assert (process.returncode, said) == (0, b"well\n")


async def test_work_that_lets_the_loop_turn_may_take_as_long_as_it_likes() -> None:
    process = await a_process("await asyncio.to_thread(time.sleep, 5)")
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    assert (process.returncode, said) == (0, b"well\n")
