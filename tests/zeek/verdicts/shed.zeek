# @TEST-DOC: As on live traffic, windows past the agents' credit are shed and counted; nothing more is in flight than was granted.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: $RUN "--credit 100 --mode mute --log seen" -r $DATA/office.pcap %INPUT
# @TEST-EXEC: zeek-cut status <mmtt.log | sort | uniq -c >rows
# @TEST-EXEC: cat seen stdout >>rows
# @TEST-EXEC: btest-diff rows

module MMTT;

redef answer_timeout = 3sec;

global one: connection;

event connection_state_remove(c: connection)
	{
	one = c;
	}

# Nothing waits for the agent, as with traffic that doesn't either.
event agent_hello(protocol: count, agent: string, topic: string, model: string,
    credit: count) &priority=-10
	{
	patient = F;
	local n = 0;

	while ( ++n <= 320 )
		hook window_done(one, Window($window=0, $ts=network_time(), $sizes=vector(+1, -2, +3,
		    -4), $times=vector(0, 1, 2, 3)));
	}

event zeek_done()
	{
	print fmt("in flight at most 100: %s", counts$submitted <= 100);
	}
