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
		## The connection's Community ID, as other tools have it. Not a column unless
		## it is wanted: see :zeek:see:`MMTT::community_id`.
		community_id: string &log &optional;
	};

	## Log connections' Community IDs in mmtt.log. It does so in any case where Zeek's
	## policy script protocols/conn/community-id-logging is loaded; its seed and
	## spelling (CommunityID::seed, CommunityID::do_base64) count here, too.
	const community_id = F &redef;

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

# Whether it is logged.
global with_community_id = F;

# After all that make filters.
event zeek_init() &priority=-100
	{
	# By its name, as it may be loaded after this script.
	with_community_id = community_id || lookup_ID("CommunityID::seed") is count;

	if ( with_community_id )
		return;

	for ( name in copy(Log::get_filter_names(LOG)) )
		{
		local filter = Log::get_filter(LOG, name);

		if ( ! filter?$exclude )
			filter$exclude = set();

		add filter$exclude["community_id"];
		Log::add_filter(LOG, filter);
		}
	}

function community_id_of(id: conn_id): string
	{
	local seed = lookup_ID("CommunityID::seed");
	local in_base64 = lookup_ID("CommunityID::do_base64");
	return community_id_v1(id, seed is count ? seed as count : 0, in_base64 is bool ?
	    in_base64 as bool : T);
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

	if ( with_community_id )
		info$community_id = community_id_of(o$id);

	Log::write(LOG, info);
	}
