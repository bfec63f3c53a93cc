"""What every file of ISCX VPN-nonVPN 2016 and ISCX-Tor 2016 shows, by its name."""

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")
from mmtt_model.data.sources.iscx import shown_in
from mmtt_model.data.taxonomy import Taxonomy


def _names(text):
    """`skype_audio1a,1b,2a` -> three names: what follows a comma stands in place of the last word's number."""
    for word in text.split():
        first, *rest = word.split(",")
        yield first
        stem = first[: len(first) - len(rest[0])] if rest else first
        yield from (stem + other for other in rest)


FILES = {
    ("chat", "AIM", ""): "AIMchat1,2 aim_chat_3a,3b AIM_Chat aimchat",
    ("chat", "Facebook", ""): "facebookchat1,2,3 facebook_chat_4a,4b facebook_chat facebookchat",
    ("chat", "GMail", ""): "gmailchat1,2,3",
    ("chat", "Hangout", ""): "hangouts_chat_4a hangout_chat_4b hangouts_chat_4b hangout_chat hangoutschat",
    ("chat", "ICQ", ""): "ICQchat1,2 icq_chat_3a,3b ICQ_Chat icqchat",
    ("chat", "Skype", ""): "skype_chat1a,1b skype_chat skypechat",
    ("email", None, ""): "email1a,1b,2a,2b",
    ("email", "IMAP", ""): "Email_IMAP_filetransfer Workstation_Thunderbird_Imap",
    ("email", "POP3", ""): "POP_filetransfer Workstation_Thunderbird_POP",
    ("file_transfer", "FTP", ""): "ftps_down_1a,1b ftps_up_2a,2b FTP_filetransfer",
    ("file_transfer", "SSH", ""): "scp1 scpDown1,2,3,4,5,6 scpUp1,2,3,5,6 sftp1 sftpDown1,2 sftpUp1 sftp_down_3a,3b "
                                  "sftp_up_2a,2b SFTP_filetransfer",
    ("file_transfer", "Skype", ""): "skype_file1,2,3,4,5,6,7,8 skype_transfer",
    ("p2p", "BitTorrent", ""): "p2p_vuze p2p_multipleSpeed p2p_vuze2-1 p2p_multipleSpeed2-1 Torrent01",
    ("streaming", "Netflix", ""): "netflix1,2,3,4",
    ("streaming", "Spotify", ""): "spotify1,2,3,4 spotify spotifyAndrew",
    ("streaming", "Vimeo", ""): "vimeo1,2,3,4 Vimeo_Workstation",
    ("streaming", "YouTube", ""): "youtube1,2,3,4,5,6 youtubeHTML5_1 Youtube_Flash_Workstation "
                                  "Youtube_HTML5_Workstation",
    ("voip", "Facebook", ""): "facebook_audio1a,1b,2a,2b facebook_audio3,4 facebook_video1a,1b,2a,2b facebook_Audio "
                              "Facebook_Voice_Workstation",
    ("voip", "Hangout", ""): "hangouts_audio1a,1b,2a,2b hangouts_audio3,4 hangouts_video1b,2a,2b Hangout_Audio "
                             "Hangouts_voice_Workstation",
    ("voip", "Skype", ""): "skype_audio1a,1b,2a,2b skype_audio3,4 skype_video1a,1b,2a,2b Skype_Audio "
                           "Skype_Voice_Workstation",
    ("voip", "VoipBuster", ""): "voipbuster1b,2b,3b voipbuster_4a,4b",
    ("web", None, ""): "browsing browsing2 browsing_ara browsing_ara2 browsing_ger browsing_mam browsing2-1 ssl "
                       "SSL_Browsing",
    ("chat", "AIM", "vpn"): "vpn_aim_chat1a,1b",
    ("chat", "Facebook", "vpn"): "vpn_facebook_chat1a,1b",
    ("chat", "Hangout", "vpn"): "vpn_hangouts_chat1a,1b",
    ("chat", "ICQ", "vpn"): "vpn_icq_chat1a,1b",
    ("chat", "Skype", "vpn"): "vpn_skype_chat1a,1b",
    ("email", None, "vpn"): "vpn_email2a,2b",
    ("file_transfer", "FTP", "vpn"): "vpn_ftps_A,B",
    ("file_transfer", "SSH", "vpn"): "vpn_sftp_A,B",
    ("file_transfer", "Skype", "vpn"): "vpn_skype_files1a,1b",
    ("p2p", "BitTorrent", "vpn"): "vpn_bittorrent",
    ("streaming", "Netflix", "vpn"): "vpn_netflix_A",
    ("streaming", "Spotify", "vpn"): "vpn_spotify_A",
    ("streaming", "Vimeo", "vpn"): "vpn_vimeo_A,B",
    ("streaming", "YouTube", "vpn"): "vpn_youtube_A",
    ("voip", "Facebook", "vpn"): "vpn_facebook_audio2",
    ("voip", "Hangout", "vpn"): "vpn_hangouts_audio1,2",
    ("voip", "Skype", "vpn"): "vpn_skype_audio1,2",
    ("voip", "VoipBuster", "vpn"): "vpn_voipbuster1a,1b",
    ("chat", "AIM", "tor"): "CHAT_aimchatgateway CHAT_gate_AIM_chat",
    ("chat", "Facebook", "tor"): "CHAT_facebookchatgateway CHAT_gate_facebook_chat",
    ("chat", "Hangout", "tor"): "CHAT_gate_hangout_chat CHAT_hangoutschatgateway",
    ("chat", "ICQ", "tor"): "CHAT_gate_ICQ_chat CHAT_icqchatgateway",
    ("chat", "Skype", "tor"): "CHAT_gate_skype_chat CHAT_skypechatgateway",
    ("email", "IMAP", "tor"): "MAIL_gate_Email_IMAP_filetransfer MAIL_Gateway_Thunderbird_Imap",
    ("email", "POP3", "tor"): "MAIL_gate_POP_filetransfer MAIL_Gateway_Thunderbird_POP",
    ("file_transfer", "FTP", "tor"): "FILE-TRANSFER_gate_FTP_transfer",
    ("file_transfer", "SSH", "tor"): "FILE-TRANSFER_gate_SFTP_filetransfer",
    ("file_transfer", "Skype", "tor"): "FILE-TRANSFER_tor_skype_transfer",
    ("p2p", "BitTorrent", "tor"): "P2P_tor_p2p_multipleSpeed P2P_tor_p2p_vuze tor_p2p_multipleSpeed2-1 "
                                  "tor_p2p_vuze-2-1",
    ("social", "Facebook", "tor"): "torFacebook",
    ("social", "Twitter", "tor"): "torTwitter",
    ("streaming", "Spotify", "tor"): "AUDIO_spotifygateway AUDIO_tor_spotify AUDIO_tor_spotify2 tor_spotify2-1 "
                                     "tor_spotify2-2",
    ("streaming", "Vimeo", "tor"): "torVimeo1,2,3 VIDEO_Vimeo_Gateway",
    ("streaming", "YouTube", "tor"): "torYoutube1,2,3 VIDEO_Youtube_Flash_Gateway VIDEO_Youtube_HTML5_Gateway",
    ("voip", "Facebook", "tor"): "VOIP_Facebook_Voice_Gateway VOIP_gate_facebook_Audio",
    ("voip", "Hangout", "tor"): "VOIP_gate_hangout_audio VOIP_Hangouts_voice_Gateway",
    ("voip", "Skype", "tor"): "VOIP_gate_Skype_Audio VOIP_Skype_Voice_Gateway",
    ("web", "Google", "tor"): "torGoogle",
    ("web", None, "tor"): "BROWSING_gate_SSL_Browsing BROWSING_ssl_browsing_gateway BROWSING_tor_browsing_ara "
                          "BROWSING_tor_browsing_ger BROWSING_tor_browsing_mam BROWSING_tor_browsing_mam2",
}  # fmt: skip


@pytest.mark.parametrize("wanted", FILES, ids=lambda wanted: "-".join(map(str, wanted)))
def test_each_file_shows_what_its_name_says(wanted):
    names = list(_names(FILES[wanted]))
    for suffix in (".pcap", ".pcapng", ".pcap.zst"):
        found = {name: shown_in(name + suffix) for name in names}
        assert {
            name: (shown.service, shown.application, shown.tunnel) for name, shown in found.items() if shown
        } == dict.fromkeys(names, wanted)


def test_the_collections_are_whole_and_other_files_have_no_label():
    names = [name for text in FILES.values() for name in _names(text)]
    assert len(names) == len(set(names)) >= 200
    assert {service for service, _, _ in FILES} < set(Taxonomy().services)
    for other in ("mystery.pcap", "capture0001.pcapng", "monday.pcap"):
        assert shown_in(other) is None
