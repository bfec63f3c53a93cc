# @TEST-DOC: Notices: one for each responder and label, one for a host with many, one for a watched application; none for exempt networks.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff notices

run() {
    echo "# $1"
    $RUN "" -r "$DATA/office.pcap" -e "$2"
    if [ -e notice.log ]; then zeek-cut note id.orig_h id.resp_h src dst msg sub <notice.log; else echo "no notice"; fi
    rm -f notice.log
}

many='redef MMTT::malicious_host_connections = 3;'
(
    run "as installed" ''
    run "fewer make a host" "$many"
    run "a higher score" "$many redef MMTT::malicious_score = 0.96;"
    run "exempt" "$many redef MMTT::exempt_subnets += { 10.77.0.0/24, [fd77::]/64 };"
    run "watched" 'redef MMTT::malicious_score = 0.96; redef MMTT::watched_applications += { "Beta" };'
    run "watched, and surer" 'redef MMTT::watched_applications += { "Beta" }; redef MMTT::watched_application_score = 0.6;
        redef MMTT::malicious_score = 0.96;'
) >notices
