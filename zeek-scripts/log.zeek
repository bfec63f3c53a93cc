##! mmtt.log: one row for each window.

@load ./agents

module MMTT;

export {
	redef enum Log::ID += { LOG };

	## A row of mmtt.log.
	type Info: record {
		## Time of the window's first packet with payload.
		ts: time &log;
		## The connection.
		uid: string &log;
		id: conn_id &log;
		proto: transport_proto &log;
		## Which of the connection's windows: see :zeek:see:`MMTT::Window`.
		window: count &log;
		## Packets with payload in the window.
		packets: count &log;
		## The service, or "unknown", and how sure the model is of its best guess.
		service: string &log &optional;
		service_score: double &log &optional;
		## The application, or "unknown", and how sure the model is of its best guess.
		application: string &log &optional;
		application_score: double &log &optional;
		## Whether the window looks malicious, and how likely the model takes it to be.
		malicious: bool &log &optional;
		malicious_score: double &log &optional;
		## What kind of malicious, such as "scan". Unset if it is not, or the model is not
		## sure of what kind, or knows none.
		malicious_kind: string &log &optional;
		## "ok", or why there is no verdict: see :zeek:see:`MMTT::Outcome`.
		status: string &log;
		## From the end of the window to the verdict. Unset with a capture file, so that
		## the same file gives the same log.
		latency: interval &log &optional;
		## The model that gave the verdict.
		model: string &log &optional;
		## The incident of mmtt_incidents.log that the window belongs to.
		incident: string &log &optional;
	};

	## Break to keep a row out of the log.
	global log_policy: Log::PolicyHook;

	## Raised with each row.
	global log_mmtt: event(rec: Info);
}

event zeek_init() &priority=5
	{
	Log::create_stream(LOG, Log::Stream($columns=Info, $ev=log_mmtt, $path="mmtt",
	    $policy=log_policy));
	}

hook outcome(o: Outcome)
	{
	local info = Info($ts=o$w$ts, $uid=o$c$uid, $id=o$id,
	    $proto=get_port_transport_proto(o$id$resp_p), $window=o$w$window,
	    $packets=|o$w$sizes|, $status=o$status);

	if ( o?$verdict )
		{
		local v = o$verdict;
		info$service = v$service;
		info$service_score = v$service_score;
		info$application = v$application;
		info$application_score = v$application_score;
		info$malicious = v$malicious;
		info$malicious_score = v$malicious_score;

		if ( v$malicious_kind != "" )
			info$malicious_kind = v$malicious_kind;

		if ( v$incident != "" )
			info$incident = v$incident;

		info$model = o$model;
		}

	if ( o?$latency )
		info$latency = o$latency;

	Log::write(LOG, info);
	}
