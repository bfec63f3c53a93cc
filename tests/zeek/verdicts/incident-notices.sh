# @TEST-DOC: Incidents that nobody wants to hear of, by options or by the file of those that are muted, raise no notice; the log has all.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff notices

run() {
    echo "# $1"
    $RUN "--incidents some" -r "$DATA/office.pcap" -e "redef MMTT::muted_file = \"muted.tsv\"; $2"
    cat said
    if [ -e notice.log ]; then zeek-cut src dst <notice.log; else echo "no notice"; fi
    echo "rows: $(zeek-cut id <mmtt_incidents.log | wc -l)"
    rm -f notice.log
}

mute() {
    printf '#fields\torig\tresp\tresp_p\tkind\tuntil\tnote\n' >muted.tsv
    printf '%b\n' "$@" >>muted.tsv
}

(
    run "all" ''
    run "a higher score" 'redef MMTT::incident_score = 0.9;'
    run "networks" 'redef MMTT::incident_exempt_subnets += { [fd77::]/64 };'
    run "a pair of networks" 'redef MMTT::incident_exempt_pairs += { [10.77.0.1/32, 10.0.0.0/8], [10.77.0.2/32, 10.0.0.0/8] };'
    run "a kind" 'redef MMTT::incident_exempt_kinds += { "brute_force" };'
    run "a kind that is known later" 'redef MMTT::incident_exempt_kinds += { "scan" };'
    run "networks and ports that are exempt from all notices" 'redef MMTT::exempt_subnets += { [fd77::]/64 }; redef MMTT::exempt_ports += { 443/tcp };'
    run "one a day" 'redef MMTT::max_incidents_per_day = 1;'
    mute '10.77.0.0/16\t10.77.0.2\t443/tcp\t-\t-\tours, says "who"'
    run "muted: a pair" ''
    mute '-\t-\t-\tbrute_force\t1e9\tno time' '-\t-\t-\tbrute_force\t1900000000\t-' '-\t-\t443/tcp\t-\t1000000000\tover'
    run "muted: a kind, for so long" ''
    mute '10.77.0.1\t-\t-\tscan\t-\t-'
    run "muted: an originator's scans" ''
    mute '10.77.0.1\t-\t-\t-\t-\t-' 'fd77::/300\t-\t-\t-\t-\twrong' '-\t-\t-\t-\t-\tall'
    run "muted: an originator" ''
) >notices
