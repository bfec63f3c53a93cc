# Prints each window as a line, for parity.py.

hook MMTT::window_done(c: connection, w: MMTT::Window)
	{
	print fmt("W|%s|%d|%s|%d|%s|%d|%.6f|%s|%s", c$id$orig_h, c$id$orig_p,
	    c$id$resp_h, c$id$resp_p, get_port_transport_proto(c$id$resp_p),
	    w$window, w$ts, to_json(w$sizes), to_json(w$times));
	}

redef record connection += {
	failed: bool &default=F;
};

# At its end Zeek has all timers go off, those that are not due, too.
global ended = F;

event connection_attempt(c: connection)
	{
	if ( ! ended )
		c$failed = T;
	}

event connection_rejected(c: connection)
	{
	c$failed = T;
	}

event connection_state_remove(c: connection)
	{
	local proto = get_port_transport_proto(c$id$resp_p);

	if ( proto == tcp || proto == udp )
		print fmt("C|%s|%d|%s|%d|%s|%.6f|%d|%d|%s", c$id$orig_h, c$id$orig_p,
		    c$id$resp_h, c$id$resp_p, proto, c$start_time,
		    c$orig$num_pkts, c$resp$num_pkts, c$failed);
	}

event Pcap::file_done(path: string)
	{
	MMTT::finish_all();
	ended = T;
	}
