##! With a capture file: halts the trace when the agent can't keep up, and ends Zeek when every window has its verdict.

@load base/frameworks/reporter
@load ./conn
@load ./offline-agent

module MMTT;

# Zeek tells on stderr whenever a trace is halted, which would bury all else; with -r such notes go to reporter.log only.
function command_line_has_trace(): bool
	{
	for ( _, a in zeek_args() )
		if ( /-[A-Za-z]*r.*/ == a || /--readfile.*/ == a )
			return T;

	return F;
	}

redef Reporter::info_to_stderr = ! command_line_has_trace();

global halted = F;
global at_end = F;

function too_much(): bool
	{
	return outstanding >= max_in_flight || lines_waiting() >= conn_log_waiting;
	}

function halt()
	{
	if ( halted || state == GONE )
		return;

	halted = T;
	suspend_processing();
	}

# Go on with the trace when there is room, end when nothing is left to do.
function go_on()
	{
	if ( halted
	    && ( state == GONE || outstanding <= max_in_flight / 2 && lines_waiting() <= conn_log_waiting / 2 ) )
		{
		halted = F;
		continue_processing();
		}

	if ( at_end
	    && outstanding == 0
	    && state != IDLE
	    && ! exit_only_after_terminate )
		terminate();
	}

hook submitted(c: connection, w: Window) &priority=5
	{
	if ( reading_traces() && state == IDLE )
		start_agent();
	}

hook submitted(c: connection, w: Window) &priority=-5
	{
	if ( reading_traces() && too_much() )
		halt();
	}

hook line_waits()
	{
	if ( too_much() )
		halt();
	}

hook agent_answered(a: Agent)
	{
	if ( ! reading_traces() )
		return;

	since = current_time();
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
	finish_all();
	flush();
	go_on();
	}

# Zeek's own notes of what this script does.
hook Reporter::log_policy(rec: Reporter::Info, id: Log::ID, filter: Log::Filter)
	{
	if ( reading_traces()
	    && state != IDLE
	    && /processing (suspended|continued)|received termination signal/ in rec$message )
		break;
	}

hook Cluster::log_policy(rec: Cluster::Info, id: Log::ID, filter: Log::Filter)
	{
	if ( reading_traces()
	    && state != IDLE
	    && starts_with(rec$message, "WebSocket client ") )
		break;
	}
