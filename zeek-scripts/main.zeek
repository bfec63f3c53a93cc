##! What the parts of the package share: the window, and the hook that takes it.

# Bare mode has not loaded it.
@load base/misc/version

@if ( Version::number < 80000 )
event zeek_init()
	{
	Reporter::fatal(fmt("mmtt needs Zeek 8.0 or newer; this is %s",
	    zeek_version()));
	}
@endif

module MMTT;

export {
	## Packets of a connection from which the series of one verdict was taken.
	type Window: record {
		## 0 for the connection's packets 1 to 64, 1 for 257 to 320, 2 for 2049
		## to 2112, 3 for 16385 to 16448.
		window: count;
		## Time of the first packet with payload.
		ts: time;
		## Bytes of payload of each packet that has any: positive from the
		## originator, negative from the responder.
		sizes: vector of int;
		## Microseconds from the first of them to each.
		times: vector of count;
	};

	## A window with fewer packets with payload gets no verdict. The model is not
	## made for fewer than 4.
	option min_packets = 4;

	## Raised once for each window that holds a packet with payload, as soon as
	## nothing more can enter it.
	global window_done: hook(c: connection, w: Window);
}
