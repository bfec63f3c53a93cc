##! Collects the series: size, direction and time of the packets with payload, in a few short windows of each TCP and
##! UDP connection. Packets outside of the windows cost nothing.

@load ./main
@load ./payload
@load ./thresholds

module MMTT;

# No packet's: Collecting's headers before any were seen, so that no length fits them.
const unseen = 1000000;

export {
	## Most packets with payload in a window.
	const max_packets = 32 &redef;

	## A window holds no packet later than this after its first one.
	const max_wait = 60sec &redef;

	## Set to F, connections that begin from then on are left alone.
	option enable = T;

	## Connections of these transport protocols are left alone; TCP and UDP are
	## all there is. QUIC is UDP.
	option skip_protocols: set[transport_proto] = {};

	## Connections to these responder ports are left alone.
	option skip_ports: set[port] = {};

	## Connections from or to these networks are left alone.
	option skip_subnets: set[subnet] = {};

	## What is being collected on a connection.
	type Collecting: record {
		## Nothing is open: the window is done, or the connection is left alone.
		done: bool;
		udp: bool;
		## Bytes of IP's and TCP's headers without options; 0: the connection is
		## left alone for good.
		headers: count;
		## Headers as seen on this TCP connection's latest packets, payload or not.
		seen_headers: count &default=unseen;
		## The connection's bytes so far: of IP (TCP only), and of payload.
		orig_ip: count &default=0;
		resp_ip: count &default=0;
		orig_size: count &default=0;
		resp_size: count &default=0;
		window: count &default=0;
		## In which period of collecting the window began.
		period: count;
		## From the first packet with payload on.
		open: Window &optional;
	};

	## Begin to collect. This is how it is after start.
	global start_collecting: function();

	## End all windows that are open, and collect no more. Costs nothing from then on.
	global stop_collecting: function();

	## End the connection's window if one is open.
	global finish: function(c: connection);

	## End all windows that are open.
	global finish_all: function();
}

redef record connection += {
	mmtt_collecting: Collecting &optional;
};

# The number of the packet before each later window, and the window's.
const before_window: table[count] of count = {
	[256] = 1,
	[2048] = 2,
	[16384] = 3
};

# The packets that end a window.
const window_ends: set[count] = {
	64,
	320,
	2112,
	16448
};

# The history of a connection of which only SYNs were seen.
const handshakes: set[string] = {
	"S",
	"Sh",
	"h",
	"^h"
};

# Counts how often collecting was switched on: a window is not begun if packets of it may have gone unseen.
global period = 0;

# A table forgets up to a second early.
function close_late(t: table[string] of connection, uid: string): interval
	{
	local left = t[uid]$mmtt_collecting$open$ts + max_wait - network_time();

	if ( left >= 0sec )
		return left + 1sec;

	finish(t[uid]);
	return 0sec;
	}

# Connections with an open window. Expiry is what ends the window of a connection that has gone quiet.
global open_windows: table[string] of connection &create_expire=max_wait
    &expire_func=close_late;

function is_of_interest(c: connection, proto: transport_proto): bool
	{
	if ( ! enable || proto in skip_protocols )
		return F;

	if ( |skip_ports| > 0 && c$id$resp_p in skip_ports )
		return F;

	return |skip_subnets| == 0
	    || ( c$id$orig_h !in skip_subnets && c$id$resp_h !in skip_subnets );
	}

function begin(c: connection)
	{
	local proto = get_port_transport_proto(c$id$resp_p);
	local headers = is_v6_addr(c$id$resp_h) ? 60 : 40;

	if ( proto != tcp && proto != udp || ! is_of_interest(c, proto) )
		c$mmtt_collecting = Collecting($done=T, $udp=F, $headers=0, $period=period);
	else
		c$mmtt_collecting = Collecting($done=F, $udp=proto == udp, $headers=headers,
		    $period=period);
	}

# Payload of a TCP packet of `length` bytes of IP whose side's sequence numbers have grown by `grown`, where that is not
# what connections' other packets were like. What they grew by is no payload if bytes before it were lost.
function doubtful_payload(c: connection, s: Collecting, length: count,
    grown: count): count
	{
	local plain = s$headers;

	if ( grown == 0 && s$seen_headers == unseen )
		{
		# A SYN, with up to 20 bytes of options, which says nothing of the headers that follow.
		if ( length <= plain + 20 && c$history in handshakes )
			return 0;

		# An acknowledgement with time stamps: all packets have them then.
		if ( length == plain + 12 )
			{
			s$seen_headers = length;
			return 0;
			}
		}

	local payload = payload_by_header(c, length, plain);

	if ( payload > 0 && payload < length )
		s$seen_headers = length - payload;

	return payload;
	}

# Take in a packet with payload: positive from the originator, negative from the responder.
function take(c: connection, s: Collecting, size: int)
	{
	local now = network_time();

	if ( ! s?$open )
		{
		if ( s$period != period )
			{
			s$done = T;
			return;
			}

		s$open = Window($window=s$window, $ts=now, $sizes=vector(size), $times=vector(0));
		open_windows[c$uid] = c;
		return;
		}

	local w = s$open;
	local waited = now - w$ts;

	if ( waited > max_wait )
		{
		finish(c);
		return;
		}

	w$sizes += size;
	w$times += double_to_count(waited / 1usec);

	if ( |w$sizes| >= max_packets )
		finish(c);
	}

# At a packet past the first window: whether it is one of a later window.
function is_of_later_window(c: connection, s: Collecting, packet: count): bool
	{
	if ( packet !in before_window )
		return ! s$done;

	if ( s$headers > 0 )
		{
		s$done = F;
		s$window = before_window[packet];
		s$period = period;
		s$orig_ip = c$orig$num_bytes_ip;
		s$resp_ip = c$resp$num_bytes_ip;
		s$orig_size = c$orig$size;
		s$resp_size = c$resp$size;
		}

	return F;
	}

# This runs for each of a connection's first packets, and is most of what the package costs: what most packets need
# comes first, and without a call.
#
# A TCP packet's payload is nearly always what its side's sequence numbers grew by. It is when the rest of the packet is
# as long as headers are on this connection, which its first acknowledgement tells; a packet that is just that long and
# moves nothing is an acknowledgement. Only what fits neither has its header looked at, for that costs more than all the
# rest of this script.
event conn_generic_packet_threshold_crossed(c: connection, threshold: count)
    &group="mmtt-collecting"
	{
	if ( ! c?$mmtt_collecting )
		{
		# Collecting may have begun after the connection.
		if ( threshold != 1 && ! ( threshold in before_window ) )
			return;

		begin(c);
		}

	local s = c$mmtt_collecting;

	if ( threshold > 64 )
		{
		if ( ! is_of_later_window(c, s, threshold) )
			return;
		}
	else if ( s$done )
		return;

	local side = c$orig;
	local length = 0;
	local grown = 0;

	if ( s$udp )
		{
		# UDP's own count is exact, whatever headers IP may have.
		if ( side$size > s$orig_size )
			{
			grown = side$size - s$orig_size;
			s$orig_size = side$size;
			take(c, s, +grown);
			}
		else
			{
			# A length in the header that is less than the header's own takes away from what came before.
			if ( side$size < s$orig_size )
				s$orig_size = side$size;

			side = c$resp;

			if ( side$size > s$resp_size )
				{
				grown = side$size - s$resp_size;
				s$resp_size = side$size;
				take(c, s, -grown);
				}
			else if ( side$size < s$resp_size )
				s$resp_size = side$size;
			}
		}
	else if ( side$num_bytes_ip > s$orig_ip )
		{
		length = side$num_bytes_ip - s$orig_ip;
		s$orig_ip = side$num_bytes_ip;

		if ( side$size > s$orig_size )
			grown = side$size - s$orig_size;

		s$orig_size = side$size;

		if ( length != s$seen_headers + grown || grown == 0 )
			{
			if ( length == s$headers )
				{
				s$seen_headers = length;
				grown = 0;
				}
			else if ( grown > 0 || length != s$seen_headers )
				grown = doubtful_payload(c, s, length, grown);
			}

		if ( grown > 0 )
			take(c, s, +grown);
		}
	else if ( c$resp$num_bytes_ip == s$resp_ip )
		{
		# Without a length, as captured before a network card cuts it up: all there is is what the sequence numbers grew by.
		if ( side$size > s$orig_size )
			take(c, s, +( side$size - s$orig_size ));
		else if ( c$resp$size > s$resp_size )
			take(c, s, -( c$resp$size - s$resp_size ));

		s$orig_size = side$size;
		s$resp_size = c$resp$size;
		}
	else
		{
		side = c$resp;
		length = side$num_bytes_ip - s$resp_ip;
		s$resp_ip = side$num_bytes_ip;

		if ( side$size > s$resp_size )
			grown = side$size - s$resp_size;

		s$resp_size = side$size;

		if ( length != s$seen_headers + grown || grown == 0 )
			{
			if ( length == s$headers )
				{
				s$seen_headers = length;
				grown = 0;
				}
			else if ( grown > 0 || length != s$seen_headers )
				grown = doubtful_payload(c, s, length, grown);
			}

		if ( grown > 0 )
			take(c, s, -grown);
		}

	if ( threshold >= 64 && threshold in window_ends )
		finish(c);
	}

# TCP flips a connection before it counts the packet that told. UDP's analyzers flip it on its first packet, and Zeek
# goes on to count that for the new originator; so does this.
event connection_flipped(c: connection) &group="mmtt-collecting"
	{
	if ( ! c?$mmtt_collecting || c$mmtt_collecting$udp )
		return;

	local s = c$mmtt_collecting;
	local ip = s$orig_ip;
	local size = s$orig_size;
	s$orig_ip = s$resp_ip;
	s$resp_ip = ip;
	s$orig_size = s$resp_size;
	s$resp_size = size;

	if ( s?$open )
		for ( i in s$open$sizes )
			s$open$sizes[i] = -s$open$sizes[i];
	}

# Before conn.log's line is made (at -5), so that it can wait for the verdict.
event connection_state_remove(c: connection) &group="mmtt-collecting"
	{
	if ( c?$mmtt_collecting && ! c$mmtt_collecting$done )
		finish(c);
	}

function finish(c: connection)
	{
	if ( ! c?$mmtt_collecting )
		return;

	local s = c$mmtt_collecting;
	s$done = T;

	if ( ! s?$open )
		return;

	local w = s$open;
	delete s$open;
	delete open_windows[c$uid];
	hook window_done(c, w);
	}

function finish_all()
	{
	local connections: vector of connection;

	for ( _, c in open_windows )
		connections += c;

	sort(connections, function(a: connection, b: connection): int
		{
		local x = a$mmtt_collecting$open$ts;
		local y = b$mmtt_collecting$open$ts;
		return x < y || ( x == y && a$uid < b$uid ) ? -1 : 1;
		});

	for ( i in connections )
		finish(connections[i]);
	}

function start_collecting()
	{
	++period;
	enable_event_group("mmtt-collecting");
	}

function stop_collecting()
	{
	disable_event_group("mmtt-collecting");
	finish_all();
	}
