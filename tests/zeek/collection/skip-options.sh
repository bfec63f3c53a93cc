# @TEST-DOC: Nothing at all, and protocols, ports and networks that are not to be collected; the rest is.
# @TEST-EXEC: $COLLECT several >windows
# @TEST-EXEC: for skip in "enable = F" "skip_protocols += { tcp }" "skip_ports += { 443/tcp, 5353/udp }" "skip_subnets += { 10.9.0.0/16, [2001:db8::]/32 }"; do echo "# $skip" >>windows; $COLLECT several -e "redef MMTT::$skip;" >>windows || exit 1; done
# @TEST-EXEC: btest-diff windows
