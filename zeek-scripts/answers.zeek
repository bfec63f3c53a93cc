##! What agents answer, and whether it can be.

@load ./main
@load ./wire
@load ./batches

module MMTT;

function is_score(x: double): bool
	{
	# What is not a number is neither.
	return x >= 0.0 && x <= 1.0;
	}

function is_incident_id(id: string): bool
	{
	return /I[0-9A-Za-z]{12}/ == id;
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
	    && /[ -~]{1,64}/ == v$application
	    && ( v$malicious_kind == "" || ( v$malicious && /[ -~]{1,64}/ == v$malicious_kind ) )
	    && ( v$incident == "" || is_incident_id(v$incident) );
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
