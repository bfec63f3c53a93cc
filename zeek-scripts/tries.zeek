##! Connections that have no verdict, by count: what was not answered or refused, and what was too short. Scans and
##! guessing leave them behind, and agents put them together with what has one.

@load ./agents
@load ./collect

module MMTT;

export {
	## Agents are told of so many within :zeek:see:`MMTT::tries_wait`; what is beyond,
	## as in a scan of a large network, is counted.
	option max_tries = 10000;

	## They wait no longer than this for others.
	const tries_wait = 10sec &redef;

	## Tell agents of what there is now.
	global send_tries: function();

	## Connections without a verdict so far, of which agents are or will be told.
	global tries_seen = 0;

	## Raised with a capture file while there is no agent, each time that one would
	## be told. Break, and they are forgotten.
	global tries_wait_for_agent: hook();
}

# By agent; where there is none (yet), under no name. Adding them up here would cost more than sending them.
global tried: table[string] of vector of string;

# In this round.
global tried_now = 0;

# With a capture file, until the agent has said hello: what goes to it.
global tries_unsent: vector of string;

global tries_due: event();

# What is a try is in wire.zeek.
function add_try(id: conn_id, ts: time, counts_of: string)
	{
	local whose = ends_of(id$orig_h, id$resp_h, id$resp_p);

	# Without the key there is nothing to say of whose it is.
	if ( whose == "" )
		return;

	if ( tried_now >= max_tries )
		{
		++counts$tries_shed;
		complain("tries", fmt("more than %d connections without a verdict within %s (a scan?); agents are not told of all of them",
		    max_tries, tries_wait));
		return;
		}

	if ( tried_now == 0 )
		schedule tries_wait { MMTT::tries_due() };

	++tried_now;
	++tries_seen;
	local name = choose_agent(id$orig_h, id$resp_h, id$resp_p);

	if ( name !in tried )
		tried[name] = vector();

	tried[name] += cat(ts, " ", whose, counts_of);
	}

function add_failed(c: connection)
	{
	if ( is_of_interest(c, tcp) )
		add_try(c$id, c$start_time, " 1 0");
	}

# A SYN and nothing for five seconds.
event connection_attempt(c: connection) &group="mmtt-collecting"
	{
	add_failed(c);
	}

# A SYN and a RST.
event connection_rejected(c: connection) &group="mmtt-collecting"
	{
	add_failed(c);
	}

hook window_done(c: connection, w: Window)
	{
	if ( w$window == 0 && |w$sizes| < min_packets )
		add_try(c$id, w$ts, " 0 1");
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
			Cluster::publish(a$topic, MMTT::tries, protocol_version, node_topic(), part);
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
	tried_now = 0;

	if ( "" in tried )
		{
		if ( patient && |agents| == 0 && ! hook tries_wait_for_agent() )
			delete tried[""];

		# One may just have been started.
		for ( _, a in agents )
			if ( "" in tried )
				{
				publish_tries(a, tried[""]);
				delete tried[""];
				}
		}

	for ( name, texts in tried )
		if ( name in agents )
			publish_tries(agents[name], texts);

	local kept = patient && "" in tried ? tried[""] : vector();
	clear_table(tried);

	if ( |kept| > 0 )
		tried[""] = kept;
	}

event tries_due()
	{
	send_tries();
	}
