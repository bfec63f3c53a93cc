##! Which agents there are, by what they say of themselves. Who listens for them, and when, is in live.zeek and
##! offline.zeek.

@load ./main
@load ./wire
@load ./batches
@load ./answers

module MMTT;

export {
	## An agent from which nothing has come for this long is lost.
	option agent_timeout = 10sec;

	## Raised before an agent that is new is used. Break, and it isn't.
	global accept_agent: hook(name: string);

	## Raised when an agent has said hello, before anything is sent to it.
	global agent_ready: hook(a: Agent);

	## Zeek was held up for so long: that is nobody's silence.
	global excuse: function(held_up: interval);
}

# Agents that are known at once. Whoever can reach the socket can make up names.
const max_agents = 64;

# What counts from `since` on counts from here, if `held_up` is not to count. A clock that was set back counts anew.
function excused(since: time, held_up: interval): time
	{
	local now = current_time();
	return held_up < 0sec || since + held_up > now ? now : since + held_up;
	}

function excuse(held_up: interval)
	{
	for ( _, a in agents )
		a$last_seen = excused(a$last_seen, held_up);

	for ( _, b in batches )
		b$since = excused(b$since, held_up);
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
	hook agent_ready(a);
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
