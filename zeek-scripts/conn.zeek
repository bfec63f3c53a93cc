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
	## written without. With a capture file the trace waits.
	const conn_log_waiting = 20000 &redef;

	## Lines of conn.log that wait for a verdict, with a capture file also those
	## behind them.
	global lines_waiting: function(): count;

	## Raised with a capture file when one line more waits.
	global line_waits: hook();

	## Raised with a capture file when Zeek alone would have handed all lines to the
	## log, and there are some since the last time or some that wait. If it ends at
	## once, as it does where the file is cut off, those that wait are lost.
	global lines_due: hook();
}

# With a capture file, a window's batch is sent after so many connections at the latest, full or not. Any rule that
# depends on the trace alone would do: the same file must give the same batches.
const lines_per_flush = 4096;

# Zeek alone hands lines to the log when there are so many, if not before.
const lines_to_log = 1000;

# What the verdicts on a connection have said.
type Said: record {
	service: string;
	application: string;
	malicious: double;
};

redef record connection += {
	mmtt_said: Said &optional;
};

type Line: record {
	info: Conn::Info;
	token: Log::DelayToken;
};

# The windows under way, by connection.
global awaiting: table[string] of count &default=0;

# Lines that wait. Live each is written when its verdict comes, and found by its connection. With a capture file they
# are written in the order in which they came, so that it is always the same, and found by their number.
global line_of: table[string] of Line;
global lines: table[count] of Line;
global first_line = 0;
global end_of_lines = 0;
global lines_seen = 0;
global lines_since_due = 0;
global keep_order = F;

global write_timer: event();

function lines_waiting(): count
	{
	return |lines| + |line_of|;
	}

event zeek_init()
	{
	keep_order = reading_traces();
	# The log's clock is network time, which in a file can go on by years from one packet to the next.
	Log::set_max_delay_interval(Conn::LOG, keep_order ? 36500days : conn_log_wait);
	Log::set_max_delay_queue_size(Conn::LOG, keep_order ? 1000000000 :
	    conn_log_waiting);

	if ( keep_order )
		schedule Log::flush_interval { MMTT::write_timer() };
	}

function lines_are_due()
	{
	local some = |lines| > 0 || lines_since_due > 0;
	lines_since_due = 0;

	if ( some )
		hook lines_due();
	}

# Goes off with Zeek's own timer: that, too, starts again at the packet at which it went off.
event write_timer()
	{
	schedule Log::flush_interval { MMTT::write_timer() };
	lines_are_due();
	}

function fill(info: Conn::Info, said: Said)
	{
	info$mmtt_service = said$service;
	info$mmtt_application = said$application;
	info$mmtt_malicious = said$malicious;
	}

hook submitted(c: connection, w: Window)
	{
	++awaiting[c$uid];
	}

# Before the line is written, at -5.
event connection_state_remove(c: connection) &priority=-4
	{
	if ( c?$mmtt_said && c?$conn )
		fill(c$conn, c$mmtt_said);
	}

# The line goes out: by Log::delay_finish(), for want of time, or because too many wait.
function line_written(rec: any, id: Log::ID): bool
	{
	delete line_of[( rec as Conn::Info )$uid];
	return T;
	}

hook Log::log_stream_policy(rec: any, id: Log::ID)
	{
	if ( id != Conn::LOG )
		return;

	local info = rec as Conn::Info;

	if ( keep_order )
		{
		if ( ++lines_seen % lines_per_flush == 0 )
			flush();

		if ( |lines| > 0 || info$uid in awaiting )
			{
			lines[end_of_lines] = Line($info=info, $token=Log::delay(id, rec));
			++end_of_lines;
			hook line_waits();
			}

		if ( ++lines_since_due >= lines_to_log )
			lines_are_due();
		}

	# Some packages write lines for a connection while it lasts; one at a time waits.
	else if ( info$uid in awaiting && info$uid !in line_of )
		line_of[info$uid] = Line($info=info, $token=Log::delay(id, rec,
		    line_written));
	}

function write_line(line: Line)
	{
	Log::delay_finish(Conn::LOG, line$info, line$token);
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

	if ( o$status == "too_short" || --awaiting[c$uid] > 0 )
		return;

	delete awaiting[c$uid];

	if ( ! keep_order )
		{
		if ( c$uid in line_of )
			write_line(line_of[c$uid]);

		return;
		}

	while ( first_line < end_of_lines && lines[first_line]$info$uid !in awaiting )
		{
		local line = lines[first_line];
		delete lines[first_line];
		++first_line;
		write_line(line);
		}
	}
