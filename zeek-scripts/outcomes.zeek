##! What becomes of a window. Each ends in exactly one :zeek:see:`MMTT::outcome`.

@load ./main
@load ./wire

module MMTT;

export {
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
		## Connections without a verdict that no agent was told of, as there were too
		## many: see :zeek:see:`MMTT::max_tries`.
		tries_shed: count &default=0;
		## Incidents by their state. Grown: how often they did.
		incidents_opened: count &default=0;
		incidents_grown: count &default=0;
		incidents_closed: count &default=0;
		## Incidents that are not what they should be.
		incidents_refused: count &default=0;
		## Ends of incidents that could not be turned back into addresses.
		incidents_nameless: count &default=0;
		## Notices of incidents that were held back: see
		## :zeek:see:`MMTT::max_incidents_per_day`.
		incidents_held_back: count &default=0;
	};
	global counts = Counts();

	## Settle windows in order, shed none, and send only full batches until
	## :zeek:see:`MMTT::flush`. To be called before the first window.
	global be_patient: function();

	## Windows that wait for a batch, and windows with agents.
	global outstanding = 0;
}

global patient = F;

global next_outcome = 0;
global settled: table[count] of Outcome;

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

function be_patient()
	{
	patient = T;
	}
