"""What a server's name says: by the tables, by its role, by default; and how often that is right."""

import csv
from pathlib import Path

import pytest
from places import ROOT

from mmtt_agent import servers
from mmtt_agent.servers import Answer, Servers, ServersError, named, own_domains, shipped

JUDGED = ROOT.parent / "shared" / "data" / "hosts.tsv"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("rr3---sn-4g5e6nez.googlevideo.com", ("streaming", "YouTube")),
        ("www.youtube.com", ("web", "YouTube")),
        ("mmg.whatsapp.net", ("chat", "WhatsApp")),
        ("gateway.discord.gg", ("chat", "Discord")),
        ("discord.com", ("web", "Discord")),
        ("mail.google.com", ("email", "GMail")),
        ("www.google.co.uk", ("web", "Google")),
        ("www.amazon.de", ("web", "Amazon")),
        ("scontent-fra3-1.xx.fbcdn.net", ("social", "Facebook")),
        ("audio-fa.scdn.co", ("streaming", "Spotify")),
        ("archive.ubuntu.com", ("software_update", "Ubuntu")),
        ("mask.icloud.com", ("tunnel", "iCloud Private Relay")),
    ],
)
def test_products_that_people_know(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("ocsp.nobody-knows.example.org", ("infrastructure", "OCSP")),
        ("stun2.nobody-knows.net", ("voip", None)),
        ("imap2.nobody-knows.co.uk", ("email", None)),
        ("vpn.nobody-knows.de", ("tunnel", None)),
        ("bbb.nobody-knows.edu", ("voip", None)),
        ("mp3.nobody-knows.de", ("streaming", None)),
        ("conference.jabber.nobody-knows.org", ("chat", None)),
        ("downloads.nobody-knows.org", ("file_transfer", None)),
        ("update.nobody-knows.org", ("software_update", None)),
        ("update.dell.com", ("software_update", "Dell")),
        ("update.org", ("web", None)),
        ("www.nobody-knows.org", ("web", None)),
        ("xn--bcher-kva.example.com", ("web", None)),
        ("bücher-laden.de", ("web", None)),
    ],
)
def test_roles_and_what_is_left(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        # Prices and events stream, too.
        ("stream.binance.com", ("web", "Binance")),
        ("stream.bybit.com", ("web", "Bybit")),
        ("stream.wikimedia.org", ("web", "Wikipedia")),
        ("clientstream.launchdarkly.com", ("web", None)),
        # Whose it is delivers sound or pictures, or another label says that it does.
        ("live10p.hotstar.com", ("streaming", "Hotstar")),
        ("video.hotstar.com", ("streaming", "Hotstar")),
        ("live.twitch.tv", ("streaming", "Twitch")),
        ("cdnt-stream.dzcdn.net", ("streaming", "Deezer")),
        ("cdns-preview-d.dzcdn.net", ("streaming", "Deezer")),
        ("stream.nobody-knows.fm", ("streaming", None)),
        ("live2.radio-nobody-knows.org", ("streaming", None)),
        ("a.rtmp.nobody-knows.org", ("streaming", None)),
        # A page about what is on.
        ("live.bilibili.com", ("web", "Bilibili")),
        # Companies of more than media; one that sings not; letters of a country in a name that is known.
        ("live.cnn.com", ("web", "CNN")),
        ("stream.cloudflare.com", ("web", "Cloudflare")),
        ("live.steampowered.com", ("web", "Steam")),
        ("live.songkick.com", (None, None)),
        ("stream.fox.tv", ("web", "Fox")),
        ("live.radio.fox.tv", ("streaming", "Fox")),
        # Nothing says.
        ("stream.nobody-knows.org", (None, None)),
        ("live.xn--80atv.org", (None, None)),
    ],
)
def test_a_stream_is_of_media_only_where_something_else_says_so(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("site", "application", "service", "own"),
    [
        ("telegram.org", "Telegram", "chat", "149-154-167-91.telegram.org"),
        ("signal.org", "Signal", "chat", "chat.signal.org"),
        ("matrix.org", "Element", "chat", "matrix-client.matrix.org"),
        ("line.me", "LINE", "chat", "access.line.me"),
        ("webex.com", "Webex", "voip", "idbroker.webex.com"),
        ("linphone.org", "Linphone", "voip", "sip.linphone.org"),
        ("anydesk.com", "AnyDesk", "remote_access", "relay-1a2b.net.anydesk.com"),
        ("1fichier.com", "1fichier", "file_transfer", "a-12.1fichier.com"),
    ],
)
def test_the_site_of_a_service_is_web_and_its_own_hosts_are_not(site, application, service, own):
    assert named(site) == named(f"www.{site}") == ("web", application)
    assert named(own) == (service, application)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("session.minecraft.net", ("gaming", "Minecraft")),
        ("ws.push.samsung.com", ("infrastructure", "Samsung")),
        ("cluster0-shard-00-00.abcde.mongodb.net", ("database", "MongoDB")),
        # Pages to search in; holidays; programs.
        ("packages.debian.org", ("web", "Debian")),
        ("packages.expedia.com", ("web", "Expedia")),
        ("packages.gitlab.com", ("software_update", "GitLab")),
    ],
)
def test_hosts_beside_a_companys_pages(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        # Faults and visitors are tracked, ore is mined, and states have departments of transportation.
        ("tracker.debian.org", ("web", "Debian")),
        ("tracker.nobody-knows.org", (None, None)),
        ("packages.nobody-knows.org", (None, None)),
        ("mining.nobody-knows.com", (None, None)),
        ("remote.nobody-knows.com", (None, None)),
        ("dot.ca.gov", ("web", None)),
        # Mail is exchanged, and so are currencies.
        ("exchange.nobody-knows.org", ("email", None)),
        ("exchange.coinbase.com", ("web", "Coinbase")),
        ("stratum.nobody-knows.org", ("crypto_currency", None)),
        ("npm.pkg.github.com", ("file_transfer", "GitHub")),
    ],
)
def test_a_word_that_means_several_things_is_no_role(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("www.clamav.net", ("web", "ClamAV")),
        ("database.clamav.net", ("software_update", "ClamAV")),
        ("console.wasabisys.com", ("web", "Wasabi")),
        ("s3.eu-central-1.wasabisys.com", ("file_transfer", "Wasabi")),
        ("docs.rustdesk.com", ("web", "RustDesk")),
        ("rs-ny.rustdesk.com", ("remote_access", "RustDesk")),
        ("forum.hypixel.net", ("web", "Hypixel")),
        ("support.arlo.com", ("web", "Arlo")),
        # A program's own hosts count where it is for talking, playing or devices, and not where content is moved.
        ("api.arlo.com", ("iot", "Arlo")),
        ("api.plutotv.net", ("web", "Pluto TV")),
        ("images.plutotv.net", ("web", "Pluto TV")),
        ("siloh-fs.plutotv.net", ("streaming", "Pluto TV")),
        # Whose a page of a public resolver is, DoH is no word for.
        ("www.quad9.net", ("web", None)),
        ("dns11.quad9.net", ("infrastructure", "DoH")),
        # A social network's pages are social; webmail and checks of being on line begin with `www.`.
        ("www.facebook.com", ("social", "Facebook")),
        ("www.gmail.com", ("email", "GMail")),
        ("www.msftconnecttest.com", ("infrastructure", "Microsoft")),
        # Only the label right before, and not of names of one label, which are others' sites.
        ("www.cdn.somewhere.plutotv.net", ("streaming", "Pluto TV")),
        ("docs.abcdefgh.onion", ("tunnel", "Tor")),
    ],
)
def test_the_pages_of_a_service_that_is_not_web(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("ep-cool-1234.us-east-2.aws.neon.tech", ("database", "Neon")),
        ("console.neon.tech", ("web", "Neon")),
        ("abc.eu-central-1.aws.clickhouse.cloud", ("database", "ClickHouse")),
        ("console.clickhouse.cloud", ("web", "ClickHouse")),
        ("free-tier.aws-eu-west-1.cockroachlabs.cloud", ("database", "CockroachDB")),
        ("cockroachlabs.cloud", ("web", "CockroachDB")),
        ("mydb.c9ak.eu-west-1.rds.amazonaws.com", ("database", "AWS")),
        ("rds.eu-west-1.amazonaws.com", ("web", "AWS")),
        ("app.redislabs.com", ("web", "Redis")),
        ("redis-1.c1.ec2.cloud.redislabs.com", ("database", "Redis")),
        ("app.snowflake.com", ("web", "Snowflake")),
        ("deb.nodesource.com", ("software_update", "Node.js")),
        ("www.nodesource.com", ("web", "NodeSource")),
        ("www.nicehash.com", ("web", "NiceHash")),
        ("kawpow.auto.nicehash.com", ("crypto_currency", "NiceHash")),
        ("www.messagelabs.com", ("web", None)),
        ("cluster5.eu.messagelabs.com", ("email", None)),
        ("www.f2pool.com", ("web", None)),
    ],
)
def test_a_service_that_is_rented_and_the_site_where_it_is(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-3", "ap-northeast-2"])
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("gamelift.{}.amazonaws.com", ("gaming", None)),
        ("a1b2-ats.iot.{}.amazonaws.com", ("iot", "AWS")),
        ("bucket.s3.{}.amazonaws.com", (None, "AWS")),
        ("bucket.s3-website.{}.amazonaws.com", ("web", "AWS")),
        ("1234.dkr.ecr.{}.amazonaws.com", ("file_transfer", "AWS")),
        ("balancer-1.{}.elb.amazonaws.com", (None, None)),
        ("x.mediapackage.{}.amazonaws.com", ("streaming", None)),
        ("bucket.oss-{}.aliyuncs.com", ("file_transfer", "Alibaba Cloud")),
        ("bucket.cos.{}.myqcloud.com", ("file_transfer", "Tencent")),
    ],
)
def test_a_clouds_service_is_the_same_in_every_region(name, answer, region):
    assert named(name.format(region)) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("user-profile.ar.indazn.com", ("web", "DAZN")),
        ("dc1-live.cdn.indazn.com", ("streaming", "DAZN")),
        ("api-singtelhawk.quickplay.com", ("web", None)),
        ("vod-anybody.quickplay.com", ("streaming", None)),
        ("msg.video.qiyi.com", ("web", "iQIYI")),
        ("meta.video.qiyi.com", ("streaming", "iQIYI")),
        ("cms.megaphone.fm", ("web", None)),
        ("traffic.megaphone.fm", ("streaming", None)),
        ("www.dacast.com", ("web", None)),
        ("cp45414.edgefcs.net", ("streaming", None)),
        ("wdradaptiv-vh.akamaihd.net", ("streaming", None)),
        ("wdr-1live.icecastssl.wdr.de", ("streaming", None)),
    ],
)
def test_of_a_streaming_company_only_what_delivers_is_streaming(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("plus.google.com", ("social", "Google+")),
        ("googleplus.com", ("social", "Google+")),
        ("chat-pa.clients6.google.com", ("chat", "Google Chat")),
        ("cloudconsole-pa.clients6.google.com", ("web", "Google Cloud")),
        ("people-pa.clients6.google.com", ("web", "Google")),
        ("r8---sn-nhpax-ua8s.c.pack.google.com", ("software_update", "Google")),
        ("cache.pack.google.com", ("software_update", "Google")),
        ("lh5.ggpht.com", ("web", "Google")),
        ("yt3.ggpht.com", ("web", "YouTube")),
        ("geo2.ggpht.com", ("web", "Google Maps")),
        ("om.cbsi.com", ("web", "CBS")),
        ("www.paramountplus.com", ("web", "Paramount+")),
        ("www.badoo.com", ("social", "Badoo")),
        ("www.bumble.com", ("social", "Bumble")),
        ("www.venmo.com", ("web", "Venmo")),
    ],
)
def test_sisters_of_one_company_are_told_apart(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        # Programs, where the company is known.
        ("downloads.raspberrypi.com", ("software_update", "Raspberry Pi")),
        ("download7.hp.com", ("software_update", "HP")),
        ("repo.ubuntu.com", ("software_update", "Ubuntu")),
        ("downloads.nobody-knows.org", ("file_transfer", None)),
        ("repo.nobody-knows.org", (None, None)),
        # Updates and calls of what is a device, plays or talks.
        ("ota.shelly.cloud", ("software_update", "Shelly")),
        ("patch.pathofexile.com", ("software_update", "Path of Exile")),
        ("turn.matrix.org", ("voip", "Element")),
        ("mail.matrix.org", ("chat", "Element")),
        ("api.push.apple.com", ("infrastructure", "Apple")),
    ],
)
def test_downloads_and_updates_of_a_company_that_is_known(name, answer):
    assert named(name) == answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("www.netflix.com.edgekey.net", ("web", "Netflix")),
        ("swcdn.apple.com.akadns.net", ("software_update", "Apple")),
        ("ocsp.digicert.com.edgesuite.net.", ("infrastructure", "OCSP")),
        # Somebody's of whom nothing is known; a name with a meaning of its own.
        ("www.nobody-knows.com.edgekey.net", ("web", "Akamai")),
        ("officecdn.microsoft.com.edgesuite.net", ("software_update", "Office 365")),
        ("push-apple.com.akadns.net", ("infrastructure", "Apple")),
        ("edgekey.net", ("web", "Akamai")),
    ],
)
def test_what_delivers_for_others_is_theirs(name, answer):
    assert named(name) == answer


def test_of_two_patterns_the_one_that_says_more_is_the_names():
    assert named("static-global-s-msn-com.akamaized.net") == ("web", "MSN")
    assert named("static-of-nobody.akamaized.net") == ("web", None)
    assert named("api001.backblazeb2.com") == ("web", "Backblaze")
    assert named("f001.backblazeb2.com") == ("file_transfer", "Backblaze")


@pytest.mark.parametrize(
    "name", ["xn--80aesfpebagmfblc0a.xn--p1ai", "www.xn--hxbcdfgklwb-cvb.com", "xn--bcher-ota.example.com"]
)
def test_an_internationalised_name_is_neither_made_by_a_machine_nor_a_role(name):
    assert named(name) == ("web", None)


@pytest.mark.parametrize("form", ["{}.", "{}:443", "*.{}", " {}\n"])
def test_forms_of_a_name(form):
    assert named(form.format("WWW.Netflix.com")) == ("web", "Netflix")


@pytest.mark.parametrize(
    "name",
    ["", ".", "-", "10.2.3.4", "10.2.3.4:443", "::1", "[2001:db8::1]:443", "fe80::1%eth0", "printer", "nas.local",
     "4.3.2.10.in-addr.arpa", "a b.com", "a..com", "\x00.com", "http://a.com/", "x" * 300 + ".com",
     "ec2-3-4-5-6.nobody.net"],
)  # fmt: skip
def test_no_answer(name):
    assert named(name) is None


def test_products_are_spelled_one_way():
    applications = {answer.application for answer in shipped().answers} - {None}
    assert len({application.casefold().replace(" ", "") for application in applications}) == len(applications)


def test_domains_are_names_as_they_are_looked_up():
    given = {
        "*.A.org.": {"service": "web", "application": "-"},
        "m\u00fcnchen.de": {"service": "web", "application": "X"},
    }
    assert own_domains(given, ["web", "chat"]) == {"a.org": ("web", None), "xn--mnchen-3ya.de": ("web", "X")}
    assert own_domains(given) == own_domains(given, ["web"])


@pytest.mark.parametrize(
    ("domain", "says"),
    [("10.0.0.1", "is an address"), ("10", "is an address"), ("*.com", "everybody's"), ("de", "everybody's")],
)
def test_domains_are_ones_own(domain, says):
    with pytest.raises(ServersError, match=says):
        own_domains({domain: {"service": "web"}})
    assert own_domains({"intra": {"service": "web"}, "1.example.org": {"service": "web"}})


def test_a_site_may_have_services_of_its_own():
    assert own_domains({"a.org": {"service": "backup_2"}}) == {"a.org": ("backup_2", None)}
    for wrong in ("Back up", "unknown", "-", ""):
        with pytest.raises(ServersError, match=r"domains: a\.org must have a service one word"):
            own_domains({"a.org": {"service": wrong}})


def test_ones_own_domains_come_first_and_hold_for_all_below():
    own = shipped().with_domains({"google.com": Answer("chat", "Ours"), "intra": Answer("database", None)})
    assert own.named("ocsp.google.com") == ("chat", "Ours") and own.named("db.intra") == ("database", None)
    assert own.named("drive.google.com") == ("web", "Google Drive"), "a longer suffix"
    assert named("www.google.com") == ("web", "Google") and own.digest != shipped().digest


@pytest.mark.parametrize(
    ("text", "says"),
    [("A:\n  web: a.com\n  chat: a.com\n", "two meanings"), ("A: [1]\n", "A: must"), ("A: {web: [1]}\n", "web: must"),
     ("- a\n", "must hold"), (":::\n\t", "can't be read")],
)  # fmt: skip
def test_a_table_that_cannot_be_used(text, says, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    roles = Path(servers.__file__).with_name("roles.yaml")
    with pytest.raises(ServersError, match=says):
        Servers([tmp_path / "a.yaml"], roles)


def test_no_application_stands_twice_in_a_file():
    for path in (ROOT / "mmtt_agent" / "servers").glob("*.yaml"):
        keys = [line for line in path.read_text().splitlines() if line.endswith(":") and line[0] not in " #"]
        assert len(keys) == len(set(keys)), path


def test_most_names_are_answered_and_most_answers_right():
    if not JUDGED.exists():
        pytest.skip(f"{JUDGED}: names that were judged one by one are not here")
    answered = known = right = called = rightly = 0
    with JUDGED.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["service"] != "service"]
    for row in rows:
        service, application = named(row["host"]) or (None, None)
        answered += service is not None
        if service is not None and row["service"] != "-":
            known += 1
            right += service == row["service"]
        if application is not None:
            called += 1
            rightly += application == row["application"]
    print(f"answered {answered / len(rows):.3f}, service {right / known:.3f}", end=", ")
    print(f"{right / answered:.3f} with untold ones as wrong, application {rightly / called:.3f} of {called}")
    assert answered >= 0.7 * len(rows)
    assert right >= 0.9 * known
    assert rightly >= 0.85 * called
