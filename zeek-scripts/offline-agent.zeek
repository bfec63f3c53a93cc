##! With a capture file: the agent that Zeek starts, and what becomes of it.
##!
##! While the trace is halted and after its end, network time stands still, and with it all timers. The clock is then
##! the agent's tick, and without an agent a program that sleeps.

@load base/frameworks/input
@load ./agents

module MMTT;

export {
	## What starts an agent. The environment's MMTT_AGENT goes before.
	const agent_command = "mmtt agent" &redef;

	## An agent that has not said hello after this long won't.
	option agent_start_timeout = 60sec;
}

type State: enum {
	## Nothing has been collected so far.
	IDLE,
	## The agent has been started.
	STARTING,
	## The agent has said hello.
	SERVING,
	## The connection is lost; the agent's last words may be under way.
	LOST,
	## There is no agent, and there won't be.
	GONE,
};

# Whether the capture can be read to its end: Zeek ends at once where it can't. The agent looks at the file.
type Capture: enum {
	UNKNOWN,
	## It can, or it is known where it can't.
	WHOLE,
	## Nobody knows.
	UNCLEAR,
};

type Output: record {
	text: string;
};

const program_stream = "mmtt-agent";
const clock_prefix = "mmtt-clock-";
const pause_stream = "mmtt-pause";

# What the shell says last of the agent's program.
const exit_mark = "mmtt: exit status ";

# What the agent says of the capture file.
const capture_mark = "mmtt: capture ";

# A Zeek that stands still (the capture is a pipe that pauses, say) hears nothing: of the time between two looks at the
# clock no more than this counts as waiting.
const longest_step = 2sec;

# Ports that neither services nor outgoing connections use by default.
const first_port = 20000;
const last_port = 32000;
const port_attempts = 20;

global state = IDLE;
global my_agent: string;
global silence: interval;
global last_look: time;
global capture = UNKNOWN;
global capture_is_read = F;

# When the last packet comes that Zeek can read, where others follow that it can't.
global breaks_at = double_to_time(0.0);

# It is known whether the capture can be read to its end.
global capture_judged: hook();

# What start_pause() was for is over.
global pause_over: hook();
global started = F;

# The agent has been asked for all that is still to be found over connections; and it has said so.
global asked_for_rest = F;
global rest_is_said = F;

global clock_ticks = 0;
global last_words = "";

global program_line: event(description: Input::EventDescription,
    tpe: Input::Event, text: string);
global clock_line: event(description: Input::EventDescription,
    tpe: Input::Event, text: string);

function command(): string
	{
	local own = getenv("MMTT_AGENT");
	return own == "" ? agent_command : own;
	}

# Go on with the trace, or end: in offline.zeek.
global go_on: function();

# There won't be verdicts any more.
function gone(text: string)
	{
	if ( state == GONE )
		return;

	state = GONE;

	if ( text != "" )
		Reporter::warning("mmtt: " + text);

	# Kills what is left of it.
	if ( started )
		Input::remove(program_stream);

	drop_agent(my_agent, text);
	go_on();
	}

# What there won't be without an agent.
function missing(): string
	{
	if ( asked_for_rest )
		return "the last incidents are missing";

	return state == STARTING ? "no verdicts" : "no verdicts any more";
	}

function start_waiting()
	{
	silence = 0sec;
	last_look = current_time();
	}

# How long it has been since start_waiting().
function look(): interval
	{
	local now = current_time();
	local step = now - last_look;
	last_look = now;

	if ( step > 0sec )
		silence += step < longest_step ? step : longest_step;

	return silence;
	}

# A tenth of a second from now, the stream ends. It can't be read a second time.
function start_clock()
	{
	++clock_ticks;
	Input::add_event(Input::EventDescription($source="sleep 0.1 |",
	    $reader=Input::READER_RAW, $mode=Input::MANUAL, $name=fmt("%s%d",
	    clock_prefix, clock_ticks), $fields=Output, $want_record=F,
	    $ev=MMTT::clock_line));
	}

# Raise pause_over() after so many seconds.
function start_pause(seconds: string)
	{
	Input::add_event(Input::EventDescription($source=fmt("sleep %s |", seconds),
	    $reader=Input::READER_RAW, $mode=Input::MANUAL, $name=pause_stream,
	    $fields=Output, $want_record=F, $ev=MMTT::clock_line));
	}

# Whether Zeek looks at all packets of the capture. If not, it need not see the last of them.
function is_all_read(): bool
	{
	for ( _, a in zeek_args() )
		if ( /-[A-Za-z]*f.*/ == a || /--filter.*/ == a )
			return F;

@ifdef ( PacketFilter::current_filter )
	return PacketFilter::current_filter in set("", "ip or not ip");
@else
	return T;
@endif
	}

function listen(): count
	{
	local n = 0;

	while ( n < port_attempts )
		{
		local p = first_port + ( getpid() * 7 + n * 1009 ) % ( last_port - first_port );

		if ( Cluster::listen_websocket(Cluster::WebSocketServerOptions(
		    $listen_addr=127.0.0.1, $listen_port=count_to_port(p,
		    tcp))) )
			return p;

		++n;
		}

	return 0;
	}

function start_agent()
	{
	state = STARTING;
	my_agent = unique_id("zeek-");
	add_agent(Agent($name=my_agent, $topic="mmtt/agent/" + my_agent,
	    $last_seen=current_time()));
	Cluster::subscribe(sensor_topic);
	Cluster::subscribe(node_topic());

	local p = listen();

	if ( p == 0 )
		{
		gone("no verdicts, because no port on 127.0.0.1 is free for the agent");
		return;
		}

	local line = fmt("%s --offline --exit-with-zeek --url ws://127.0.0.1:%d/v1/messages/json --id %s",
	    command(), p, my_agent);

	# The stream is read only when asked for. Its end would be reported as an error: the shell stays until it is killed,
	# as Zeek does with all that is left when the stream is removed or Zeek ends. If Zeek can't, as it ends at once,
	# nobody reads what is written here. Nothing that stays longer than the agent keeps Zeek's directory busy.
	local watch = "cd /; trap '' PIPE; while echo; do sleep 1; done 2>/dev/null; kill -KILL -$$";
	Input::add_event(Input::EventDescription($source=fmt("(%s) & MMTT_CAPTURE=%s; export MMTT_CAPTURE; %s 2>&1 </dev/null; echo '%s'$?; cd /; while sleep 60; do :; done |",
	    watch, safe_shell_quote(packet_source()$path), line, exit_mark),
	    $reader=Input::READER_RAW, $mode=Input::STREAM,
	    $name=program_stream, $fields=Output, $want_record=F,
	    $ev=MMTT::program_line, $config=table(["force_kill"] = "1")));
	started = T;
	start_waiting();
	start_clock();
	}

# What the agent has said last, to end a line with.
function words(): string
	{
	return last_words == "" ? "" : ": " + last_words;
	}

# Take what the agent says of the capture.
function judge(said: string)
	{
	if ( said == "is read" )
		{
		capture_is_read = T;
		return;
		}

	if ( starts_with(said, "breaks off after ") && is_all_read() )
		breaks_at = double_to_time(to_double(sub(said, /.* /, "")) - 1e-6);

	capture = said == "whole" || breaks_at > double_to_time(0.0) ? WHOLE : UNCLEAR;
	hook capture_judged();
	}

event MMTT::program_line(description: Input::EventDescription,
    tpe: Input::Event, text: string)
	{
	# The shell finds out whether Zeek is still there.
	if ( text == "" )
		return;

	if ( starts_with(text, capture_mark) )
		{
		judge(text[|capture_mark| :]);
		return;
		}

	if ( ! starts_with(text, exit_mark) )
		{
		last_words = text;
		return;
		}

	local status = text[|exit_mark| :];
	gone(fmt("%s, because the agent (%s) ended with status %s%s%s", missing(),
	    command(), status, words(), status == "127" ?
	    "; install it, or say in MMTT_AGENT how to start it" : ""));
	}

event MMTT::clock_line(description: Input::EventDescription, tpe: Input::Event,
    text: string)
	{ }

event Input::end_of_data(name: string, source: string)
	{
	if ( name == pause_stream )
		{
		Input::remove(name);
		hook pause_over();
		return;
		}

	if ( ! starts_with(name, clock_prefix) )
		return;

	Input::remove(name);
	look();

	if ( state == STARTING && silence > agent_start_timeout )
		gone(fmt("no verdicts, because the agent (%s) has not connected within %s%s",
		    command(), agent_start_timeout, words()));
	else if ( state == LOST && silence > 1sec )
		gone(fmt("%s, because the agent is lost%s", missing(), words()));
	else if ( state == STARTING || state == LOST )
		{
		Input::force_update(program_stream);
		start_clock();
		}
	}

event InputRaw::process_finished(name: string, source: string, exit_code: count,
    signal_exit: bool)
	{
	if ( name == program_stream )
		gone("no verdicts, because the agent was killed");
	}

hook accept_agent(name: string)
	{
	if ( reading_traces() && name != my_agent )
		break;
	}

event agent_hello(protocol: count, agent: string, topic: string, model: string,
    credit: count) &priority=-5
	{
	if ( state != STARTING || agent != my_agent )
		return;

	if ( agent in agents && agents[agent]$credit > 0 )
		{
		state = SERVING;
		start_waiting();
		Input::force_update(program_stream);
		go_on();
		}
	else
		gone("");
	}

event tick(protocol: count, agent: string) &priority=-5
	{
	if ( state != SERVING || agent != my_agent )
		return;

	Input::force_update(program_stream);

	# An agent of another make.
	if ( capture == UNKNOWN && ! capture_is_read )
		judge("");

	if ( agents[agent]$in_flight == 0 && ! asked_for_rest )
		start_waiting();
	else if ( look() > answer_timeout )
		gone(fmt("%s, because the agent has answered nothing for %s", missing(),
		    answer_timeout));
	}

event Cluster::websocket_client_lost(endpoint: Cluster::EndpointInfo,
    code: count, reason: string)
	{
	if ( state != SERVING )
		return;

	state = LOST;
	start_waiting();
	start_clock();
	}

event agent_bye(protocol: count, agent: string) &priority=5
	{
	if ( state == SERVING && agent == my_agent )
		gone(fmt("%s, because the agent was stopped", missing()));
	}
