# @TEST-DOC: mmtt.log has Community IDs where Zeek's script for them is loaded, before the package or after, or by option; they are those of conn.log. Otherwise it has no such column, whoever makes filters.
# @TEST-REQUIRES: python3 -c "import websockets"
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff fields
# @TEST-EXEC: btest-diff ids

policy=protocols/conn/community-id-logging
log() { # Rows, and columns under a name, of Zeek with these arguments.
    name=$1
    shift
    rm -f ./*.log
    $RUN "" -r "$DATA/office.pcap" "$@" && cat said >&2 || exit 1
    echo "$name: $(grep '^#fields' mmtt.log | cut -f 20-)" >>fields
}
same_as_conn() {
    for log in conn mmtt; do
        zeek-cut id.orig_h id.orig_p id.resp_h id.resp_p community_id <$log.log | sort -u >$log.ids
    done
    [ -s mmtt.ids ] || exit 1
    comm -13 conn.ids mmtt.ids >unknown
    [ ! -s unknown ] || { cat unknown >&2; exit 1; }
}

log plain
log after $policy
same_as_conn
zeek-cut id.orig_h id.orig_p id.resp_h id.resp_p proto community_id <mmtt.log | sort -u >ids
# The package comes first on the command line of run_zeek, but not what is loaded by it.
echo "@load $policy" >before.zeek
rm -f ./*.log
MMTT_AGENT="python3 $TEST_BASE/fake_agent.py" timeout 100 zeek -C before.zeek "$PACKAGE" -r "$DATA/office.pcap" >stdout 2>stderr || exit 1
echo "before: $(grep '^#fields' mmtt.log | cut -f 20-)" >>fields
same_as_conn
cmp mmtt.ids <(zeek-cut id.orig_h id.orig_p id.resp_h id.resp_p community_id <mmtt.log | sort -u) || exit 1
log "seed and hexadecimal" $policy -e 'redef CommunityID::seed = 7; redef CommunityID::do_base64 = F;'
same_as_conn
! cmp -s ids <(zeek-cut id.orig_h id.orig_p id.resp_h id.resp_p proto community_id <mmtt.log | sort -u) || exit 1
log option -e 'redef MMTT::community_id = T;'
cmp ids <(zeek-cut id.orig_h id.orig_p id.resp_h id.resp_p proto community_id <mmtt.log | sort -u) || exit 1
log bare -b -e 'redef MMTT::community_id = T;'
cmp ids <(zeek-cut id.orig_h id.orig_p id.resp_h id.resp_p proto community_id <mmtt.log | sort -u) || exit 1
cat >filters.zeek <<'Z'
event zeek_init()
	{
	Log::add_filter(MMTT::LOG, Log::Filter($name="default", $exclude=set("latency")));
	Log::add_filter(MMTT::LOG, Log::Filter($name="more", $path="more",
	    $include=set("uid", "incident", "community_id")));
	}
Z
log filters filters.zeek
echo "more: $(grep '^#fields' more.log)" >>fields
log "filters and ids" filters.zeek $policy
echo "more: $(grep '^#fields' more.log)" >>fields
same_as_conn
