# @TEST-DOC: Collecting is switched off and on again in the middle of connections: what was open ends, and no window is begun that isn't whole.
# @TEST-EXEC: $COLLECT tcp %INPUT >windows
# @TEST-EXEC: $COLLECT later %INPUT >>windows
# @TEST-EXEC: btest-diff windows

# In the first capture off before any payload, on in the middle of it. In the second off within the first window and on
# within the second one.
global seen = 0;

event new_packet(c: connection, p: pkt_hdr)
	{
	++seen;
	local tcp_ = p?$tcp;

	if ( seen == ( tcp_ ? 2 : 11 ) )
		MMTT::stop_collecting();

	if ( seen == ( tcp_ ? 5 : 270 ) )
		MMTT::start_collecting();
	}
