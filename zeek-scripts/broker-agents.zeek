##! Agents that listen for Zeek with Broker itself (``url: broker://HOST:PORT`` in their settings), beside those that connect to
##! its WebSocket API: for agents on other machines than the manager's. Each node that sees traffic connects to each of them.
##! For Zeeks whose cluster backend is Broker. Not loaded by default; to be loaded by its name, ``mmtt/broker-agents``.

@load ./main
@load ./live
@load base/frameworks/broker

module MMTT;

export {
	## Where agents listen.
	const broker_agents: set[string, port] = {} &redef;

	## After how long to try again to connect to one.
	const broker_agents_retry = 2sec &redef;
}

event zeek_init() &priority=-10
	{
	if ( ! is_live() || |broker_agents| == 0 )
		return;

@ifdef ( Cluster::CLUSTER_BACKEND_BROKER )
	if ( Cluster::backend != Cluster::CLUSTER_BACKEND_BROKER )
		{
		complain("broker-agents", "MMTT::broker_agents are not used: Cluster::backend is not Broker");
		return;
		}
@endif

	for ( [host, at] in broker_agents )
		Broker::peer(host, at, broker_agents_retry);
	}
