##! mmtt_incidents.log: what agents have found over connections. Their names of hosts are turned back into addresses here.

@load base/frameworks/cluster
@load ./answers
@load ./complain
@load ./ends
@load ./outcomes
@load ./wire

module MMTT;

export {
	redef enum Log::ID += { INCIDENTS_LOG };

	## A row of mmtt_incidents.log. An incident is of a pair of hosts, of an originator
	## with many responders, or of a responder with many originators; what it has many
	## of is unset.
	type IncidentInfo: record {
		## When it was found, by the time of the connections.
		ts: time &log;
		## The incident, the same in all of its rows.
		id: string &log;
		## "opened", "grown" (by much, or its kind is known now), or "closed" (nothing has
		## come of it for long).
		state: string &log;
		## Who, with whom, and on which port.
		orig_h: addr &log &optional;
		resp_h: addr &log &optional;
		resp_p: port &log &optional;
		## What kind of malicious, such as "scan". Unset if that is not sure.
		kind: string &log &optional;
		## How likely it is malicious, 0 to 1.
		score: double &log;
		## Its connections so far, with a verdict or without.
		connections: count &log;
		## When its first connection began, and its latest.
		first: time &log;
		last: time &log;
		## Bytes of payload each way, in the windows that have a verdict.
		orig_bytes: count &log;
		resp_bytes: count &log;
		## What speaks for it.
		reason: string &log;
		## Its most suspicious connections.
		uids: vector of string &log;
	};

	## Break to keep a row out of the log.
	global log_policy_incidents: Log::PolicyHook;

	## Raised with each row.
	global log_incident: event(rec: IncidentInfo);

	## Raised with each row before it is written: in a cluster on the manager.
	##
	## unit: "pair", "originator", "responder".
	global incident: hook(rec: IncidentInfo, unit: string);
}

# What one message may hold.
const max_findings = 1000;

function is_time(seconds: double): bool
	{
	return seconds >= 0.0 && seconds < 1e11;
	}

function are_uids(uids: vector of string): bool
	{
	if ( |uids| > 16 )
		return F;

	for ( _, uid in uids )
		if ( /[!-~]{1,64}/ != uid )
			return F;

	return T;
	}

function is_finding(f: Finding): bool
	{
	return is_incident_id(f$id)
	    && f$state in set("opened", "grown", "closed")
	    && f$unit in set("pair", "originator", "responder")
	    && ( f$unit == "responder" ) == ( f$orig == "" )
	    && ( f$unit == "originator" ? f$resp == "" : f$resp != "" )
	    && ( f$resp_p == "" || /[0-9]{1,5}\/(tcp|udp)/ == f$resp_p )
	    && ( f$kind == "" || /[ -~]{1,64}/ == f$kind )
	    && is_score(f$score)
	    && is_time(f$ts)
	    && is_time(f$first)
	    && is_time(f$last)
	    && f$first <= f$last
	    && /[ -~]{1,500}/ == f$reason
	    && are_uids(f$uids);
	}

# The host of a name, if it can be had.
function host_of_finding(f: Finding, end: string): addr
	{
	local host = host_of(end);

	if ( host == [::] )
		{
		++counts$incidents_nameless;
		complain("nameless", fmt("incident %s is of hosts that this Zeek can't name: its key is another since (MMTT::key_file), or they are another Zeek's",
		    f$id));
		}

	return host;
	}

function count_incident(state: string)
	{
	if ( state == "opened" )
		++counts$incidents_opened;
	else if ( state == "grown" )
		++counts$incidents_grown;
	else
		++counts$incidents_closed;
	}

function take_finding(f: Finding)
	{
	if ( ! is_finding(f) )
		{
		++counts$incidents_refused;
		complain("incident", "an agent tells of incidents that can't be; they are not used");
		return;
		}

	local info = IncidentInfo($ts=double_to_time(f$ts), $id=f$id, $state=f$state,
	    $score=f$score, $connections=f$connections, $first=double_to_time(
	    f$first), $last=double_to_time(f$last), $orig_bytes=f$orig_bytes,
	    $resp_bytes=f$resp_bytes, $reason=f$reason, $uids=f$uids);
	local host: addr;

	if ( f$orig != "" && ( host = host_of_finding(f, f$orig) ) != [::] )
		info$orig_h = host;

	if ( f$resp != "" && ( host = host_of_finding(f, f$resp) ) != [::] )
		info$resp_h = host;

	if ( f$resp_p != "" )
		info$resp_p = to_port(f$resp_p);

	if ( f$kind != "" )
		info$kind = f$kind;

	count_incident(f$state);
	hook incident(info, f$unit);
	Log::write(INCIDENTS_LOG, info);
	}

event MMTT::incidents(protocol: count, found: vector of Finding)
	{
	if ( protocol != protocol_version )
		return;

	# One node knows which are muted, and how many there were today.
	if ( Cluster::is_enabled() && Cluster::local_node_type() != Cluster::MANAGER )
		{
		Cluster::publish(Cluster::manager_topic, MMTT::incidents, protocol, found);
		return;
		}

	for ( i, f in found )
		if ( i < max_findings )
			take_finding(f);
	}

event zeek_init() &priority=5
	{
	Log::create_stream(INCIDENTS_LOG, Log::Stream($columns=IncidentInfo,
	    $ev=log_incident, $path="mmtt_incidents",
	    $policy=log_policy_incidents));
	}
