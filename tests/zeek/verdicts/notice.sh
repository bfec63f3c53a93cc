# @TEST-DOC: Notices: one for each responder and label, one for a host with many, for what is watched for; none for what is exempt.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff notices

run() {
    echo "# $1"
    $RUN "" -r "$DATA/office.pcap" -e "${flows:-} $2"
    if [ -e notice.log ]; then zeek-cut note id.orig_h id.resp_h src dst msg sub <notice.log; else echo "no notice"; fi
    rm -f notice.log
}

many='redef MMTT::malicious_host_connections = 4;'
(
    run "as installed" ''
    flows='redef MMTT::malicious_flows = T;'
    run "flows by themselves" ''
    run "fewer make a host" "$many"
    run "a higher score" 'redef MMTT::malicious_score = 0.96;'
    run "weak ones make a host, too" "$many redef MMTT::malicious_score = 0.96;"
    run "too small a share of its connections" "$many redef MMTT::malicious_score = 0.96; redef MMTT::malicious_host_share = 0.8;"
    run "exempt" "$many redef MMTT::exempt_subnets += { 10.77.0.0/24, [fd77::]/64 };"
    run "exempt ports" "$many redef MMTT::exempt_ports += { 22/tcp };"
    run "watched" 'redef MMTT::malicious_score = 0.96; redef MMTT::watched_applications += { "Beta" };'
    run "a watched service" 'redef MMTT::malicious_score = 0.96; redef MMTT::watched_services += { "chat" };'
    run "watched in other networks" 'redef MMTT::malicious_score = 0.96;
        redef MMTT::watched_in += { [192.168.0.0/16] = set("Beta", "chat") };'
    run "watched in this network" 'redef MMTT::malicious_score = 0.96;
        redef MMTT::watched_in += { [10.77.0.0/16] = set("Beta"), [10.0.0.0/8] = set("chat") };'
    run "watched, and surer" 'redef MMTT::watched_applications += { "Beta" }; redef MMTT::watched_application_score = 0.6;
        redef MMTT::malicious_score = 0.96;'
) >notices
