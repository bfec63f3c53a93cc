##! On live traffic: listens for agents, and collects while there are any.
##!
##! In a cluster nothing is listened on here: zeekctl's ``UseWebSocket`` opens the port on the manager.

@load ./agents
@load ./collect

module MMTT;

export {
	## Where agents connect to a Zeek that is no cluster's. There is no
	## authentication but by certificates: anything but loopback needs
	## :zeek:see:`MMTT::listen_tls`.
	const listen_address = 127.0.0.1 &redef;

	## The port there.
	const listen_port = 27759/tcp &redef;

	## Certificates, for agents on other machines: Zeek's, and the authority that
	## signs the agents', with ``enable_peer_verification``.
	const listen_tls = Cluster::WebSocketTLSOptions() &redef;
}

const local_machine: set[subnet] = {
	127.0.0.0/8,
	[::1]/128
};

# Whether this process sees traffic now, and not a capture file's.
function is_live(): bool
	{
	if ( getenv("ZEEKCTL_CHECK_CONFIG") != "" || reading_traces() )
		return F;

	return Cluster::is_enabled() ? Cluster::local_node_type() == Cluster::WORKER :
	    reading_live_traffic();
	}

const look_every = 1sec;

global last_looked: time;

event MMTT::look_after_agents()
	{
	local now = current_time();
	local late = now - last_looked - look_every;
	last_looked = now;

	# The clock was set, or this process was held up.
	if ( late < 0sec || late > look_every )
		excuse(late);

	give_up_late();

	local silent: vector of string = vector();

	for ( name, a in agents )
		if ( now - a$last_seen > agent_timeout )
			silent += name;

	for ( i in silent )
		drop_agent(silent[i], fmt("nothing has come from it for %s", agent_timeout));

	if ( |agents| > 0 )
		schedule look_every { MMTT::look_after_agents() };
	}

hook agent_up(a: Agent)
	{
	if ( ! is_live() || |agents| != 1 )
		return;

	start_collecting();
	last_looked = current_time();
	schedule look_every { MMTT::look_after_agents() };
	}

hook agent_down(a: Agent, why: string)
	{
	if ( is_live() && |agents| == 0 )
		stop_collecting();
	}

# Not in zeek_init(): Zeek would not start if the port is in use, and traffic that goes unwatched is worse than traffic
# without verdicts.
event MMTT::listen_for_agents()
	{
	if ( zeek_is_terminating() )
		return;

	if ( listen_address !in local_machine
	    && ! ( listen_tls?$cert_file && listen_tls$enable_peer_verification ) )
		{
		complain("open", fmt("whoever reaches %s could send verdicts, so nobody is listened to there, and there are no verdicts; set cert_file, key_file, ca_file and enable_peer_verification of MMTT::listen_tls",
		    listen_address));
		return;
		}

	if ( Cluster::listen_websocket(Cluster::WebSocketServerOptions(
	    $listen_addr=listen_address, $listen_port=listen_port,
	    $tls_options=listen_tls)) )
		return;

	complain("listen", fmt("can't listen on %s:%s for agents, so there are no verdicts; trying again every minute. Is another Zeek there? Set MMTT::listen_port",
	    listen_address, listen_port));
	schedule 1min { MMTT::listen_for_agents() };
	}

event zeek_init()
	{
	if ( ! is_live() )
		return;

	# Without an agent nothing is collected, and it costs nothing.
	stop_collecting();
	Cluster::subscribe(sensor_topic);
	Cluster::subscribe(node_topic());

	if ( ! Cluster::is_enabled() )
		schedule 0sec { MMTT::listen_for_agents() };

	Cluster::publish(agents_topic, MMTT::hello_request, protocol_version);
	}
