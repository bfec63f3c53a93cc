##! A TCP packet's payload by its header, also in tunnels and of frames that were cut short.

@load ./main

module MMTT;

# Bytes of a link's header: of Ethernet, without and with one tag or two, Linux cooked of both versions, loopback, none.
const link_headers: vector of count = {
	14,
	18,
	22,
	16,
	20,
	4,
	0
};

# Payload of the TCP packet at the end of the frame, or before the `trailer` bytes at its end. Returns -1 where what lies
# there is not this connection's.
function payload_at_end(c: connection, frame: pcap_packet, length: count,
    trailer: count): int
	{
	if ( frame$len < length + trailer )
		return -1;

	local at = frame$len - length - trailer;

	if ( frame$caplen < at + 40 )
		return -1;

	local first = bytestring_to_count(frame$data[at]);
	local v4 = first / 16 == 4;
	local total = v4 ? bytestring_to_count(frame$data[at + 2 : at + 4]) :
	    bytestring_to_count(frame$data[at + 4 : at + 6]) + 40;
	local tcp_at = at + ( v4 ? ( first % 16 ) * 4 : 40 );

	if ( total != length || frame$caplen < tcp_at + 13 )
		return -1;

	local ports = set(bytestring_to_count(frame$data[tcp_at : tcp_at + 2]),
	    bytestring_to_count(frame$data[tcp_at + 2 : tcp_at + 4]));

	if ( port_to_count(c$id$orig_p) !in ports
	    || port_to_count(c$id$resp_p) !in ports )
		return -1;

	local headers = tcp_at - at + ( bytestring_to_count(frame$data[tcp_at + 12]) / 16 ) *
	    4;

	if ( headers > total )
		return -1;

	return total - headers;
	}

# In a tunnel: the header that Zeek hands out is the outer one's, but the inner packet ends where the frame ends, or
# four bytes earlier if the frame's checksum was captured. Of a packet that was cut short it hands out none; without a
# tunnel, it follows the link's header.
function inner_payload(c: connection, length: count): int
	{
	local frame = get_current_packet();
	local payload = payload_at_end(c, frame, length, 0);

	if ( payload < 0 )
		payload = payload_at_end(c, frame, length, 4);

	for ( _, before in link_headers )
		if ( payload < 0 && frame$len >= length + before )
			payload = payload_at_end(c, frame, length, frame$len - length - before);

	return payload;
	}

# Payload of a TCP packet of `length` bytes of IP, by its header: exact, and dear.
function payload_by_header(c: connection, length: count, headers: count): count
	{
	local p = get_current_packet_header();

	if ( p?$tcp
	    && ( p$tcp$sport == c$id$orig_p && p$tcp$dport == c$id$resp_p || p$tcp$sport == c$id$resp_p && p$tcp$dport == c$id$orig_p ) )
		return p$tcp$dl;

	local inner = inner_payload(c, length);

	if ( inner >= 0 )
		return int_to_count(inner);

	# Neither: fragments put together, say. The least that the headers can be.
	return length > headers ? length - headers : 0;
	}
