##! Which agent gets a window, and what becomes of it: batches, credit, answers, time-outs.
##!
##! Every window ends in exactly one :zeek:see:`MMTT::outcome`. Who listens for agents, and when, is in live.zeek and
##! offline.zeek.

@load ./main
@load ./wire

module MMTT;

export {
	## Windows that may be with one agent unanswered. An agent may grant less.
	const max_in_flight = 4096 &redef;

	## A window waits no longer than this for others to fill a batch.
	option batch_wait = 20msec;

	## A batch that is not answered in this time is given up. With a capture file:
	## an agent that answers nothing for this long is.
	option answer_timeout = 30sec;

	## An agent from which nothing has come for this long is lost.
	option agent_timeout = 10sec;

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

	## What has become of a window.
	type Outcome: record {
		c: connection;
		w: Window;
		## The connection's ends when the window ended.
		id: conn_id;
		## "ok": there is a verdict. Or why there is none: "too_short" (fewer than
		## :zeek:see:`MMTT::min_packets`), "shed" (more windows than the agents take),
		## "timeout" (the agent did not answer, or with nonsense), "no_agent".
		status: string &default="";
		verdict: Verdict &optional;
		## The model that gave it.
		model: string &optional;
		## From the end of the window to the verdict. Unset with a capture file.
		latency: interval &optional;
		## Its place among all windows.
		place: count;
		## When the window ended, by the clock. Unset with a capture file.
		ended: time &optional;
		## Has been with an agent that was lost.
		again: bool &default=F;
	};

	## Raised once for each window when it is known what has become of it. With a
	## capture file, in the order in which the windows ended.
	global outcome: hook(o: Outcome);

	## Raised with each window that is to have a verdict, before it goes to an
	## agent.
	global submitted: hook(c: connection, w: Window);

	## Raised before an agent that is new is used. Break, and it isn't.
	global accept_agent: hook(name: string);

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

	## Windows and messages so far, by what became of them.
	type Counts: record {
		## Windows handed to an agent. One that goes to a second agent counts twice.
		submitted: count &default=0;
		## Windows by :zeek:see:`MMTT::Outcome`'s status.
		ok: count &default=0;
		too_short: count &default=0;
		shed: count &default=0;
		timed_out: count &default=0;
		no_agent: count &default=0;
		## Verdicts that are not what they should be.
		refused: count &default=0;
		## Answers to no batch that is waited for: late, or twice.
		ignored: count &default=0;
	};
	global counts = Counts();

	## Use an agent.
	global add_agent: function(a: Agent);

	## Don't use an agent any more. What it has in hand goes to another if there is
	## one.
	global drop_agent: function(name: string, why: string);

	## Settle windows in order, shed none, and send only full batches until
	## :zeek:see:`MMTT::flush`. To be called before the first window.
	global be_patient: function();

	## Hand agents the windows that wait, as far as their credit goes, also those
	## that don't fill a batch.
	global flush: function();

	## Give up the batches that have waited longer than
	## :zeek:see:`MMTT::answer_timeout`.
	global give_up_late: function();

	## Wait for agents and answers from now on, however long that has been so far.
	global begin_waiting: function();

	## Settle every window that is outstanding: there will be no answers any more.
	global give_up_all: function();

	## Windows that wait for a batch, and windows with agents.
	global outstanding = 0;

	## The topic of this node, where agents answer.
	global node_topic: function(): string;
}

# Agents that are known at once, and complaints that are told apart, at most. Whoever can reach the socket can make up
# names.
const max_agents = 64;
const max_complaints = 100;

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

global complaints: set[string];

global patient = F;
global places = 0;
global next_outcome = 0;
global settled: table[count] of Outcome;

function node_topic(): string
	{
	# Subscriptions are to prefixes: without the slash, worker-1 would get the answers of worker-10.
	return fmt("mmtt/node/%s/", Cluster::is_enabled() ? Cluster::node : fmt(
	    "zeek-%d", getpid()));
	}

# A line for people, once for each `key`.
function complain(key: string, text: string)
	{
	if ( key in complaints || |complaints| >= max_complaints )
		return;

	add complaints[key];
	Reporter::warning("mmtt: " + text);
	}

function count_outcome(status: string)
	{
	switch ( status )
		{
		case "ok":
			++counts$ok;
			break;
		case "too_short":
			++counts$too_short;
			break;
		case "shed":
			++counts$shed;
			break;
		case "timeout":
			++counts$timed_out;
			break;
		case "no_agent":
			++counts$no_agent;
			break;
		}
	}

function give_out(o: Outcome)
	{
	hook outcome(o);

	if ( ! patient )
		return;

	++next_outcome;

	while ( next_outcome in settled )
		{
		local next_one = settled[next_outcome];
		delete settled[next_outcome];
		hook outcome(next_one);
		++next_outcome;
		}
	}

function settle(o: Outcome, status: string)
	{
	o$status = status;
	count_outcome(status);

	if ( status != "too_short" )
		--outstanding;

	if ( patient && o$place != next_outcome )
		settled[o$place] = o;
	else
		give_out(o);
	}

# Rendezvous hashing: when an agent comes or goes, only its own windows move.
function choose_agent(uid: string): string
	{
	local best = "";
	local best_hash = "";

	for ( name in agents )
		{
		if ( |agents| == 1 )
			return name;

		local hash = md5_hash(uid, name);

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
		b$windows += o;
		flows += to_json(Flow($uid=o$c$uid, $window=o$w$window, $sizes=o$w$sizes,
		    $times=o$w$times));
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
	local name = choose_agent(o$c$uid);

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

function begin_waiting()
	{
	for ( _, a in agents )
		a$last_seen = current_time();

	for ( _, b in batches )
		b$since = current_time();
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

function be_patient()
	{
	patient = T;
	}

event agent_hello(protocol: count, agent: string, topic: string, model: string,
    credit: count)
	{
	if ( /[!-~]{1,128}/ != agent )
		{
		complain("name", "an agent whose name is not 1 to 128 printable characters is not used");
		return;
		}

	if ( protocol != protocol_version )
		{
		complain("protocol " + agent, fmt("agent %s speaks protocol %d and this package %d, so it is not used; install matching versions of both",
		    agent, protocol, protocol_version));
		drop_agent(agent, "it speaks another protocol");
		return;
		}

	if ( topic != "mmtt/agent/" + agent
	    || /[!-~]{1,128}/ != model
	    || credit == 0 )
		{
		complain("hello " + agent, fmt("agent %s has a topic, model or credit that can't be, so it is not used",
		    agent));
		drop_agent(agent, "its hello can't be");
		return;
		}

	if ( agent !in agents )
		{
		if ( ! hook accept_agent(agent) )
			return;

		if ( |agents| >= max_agents )
			{
			complain("agents", fmt("there are %d agents; more are not used",
			    max_agents));
			return;
			}

		add_agent(Agent($name=agent, $topic=topic, $last_seen=current_time()));
		}

	local a = agents[agent];
	a$model = model;
	a$credit = credit < max_in_flight ? credit : max_in_flight;
	a$last_seen = current_time();
	pump(a);
	}

event tick(protocol: count, agent: string)
	{
	if ( protocol == protocol_version && agent in agents )
		agents[agent]$last_seen = current_time();
	}

event agent_bye(protocol: count, agent: string)
	{
	if ( protocol == protocol_version )
		drop_agent(agent, "");
	}

function is_score(x: double): bool
	{
	# What is not a number is neither.
	return x >= 0.0 && x <= 1.0;
	}

function is_verdict_on(o: Outcome, v: Verdict): bool
	{
	if ( v$uid != o$c$uid || v$window != o$w$window )
		return F;

	if ( v$status != "ok" )
		return v$status == "shed" || v$status == "error";

	return is_score(v$service_score)
	    && is_score(v$application_score)
	    && is_score(v$malicious_score)
	    && /[ -~]{1,64}/ == v$service
	    && /[ -~]{1,64}/ == v$application;
	}

function settle_by(o: Outcome, v: Verdict, a: Agent)
	{
	if ( ! is_verdict_on(o, v) )
		{
		++counts$refused;
		complain("verdict " + a$name, fmt("agent %s answers with verdicts that can't be; they are not used",
		    a$name));
		settle(o, "timeout");
		return;
		}

	if ( v$status != "ok" )
		{
		settle(o, v$status == "shed" ? "shed" : "timeout");
		return;
		}

	o$verdict = v;
	o$model = a$model;

	if ( o?$ended )
		o$latency = current_time() - o$ended;

	settle(o, "ok");
	}

event verdicts(protocol: count, batch_id: count, verdicts: vector of Verdict)
	{
	if ( protocol != protocol_version || batch_id !in batches )
		{
		++counts$ignored;
		return;
		}

	local b = batches[batch_id];
	local a = agents[b$agent];
	delete batches[batch_id];
	a$in_flight -= |b$windows|;
	a$last_seen = current_time();

	if ( |verdicts| != |b$windows| )
		complain("answer " + a$name, fmt(
		    "agent %s answers a batch of %d windows with %d verdicts",
		    a$name, |b$windows|, |verdicts|));

	for ( i, o in b$windows )
		{
		if ( i < |verdicts| )
			settle_by(o, verdicts[i], a);
		else
			{
			++counts$refused;
			settle(o, "timeout");
			}
		}

	# One of the hooks may have dropped it.
	if ( a$name in agents )
		pump(a);

	hook agent_answered(a);
	}

# Before Zeek closes its logs, and takes the lines that wait in conn.zeek away.
event net_done(t: time)
	{
	give_up_all();
	}
