"""A bundle is changed in all workers or in none, whichever of them end and begin meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from mmtt_agent.sniff import crew as crews
from mmtt_agent.sniff.config import Config
from mmtt_agent.sniff.crew import Crew
from mmtt_agent.sniff.messages import Load, Loaded, Ready, State, Use


class Worker:
    """One that is begun, as the crew sees its pipe. ``when_told`` is called in the crew's loop with what it is told;
    ``takes``: seconds until it has loaded the model."""

    takes = 0.0

    def __init__(self, task) -> None:
        self.task, self.told = task, []
        self.when_told = lambda message: None
        self._loop = asyncio.get_running_loop()

    def poll(self, seconds: float) -> bool:
        return True

    def recv(self) -> Ready:
        time.sleep(self.takes)
        return Ready([])

    def send(self, message) -> None:
        self.told.append(message)
        self._loop.call_soon_threadsafe(self.when_told, message)

    def close(self) -> None:
        pass


@pytest.fixture
def workers(monkeypatch):
    """All that were begun."""
    made: list[Worker] = []

    class Nursery:
        def __init__(self, *_) -> None:
            pass

        def make(self, name: str, task) -> tuple[int, Worker]:
            made.append(Worker(task))
            return 1 << 30, made[-1]

    monkeypatch.setattr(crews, "Nursery", Nursery)
    monkeypatch.setattr(crews, "_PAUSE", 0.0)
    monkeypatch.setattr(crews.ring, "opened", lambda *_: None)
    monkeypatch.setattr(crews.privileges, "account", lambda _: None)
    monkeypatch.setattr(crews.privileges, "drop", lambda _: None)
    return made


async def begun() -> Crew:
    crew = Crew(Config(interface="seen", workers=2), "old", pytest.fail)
    await crew.begin(lambda *_: None)
    return crew


def test_a_worker_that_is_replaced_meanwhile_begins_with_the_new_one(workers):
    async def run() -> None:
        crew = await begun()
        crew.hear(1, None)
        changing = asyncio.ensure_future(crew.use("new"))
        await asyncio.sleep(0.1)  # the other one loads it
        crew.hear(2, Loaded(""))
        assert await changing == ""
        while len(workers) < 3:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 10))
    assert [each.task.bundle for each in workers] == ["old", "old", "new"]
    assert workers[1].told == [Load("new"), Use()]


def test_a_worker_that_ends_before_it_was_told_leaves_the_others_with_the_old_one(workers):
    async def run() -> str:
        crew = await begun()
        workers[0].when_told = lambda message: crew.hear(*((2, None) if isinstance(message, Load) else (0, None)))
        changing = asyncio.ensure_future(crew.use("new"))
        await asyncio.sleep(0.1)
        crew.hear(1, Loaded(""))
        return await changing

    assert "ended" in asyncio.run(asyncio.wait_for(run(), 10))
    assert workers[0].told == [Load("new"), Use(forget=True)]


def test_a_worker_that_loads_the_model_is_not_stuck(workers, monkeypatch):
    killed = []

    async def run() -> None:
        crew = await begun()
        monkeypatch.setattr(crews, "STUCK", 0.1)
        monkeypatch.setattr(crews, "_kill", lambda each: killed.append(each.number))
        Worker.takes = 0.4
        crew.hear(1, None)
        for _ in range(3):
            await asyncio.sleep(0.1)
            crew.hear(2, State())
            crew.end_stuck(True)
        assert killed == []
        await asyncio.sleep(0.4)
        crew.hear(2, State())
        crew.end_stuck(True)

    monkeypatch.setattr(Worker, "takes", 0.0)
    asyncio.run(asyncio.wait_for(run(), 10))
    assert killed == [3]
