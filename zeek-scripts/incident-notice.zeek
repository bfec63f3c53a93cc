##! A notice for each incident, except for those that nobody wants to hear of.

@load base/frameworks/notice
@load ./complain
@load ./incidents
@load ./muted
@load ./notice

module MMTT;

export {
	redef enum Notice::Type += {
		## Connections put together look malicious: see mmtt_incidents.log. One notice
		## when the incident opens, and one for the same hosts in
		## :zeek:see:`Notice::default_suppression_interval`. Where it hangs on the kind
		## whether anybody wants to hear of it, the notice waits until that is known, or
		## the incident is closed.
		Incident,
	};

	## An incident is worth a notice if its score is this high at least. What is below
	## the model's threshold is none.
	option incident_score = 0.0;

	## Incidents of hosts in these networks raise no notice.
	option incident_exempt_subnets: set[subnet] = {};

	## Incidents of an originator in the first network with a responder in the second
	## raise no notice: a scanner of one's own, a backup.
	option incident_exempt_pairs: set[subnet, subnet] = {};

	## Incidents of these kinds raise no notice.
	option incident_exempt_kinds: set[string] = {};

	## Notices of incidents in a day, by the time of the connections. What is beyond is
	## in the log alone.
	option max_incidents_per_day = 100;
}

# Incidents that wait for their kind.
global untold: set[string] &create_expire=7day;

global incident_day = 0;
global incidents_today = 0;

function is_exempt_pair(rec: IncidentInfo): bool
	{
	if ( ! rec?$orig_h || ! rec?$resp_h )
		return F;

	for ( [from, to] in incident_exempt_pairs )
		if ( rec$orig_h in from && rec$resp_h in to )
			return T;

	return F;
	}

function is_of(rec: IncidentInfo, networks: set[subnet]): bool
	{
	return ( rec?$orig_h && rec$orig_h in networks )
	    || ( rec?$resp_h && rec$resp_h in networks );
	}

function is_worth_a_notice(rec: IncidentInfo): bool
	{
	return rec$score >= incident_score
	    && ! is_of(rec, exempt_subnets)
	    && ! is_of(rec, incident_exempt_subnets)
	    && ! ( rec?$resp_p && rec$resp_p in exempt_ports )
	    && ! ( rec?$kind && rec$kind in incident_exempt_kinds )
	    && ! is_exempt_pair(rec)
	    && ! is_muted(rec);
	}

# Whether it is the time to tell of it: when it opens, or later if that hangs on its kind.
function is_due(rec: IncidentInfo): bool
	{
	if ( rec$state == "opened" )
		{
		if ( rec?$kind
		    || ! ( |incident_exempt_kinds| > 0 || is_muted_by_kind(rec) ) )
			return T;

		add untold[rec$id];
		return F;
		}

	if ( rec$id !in untold || ! ( rec?$kind || rec$state == "closed" ) )
		return F;

	delete untold[rec$id];
	return T;
	}

# Whether there have been fewer today than there may be.
function is_of_the_day(ts: time): bool
	{
	local day = double_to_count(floor(time_to_double(ts) / 86400.0));

	if ( day > incident_day )
		{
		incident_day = day;
		incidents_today = 0;
		}

	if ( ++incidents_today <= max_incidents_per_day )
		return T;

	++counts$incidents_held_back;
	complain(fmt("incidents %d", day), fmt("more than %d incidents on %s; those beyond raise no notice and are in mmtt_incidents.log alone (MMTT::max_incidents_per_day)",
	    max_incidents_per_day, strftime("%Y-%m-%d", ts)));
	return F;
	}

function host_in_words(rec: IncidentInfo, unit: string): string
	{
	local orig = rec?$orig_h ? cat(rec$orig_h) : "an unknown host";
	local resp = rec?$resp_h ? cat(rec$resp_h) : "an unknown host";
	local service = rec?$resp_p ? fmt(" on port %s", rec$resp_p) : "";

	if ( unit == "originator" )
		return fmt("%s with many hosts%s", orig, service);

	if ( unit == "responder" )
		return fmt("Many hosts with %s%s", resp, service);

	return fmt("%s with %s%s", orig, resp, service);
	}

hook incident(rec: IncidentInfo, unit: string)
	{
	if ( ! is_due(rec) || ! is_worth_a_notice(rec) || ! is_of_the_day(rec$ts) )
		return;

	local who = host_in_words(rec, unit);
	local kind = rec?$kind ? gsub(rec$kind, /_/, " ") + ", " : "";
	local n = Notice::Info($note=Incident, $ts=rec$ts, $msg=fmt(
	    "%s: %s%s (score %.2f)", who, kind, rec$reason, rec$score),
	    $sub=fmt("incident %s, %d connections from %s to %s", rec$id,
	    rec$connections, strftime("%Y-%m-%d %H:%M:%S", rec$first), strftime(
	    "%Y-%m-%d %H:%M:%S", rec$last)), $identifier=cat(unit, who));

	if ( rec?$orig_h )
		n$src = rec$orig_h;

	if ( rec?$resp_h )
		n$dst = rec$resp_h;

	if ( rec?$resp_p )
		n$p = rec$resp_p;

	if ( |rec$uids| > 0 )
		n$uid = rec$uids[0];

	NOTICE(n);
	}
