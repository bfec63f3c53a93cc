from pathlib import Path

import pytest
import yaml

from mmtt_agent import servers
from mmtt_model.data import taxonomy
from mmtt_model.data.labels import TRANSPORTS, CaptureLabels, FlowName, Labels, agreed
from mmtt_model.data.taxonomy import Taxonomy, TaxonomyError

TAXONOMY = Taxonomy()
SHIPPED = Path(taxonomy.__file__).with_name("taxonomy.yaml")


#: What servers are, and whether they are known, as a table of judged names has it.
SERVERS = {
    "r1.googlevideo.com": ("streaming", "YouTube", True),
    "www.youtube.com": ("web", "YouTube", True),
    "shop.example": ("web", None, True),
    "anybody.example": ("web", None, False),
    "tracker.example": (None, None, True),
    "ocsp.digicert.com": ("infrastructure", "OCSP", True),
    "ctldl.windowsupdate.com": ("software_update", "Windows Update", True),
    "drive.google.com": ("file_transfer", "Google Drive", True),
}


def capture(group="ndpi", service="see result", application="see result", malicious="unknown", path="x.pcap.zst"):
    return CaptureLabels(path, group, service, application, malicious)


def ndpi(name, category="Web", guessed=False, server_name="example.org"):
    return FlowName(name, category, guessed, server_name)


def named(about, flow):
    """Labels where servers are known."""
    return TAXONOMY.labels(about, flow, SERVERS.get)


@pytest.mark.parametrize(
    ("name", "category", "service", "application"),
    [
        # Whose it is; whether a page or a video is for its server's name to say.
        ("TLS.YouTube", "Media", None, "YouTube"),
        ("QUIC.YouTubeUpload", "Media", None, "YouTube"),
        ("TLS.WindowsUpdate", "SoftwareUpdate", "software_update", "Windows Update"),
        ("TLS.DoH_DoT", "Network", "infrastructure", "DoH"),
        ("DTLS.SRTP", "VoIP", "voip", "RTP"),
        ("STUN.WhatsAppCall", "VoIP", "voip", "WhatsApp"),
        ("WhatsApp", "Chat", "chat", "WhatsApp"),
        ("Zoom", "Video", "voip", "Zoom"),
        ("DNS.Facebook", "Network", "infrastructure", "DNS"),
        ("NetBIOS.SMBv1", "System", "file_transfer", "CIFS"),
        ("SMTPS.Google", "Email", "email", "SMTP"),
        ("BitTorrent", "Download", "p2p", "BitTorrent"),
        ("DNP3", "IoT-Scada", "industrial", "DNP3"),
        # A protocol that carries anything is no application.
        ("TLS", "Web", None, None),
        ("HTTP", "Streaming", None, None),
        ("QUIC", "Web", None, None),
        ("Unknown", "Unspecified", None, None),
        ("DTLS", "Network", None, None),
        # Which of its services it is, nothing says.
        ("TLS.Teams", "Collaborative", None, "Teams"),
    ],
)
def test_ndpi_names_become_services_and_applications(name, category, service, application):
    found = TAXONOMY.labels(capture(), ndpi(name, category))
    assert (found.service, found.application) == (service, application)
    assert (found.service_by, found.application_by) == tuple(
        "protocol" if each else "" for each in (service, application)
    )


def test_a_server_is_what_its_name_says_before_all_else():
    """Not what its protocol's owner is known for, nor what the capture shows."""
    video = capture("benign", "streaming", "youtube", "0")
    page = named(video, ndpi("TLS.YouTube", "Media", server_name="www.youtube.com"))
    assert page == Labels("web", "YouTube", False, None, "name", "name", 1)
    found = named(capture("benign", "web", "x", "0"), ndpi("QUIC.YouTube", "Media", server_name="r1.googlevideo.com"))
    assert found == Labels("streaming", "YouTube", False, None, "name", "name", 2)


def test_what_the_name_leaves_open_the_protocol_says():
    found = named(capture("benign", "web", "x", "0"), ndpi("TLS.Google", server_name="tracker.example"))
    assert found == Labels(None, "Google", False, None, "", "protocol", 1)
    assert named(capture(), ndpi("SSH", "RemoteAccess")).service_by == "protocol"


def test_a_question_for_a_name_is_no_flow_to_that_server():
    found = named(capture("benign", "streaming", "youtube", "0"),
                  ndpi("DNS.YouTube", "Network", server_name="r1.googlevideo.com"))  # fmt: skip
    assert (found.service, found.application, found.service_by) == ("infrastructure", "DNS", "protocol")


@pytest.mark.parametrize("name", ["SSH", "TLS.Google", "TLS.Facebook", "QUIC.YouTube", "TLS.WindowsUpdate"])
def test_what_ndpi_guessed_from_an_address_or_a_port_names_nothing(name):
    found = TAXONOMY.labels(capture(), ndpi(name, "Web", guessed=True))
    assert (found.service, found.application, found.malicious) == (None, None, None)


@pytest.mark.parametrize(("others", "expected"), [
    (("www.youtube.com",), ("web", "YouTube")), (("www.youtube.com", "shop.example"), ("web", None)),
    # What they say not alike is not said; nor is it then what the capture is of.
    (("r1.googlevideo.com", "www.youtube.com"), (None, "YouTube")), (("shop.example", "nobody.example"), (None, None)),
    (("tracker.example",), (None, None)),
    # Nothing is known of these.
    (("nobody.example",), ("voip", "Skype")), ((), ("voip", "Skype")),
])  # fmt: skip
def test_a_server_is_known_by_the_names_that_others_have_for_it(others, expected):
    flow = FlowName("TLS", "Web", False, "", 6, (50000, 443), 10**6, others)
    found = named(capture("benign", "voip", "Skype", "0"), flow)
    assert (found.service, found.application) == expected
    assert not found.service or found.service_by == ("capture" if expected[0] == "voip" else "name")


def test_a_capture_of_one_thing_names_what_name_and_protocol_leave_open():
    camera = capture("benign", "iot", "EdimaxCam1", "0")
    plain = Labels("iot", None, False, None, "capture")
    for flow in (ndpi("HTTP"), ndpi("Unknown", "Unspecified")):
        assert named(camera, flow) == plain
    assert not named(camera, None).service, "what nDPI has not seen may be anything"
    assert named(capture("benign", "streaming", "youtube", "0"), ndpi("QUIC")) == Labels(
        "streaming", "YouTube", False, None, "capture", "capture", 2
    )
    assert named(camera, ndpi("DNS", "Network")).service == "infrastructure"


@pytest.mark.parametrize(("given", "application"), [
    ("youtube", "YouTube"), ("Gmail", "GMail"), ("SFTP", "SSH"), ("Skype", "Skype"), ("mumble", "Mumble"),
    ("Microsoft Teams", "Teams"), ("Tencent Meeting (VooV, wemeet)", "Tencent Meeting"), ("webex", "Webex"),
    ("HTTPS", None), ("Edimax Camera", None),
])  # fmt: skip
def test_applications_as_captures_and_series_name_them_become_ours(given, application):
    assert TAXONOMY.of_series(capture("benign", "voip", given, "0")) == ("voip", application)


def test_background_of_a_capture_is_not_what_the_capture_is_of():
    video = capture("benign", "streaming", "youtube", "0")
    for flow in (
        ndpi("TLS.Facebook", "SocialNetwork"),
        ndpi("TLS", server_name="shop.example"),
        ndpi("TLS", server_name="tracker.example"),  # known, but as nothing
        ndpi("SSH", "RemoteAccess", guessed=True),
    ):
        found = named(video, flow)
        assert found.service != "streaming" and found.application != "YouTube", flow
    assert named(video, ndpi("RTSP", "Streaming", guessed=True)).service == "streaming", "the guess agrees"


@pytest.mark.parametrize(("about", "flow", "service"), [
    # Too little for a film; a gigabyte is enough.
    (("streaming", "YouTube"), FlowName("QUIC", "Web", False, "", 17, (50000, 443), 9_000), None),
    (("streaming", "YouTube"), FlowName("QUIC", "Web", False, "", 17, (50000, 443), 10**9), "streaming"),
    # Programs' own ports, and a program that talks to itself.
    (("streaming", "YouTube"), FlowName("Unknown", "", False, "", 17, (5353, 5353), 10**9), "infrastructure"),
    (("voip", "Zoom"), FlowName("TLS", "Web", False, "", 6, (50000, 8009), 10**6), "iot"),
    (("iot", "MQTT"), FlowName("Unknown", "", False, "", 6, (40001, 40002), 10**6), None),
    (("remote_access", "SSH"), FlowName("Unknown", "", False, "", 17, (50000, 9999), 10**6), None),
    (("remote_access", "Telnet"), FlowName("HTTP", "Web", False, "", 6, (50000, 80), 10**6), None),
    (("chat", "WhatsApp"), FlowName("STUN", "Network", False, "", 17, (50000, 3478), 10**6), "voip"),
])  # fmt: skip
def test_what_a_capture_is_of_is_not_said_of_what_can_not_be_that(about, flow, service):
    assert named(capture("benign", *about, "0"), flow).service == service


@pytest.mark.parametrize("about", [
    capture(), capture("benign", "see result", "x", "0"), capture("malicious", "iot", "MQTT", "1"),
    capture("malicious", "web", "x", "mixed"),
])  # fmt: skip
def test_a_capture_of_several_things_or_of_an_attack_names_no_service(about):
    assert named(about, ndpi("HTTP")).service is None


def test_mining_is_a_service_and_not_known_to_be_malicious():
    mining = capture("benign", "mining", "cgminer", "unknown")
    assert TAXONOMY.labels(mining, ndpi("TLS", "Web")) == Labels("crypto_currency", None, None, None, "capture", "", 1)


@pytest.mark.parametrize(("name", "transport"), [
    ("HTTP", "other"), ("DNS.DoH_DoT", "other"), ("TLS.YouTube", "TLS"), ("QUIC", "QUIC"), ("SSH", "other encrypted"),
    ("DTLS.SRTP", "other encrypted"), ("IMAPS", "other encrypted"),
])  # fmt: skip
def test_flows_are_told_apart_by_what_can_be_read_of_them_even_by_a_guess(name, transport):
    assert TRANSPORTS[TAXONOMY.labels(capture(), ndpi(name, guessed=True)).transport] == transport


@pytest.mark.parametrize(
    ("path", "flow", "expected"),
    [
        ("ndpi/ssh.pcap.zst", ndpi("SSH", "RemoteAccess"), False),
        ("ndpi/443-chrome.pcap.zst", ndpi("TLS"), False),
        ("ndpi/ssh.pcap.zst", ndpi("SSH", "RemoteAccess", guessed=True), None),
        ("ndpi/ssh.pcap.zst", ndpi("Unknown", "Unspecified"), None),
        ("ndpi/ssh.pcap.zst", None, None),
        ("ndpi/emotet.pcap.zst", ndpi("HTTP"), None),
        ("ndpi/synscan.pcap.zst", ndpi("SSH", "RemoteAccess"), None),
    ],
)
def test_what_is_recognised_in_a_demonstration_is_harmless_unless_it_may_show_an_attack(path, flow, expected):
    assert TAXONOMY.malicious(capture(path=path), flow) is expected


def test_mixed_captures_are_not_labelled():
    found = named(capture("mixed", "web", "tls", "0"), ndpi("TLS.YouTube", "Media", server_name="www.youtube.com"))
    assert not found and found == Labels(transport=1)


MALWARE = capture("malicious", "malware", "emotet", "1", "malicious/emotet.pcap.zst")


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("SSDP", "System"),
        ("LLMNR", "Network"),
        ("NetBIOS", "System"),
        ("MDNS", "Network"),
        ("DNS", "Network"),
        ("DNS.Microsoft", "Network"),
        ("TLS.WindowsUpdate", "SoftwareUpdate"),
        ("TLS.Microsoft365", "Collaborative"),
        ("QUIC.Google", "Web"),
        ("HTTP.OCSP", "Network"),
        ("Kerberos", "Network"),
    ],
)
@pytest.mark.parametrize("guessed", [False, True])
def test_a_hosts_ordinary_business_is_not_labelled_malicious(name, category, guessed):
    assert TAXONOMY.malicious(MALWARE, ndpi(name, category, guessed)) is None


@pytest.mark.parametrize("name", ["HTTP", "TLS", "Unknown", "SMTP", "SMBv1", "FTP_CONTROL"])
def test_what_remains_of_a_malicious_capture_is_malicious(name):
    assert TAXONOMY.malicious(MALWARE, ndpi(name)) is True


@pytest.mark.parametrize(("server", "expected"), [
    ("ctldl.windowsupdate.com", False), ("ocsp.digicert.com", False),
    # Servers that are known are not the attacker's; but who runs what is on these may be.
    ("shop.example", None), ("drive.google.com", None),
    ("evil.example", True),
])  # fmt: skip
def test_background_of_malware_is_harmless_only_at_servers_that_no_attacker_runs(server, expected):
    found = named(MALWARE, ndpi("TLS", server_name=server))
    assert found.malicious is expected and found.kind == ("command_and_control" if expected else None)
    assert found.service == SERVERS.get(server, (None,))[0], "it is labelled as anywhere"


@pytest.mark.parametrize(("about", "name", "expected"), [
    (("malware", "infection"), "NetBIOS.SMBv23", None), (("c2", "empire"), "SMBv23", None),
    # The older version is what worms spread by; and what is under other words is an attack by it.
    (("malware", "infection"), "NetBIOS.SMBv1", True), (("lateral_movement", "psexec"), "NetBIOS.SMBv23", True),
    (("scan", "nmap"), "NetBIOS.SMBv23", True), (("credential_access", "mimikatz"), "NetBIOS.SMBv23", True),
])  # fmt: skip
def test_a_domain_members_files_are_its_own_business_beside_malware(about, name, expected):
    flow = FlowName(name, "System", False, "", 6, (50000, 445))
    assert TAXONOMY.malicious(capture("malicious", *about, "1"), flow) is expected


@pytest.mark.parametrize(("application", "name", "expected"), [
    ("Facebook Messenger", "STUN.WhatsAppCall", ("Messenger", "capture")),
    ("Facebook Messenger", "STUN", ("Messenger", "capture")),
    ("WhatsApp", "STUN.WhatsAppCall", ("WhatsApp", "protocol")),
    ("Zoom", "STUN.WhatsAppCall", ("WhatsApp", "protocol")),
])  # fmt: skip
def test_a_messengers_calls_are_its_own_where_ndpi_takes_them_for_its_sisters(application, name, expected):
    found = named(capture("benign", "voip", application, "0"), ndpi(name, "VoIP", server_name=""))
    assert (found.service, found.application, found.application_by) == ("voip", *expected)


def test_what_a_servers_name_says_stands_against_the_capture_of_a_sister():
    servers = {"calls.example": ("voip", "WhatsApp", True)}
    about = capture("benign", "voip", "Facebook Messenger", "0")
    found = TAXONOMY.labels(about, ndpi("STUN.WhatsAppCall", "VoIP", server_name="calls.example"), servers.get)
    assert (found.application, found.application_by) == ("WhatsApp", "name")


def test_a_word_within_a_files_checksum_is_no_kind():
    for file, kind in (("64a1d0df748b1c2.pcap.zst", "exploit"), ("cryptowall4_c2.pcap.zst", "command_and_control")):
        about = capture("malicious", "exploit_kit", "x", "1", f"malicious/{file}")
        assert TAXONOMY.kind(about) == kind


def test_a_flow_that_ndpi_has_not_seen_is_in_doubt():
    assert TAXONOMY.malicious(MALWARE, None) is None


def test_an_attack_over_a_background_protocol_is_an_attack():
    tunnel = capture("malicious", "exfil_tunnel", "dnscat2", "1")
    found = TAXONOMY.labels(tunnel, ndpi("DNS", "Network"))
    assert (found.malicious, found.kind) == (True, "tunnel")
    assert TAXONOMY.malicious(tunnel, ndpi("SSDP", "System")) is None
    assert TAXONOMY.malicious(capture("malicious", "lateral_movement", "x", "1"), ndpi("Kerberos", "Network")) is True


def test_malwares_http_does_not_teach_what_web_is():
    assert TAXONOMY.labels(MALWARE, ndpi("HTTP")) == Labels(None, None, True, "command_and_control")
    assert TAXONOMY.labels(MALWARE, ndpi("DNS", "Network")) == Labels(
        "infrastructure", "DNS", None, None, "protocol", "protocol"
    )


def test_captures_of_attack_beside_background_say_neither():
    assert TAXONOMY.malicious(capture("malicious", "c2_lateral", "empire", "mixed"), ndpi("HTTP")) is None


@pytest.mark.parametrize(("about", "kind"), [
    (("dos", "slowloris"), "denial_of_service"), (("bruteforce", "ssh"), "brute_force"), (("scan", "nmap"), "scan"),
    (("exfil_tunnel", "dnscat2"), "tunnel"), (("lateral_movement", "psexec"), "exploit"),
    (("c2", "x"), "command_and_control"),
    # The service says nothing of it, the application does.
    (("web", "DVWA"), "web_attack"), (("see result", "log4shell"), "exploit"), (("web", "HTTP"), None),
])  # fmt: skip
def test_an_attack_is_of_the_kind_that_its_captures_labels_tell(about, kind):
    attack = capture("malicious", *about, "1")
    assert TAXONOMY.labels(attack, ndpi("HTTP")).kind == kind and kind in (*TAXONOMY.kinds, None)


def test_what_is_harmless_or_in_doubt_has_no_kind():
    for malicious in ("0", "unknown", "mixed"):
        assert TAXONOMY.labels(capture("x", "scan", "nmap", malicious), ndpi("HTTP")).kind is None


def test_copies_that_are_called_different_things_are_in_doubt():
    one = Labels("web", "Google", True, "scan", "name", "name", 1)
    assert agreed([one, Labels("chat", "Google", True, None, "capture", "protocol")]) == Labels(
        None, "Google", True, "scan", "", "name", 1
    )
    assert agreed([Labels(), one]) == one
    assert agreed([one, Labels(malicious=False)]).kind is None, "whether it is malicious is in doubt"


def test_a_taxonomy_that_contradicts_itself_is_refused(tmp_path):
    path, tables = tmp_path / "taxonomy.yaml", yaml.safe_load(SHIPPED.read_text())
    for table, entry in (
        ("categories", {"Email": "emial"}),
        ("settled", {"RDP": "emial"}),
        ("captures", {"x": "emial"}),
        ("applications", {"GMail": {"services": ["emial"]}}),
    ):
        path.write_text(yaml.safe_dump(tables | {table: entry}))
        with pytest.raises(TaxonomyError, match="'emial'"):
            Taxonomy(path)
    path.write_text(yaml.safe_dump(tables | {"beside": {"scam": []}}))
    with pytest.raises(TaxonomyError, match="'scam'"):
        Taxonomy(path)
    for entry in ({"nams": ["TLS"]}, {"protocol": "ucp"}):
        path.write_text(yaml.safe_dump(tables | {"beside": {"scan": [entry]}}))
        with pytest.raises(TaxonomyError, match="not a taxonomy"):
            Taxonomy(path)
    path.write_text(yaml.safe_dump(tables | {"kinds": {"scan": ["("]}}))
    with pytest.raises(TaxonomyError, match="not a taxonomy"):
        Taxonomy(path)
    path.write_text("services: [")
    with pytest.raises(TaxonomyError, match="not a taxonomy"):
        Taxonomy(path)
    with pytest.raises(TaxonomyError, match="No such file"):
        Taxonomy(tmp_path / "none.yaml")


def test_the_table_of_servers_names_the_services_that_there_are():
    assert {answer.service for answer in servers.shipped().answers} <= {None, *TAXONOMY.services}


@pytest.mark.parametrize(("name", "ports", "kind", "malicious"), [
    ("NetBIOS", (50000, 139), "lateral_movement", None), ("NetBIOS", (50000, 445), "lateral_movement", True),
    ("NetBIOS.SMBv1", (50000, 139), "lateral_movement", True), ("LDAP", (50000, 389), "lateral_movement", None),
    ("LDAP", (50000, 389), "credential_access", True),
])  # fmt: skip
def test_what_a_domains_member_says_to_its_controller_is_no_attack(name, ports, kind, malicious):
    flow = FlowName(name, "Network", False, "", 6, ports)
    assert TAXONOMY.malicious(capture("malicious", kind, "x", "1"), flow) is malicious


@pytest.mark.parametrize(("path", "flow", "malicious"), [
    # It reads its group policy; what is executed by SMB is larger.
    ("a/wmi_query.pcap", FlowName("SMBv23", "System", False, "", 6, (50000, 445), 8_000), None),
    ("a/wmi_query.pcap", FlowName("NetBIOS.SMBv23", "System", False, "", 6, (50000, 445), 8_000), None),
    ("a/wmi_query.pcap", FlowName("SMBv23", "System", False, "", 6, (50000, 445), 80_000), True),
    ("a/psexec.pcap", FlowName("SMBv23", "System", False, "", 6, (50000, 445), 8_000), True),
    ("a/wmi_query.pcap", FlowName("SMBv23", "System", False, "", 6, (50000, 445)), True),  # of no known size
    # NETLOGON on a port that Windows chose; the attack's own calls are larger, or are made to it.
    ("a/psexec.pcap", FlowName("DCERPC", "RPC", False, "", 6, (50000, 49667), 1_200), None),
    ("a/psexec.pcap", FlowName("DCERPC", "RPC", False, "", 6, (50000, 49667), 6_000), True),
    ("a/psexec.pcap", FlowName("DCERPC", "RPC", False, "", 6, (50000, 135), 1_200), True),
    ("a/CVE-2020-1472.pcap", FlowName("DCERPC", "RPC", False, "", 6, (50000, 49667), 1_200), True),
])  # fmt: skip
def test_a_members_own_calls_and_files_are_told_by_their_size(path, flow, malicious):
    assert TAXONOMY.malicious(capture("malicious", "lateral_movement", "x", "1", path), flow) is malicious


@pytest.mark.parametrize("name", ["SMBv23", "SMBv1", "NetBIOS.SMBv23", "NetBIOS", "SSH", "TLS"])
def test_beside_an_attack_on_a_web_server_files_are_the_hosts_own_however_spelled(name):
    flow = FlowName(name, "System", False, "", 6, (50000, 445))
    assert TAXONOMY.malicious(capture("malicious", "web_attack", "sqlmap", "1"), flow) is None


def test_captures_of_attacks_on_web_servers_hold_none_by_udp():
    made = capture("malicious", "web_attack", "webshell", "1", "attack/webshell.pcap")
    assert TAXONOMY.kind(made) == "web_attack"
    assert TAXONOMY.malicious(made, FlowName("Unknown", "Unspecified", True, "", 17, (50000, 9001))) is None
    assert TAXONOMY.malicious(made, FlowName("HTTP", "Web", False, "", 6, (50000, 80))) is True
    assert TAXONOMY.kind(made, FlowName("Unknown", "Unspecified", True, "", 6, (50000, 4444))) == "command_and_control"


@pytest.mark.parametrize(("name", "of", "application"), [
    ("STUN", "SIP", None), ("DTLS", "SIP", None), ("Unknown", "SIP", "SIP"), ("Unknown", "Kerberos", None),
    ("STUN.TeamsCall", "Skype", "Skype"), ("STUN.TeamsCall", "Microsoft Teams", "Teams"),
])  # fmt: skip
def test_what_is_beside_an_application_in_its_captures_is_not_it(name, of, application):
    made = capture("benign", "voip" if of != "Kerberos" else "auth", of, "0")
    flow = FlowName(name, "VoIP", False, "", 17, (50000, 50002), 10_000)
    assert TAXONOMY.labels(made, flow).application == application
