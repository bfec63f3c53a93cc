"""The `mmtt agent` program on a real Zeek, without the package: a script of a few lines plays the package's part."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from agent_program import PROGRAM
from tiny_bundle import make_bundle, with_kinds

ZEEK = os.environ.get("ZEEK") or shutil.which("zeek") or "/opt/zeek/bin/zeek"
pytestmark = pytest.mark.skipif(not shutil.which(ZEEK), reason="no Zeek")

BATCHES = 30
SCRIPT = """
@load base/frameworks/cluster
@ifdef ( Cluster::CLUSTER_BACKEND_NONE )
@if ( Cluster::backend == Cluster::CLUSTER_BACKEND_NONE )
@load frameworks/cluster/backend/broker
@endif
@endif
redef exit_only_after_terminate = T;

module MMTT;

export {
	type Verdict: record {
		uid: string; window: count; status: string;
		service: string; service_score: double;
		application: string; application_score: double;
		malicious: bool; malicious_score: double; malicious_kind: string; incident: string;
	};
	type Flow: record {
		uid: string; window: count; sizes: vector of int; times: vector of count;
		ts: time; ends: string;
	};
	global agent_hello: event(protocol: count, agent: string, topic: string, model: string, credit: count);
	global tick: event(protocol: count, agent: string);
	global agent_bye: event(protocol: count, agent: string);
	global classify: event(protocol: count, reply_topic: string, batch_id: count, flows: vector of string);
	global hello_request: event(protocol: count);
	global verdicts: event(protocol: count, batch_id: count, verdicts: vector of Verdict);
}

const batches = 30;
const protocol_here = to_count(getenv("PROTOCOL"));
# Zeek would not write its standard output line by line.
global output = open_for_append(getenv("OUTPUT"));
global asked = F;
global answered = 0;
global good = 0;
global with_kind = 0;

function flow_of(batch: count, place: count): Flow
	{
	local flow = Flow($uid=fmt("C%d-%d", batch, place), $window=batch % 4, $sizes=vector(), $times=vector(),
		$ts=current_time(), $ends="5e7a01 5e7a02 443/tcp");
	local k = 0;
	while ( k < 4 + (batch * 7 + place) % 29 )
		{
		flow$sizes += k % 2 == 0 ? +100 + k * place : -1400;
		flow$times += k * 1000;
		++k;
		}
	return flow;
	}

event agent_hello(protocol: count, agent: string, topic: string, model: string, credit: count)
	{
	print output, "hello", protocol, agent, topic, model, credit;
	if ( asked )
		return;
	asked = T;
	local batch = 0;
	while ( batch < batches )
		{
		local flows: vector of string = vector();
		local place = 0;
		while ( place < 64 )
			{
			flows += to_json(flow_of(batch, place));
			++place;
			}
		Cluster::publish(topic, MMTT::classify, protocol_here, "mmtt/node/test", batch, flows);
		++batch;
		}
	}

event tick(protocol: count, agent: string)
	{
	print output, "tick", protocol, agent;
	}

event agent_bye(protocol: count, agent: string)
	{
	print output, "bye", protocol, agent;
	}

event verdicts(protocol: count, batch_id: count, verdicts: vector of Verdict)
	{
	++answered;
	for ( place in verdicts )
		{
		local v = verdicts[place];
		if ( v$uid == fmt("C%d-%d", batch_id, place) && v$window == batch_id % 4 &&
			v$status == "ok" && v$service != "" && v$application != "" &&
			v$service_score > 0.0 && v$service_score <= 1.0 && v$malicious_score <= 1.0 &&
			( v$malicious || v$malicious_kind == "" ) )
			{
			++good;
			if ( v$malicious_kind != "" )
				++with_kind;
			}
		}
	if ( answered == batches )
		{
		print output, "answered", protocol, good;
		print output, "kinds", with_kind;
		if ( getenv("THEN") == "end" )
			terminate();
		}
	}

event zeek_init()
	{
	set_buf(output, F);
	Cluster::subscribe("mmtt/sensor");
	Cluster::subscribe("mmtt/node/test");
	local where = Cluster::WebSocketServerOptions($listen_addr=127.0.0.1, $listen_port=to_port(getenv("PORT")));
	Cluster::listen_websocket(where);
	}
"""

PACKAGE = Path(__file__).parents[2] / "zeek-scripts"
#: Hands the package a batch of windows, and the next when it is answered; prints what becomes of each window.
RELOADED = """
redef exit_only_after_terminate = T;
global output = open_for_append(getenv("OUTPUT"));
global made = 0;

function connection_made(): connection
	{
	local id = conn_id($orig_h=10.0.0.1, $orig_p=1234/tcp, $resp_h=10.0.0.2, $resp_p=443/tcp, $proto=6,
		$ctx=conn_id_ctx());
	local end = endpoint($size=0, $state=0, $flow_label=0);
	return connection($id=id, $orig=end, $resp=end, $start_time=current_time(), $duration=0sec, $service=set(),
		$history="", $uid=fmt("C%d", made));
	}

function make_batch()
	{
	local n = 0;
	while ( ++n <= MMTT::batch_size )
		{
		++made;
		hook MMTT::window_done(connection_made(), MMTT::Window($window=0, $ts=current_time(),
			$sizes=vector(+1, +2, -3, +4), $times=vector(0, 1, 2, 3)));
		}
	}

event MMTT::agent_hello(protocol: count, agent: string, topic: string, model: string, credit: count) &priority=-1
	{
	if ( made == 0 )
		make_batch();
	}

hook MMTT::agent_answered(a: MMTT::Agent)
	{
	make_batch();
	}

hook MMTT::outcome(o: MMTT::Outcome)
	{
	print output, o$status, o?$model ? o$model : "-";
	}

event zeek_init()
	{
	set_buf(output, F);
	Cluster::subscribe(MMTT::sensor_topic);
	Cluster::subscribe(MMTT::node_topic());
	local port_here = to_port(getenv("PORT"));
	Cluster::listen_websocket(Cluster::WebSocketServerOptions($listen_addr=127.0.0.1, $listen_port=port_here));
	}
"""


class Program:
    """A child whose output is collected in a file."""

    def __init__(self, home: Path, name: str, command, **environment):
        self.output = home / f"{name}.out"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [str(each) for each in command],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=os.environ | {"OUTPUT": str(self.output)} | {key: str(value) for key, value in environment.items()},
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def says(self, pattern: str, seconds: float = 30) -> re.Match:
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output.read_text(), re.MULTILINE)):
            assert time.monotonic() < end, f"no {pattern} in:\n{self.output.read_text()}"
            time.sleep(0.05)
        return found

    def ends(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def place(tmp_path):
    """A directory, a free port, and what starts a Zeek and an agent there."""
    (tmp_path / "peer.zeek").write_text(SCRIPT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    class Place:
        def zeek(self, name="zeek", **environment) -> Program:
            environment = {"PROTOCOL": 3, "THEN": "go on", **environment}
            return Program(tmp_path, name, [ZEEK, "-b", "peer.zeek"], PORT=f"{port}/tcp", **environment)

        def agent(self, *options) -> Program:
            url = f"ws://127.0.0.1:{port}/v1/messages/json"
            (tmp_path / "agent.yaml").write_text("reconnect: {first: 0.1, longest: 0.2}\n")
            return Program(tmp_path, "agent", [*PROGRAM, "-c", "agent.yaml", "--url", url, "--id", "a1", *options])

    return Place()


ALL = rf"^answered, 3, {BATCHES * 64}$"


def test_every_event_arrives_with_its_types(place):
    with place.zeek() as zeek, place.agent() as agent:
        zeek.says(r"^hello, 3, a1, mmtt/agent/a1, [\w.-]+@[0-9a-f]{8}, 4096$")
        zeek.says(ALL)
        zeek.says(r"^tick, 3, a1$")
        agent.process.terminate()
        zeek.says(r"^bye, 3, a1$")
        assert agent.ends() == 0
        agent.says(f"{BATCHES * 64} flows answered ok")
        assert "error" not in zeek.output.read_text()


def test_kinds_of_malicious_arrive_and_without_them_none(place, tmp_path):
    for options, kinds in (((), "0"), (("--bundle", make_bundle(tmp_path / "kinds", **with_kinds())), "[1-9][0-9]*")):
        with place.zeek(f"zeek{len(options)}") as zeek, place.agent(*options):
            zeek.says(ALL)
            zeek.says(f"^kinds, {kinds}$")


def test_a_zeek_that_was_killed_and_comes_back_is_served(place):
    with place.agent() as agent:
        agent.says("nobody listens there")
        for name in ("first", "second"):
            with place.zeek(name) as zeek:
                zeek.says(ALL)
        agent.says("connection lost")
        agent.process.terminate()
        assert agent.ends() == 0


def test_a_zeek_that_stands_still_loses_nothing(place):
    with place.zeek() as zeek, place.agent():
        zeek.says("^hello")
        zeek.process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        zeek.process.send_signal(signal.SIGCONT)
        zeek.says(ALL)


def test_the_agent_can_be_stopped_while_zeek_stands_still(place):
    with place.zeek() as zeek, place.agent() as agent:
        zeek.says("^tick")
        zeek.process.send_signal(signal.SIGSTOP)
        agent.process.terminate()
        assert agent.ends() == 0


@pytest.mark.parametrize("end", ["end", "killed"])
def test_offline_the_agent_ends_with_zeek_and_says_nothing(place, end):
    with place.zeek(THEN=end) as zeek, place.agent("--offline", "--exit-with-zeek") as agent:
        zeek.says(ALL)
        if end == "killed":
            zeek.process.kill()
        assert agent.ends() == 0
        assert agent.output.read_text() == ""


def test_a_package_of_another_protocol_is_told_once_and_not_answered(place):
    with place.zeek(PROTOCOL=2) as zeek, place.agent() as agent:
        agent.says("error: Zeek's package speaks protocol 2, this agent speaks 3; install matching versions of both")
        zeek.says("^tick")
        assert "answered" not in zeek.output.read_text()
        assert agent.output.read_text().count("speaks protocol 2") == 1


def test_rows_carry_the_model_that_gave_them_across_a_reload(tmp_path):
    """With the package itself: the package takes the model from the latest hello."""
    first = make_bundle(tmp_path / "bundle")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "reload.zeek").write_text(RELOADED)
    url = f"ws://127.0.0.1:{port}/v1/messages/json"
    command = [*PROGRAM, "--url", url, "--id", "a1", "--bundle", first]
    with (
        Program(tmp_path, "zeek", [ZEEK, PACKAGE, "reload.zeek"], PORT=f"{port}/tcp") as zeek,
        Program(tmp_path, "agent", command) as agent,
    ):
        zeek.says("^ok, tiny-1@")
        make_bundle(first, name="tiny-2")
        agent.process.send_signal(signal.SIGHUP)
        zeek.says("^ok, tiny-2@")
        agent.process.terminate()
        assert agent.ends() == 0
        rows = re.findall(r"^(\w+), (.*)@", zeek.output.read_text(), re.MULTILINE)
        assert {status for status, _ in rows} == {"ok"}
        models = [model for _, model in rows]
        assert len(models) % 64 == 0
        assert models == sorted(models) and set(models) == {"tiny-1", "tiny-2"}
