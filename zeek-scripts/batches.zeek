##! What goes to an agent and comes back: batches, credit, answers, time-outs.

@load ./complain
@load ./ends
@load ./main
@load ./wire
@load ./outcomes

module MMTT;

export {
	## Windows that may be with one agent unanswered. An agent may grant less.
	const max_in_flight = 4096 &redef;

	## A window waits no longer than this for others to fill a batch.
	option batch_wait = 20msec;

	## A batch that is not answered in this time is given up. With a capture file:
	## an agent that answers nothing for this long is.
	option answer_timeout = 30sec;

	## An agent, and what it has in hand.
	type Agent: record {
		name: string;
		topic: string;
		model: string &default="";
		## Windows it takes unanswered.
		credit: count &default=0;
		## Windows it has.
		in_flight: count &default=0;
		last_seen: time;
	};

	## Raised with each window that is to have a verdict, before it goes to an
	## agent.
	global submitted: hook(c: connection, w: Window);

	## Raised when an agent is used from now on.
	global agent_up: hook(a: Agent);

	## Raised when an agent is not used any more.
	##
	## why: for people; empty if the agent said goodbye.
	global agent_down: hook(a: Agent, why: string);

	## Raised when an agent has answered a batch.
	global agent_answered: hook(a: Agent);

	## The agents in use.
	global agents: table[string] of Agent;

	## Use an agent.
	global add_agent: function(a: Agent);

	## Don't use an agent any more. What it has in hand goes to another if there is
	## one.
	global drop_agent: function(name: string, why: string);

	## Hand agents the windows that wait, as far as their credit goes, also those
	## that don't fill a batch.
	global flush: function();

	## Give up the batches that have waited longer than
	## :zeek:see:`MMTT::answer_timeout`.
	global give_up_late: function();

	## Settle every window that is outstanding: there will be no answers any more.
	global give_up_all: function();

	## The topic of this node, where agents answer.
	global node_topic: function(): string;
}

type Batch: record {
	agent: string;
	windows: vector of Outcome;
	since: time;
};

type Queue: record {
	windows: table[count] of Outcome;
	first: count &default=0;
	end: count &default=0;
	## Windows before this place don't wait for a full batch.
	flush_to: count &default=0;
};

# By agent: what waits for a batch.
global queues: table[string] of Queue;

# By batch id: what is with an agent.
global batches: table[count] of Batch;

# From the clock, so that a late answer to a Zeek that has been restarted since is none to this one.
global next_batch = double_to_count(time_to_double(current_time()) * 1e6);

global places = 0;

function node_topic(): string
	{
	# Subscriptions are to prefixes: without the slash, worker-1 would get the answers of worker-10.
	return fmt("mmtt/node/%s/", Cluster::is_enabled() ? Cluster::node : fmt(
	    "zeek-%d", getpid()));
	}

# Rendezvous hashing: when an agent comes or goes, only its own pairs of hosts move. All windows of a pair go to one agent,
# whichever node they are of, as that puts them together.
function choose_agent(orig: addr, resp: addr, resp_p: port): string
	{
	local best = "";
	local best_hash = "";

	for ( name in agents )
		{
		if ( |agents| == 1 )
			return name;

		local hash = md5_hash(orig, resp, resp_p, name);

		if ( best == "" || hash > best_hash )
			{
			best = name;
			best_hash = hash;
			}
		}

	return best;
	}

function dequeue(q: Queue): Outcome
	{
	local o = q$windows[q$first];
	delete q$windows[q$first];
	++q$first;
	return o;
	}

function send(a: Agent, q: Queue, n: count)
	{
	local b = Batch($agent=a$name, $windows=vector(), $since=current_time());
	local flows: vector of string = vector();

	while ( |flows| < n )
		{
		local o = dequeue(q);
		local w = o$w;
		b$windows += o;
		flows += to_json(Flow($uid=o$c$uid, $window=w$window, $sizes=w$sizes,
		    $times=w$times, $ts=w$ts, $ends=ends_of(o$id$orig_h,
		    o$id$resp_h, o$id$resp_p)));
		}

	a$in_flight += n;
	counts$submitted += n;
	batches[next_batch] = b;
	Cluster::publish(a$topic, MMTT::classify, protocol_version, node_topic(),
	    next_batch, flows);
	++next_batch;
	}

global batch_waited: event(name: string);

# Send what the agent's credit allows: full batches, and what needn't wait for one.
function pump(a: Agent)
	{
	local q = queues[a$name];
	local size = a$credit < batch_size ? a$credit : batch_size;

	while ( size > 0 && |q$windows| > 0 )
		{
		local n = |q$windows|;

		if ( q$first < q$flush_to && q$first + size > q$flush_to )
			n = q$flush_to - q$first;
		else if ( n < size )
			break;
		else
			n = size;

		if ( a$in_flight + n > a$credit )
			break;

		local waited = q$first < q$flush_to;
		send(a, q, n);

		# What came while those waited for credit began no wait of its own.
		if ( waited && q$first >= q$flush_to && |q$windows| > 0 && ! patient )
			schedule batch_wait { MMTT::batch_waited(a$name) };
		}
	}

# Send also what doesn't fill a batch.
function pump_all(a: Agent)
	{
	local q = queues[a$name];
	q$flush_to = q$end;
	pump(a);
	}

event batch_waited(name: string)
	{
	if ( name in agents )
		pump_all(agents[name]);
	}

function submit(o: Outcome)
	{
	local name = choose_agent(o$id$orig_h, o$id$resp_h, o$id$resp_p);

	if ( name == "" )
		{
		settle(o, o$again ? "timeout" : "no_agent");
		return;
		}

	local a = agents[name];
	local q = queues[name];
	q$windows[q$end] = o;
	++q$end;

	if ( |q$windows| == 1 && ! patient )
		schedule batch_wait { MMTT::batch_waited(name) };

	if ( |q$windows| >= batch_size || |q$windows| >= a$credit )
		pump(a);

	# A full batch, and no credit for it: nobody knows when there will be.
	if ( ! patient && |q$windows| >= batch_size )
		while ( |q$windows| > 0 )
			settle(dequeue(q), "shed");
	}

hook window_done(c: connection, w: Window)
	{
	local o = Outcome($c=c, $w=w, $id=copy(c$id), $place=places);
	++places;

	if ( |w$sizes| < min_packets )
		{
		settle(o, "too_short");
		return;
		}

	if ( ! patient )
		o$ended = current_time();

	++outstanding;
	hook submitted(c, w);
	submit(o);
	}

function add_agent(a: Agent)
	{
	agents[a$name] = a;
	queues[a$name] = Queue($windows=table());
	hook agent_up(a);
	}

# What an agent had in hand, oldest first; it has nothing any more.
function take_back(a: Agent, q: Queue): vector of Outcome
	{
	local ids: vector of count = vector();
	local back: vector of Outcome = vector();

	for ( id, b in batches )
		if ( b$agent == a$name )
			ids += id;

	sort(ids);

	for ( i in ids )
		{
		local windows = batches[ids[i]]$windows;
		delete batches[ids[i]];

		for ( j in windows )
			{
			if ( ! windows[j]$again )
				{
				windows[j]$again = T;
				back += windows[j];
				}
			else
				# Two agents lost over it are enough.
				settle(windows[j], "timeout");
			}
		}

	while ( |q$windows| > 0 )
		back += dequeue(q);

	a$in_flight = 0;
	return back;
	}

function drop_agent(name: string, why: string)
	{
	if ( name !in agents )
		return;

	local a = agents[name];
	local q = queues[name];
	delete agents[name];
	delete queues[name];

	for ( _, o in take_back(a, q) )
		submit(o);

	hook agent_down(a, why);
	}

function give_up_late()
	{
	local late: vector of count = vector();

	for ( id, b in batches )
		if ( current_time() - b$since > answer_timeout )
			late += id;

	for ( i in late )
		{
		local windows = batches[late[i]]$windows;
		local a = agents[batches[late[i]]$agent];
		delete batches[late[i]];
		a$in_flight -= |windows|;

		for ( j in windows )
			settle(windows[j], "timeout");

		pump_all(a);
		}
	}

function give_up_all()
	{
	for ( _, b in batches )
		for ( i in b$windows )
			b$windows[i]$again = T;

	for ( _, q in queues )
		for ( _, o in q$windows )
			o$again = T;

	local names: vector of string = vector();

	for ( name in agents )
		names += name;

	for ( i in names )
		drop_agent(names[i], "");
	}

function flush()
	{
	for ( _, a in agents )
		pump_all(a);
	}

# Before Zeek closes its logs, and takes the lines that wait in conn.zeek away.
event net_done(t: time)
	{
	give_up_all();
	}
