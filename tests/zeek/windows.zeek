# Prints each window when it is done: whose, which, its packets' sizes, and their times in microseconds.

@load base/protocols/conn

hook MMTT::window_done(c: connection, w: MMTT::Window)
	{
	print fmt("%s:%d > %s:%d %s, window %d", c$id$orig_h, c$id$orig_p, c$id$resp_h,
	    c$id$resp_p, get_port_transport_proto(c$id$resp_p), w$window);
	print fmt("  sizes %s", to_json(w$sizes));
	print fmt("  times %s", to_json(w$times));
	}

# As the package does with a capture file: what is still open belongs to it too.
event Pcap::file_done(path: string)
	{
	MMTT::finish_all();
	}
