##! Notices: malicious flows, hosts with many of them, applications that are watched for, agents that are lost.

@load base/frameworks/notice
@load base/frameworks/sumstats
@load ./agents

module MMTT;

export {
	redef enum Notice::Type += {
		## A flow looks malicious. One notice for each responder and label in
		## :zeek:see:`Notice::default_suppression_interval`.
		Malicious_Flow,
		## Many connections of one originator look malicious.
		Malicious_Host,
		## A flow is of an application in :zeek:see:`MMTT::watched_applications`.
		Watched_Application,
		## An agent was lost. What it had in hand goes to another, or has no verdict.
		Agent_Lost,
	};

	## A flow that the model calls malicious is worth a notice if its score is this
	## high at least.
	option malicious_score = 0.9;

	## So many connections of an originator within
	## :zeek:see:`MMTT::malicious_host_interval`, each with a flow worth a notice,
	## make it a malicious host.
	option malicious_host_connections = 10;

	## See :zeek:see:`MMTT::malicious_host_connections`.
	const malicious_host_interval = 10min &redef;

	## Connections from or to these networks raise no notice.
	option exempt_subnets: set[subnet] = {};

	## Applications that are worth a notice.
	option watched_applications: set[string] = {};

	## How sure the model must be of an application that is watched for.
	option watched_application_score = 0.5;
}

redef record connection += {
	## It has been counted as one of its originator's malicious connections.
	mmtt_counted: bool &default=F;
};

function is_exempt(id: conn_id): bool
	{
	return |exempt_subnets| > 0
	    && ( id$orig_h in exempt_subnets || id$resp_h in exempt_subnets );
	}

function malicious_flow(o: Outcome, v: Verdict)
	{
	local label = v$application != "unknown" ? v$application : v$service;
	NOTICE(Notice::Info($note=Malicious_Flow, $ts=o$w$ts, $conn=o$c, $msg=fmt(
	    "Traffic from %s to %s looks malicious (score %.2f, %s)",
	    o$id$orig_h, o$id$resp_h, v$malicious_score, label), $sub=fmt(
	    "service %s, application %s, window %d, model %s", v$service,
	    v$application, o$w$window, o$model), $identifier=cat(o$id$resp_h,
	    label)));

	if ( o$c$mmtt_counted )
		return;

	o$c$mmtt_counted = T;
	SumStats::observe("mmtt.malicious", SumStats::Key($host=o$id$orig_h),
	    SumStats::Observation($num=1));
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

	if ( v$malicious && v$malicious_score >= malicious_score )
		malicious_flow(o, v);

	if ( v$application in watched_applications
	    && v$application_score >= watched_application_score )
		watched_application(o, v);
	}

hook agent_down(a: Agent, why: string)
	{
	if ( why != "" && a$credit > 0 )
		NOTICE(Notice::Info($note=Agent_Lost, $msg=fmt(
		    "Agent %s is not used any more: %s", a$name, why),
		    $identifier=a$name));
	}

event zeek_init()
	{
	SumStats::create(SumStats::SumStat($name="mmtt.malicious-host",
	    $epoch=malicious_host_interval, $reducers=set(SumStats::Reducer(
	    $stream="mmtt.malicious", $apply=set(SumStats::SUM))),
	    $threshold=1.0, $threshold_val (key: SumStats::Key,
	    result: SumStats::Result) =
		{
		return result["mmtt.malicious"]$sum / malicious_host_connections;
		}, $threshold_crossed (key: SumStats::Key, result: SumStats::Result) =
		{
		NOTICE(Notice::Info($note=Malicious_Host, $src=key$host, $msg=fmt(
		    "%.0f connections of %s within %s look malicious",
		    result["mmtt.malicious"]$sum, key$host,
		    malicious_host_interval), $identifier=cat(key$host)));
		}));
	}
