# @TEST-DOC: A Zeek that is too old is told in one line, and Zeek ends.
# @TEST-EXEC: bash %INPUT
# @TEST-EXEC: btest-diff said

# The Zeek here is new enough, so that the package has to ask for one that isn't made yet.
cp -r "$PACKAGE" package
sed 's/Version::number < [0-9]*/Version::number < 99999999/' "$PACKAGE/main.zeek" >package/main.zeek
zeek -D -r "$DATA/midstream.pcap" package 2>&1 | sed 's/; this is .*/; this is VERSION/; s/^.*mmtt needs/mmtt needs/' >said
echo "exit status is 0: $([ ${PIPESTATUS[0]} = 0 ] && echo yes || echo no)" >>said
