##! The messages between Zeek and its agents. Arguments and records are positional; their layout is frozen for each
##! version of the protocol.

@load base/frameworks/cluster
@load ./main

# Since 8.1 a Zeek that is no cluster's has no way to exchange messages unless a script loads one. A cluster's is its own choice,
# perhaps of a script that is read later.
@ifdef ( Cluster::CLUSTER_BACKEND_NONE )
@if ( Cluster::backend == Cluster::CLUSTER_BACKEND_NONE && ! Cluster::is_enabled() )
@load frameworks/cluster/backend/broker
@endif
@endif

module MMTT;

export {
	## Version of the messages. Agents of another one are not used.
	const protocol_version = 3;

	## Agents publish here for every node.
	const sensor_topic = "mmtt/sensor";

	## Nodes publish here for every agent.
	const agents_topic = "mmtt/agents";

	## Flows in one message at most.
	const batch_size = 64;

	## A window on its way to an agent. It travels as one string of JSON.
	type Flow: record {
		uid: string;
		window: count;
		sizes: vector of int;
		times: vector of count;
		## Time of the window's first packet with payload.
		ts: time;
		## Whose it is: see :zeek:see:`MMTT::ends_of`.
		ends: string;
	};

	## What an agent says about a window.
	type Verdict: record {
		uid: string;
		window: count;
		## "ok", or why there is no verdict: "shed" or "error".
		status: string;
		## The service, or "unknown", and how sure the model is of it, 0 to 1.
		service: string;
		service_score: double;
		## The application, or "unknown", and how sure the model is of it.
		application: string;
		application_score: double;
		malicious: bool;
		## How likely the model takes it to be malicious, 0 to 1.
		malicious_score: double;
		## What kind of malicious, such as "scan"; empty if it is not, or the model is
		## not sure of what kind, or knows none.
		malicious_kind: string;
		## The incident that it belongs to; empty if to none.
		incident: string;
	};

	## What an agent has put together from the connections of a unit: a pair of hosts,
	## an originator, a responder.
	type Finding: record {
		## When it was found, by the time of the connections, in seconds since 1970.
		ts: double;
		## The same from its opening to its closing.
		id: string;
		## "opened", "grown", "closed".
		state: string;
		## "pair", "originator", "responder".
		unit: string;
		## Its ends, by their names; empty where it has none.
		orig: string;
		resp: string;
		resp_p: string;
		## Of what kind, such as "scan"; empty if that is not sure.
		kind: string;
		## How likely it is malicious, 0 to 1.
		score: double;
		connections: count;
		## When its first and its latest connection began.
		first: double;
		last: double;
		## Payload of the connections' windows.
		orig_bytes: count;
		resp_bytes: count;
		## For people.
		reason: string;
		## Of the strongest connections.
		uids: vector of string;
	};

	## An agent is there: when it connects, and every few seconds.
	##
	## topic: where it takes batches.
	##
	## credit: the flows that a node may have unanswered there.
	global agent_hello: event(protocol: count, agent: string, topic: string,
	    model: string, credit: count);

	## An agent is still there: every second.
	global tick: event(protocol: count, agent: string);

	## An agent stops. It has answered everything.
	global agent_bye: event(protocol: count, agent: string);

	## A node has just come up, and asks agents to say hello.
	global hello_request: event(protocol: count);

	## A node asks an agent for verdicts.
	##
	## flows: each a :zeek:see:`MMTT::Flow` in JSON.
	global classify: event(protocol: count, reply_topic: string, batch_id: count,
	    flows: vector of string);

	## An agent's answer to a batch, with a verdict for each flow in their order.
	global verdicts: event(protocol: count, batch_id: count, verdicts: vector of
	    Verdict);

	## A node tells an agent of connections that have no verdict, but of which it
	## counts how many there are.
	##
	## tries: of each when it began, in seconds since 1970, its ends as in
	## :zeek:see:`MMTT::Flow`, how many of it were not answered or refused, and how
	## many had too few packets: "1700000000.123456 … … 22/tcp 1 0".
	global tries: event(protocol: count, reply_topic: string, tries: vector of
	    string);

	## An agent has found something over connections.
	global incidents: event(protocol: count, found: vector of Finding);

	## The capture is at its end: a node asks an agent for all that is still to be
	## found.
	global all_sent: event(protocol: count, reply_topic: string);

	## An agent has said all of that.
	global finished: event(protocol: count);
}
