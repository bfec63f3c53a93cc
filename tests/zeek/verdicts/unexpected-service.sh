# @TEST-DOC: mmtt/unexpected-service: a notice for each service on a port where it doesn't belong, if the model is sure and nothing exempt.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff notices

run() {
    echo "# $1"
    $RUN "" -r "$DATA/office.pcap" "$PACKAGE/unexpected-service.zeek" -e "redef Notice::ignored_types += { MMTT::Malicious_Flow };
        $2"
    cat said
    if [ -e notice.log ]; then zeek-cut note id.orig_h id.resp_h id.resp_p msg <notice.log; else echo "no notice"; fi
    rm -f notice.log
}

surer='redef MMTT::unexpected_service_score = 0.7;'
(
    run "as installed, where the agent is not sure enough" ''
    run "less sure" "$surer redef MMTT::expected_services += { [443/tcp] = set(\"web\") };"
    run "where they belong" "$surer redef MMTT::expected_services += { [443/tcp] = set(\"web\", \"chat\", \"streaming\") };"
    run "exempt" "$surer redef MMTT::expected_services += { [443/tcp] = set(\"web\") }; redef MMTT::exempt_ports += { 443/tcp };"
) >notices
