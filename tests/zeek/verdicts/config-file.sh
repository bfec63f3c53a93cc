# @TEST-DOC: What a site tunes can be changed while Zeek runs: by a file, whenever that changes, and by a script.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff all

cat >mmtt.conf <<'END'
MMTT::malicious_score	0.97
MMTT::malicious_host_connections	20
MMTT::exempt_subnets	192.0.2.0/24,2001:db8::/32
MMTT::exempt_ports	853/tcp
MMTT::watched_applications	BitTorrent,Tor
MMTT::watched_services	tunnel
MMTT::skip_ports	53/udp
MMTT::skip_subnets	198.51.100.0/24
MMTT::enable	F
END
cat >show.zeek <<'END'
redef Config::config_files += { "mmtt.conf" };
redef exit_only_after_terminate = T;

global first = T;

event look()
	{
	if ( first && ! MMTT::enable && MMTT::malicious_score == 0.97 )
		{
		first = F;
		# A set of two is printed in no certain order.
		print MMTT::malicious_host_connections, |MMTT::exempt_subnets|, 192.0.2.9 in MMTT::exempt_subnets, [2001:db8::9] in MMTT::exempt_subnets;
		print MMTT::exempt_ports, MMTT::skip_ports, MMTT::skip_subnets;
		print MMTT::watched_services, |MMTT::watched_applications|, "Tor" in MMTT::watched_applications;
		print "changing the file", system("sed -i -e 's/0.97/0.98/' -e 's/enable.*/enable\tT/' mmtt.conf");
		}

	if ( MMTT::enable && MMTT::malicious_score == 0.98 )
		{
		print "changed again";
		terminate();
		return;
		}

	schedule 200msec { look() };
	}

event zeek_init()
	{
	schedule 200msec { look() };
	}
END
(
    timeout 60 zeek "$PACKAGE" show.zeek 2>/dev/null
    echo "# watched from a script's change on"
    $RUN "" -r "$DATA/office.pcap" -e 'event MMTT::agent_hello(protocol: count, agent: string, topic: string, model: string, credit: count)
        {
        Config::set_value("MMTT::malicious_score", 0.96);
        Config::set_value("MMTT::watched_in", table([10.77.0.0/16] = set("Beta")));
        }'
    zeek-cut note msg <notice.log
) >all
