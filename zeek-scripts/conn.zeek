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
}

# With a capture file, a window's batch is sent after so many connections at the latest, full or not. Any rule that
# depends on the trace alone would do: the same file must give the same batches.
const lines_per_flush = 4096;

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

# Lines that wait. Live they are written when their verdict comes; with a capture file in the order in which they came,
# so that it is always the same.
global lines: table[count] of Line;
global line_of: table[string] of count;
global lines_end = 0;
global first_line = 0;
global lines_seen = 0;
global keep_order = F;

function lines_waiting(): count
	{
	return |lines|;
	}

event zeek_init()
	{
	keep_order = reading_traces();
	# The log's clock is network time, which in a file can go on by years from one packet to the next.
	Log::set_max_delay_interval(Conn::LOG, keep_order ? 36500days : conn_log_wait);
	Log::set_max_delay_queue_size(Conn::LOG, keep_order ? 1000000000 : conn_log_waiting);
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

function forget_line(n: count)
	{
	delete line_of[lines[n]$info$uid];
	delete lines[n];
	}

# The line goes out: by Log::delay_finish(), for want of time, or because too many wait.
function line_written(rec: any, id: Log::ID): bool
	{
	local uid = ( rec as Conn::Info )$uid;

	if ( uid in line_of )
		forget_line(line_of[uid]);

	return T;
	}

function write_line(n: count)
	{
	local line = lines[n];
	forget_line(n);
	Log::delay_finish(Conn::LOG, line$info, line$token);
	}

hook Log::log_stream_policy(rec: any, id: Log::ID)
	{
	if ( id != Conn::LOG )
		return;

	if ( keep_order && ++lines_seen % lines_per_flush == 0 )
		flush();

	local info = rec as Conn::Info;

	if ( info$uid !in awaiting && ( ! keep_order || |lines| == 0 ) )
		return;

	# Some packages write lines for a connection while it lasts; one at a time waits.
	if ( info$uid in line_of )
		return;

	lines[lines_end] = Line($info=info, $token=Log::delay(id, rec, line_written));
	line_of[info$uid] = lines_end;
	++lines_end;
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

	while ( first_line < lines_end
	    && ( first_line !in lines || lines[first_line]$info$uid !in awaiting ) )
		{
		if ( first_line in lines )
			write_line(first_line);

		++first_line;
		}
	}
