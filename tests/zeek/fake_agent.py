"""An agent without a model, for the tests of the Zeek package: verdicts by the sizes alone, or wrong on purpose.

Takes the options with which Zeek starts an agent, and before them what it is to do. With ``--log FILE`` it writes what
it sees, a line per message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

SERVICES = ("web", "chat", "streaming", "unknown")
APPLICATIONS = ("Alpha", "Beta", "Gamma", "unknown")
#: Of what is malicious, by the application.
KINDS = ("scan", "brute_force", "", "command_and_control")
#: That everything malicious belongs to.
INCIDENT = "I0123456789AB"


def scalar(kind: str, data) -> dict:
    return {"@data-type": kind, "data": data}


def vector(*elements) -> dict:
    return scalar("vector", list(elements))


def event(topic: str, name: str, *arguments) -> str:
    body = vector(scalar("count", 1), scalar("count", 1), vector(scalar("string", name), vector(*arguments)))
    return json.dumps({"type": "data-message", "topic": topic, **body})


def verdict(flow: dict) -> list:
    """The fields of MMTT::Verdict: service by the first size, application and kind by the second, malicious by both."""
    up, down = flow["sizes"][0], flow["sizes"][1]
    malicious = (up + down) % 3 == 0
    return [
        scalar("string", flow["uid"]),
        scalar("count", flow["window"]),
        scalar("string", "ok"),
        scalar("string", SERVICES[up % 4]),
        scalar("real", 0.75),
        scalar("string", APPLICATIONS[down % 4]),
        scalar("real", 0.5),
        scalar("boolean", malicious),
        scalar("real", 0.95 if malicious else 0.25),
        scalar("string", KINDS[down % 4] if malicious else ""),
        scalar("string", INCIDENT if malicious else ""),
    ]


def nonsense(flow: dict, number: int) -> list:
    """A verdict that is not one; one of several kinds by turns."""
    fields = verdict(flow)
    wrong = [
        {0: scalar("string", "CnotThisOne")},
        {1: scalar("count", 99)},
        {2: scalar("string", "fine")},
        {3: scalar("string", "a\tb\n" * 50)},
        {4: scalar("real", 1.5)},
        {6: scalar("real", -0.1)},
        {8: scalar("real", 1e300)},
        {7: scalar("boolean", True), 9: scalar("string", "a\tb")},
        {7: scalar("boolean", True), 9: scalar("string", "x" * 65)},
        {7: scalar("boolean", False), 9: scalar("string", "scan")},
        {10: scalar("string", "I01234567")},
    ]
    for place, value in wrong[number % len(wrong)].items():
        fields[place] = value
    return fields


def finding(unit: str, flow: dict, number: int, changes: dict | None = None) -> list:
    """The fields of MMTT::Finding, of a flow's ends."""
    orig, resp, resp_p = flow["ends"].split(" ")
    fields = {
        "ts": scalar("real", flow["ts"] + 10.5),
        "id": scalar("string", f"I{number:012d}"),
        "state": scalar("string", "opened"),
        "unit": scalar("string", unit),
        "orig": scalar("string", "" if unit == "responder" else orig),
        "resp": scalar("string", "" if unit == "originator" else resp),
        "resp_p": scalar("string", resp_p),
        "kind": scalar("string", "brute_force" if unit == "responder" else ""),
        "score": scalar("real", 0.875),
        "connections": scalar("count", 41),
        "first": scalar("real", flow["ts"] + 0.000001),
        "last": scalar("real", flow["ts"] + 492.25),
        "orig_bytes": scalar("count", 1 << 40),
        "resp_bytes": scalar("count", 0),
        "reason": scalar("string", "41 like connections in 8 min, 12 s apart"),
        "uids": vector(scalar("string", flow["uid"])),
    }
    return list((fields | (changes or {})).values())


def findings(flows: list[dict]) -> list[list]:
    """Of each kind of unit one that opens, the first that closes, and the second of which it turns out to be a scan."""
    closed = {"state": scalar("string", "closed"), "connections": scalar("count", 99)}
    grown = {"state": scalar("string", "grown"), "kind": scalar("string", "scan")}
    return [
        finding("pair", flows[0], 1),
        finding("originator", flows[0], 2),
        finding("responder", flows[1], 3),
        finding("pair", flows[0], 1, closed),
        finding("originator", flows[0], 2, grown),
    ]


def wrong_findings(flow: dict) -> list[list]:
    """None of them can be, but for the last two: of those one is of hosts that are none."""
    wrong = [
        {"id": scalar("string", "I1")},
        {"state": scalar("string", "open")},
        {"unit": scalar("string", "host")},
        {"orig": scalar("string", "")},
        {"resp_p": scalar("string", "443")},
        {"kind": scalar("string", "a\tb")},
        {"score": scalar("real", 1.5)},
        {"ts": scalar("real", -1.5)},
        {"last": scalar("real", flow["ts"] - 1)},
        {"reason": scalar("string", "")},
        {"reason": scalar("string", "x" * 501)},
        {"uids": vector(scalar("string", "a b"))},
        {"orig": scalar("string", flow["ends"][:16] + "00000000")},
        {},
    ]
    return [finding("pair", flow, 1, each) for each in wrong]


class Agent:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.answered = 0
        self.flows = 0
        #: By the ends of each, in the order in which they came.
        self.seen: dict[str, dict] = {}
        self.log = open(options.log, "a", buffering=1) if options.log else None  # noqa: SIM115 - open to the end

    def say(self, text: str) -> None:
        if self.log:
            self.log.write(text + "\n")

    async def run(self) -> None:
        give_up = time.monotonic() + 10
        while True:
            try:
                self.zeek = await connect(self.options.url, proxy=None, compression=None, max_size=None)
                break
            except OSError:
                if time.monotonic() > give_up:
                    sys.exit("can't connect to Zeek")
                await asyncio.sleep(0.05)
        self.topic = f"mmtt/agent/{self.options.id}"
        await self.zeek.send(json.dumps([self.topic, "mmtt/agents"]))
        await self.zeek.recv()
        if self.options.mode == "silent":
            await asyncio.sleep(3600)
        await self.hello()
        ticking = asyncio.ensure_future(self.tick())
        try:
            async for message in self.zeek:
                await self.receive(json.loads(message))
        except ConnectionClosed:
            pass
        ticking.cancel()

    async def send(self, name: str, *arguments, topic: str = "mmtt/sensor") -> None:
        protocol = 1 if self.options.mode == "version" else 3
        await self.zeek.send(event(topic, name, scalar("count", protocol), *arguments))

    async def hello(self) -> None:
        await self.send(
            "MMTT::agent_hello",
            scalar("string", self.options.id),
            scalar("string", self.topic),
            scalar("string", "fake@00000000"),
            scalar("count", self.options.credit),
        )

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self.send("MMTT::tick", scalar("string", self.options.id))
            if self.options.incidents == "live":
                # Not every node has heard of it when it connects.
                await self.hello()

    async def receive(self, message: dict) -> None:
        if message.get("type") != "data-message":
            return
        name, arguments = (part["data"] for part in message["data"][2]["data"])
        if name == "MMTT::hello_request":
            await self.hello()
        if name == "MMTT::tries":
            tries = [each["data"].split(" ") for each in arguments[2]["data"]]
            self.say(f"tries: {sum(int(t[4]) for t in tries)} failed, {sum(int(t[5]) for t in tries)} short")
        if name == "MMTT::all_sent":
            self.say("all sent")
            await self.end(arguments[1]["data"])
        if name != "MMTT::classify":
            return
        _, reply_topic, batch_id, flows = (argument["data"] for argument in arguments)
        flows = [json.loads(flow["data"]) for flow in flows]
        self.flows += len(flows)
        new = []
        for flow in flows:
            if (pair := flow["ends"].rpartition(" ")[0]) not in self.seen:
                self.seen[pair] = flow
                new.append(flow)
                if self.options.incidents == "live":
                    self.say(f"pair {pair}")
        self.say(f"batch of {len(flows)}, {self.flows - self.answered} unanswered")
        if self.options.mode == "mute" and self.flows > self.options.after:
            return
        if self.options.mode == "die" and self.flows > self.options.after:
            print("Error: out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        if self.options.mode == "killed" and self.flows > self.options.after:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.options.mode == "stopped" and self.flows > self.options.after:
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.options.mode == "bye" and self.flows > self.options.after:
            await self.send("MMTT::agent_bye", scalar("string", self.options.id))
            return
        await asyncio.sleep(self.options.delay + len(flows) * self.options.each)
        await self.answer(reply_topic, batch_id, flows)
        self.answered += len(flows)
        if self.options.incidents == "live" and new:
            number = len(self.seen) - len(new)
            found = [finding("pair", flow, number + i) for i, flow in enumerate(new) if flow["ends"]]
            await self.send("MMTT::incidents", vector(*(vector(*each) for each in found)), topic=reply_topic)

    async def end(self, reply_topic: str) -> None:
        if self.options.mode == "unfinished":
            return
        seen = list(self.seen.values())
        made = {"none": list, "live": list, "some": lambda: findings(seen), "wrong": lambda: wrong_findings(seen[0])}
        if found := made[self.options.incidents]():
            await self.send("MMTT::incidents", vector(*(vector(*each) for each in found)), topic=reply_topic)
        await self.send("MMTT::finished", topic=reply_topic)

    async def answer(self, reply_topic: str, batch_id: int, flows: list[dict]) -> None:
        records = [verdict(flow) for flow in flows]
        if self.options.mode == "nonsense":
            records = [nonsense(flow, self.answered + i) for i, flow in enumerate(flows)]
        if self.options.mode == "few":
            records = records[:1]
        if self.options.mode == "many":
            records += records
        if self.options.mode == "twice":
            await self.verdicts(reply_topic, batch_id, records)
            await self.verdicts(reply_topic, batch_id + 10**6, records)
        if self.options.mode == "types":
            records = [record[:-1] for record in records]
        await self.verdicts(reply_topic, batch_id, records)

    async def verdicts(self, reply_topic: str, batch_id: int, records: list[list]) -> None:
        await self.send(
            "MMTT::verdicts",
            scalar("count", batch_id),
            vector(*(vector(*record) for record in records)),
            topic=reply_topic,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    modes = [
        "ok",
        "silent",
        "mute",
        "die",
        "killed",
        "stopped",
        "bye",
        "nonsense",
        "few",
        "many",
        "types",
        "twice",
        "version",
        "unfinished",
    ]
    parser.add_argument("--mode", choices=modes, default="ok")
    parser.add_argument("--after", type=int, default=0, help="die, be killed or leave once it got more windows")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--each", type=float, default=0.0, help="seconds before each answer, for each window in it")
    parser.add_argument("--credit", type=int, default=4096)
    parser.add_argument("--incidents", choices=["none", "some", "wrong", "live"], default="none")
    parser.add_argument("--log")
    parser.add_argument("--url", required=True)
    parser.add_argument("--id", default="fake")
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--exit-with-zeek", action="store_true")
    options = parser.parse_args()
    if "MMTT_CAPTURE" in os.environ:
        print("mmtt: capture is read\nmmtt: capture whole", flush=True)
    asyncio.run(Agent(options).run())


if __name__ == "__main__":
    main()
