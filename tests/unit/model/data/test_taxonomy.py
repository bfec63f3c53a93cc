import pytest

from mmtt_model.data.labels import CaptureLabels, FlowName, Labels, Taxonomy, TaxonomyError

TAXONOMY = Taxonomy()


def capture(group="ndpi", service="see result", application="see result", malicious="unknown", path="x.pcap.zst"):
    return CaptureLabels(path, group, service, application, malicious)


def ndpi(name, category="Web", guessed=False, server_name="example.org"):
    return FlowName(name, category, guessed, server_name)


@pytest.mark.parametrize(
    ("name", "category", "service", "application"),
    [
        ("TLS.YouTube", "Media", "streaming", "YouTube"),
        ("QUIC.YouTubeUpload", "Media", "streaming", "YouTube"),
        ("STUN.WhatsAppCall", "VoIP", "voip", "WhatsApp"),
        ("WhatsApp", "Chat", "chat", "WhatsApp"),
        ("Zoom", "Video", "voip", "Zoom"),
        ("DNS.Facebook", "Network", "infrastructure", "DNS"),
        ("NetBIOS.SMBv1", "System", "file_transfer", "CIFS"),
        ("SMTPS.Google", "Email", "email", "SMTP"),
        ("BitTorrent", "Download", "p2p", "BitTorrent"),
        ("DNP3", "IoT-Scada", "industrial", "DNP3"),
        # A protocol that carries anything is no application.
        ("TLS", "Web", "web", None),
        ("HTTP", "Streaming", "streaming", None),
        ("QUIC", "Web", "web", None),
        ("Unknown", "Unspecified", None, None),
        ("DTLS", "Network", None, None),
        # Which of its services it is, nothing says.
        ("TLS.Teams", "Collaborative", None, "Teams"),
    ],
)
def test_ndpi_names_become_services_and_applications(name, category, service, application):
    found = TAXONOMY.labels(capture(), ndpi(name, category))
    assert (found.service, found.application) == (service, application)


def test_what_ndpi_guessed_is_no_label():
    assert TAXONOMY.labels(capture(), ndpi("SSH", "RemoteAccess", guessed=True)) == Labels()


def test_tls_without_a_server_name_may_be_anything():
    assert TAXONOMY.labels(capture(), ndpi("TLS", server_name="")).service is None


def test_a_captures_service_counts_where_ndpi_knows_only_the_protocol():
    camera = capture("benign", "iot", "EdimaxCam1", "0")
    assert TAXONOMY.labels(camera, ndpi("HTTP")) == Labels("iot", None, False)
    assert TAXONOMY.labels(camera, ndpi("Unknown", "Unspecified")) == Labels("iot", None, False)
    assert TAXONOMY.labels(camera, None) == Labels("iot", None, False)
    assert TAXONOMY.labels(camera, ndpi("DNS", "Network")) == Labels("infrastructure", "DNS", False)


def test_mining_is_a_service_and_not_known_to_be_malicious():
    mining = capture("benign", "mining", "cgminer", "unknown")
    assert TAXONOMY.labels(mining, ndpi("TLS", "Web")) == Labels("crypto_currency", None, None)


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
    assert TAXONOMY.labels(capture("mixed", "web", "tls", "0"), ndpi("TLS.YouTube", "Media")) == Labels()


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


@pytest.mark.parametrize("name", ["HTTP", "TLS", "Unknown", "SMTP", "SMBv23", "FTP_CONTROL"])
def test_what_remains_of_a_malicious_capture_is_malicious(name):
    assert TAXONOMY.malicious(MALWARE, ndpi(name)) is True


def test_a_flow_that_ndpi_has_not_seen_is_in_doubt():
    assert TAXONOMY.malicious(MALWARE, None) is None


def test_an_attack_over_a_background_protocol_is_an_attack():
    tunnel = capture("malicious", "exfil_tunnel", "dnscat2", "1")
    assert TAXONOMY.labels(tunnel, ndpi("DNS", "Network")) == Labels(None, None, True)
    assert TAXONOMY.malicious(tunnel, ndpi("SSDP", "System")) is None
    assert TAXONOMY.malicious(capture("malicious", "lateral_movement", "x", "1"), ndpi("Kerberos", "Network")) is True


def test_malwares_http_does_not_teach_what_web_is():
    assert TAXONOMY.labels(MALWARE, ndpi("HTTP")) == Labels(None, None, True)
    assert TAXONOMY.labels(MALWARE, ndpi("DNS", "Network")) == Labels("infrastructure", "DNS", None)


def test_captures_of_attack_beside_background_say_neither():
    assert TAXONOMY.malicious(capture("malicious", "c2_lateral", "empire", "mixed"), ndpi("HTTP")) is None


def test_a_taxonomy_that_contradicts_itself_is_refused(tmp_path):
    text = "services: {web: x}\ngeneric: {TLS: web}\ncarries: {}\ncategories: {Email: email}\ncaptures: {}\n"
    path = tmp_path / "taxonomy.yaml"
    path.write_text(
        text + "background: {}\nattack_vectors: []\ndemonstrations: {groups: [], doubtful: []}\napplications: {}\n"
    )
    with pytest.raises(TaxonomyError, match="'email'"):
        Taxonomy(path)
    path.write_text("services: [")
    with pytest.raises(TaxonomyError, match="not a taxonomy"):
        Taxonomy(path)
    with pytest.raises(TaxonomyError, match="No such file"):
        Taxonomy(tmp_path / "none.yaml")
