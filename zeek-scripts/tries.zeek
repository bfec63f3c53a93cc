##! Connections that have no verdict, by count: what was not answered or refused, and what was too short. Scans and
##! guessing leave them behind, and agents put them together with what has one.

@load ./agents
@load ./collect

module MMTT;

export {
	## Of so many pairs of hosts (and port) agents are told within
	## :zeek:see:`MMTT::tries_wait`; what is beyond, as in a scan of a large network,
	## is counted.
	option max_tries = 10000;

	## For so long connections of the same hosts are counted up.
	const tries_wait = 10sec &redef;

	## Tell agents of what there is now.
	global send_tries: function();

	## Connections without a verdict so far, of which agents are or will be told.
	global tries_seen = 0;

	## Raised with a capture file while there is no agent, each time that one would
	## be told. Break, and they are forgotten.
	global tries_wait_for_agent: hook();
}

# Agents put evidence together by as long times, of the connections' own clock.
const epoch = 10.0;

type Tried: record {
	ts: time;
	failed: count &default=0;
	short: count &default=0;
};

global tried: table[count, addr, addr, port] of Tried;

# With a capture file, until the agent has said hello: what goes to it.
global tries_unsent: vector of string;

global tries_due: event();

function tried_by(id: conn_id, ts: time): Tried
	{
	local key = double_to_count(floor(time_to_double(ts) / epoch));

	if ( [key, id$orig_h, id$resp_h, id$resp_p] in tried )
		return tried[key, id$orig_h, id$resp_h, id$resp_p];

	local t = Tried($ts=ts);

	if ( |tried| >= max_tries )
		{
		++counts$tries_shed;
		complain("tries", fmt("connections without a verdict are of more than %d pairs of hosts within %s (a scan?); agents are not told of all of them",
		    max_tries, tries_wait));
		return t;
		}

	if ( |tried| == 0 )
		schedule tries_wait { MMTT::tries_due() };

	tried[key, id$orig_h, id$resp_h, id$resp_p] = t;
	return t;
	}

function begins(t: Tried, ts: time)
	{
	++tries_seen;

	if ( ts < t$ts )
		t$ts = ts;
	}

function count_failed(c: connection)
	{
	if ( ! is_of_interest(c, tcp) )
		return;

	local t = tried_by(c$id, c$start_time);
	++t$failed;
	begins(t, c$start_time);
	}

# A SYN and nothing for five seconds.
event connection_attempt(c: connection) &group="mmtt-collecting"
	{
	count_failed(c);
	}

# A SYN and a RST.
event connection_rejected(c: connection) &group="mmtt-collecting"
	{
	count_failed(c);
	}

hook window_done(c: connection, w: Window)
	{
	if ( w$window > 0 || |w$sizes| >= min_packets )
		return;

	local t = tried_by(c$id, w$ts);
	++t$short;
	begins(t, w$ts);
	}

function publish_tries(a: Agent, texts: vector of string)
	{
	# It is being started.
	if ( a$credit == 0 )
		{
		for ( _, line in texts )
			tries_unsent += line;

		return;
		}

	local part: vector of string = vector();

	for ( i, each in texts )
		{
		part += each;

		if ( |part| == batch_size || i + 1 == |texts| )
			{
			Cluster::publish(a$topic, MMTT::tries, protocol_version, node_topic(),
			    part);
			part = vector();
			}
		}
	}

# Before windows: tries never come too late, as long as agents go by the windows' times.
hook agent_ready(a: Agent)
	{
	local texts = tries_unsent;
	tries_unsent = vector();
	publish_tries(a, texts);
	}

function send_tries()
	{
	if ( |tried| == 0 )
		return;

	if ( |agents| == 0 )
		{
		if ( patient && hook tries_wait_for_agent() )
			schedule tries_wait { MMTT::tries_due() };
		else
			clear_table(tried);
		}

	# It may have been started.
	if ( |agents| == 0 )
		return;

	local by_agent: table[string] of vector of string;

	for ( [_, orig, resp, resp_p], t in tried )
		{
		local whose = ends_of(orig, resp, resp_p);

		# Without the key there is nothing to say of whom they are.
		if ( whose == "" )
			break;

		local name = choose_agent(orig, resp, resp_p);

		if ( name !in by_agent )
			by_agent[name] = vector();

		by_agent[name] += to_json(Try($ts=t$ts, $ends=whose, $failed=t$failed,
		    $short=t$short));
		}

	clear_table(tried);

	for ( to, texts in by_agent )
		publish_tries(agents[to], texts);
	}

event tries_due()
	{
	send_tries();
	}
