##! The verdicts in conn.log. A connection's line waits for the verdict if that is still under way.

@load base/protocols/conn
@load ./agents

module MMTT;

export {
	redef record Conn::Info += {
		## The service of the connection's latest verdict, or "unknown".
		mmtt_service: string &log &optional;
		## The application of the connection's latest verdict, or "unknown".
		mmtt_application: string &log &optional;
		## The highest malicious score of the connection's verdicts.
		mmtt_malicious: double &log &optional;
	};

	## A line of conn.log waits no longer than this for its verdict. With a capture
	## file it waits for as long as there is an agent.
	const conn_log_wait = 2sec &redef;

	## So many lines of conn.log wait for their verdict at most; then the oldest is
	## written without. With a capture file all wait.
	const conn_log_waiting = 20000 &redef;
}

# What the verdicts on a connection have said.
type Said: record {
	service: string;
	application: string;
	malicious: double;
};

redef record connection += {
	mmtt_said: Said &optional;
};

# A connection with windows under way, and its line if that waits.
type Awaiting: record {
	windows: count &default=0;
	line: Conn::Info &optional;
	token: Log::DelayToken &optional;
};

global awaiting: table[string] of Awaiting;

event zeek_init()
	{
	# The log's clock is network time, which in a file can go on by years from one packet to the next.
	local offline = reading_traces();
	Log::set_max_delay_interval(Conn::LOG, offline ? 36500days : conn_log_wait);
	Log::set_max_delay_queue_size(Conn::LOG, offline ? 1000000000 : conn_log_waiting);
	}

function fill(info: Conn::Info, said: Said)
	{
	info$mmtt_service = said$service;
	info$mmtt_application = said$application;
	info$mmtt_malicious = said$malicious;
	}

hook submitted(c: connection, w: Window)
	{
	if ( c$uid !in awaiting )
		awaiting[c$uid] = Awaiting();

	++awaiting[c$uid]$windows;
	}

# Before the line is written, at -5.
event connection_state_remove(c: connection) &priority=-4
	{
	if ( c?$mmtt_said && c?$conn )
		fill(c$conn, c$mmtt_said);
	}

# The line goes out: by delay_finish(), for want of time, or because too many wait.
function line_written(rec: any, id: Log::ID): bool
	{
	local uid = ( rec as Conn::Info )$uid;

	if ( uid in awaiting )
		delete awaiting[uid]$token;

	return T;
	}

hook Log::log_stream_policy(rec: any, id: Log::ID)
	{
	if ( id != Conn::LOG || |awaiting| == 0 )
		return;

	local info = rec as Conn::Info;

	if ( info$uid !in awaiting )
		return;

	local a = awaiting[info$uid];

	# Some packages write a line for a connection while it lasts; only the last may wait.
	if ( a?$token )
		return;

	a$line = info;
	a$token = Log::delay(id, rec, line_written);
	}

hook outcome(o: Outcome)
	{
	local c = o$c;

	if ( o?$verdict )
		{
		local v = o$verdict;
		local score = v$malicious_score;

		if ( c?$mmtt_said && c$mmtt_said$malicious > score )
			score = c$mmtt_said$malicious;

		c$mmtt_said = Said($service=v$service, $application=v$application,
		    $malicious=score);

		if ( c?$conn )
			fill(c$conn, c$mmtt_said);
		}

	if ( o$status == "too_short" || c$uid !in awaiting )
		return;

	local a = awaiting[c$uid];

	if ( --a$windows > 0 )
		return;

	delete awaiting[c$uid];

	if ( a?$token )
		Log::delay_finish(Conn::LOG, a$line, a$token);
	}
