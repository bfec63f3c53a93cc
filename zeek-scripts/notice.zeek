##! Notices: malicious flows, hosts with many of them, services and applications that are watched for, agents that are
##! lost.

@load base/frameworks/notice
@load base/frameworks/sumstats
@load ./agents

module MMTT;

export {
	redef enum Notice::Type += {
		## A flow looks malicious by itself. One notice for each responder and label in
		## :zeek:see:`Notice::default_suppression_interval`, if there is to be any: see
		## :zeek:see:`MMTT::malicious_flows`.
		Malicious_Flow,
		## Many of one originator's connections look malicious, though perhaps none
		## enough by itself.
		Malicious_Host,
		## A flow is of an application in :zeek:see:`MMTT::watched_applications` or
		## :zeek:see:`MMTT::watched_in`.
		Watched_Application,
		## The same of a service in :zeek:see:`MMTT::watched_services` or
		## :zeek:see:`MMTT::watched_in`.
		Watched_Service,
		## An agent was lost. What it had in hand goes to another, or has no verdict.
		Agent_Lost,
	};

	## Whether a flow that the model calls malicious is worth a notice. An attack is
	## seldom one connection, and among very many harmless flows some look malicious
	## by chance: what connections put together are worth is
	## :zeek:see:`MMTT::Incident`.
	option malicious_flows = F;

	## ... if its score is this high at least.
	option malicious_score = 0.95;

	## So many connections of an originator within
	## :zeek:see:`MMTT::malicious_host_interval` that look malicious make it a
	## malicious host ...
	option malicious_host_connections = 10;

	## ... each with a score this high at least, whether or not it is worth a
	## notice by itself ...
	option malicious_host_score = 0.5;

	## ... if they are this share of its connections from the first of them on. A
	## busy host has some weak scores by chance; where one verdict in fifty is
	## wrong, half of its connections are not.
	option malicious_host_share = 0.5;

	## See :zeek:see:`MMTT::malicious_host_connections`.
	const malicious_host_interval = 10min &redef;

	## Connections from or to these networks raise no notice.
	option exempt_subnets: set[subnet] = {};

	## Connections to these responder ports raise no notice.
	option exempt_ports: set[port] = {};

	## Applications that are worth a notice.
	option watched_applications: set[string] = {};

	## How sure the model must be of an application that is watched for.
	option watched_application_score = 0.5;

	## Services that are worth a notice.
	option watched_services: set[string] = {};

	## How sure the model must be of a service that is watched for.
	option watched_service_score = 0.5;

	## Services and applications that are worth a notice if a host of the network
	## originates them, beside those that are so everywhere.
	option watched_in: table[subnet] of set[string] = {};

	## Whether :zeek:see:`MMTT::exempt_subnets` and
	## :zeek:see:`MMTT::exempt_ports` leave a connection out.
	global is_exempt: function(id: conn_id): bool;
}

redef record connection += {
	## It has been counted as one of its originator's malicious connections.
	mmtt_counted: bool &default=F;
};

# Originators with a connection that looked malicious of late: others' are not counted, as that costs.
global suspects: set[addr] &create_expire=malicious_host_interval;

# Of a host's kinds so many are counted, and so many named: those that most of its connections are of.
const kinds_counted = 16;
const kinds_named = 3;

# A label as words of a sentence.
function in_words(label: string): string
	{
	return gsub(label, /_/, " ");
	}

function is_exempt(id: conn_id): bool
	{
	if ( |exempt_ports| > 0 && id$resp_p in exempt_ports )
		return T;

	return |exempt_subnets| > 0
	    && ( id$orig_h in exempt_subnets || id$resp_h in exempt_subnets );
	}

function malicious_flow(o: Outcome, v: Verdict)
	{
	local label = v$application != "unknown" ? v$application : v$service;
	local kind = "";
	local kind_field = "";

	if ( v$malicious_kind != "" )
		{
		kind = ": " + in_words(v$malicious_kind);
		kind_field = fmt(" kind %s,", v$malicious_kind);
		}

	# The kind is no part of the identifier: a flow's windows may differ in it, and would each raise a notice.
	NOTICE(Notice::Info($note=Malicious_Flow, $ts=o$w$ts, $conn=o$c, $msg=fmt(
	    "Traffic from %s to %s looks malicious%s (score %.2f, %s)",
	    o$id$orig_h, o$id$resp_h, kind, v$malicious_score, label), $sub=fmt(
	    "service %s, application %s,%s window %d, model %s", v$service,
	    v$application, kind_field, o$w$window, o$model), $identifier=cat(
	    o$id$resp_h, label)));
	}

# Each connection once as one that looks malicious; its first window decides whether it does not.
function count_for_host(o: Outcome, v: Verdict)
	{
	if ( v$malicious_score >= malicious_host_score )
		{
		if ( o$c$mmtt_counted )
			return;

		o$c$mmtt_counted = T;
		add suspects[o$id$orig_h];
		SumStats::observe("mmtt.malicious", SumStats::Key($host=o$id$orig_h),
		    SumStats::Observation($num=1, $str=v$malicious_kind));
		}
	else if ( o$w$window == 0 && o$id$orig_h in suspects )
		SumStats::observe("mmtt.harmless", SumStats::Key($host=o$id$orig_h),
		    SumStats::Observation($num=1));
	}

function is_watched(label: string, everywhere: set[string], host: addr): bool
	{
	if ( label in everywhere )
		return T;

	if ( |watched_in| > 0 )
		for ( net, labels in watched_in )
			if ( host in net && label in labels )
				return T;

	return F;
	}

function watched_service(o: Outcome, v: Verdict)
	{
	NOTICE(Notice::Info($note=Watched_Service, $ts=o$w$ts, $conn=o$c, $msg=fmt(
	    "%s uses the service %s of %s (score %.2f)", o$id$orig_h, v$service,
	    o$id$resp_h, v$service_score), $identifier=cat(o$id$orig_h,
	    v$service)));
	}

function watched_application(o: Outcome, v: Verdict)
	{
	NOTICE(Notice::Info($note=Watched_Application, $ts=o$w$ts, $conn=o$c, $msg=fmt(
	    "%s uses %s with %s (score %.2f)", o$id$orig_h, v$application,
	    o$id$resp_h, v$application_score), $identifier=cat(o$id$orig_h,
	    v$application)));
	}

hook outcome(o: Outcome)
	{
	if ( ! o?$verdict || is_exempt(o$id) )
		return;

	local v = o$verdict;

	if ( malicious_flows && v$malicious && v$malicious_score >= malicious_score )
		malicious_flow(o, v);

	count_for_host(o, v);

	if ( v$service_score >= watched_service_score
	    && is_watched(v$service, watched_services, o$id$orig_h) )
		watched_service(o, v);

	if ( v$application_score >= watched_application_score
	    && is_watched(v$application, watched_applications, o$id$orig_h) )
		watched_application(o, v);
	}

# In a cluster every worker loses it at the same moment, and each would raise the notice before it hears of the others'.
event MMTT::agent_lost(name: string, why: string)
	{
	NOTICE(Notice::Info($note=Agent_Lost, $msg=fmt(
	    "Agent %s is not used any more: %s", name, why), $identifier=name));
	}

hook agent_down(a: Agent, why: string)
	{
	if ( why == "" || a$credit == 0 )
		return;

	if ( Cluster::is_enabled() )
		Cluster::publish(Cluster::manager_topic, MMTT::agent_lost, a$name, why);
	else
		event MMTT::agent_lost(a$name, why);
	}

function malicious_host_level(key: SumStats::Key, result: SumStats::Result)
    : double
	{
	local malicious = result["mmtt.malicious"]$sum;
	local all = malicious + result["mmtt.harmless"]$sum;
	return malicious >= malicious_host_share * all ? malicious /
	    malicious_host_connections : 0.0;
	}

# ": scan, brute force", the most frequent first; nothing where none has a kind.
function kinds_of_host(result: SumStats::ResultVal): string
	{
	local kinds: vector of string = vector();
	local seen: vector of SumStats::Observation;
	# One more, as connections without a kind are counted, too.
	seen = topk_get_top(result$topk, kinds_named + 1);

	for ( _, observed in seen )
		if ( observed$str != "" && |kinds| < kinds_named )
			kinds += in_words(observed$str);

	return |kinds| > 0 ? ": " + join_string_vec(kinds, ", ") : "";
	}

function malicious_host(key: SumStats::Key, result: SumStats::Result)
	{
	local malicious = result["mmtt.malicious"]$sum;
	NOTICE(Notice::Info($note=Malicious_Host, $src=key$host, $msg=fmt(
	    "%.0f of %.0f connections of %s within %s look malicious%s",
	    malicious, malicious + result["mmtt.harmless"]$sum, key$host,
	    malicious_host_interval, kinds_of_host(result["mmtt.malicious"])),
	    $identifier=cat(key$host)));
	}

event zeek_init()
	{
	SumStats::create(SumStats::SumStat($name="mmtt.malicious-host",
	    $epoch=malicious_host_interval, $reducers=set(SumStats::Reducer(
	    $stream="mmtt.malicious", $apply=set(SumStats::SUM, SumStats::TOPK),
	    $topk_size=kinds_counted), SumStats::Reducer(
	    $stream="mmtt.harmless", $apply=set(SumStats::SUM))),
	    $threshold=1.0, $threshold_val=malicious_host_level,
	    $threshold_crossed=malicious_host));
	}
