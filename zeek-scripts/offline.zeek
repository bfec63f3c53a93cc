##! With a capture file: halts the trace when the agent can't keep up, and ends Zeek when every window has its verdict.

@load base/frameworks/reporter
@load ./collect
@load ./conn
@load ./incidents
@load ./log
@load ./offline-agent
@load ./tries

module MMTT;

# The capture file that the command line names, as the scripts are read; "" if it names none.
function trace(): string
	{
	local args = zeek_args();

	for ( i, a in args )
		{
		if ( /-[A-Za-z]*r|--readfile/ == a && i + 1 < |args| )
			return args[i + 1];

		if ( /-[A-Za-z]*r.*|--readfile.*/ == a )
			return sub(a, /^(-r|--readfile=)/, "");
		}

	return "";
	}

# Zeek tells on stderr whenever a trace is halted, which would bury all else; with -r such notes go to reporter.log only.
redef Reporter::info_to_stderr = trace() == "";

# So large a file's logs, in bytes, are worth handing on in bulk. Else, and where the capture is no file, each line goes to
# the log's thread at once: what it has is as good as written, and Log::flush() would have it wait for the disk.
const bulk = 16000000;

redef Log::write_buffer_size = trace() == "" || file_size(trace()) >= bulk ?
    Log::write_buffer_size : 1;

# Whenever Zeek alone would have written them, the trace waits for the lines that wait for verdicts: so that none is lost
# wherever it breaks off. Where nobody knows where the capture breaks off, that is done always. Else Zeek breaks off for
# other reasons only (a script's exit(), a kill), and this is how much it may cost: counted in windows, one such wait is
# worth so many beside those that came since the last, and all waits together so many, and one for so many.
const wait_cost = 20;
const waits_cost = 1000;
const windows_per_cost = 200;

# So many connections without a verdict are worth an agent, if there is none for others.
const tries_worth_an_agent = 10;

# For the logs' threads, where Zeek ends at once with the next packet, and where they begin.
const time_at_break = "0.3";
const time_at_first = "0.1";

global capture_breaks_off: event();

global halted = F;
global at_end = F;
global windows_seen = 0;
global windows_at_wait = 0;
global spent = 0;

# The trace waits until no line does.
global lines_first = F;

# No line waits any more; the trace waits for the log's thread to write them.
global writing = F;

# How often a hello was asked for while they are written.
global rounds = 0;

# The log has its thread, which begins with the first lines.
global has_written = F;

# This is the last packet before the place where the capture breaks off.
global at_break = F;

# Zeek ends because this script says so.
global ending = F;

function too_much(): bool
	{
	return outstanding >= max_in_flight
	    || lines_waiting() >= conn_log_waiting
	    || |tries_unsent| >= max_in_flight;
	}

function halt()
	{
	if ( halted || state == GONE )
		return;

	halted = T;
	suspend_processing();
	}

# Nothing but the trace may decide this: the same file must give the same batches.
function is_affordable(): bool
	{
	return spent + wait_cost + windows_seen - windows_at_wait <= waits_cost +
	    windows_seen / windows_per_cost;
	}

function wait_for_lines()
	{
	spent += wait_cost + windows_seen - windows_at_wait;
	windows_at_wait = windows_seen;
	lines_first = T;
	flush();
	halt();
	}

function has_room(): bool
	{
	if ( state == GONE )
		return T;

	return ! writing
	    && outstanding <= ( at_break ? 0 : max_in_flight / 2 )
	    && lines_waiting() <= ( lines_first ? 0 : conn_log_waiting / 2 )
	    && ( ! lines_first || capture != UNKNOWN )
	    && |tries_unsent| == 0
	    && ( ! at_break || rest_is_said );
	}

function resume()
	{
	halted = F;
	continue_processing();
	}

# The next packet may end Zeek at once. The thread is not heard of; going to the agent and back takes longer than it does.
# Where the next packet does end Zeek there is time.
function let_lines_be_written()
	{
	lines_first = F;

	if ( Log::write_buffer_size > 1 )
		{
		Log::flush(Conn::LOG);
		Log::flush(LOG);
		Log::flush(INCIDENTS_LOG);
		}

	if ( at_break || ! has_written )
		{
		writing = T;
		start_pause(at_break ? time_at_break : time_at_first);
		}
	else if ( state == SERVING )
		{
		writing = T;
		rounds = 1;
		Cluster::publish(agents_topic, MMTT::hello_request, protocol_version);
		}
	else
		resume();
	}

function lines_are_written()
	{
	writing = F;
	has_written = T;
	go_on();
	}

hook pause_over()
	{
	if ( writing )
		lines_are_written();
	}

# All windows have their verdicts, and none will follow: what the agent can still find over connections it finds now.
function ask_for_rest()
	{
	asked_for_rest = T;
	send_tries();
	start_waiting();
	Cluster::publish(agents[my_agent]$topic, MMTT::all_sent, protocol_version,
	    node_topic());
	}

event MMTT::finished(protocol: count)
	{
	if ( protocol != protocol_version || ! asked_for_rest )
		return;

	rest_is_said = T;
	go_on();
	}

# Go on with the trace when there is room, end when nothing is left to do.
function go_on()
	{
	if ( ( at_end || at_break )
	    && outstanding == 0
	    && state == SERVING
	    && ! asked_for_rest )
		ask_for_rest();

	if ( halted && has_room() )
		{
		if ( lines_first )
			let_lines_be_written();
		else
			resume();
		}

	# Lines that came with the packet at which the trace was halted.
	else if ( lines_first && ! writing )
		flush();

	if ( at_end
	    && outstanding == 0
	    && ( state == GONE || rest_is_said )
	    && ! exit_only_after_terminate )
		{
		ending = T;
		terminate();
		}
	}

event agent_hello(protocol: count, agent: string, topic: string, model: string,
    credit: count) &priority=-10
	{
	if ( ! writing || ! has_written || at_break )
		return;

	if ( capture == UNCLEAR && rounds == 1 )
		{
		++rounds;
		Cluster::publish(agents_topic, MMTT::hello_request, protocol_version);
		}
	else
		lines_are_written();
	}

# In case that the agent says no hello.
event tick(protocol: count, agent: string) &priority=-10
	{
	if ( writing && has_written && ! at_break )
		lines_are_written();
	}

# The first such wait is also for what is said of the capture, so that all others go by that.
hook lines_due()
	{
	if ( state == IDLE || state == GONE )
		return;

	# It goes on after all: the file has grown.
	if ( at_break )
		{
		at_break = asked_for_rest = rest_is_said = F;
		capture = UNCLEAR;
		}

	# Those that nothing waits for are Zeek's own business, but beside an agent that works it takes longer to write them.
	if ( capture == UNCLEAR
	    || ( lines_waiting() > 0 && ( capture == UNKNOWN || is_affordable() ) ) )
		{
		wait_for_lines();
		go_on();
		}
	}

# Goes off at the last packet that Zeek can read.
event capture_breaks_off()
	{
	at_break = T;
	finish_all();
	wait_for_lines();
	go_on();
	}

hook capture_judged()
	{
	if ( breaks_at > network_time() )
		schedule breaks_at - network_time() { MMTT::capture_breaks_off() };

	go_on();
	}

hook submitted(c: connection, w: Window) &priority=5
	{
	if ( reading_traces() && state == IDLE )
		start_agent();
	}

hook submitted(c: connection, w: Window) &priority=-5
	{
	if ( ! reading_traces() )
		return;

	++windows_seen;

	if ( too_much() )
		halt();
	}

hook line_waits()
	{
	if ( too_much() )
		halt();
	}

hook tries_wait_for_agent()
	{
	if ( state == GONE )
		break;

	if ( state == IDLE && tries_seen >= tries_worth_an_agent )
		start_agent();
	}

event tries_due() &priority=-5
	{
	if ( reading_traces() && too_much() )
		halt();
	}

hook agent_answered(a: Agent)
	{
	if ( ! reading_traces() )
		return;

	start_waiting();
	go_on();
	}

event zeek_init() &priority=5
	{
	if ( reading_traces() )
		be_patient();
	}

event Pcap::file_done(path: string)
	{
	if ( ! reading_traces() )
		return;

	at_end = T;
	asked_for_rest = rest_is_said = F;
	finish_all();
	send_tries();
	flush();
	go_on();
	}

# Zeek's own notes of what this script does.
hook Reporter::log_policy(rec: Reporter::Info, id: Log::ID, filter: Log::Filter)
	{
	if ( reading_traces()
	    && state != IDLE
	    && ( /processing (suspended|continued)/ in rec$message || ( ending && /received termination signal/ in rec$message ) ) )
		break;
	}

hook Cluster::log_policy(rec: Cluster::Info, id: Log::ID, filter: Log::Filter)
	{
	if ( reading_traces()
	    && state != IDLE
	    && starts_with(rec$message, "WebSocket client ") )
		break;
	}
