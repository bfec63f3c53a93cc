"""Names for the numbers of protocols and link types, for what is told of packets that were left out."""

from __future__ import annotations

#: Ethernet types of what carries no IP.
ETHERTYPES = {
    0x0806: "ARP", 0x8035: "RARP", 0x0842: "wake on LAN", 0x22EA: "SRP", 0x22F0: "AVTP", 0x22F3: "TRILL IS-IS",
    0x6002: "DEC MOP", 0x6003: "DECnet", 0x809B: "AppleTalk", 0x80F3: "AARP", 0x8137: "IPX", 0x8809: "LACP",
    0x8819: "CobraNet", 0x8863: "PPPoE discovery", 0x886D: "Intel ANS", 0x886F: "Microsoft NLB", 0x8874: "Broadcom",
    0x887B: "HomePlug", 0x888E: "802.1X", 0x8892: "PROFINET", 0x8899: "Realtek", 0x889A: "HyperSCSI", 0x88A2: "AoE",
    0x88A4: "EtherCAT", 0x88AB: "Powerlink", 0x88B5: "experimental", 0x88B6: "experimental", 0x88B8: "GOOSE",
    0x88BA: "sampled values", 0x88CA: "TIPC", 0x88CC: "LLDP", 0x88CD: "SERCOS", 0x88D9: "LLTD", 0x88E1: "HomePlug AV",
    0x88E3: "MRP", 0x88F5: "MVRP", 0x88F6: "MMRP", 0x88F7: "PTP", 0x88F8: "NC-SI", 0x88FB: "PRP", 0x8902: "CFM",
    0x8906: "FCoE", 0x8914: "FIP", 0x8915: "RoCE", 0x892F: "HSR", 0x893A: "IEEE 1905", 0x9000: "loopback",
}  # fmt: skip

#: Ethernet types of what may well carry IP, but which Zeek, and so this reader, does not look into.
COVERS = {
    0x22F4: "TRILL", 0x6558: "transparent bridging", 0x8100: "VLAN", 0x880B: "PPP", 0x8847: "MPLS",
    0x8848: "MPLS multicast", 0x8864: "PPPoE", 0x88A8: "QinQ", 0x88E5: "MACsec", 0x88E7: "PBB", 0x8903: "FabricPath",
    0x8909: "Cisco MetaData", 0x8926: "VN-Tag", 0x893F: "802.1BR", 0x894F: "NSH", 0x8950: "LISP",
    0x9100: "QinQ 0x9100", 0x9200: "QinQ 0x9200", 0x9300: "QinQ 0x9300", 0x9A22: "QinQ 0x9a22",
}  # fmt: skip

#: PPP protocols of what carries no IP, and of compressed or bundled IP.
PPP = {
    0xC021: "PPP LCP", 0xC023: "PPP PAP", 0xC025: "PPP LQR", 0xC223: "PPP CHAP", 0xC227: "PPP EAP", 0x8021: "PPP IPCP",
    0x8057: "PPP IPv6CP", 0x80FD: "PPP CCP", 0x8053: "PPP ECP", 0x8281: "PPP MPLSCP", 0x0031: "PPP bridging control",
    0x8207: "Cisco discovery",
}  # fmt: skip
PPP_COVERS = {
    0x002D: "PPP compressed TCP", 0x002F: "PPP VJ TCP", 0x0031: "PPP bridging", 0x003D: "PPP multilink",
    0x00FD: "PPP compressed", 0x00FB: "PPP compressed link", 0x0053: "PPP encrypted", 0x0055: "PPP encrypted link",
    0x0283: "PPP MPLS multicast", 0x0003: "PPP ROHC", 0x0005: "PPP ROHC", 0x0061: "PPP IPHC", 0x0069: "PPP IPHC",
}  # fmt: skip

#: IP protocols other than TCP and UDP that carry no IP packet, and those that may.
PROTOCOLS = {
    0: "hop-by-hop options", 1: "ICMP", 2: "IGMP", 3: "GGP", 8: "EGP", 9: "IGRP", 27: "RDP", 33: "DCCP",
    43: "IPv6 routing", 44: "IPv6 fragment", 46: "RSVP", 51: "AH", 54: "NARP", 58: "ICMPv6", 59: "no next header",
    60: "IPv6 options", 88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP", 113: "PGM", 124: "IS-IS", 132: "SCTP",
    133: "FC", 135: "Mobile IPv6", 136: "UDP-Lite", 139: "HIP", 140: "Shim6",
}  # fmt: skip
PROTOCOL_COVERS = {
    50: "ESP", 55: "IP mobility", 94: "IPIP", 97: "EtherIP", 98: "encapsulation", 108: "IPComp", 115: "L2TP",
    137: "MPLS in IP", 143: "Ethernet in IP", 144: "AGGFRAG",
}  # fmt: skip

LINKTYPES = {
    3: "AX.25", 6: "Token Ring", 7: "ARCNET", 8: "SLIP", 99: "Symantec Firewall", 100: "ATM", 104: "Cisco HDLC",
    106: "ATM CLIP", 107: "Frame Relay", 109: "OpenBSD enc", 112: "Cisco HDLC", 114: "LocalTalk", 117: "pflog",
    118: "Cisco IOS", 119: "Prism", 121: "HiPPI", 122: "IP over Fibre Channel", 123: "SunATM", 129: "ARCNET Linux",
    138: "Apple IP over IEEE 1394", 139: "SS7 MTP2", 140: "SS7 MTP3", 143: "DOCSIS", 144: "IrDA", 147: "user 0",
    148: "user 1", 149: "user 2", 150: "user 3", 161: "user 14", 162: "user 15", 163: "AVS", 165: "BACnet MS/TP",
    166: "PPP pppd", 169: "GPRS LLC", 177: "LAPD", 182: "MFR", 187: "Bluetooth HCI", 189: "USB", 192: "PPI",
    195: "802.15.4", 196: "SITA", 197: "Endace ERF", 199: "IPMB", 201: "Bluetooth HCI", 203: "LAPD",
    204: "PPP with direction", 205: "HDLC with direction", 206: "Frame Relay with direction", 209: "IPMB",
    212: "802.15.4", 215: "802.15.4", 220: "USB", 224: "Fibre Channel", 225: "Fibre Channel", 226: "Solaris ipnet",
    227: "CAN", 230: "802.15.4", 231: "D-Bus", 235: "DVB-CI", 237: "STANAG 5066", 240: "netANALYZER",
    242: "IP over InfiniBand", 243: "MPEG-2", 247: "InfiniBand", 248: "SCTP", 249: "USBPcap", 250: "RTAC",
    251: "Bluetooth LE", 252: "Wireshark upper PDU", 253: "netlink", 254: "Bluetooth monitor", 256: "Bluetooth LE",
    258: "PKTAP", 259: "EPON", 264: "ISO 14443", 266: "USB Darwin", 269: "VPP dispatch", 270: "DOCSIS",
    271: "ZigBee TAP", 272: "Z-Wave", 273: "Z-Wave", 274: "Z-Wave", 275: "DisplayPort", 277: "OpenVizsla", 279: "ELEE",
    281: "Marvell DSA", 283: "802.15.4 TAP", 288: "USB 2.0", 289: "ATSC",
}  # fmt: skip


def ethertype(number: int) -> tuple[str, str]:
    """The cause, and the name, under which packets of an Ethernet type that isn't decoded are left out."""
    if number in COVERS:
        return "not_decoded", COVERS[number]
    return "not_ip", ETHERTYPES.get(number, f"EtherType {number:#06x}")


def ppp(number: int) -> tuple[str, str]:
    """As :func:`ethertype`, of a PPP protocol."""
    if number in PPP_COVERS:
        return "not_decoded", PPP_COVERS[number]
    return "not_ip", PPP.get(number, f"PPP {number:#06x}")


def protocol(number: int) -> tuple[str, str]:
    """As :func:`ethertype`, of an IP protocol."""
    if number in PROTOCOL_COVERS:
        return "not_decoded", PROTOCOL_COVERS[number]
    return "other_transport", PROTOCOLS.get(number, f"IP protocol {number}")


def family(number: int) -> tuple[str, str]:
    """As :func:`ethertype`, of an address family."""
    return "not_ip", f"address family {number}"


def linktype(number: int) -> str:
    """A link type as text."""
    return f"{number} ({LINKTYPES[number]})" if number in LINKTYPES else str(number)
