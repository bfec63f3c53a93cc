# @TEST-DOC: What the project recorded: HTTPS, SSH, QUIC, VXLAN, voice, DNS, IPv4 and IPv6.
# @TEST-EXEC: $COLLECT $DATA/office.pcap >windows
# @TEST-EXEC: btest-diff windows
