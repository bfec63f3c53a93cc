import pytest

from mmtt_agent.community_id import community_id


@pytest.mark.parametrize(
    ("flow", "wanted"),
    [
        ((6, "128.232.110.120", 34855, "66.35.250.204", 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ((17, "192.168.1.52", 54585, "8.8.8.8", 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        ((1, "192.168.0.89", 8, "192.168.0.1", 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
    ],
)
def test_ids_that_everybody_knows(flow, wanted):
    assert community_id(*flow) == wanted


@pytest.mark.parametrize("proto", [6, 17, 132, 47])
@pytest.mark.parametrize(
    ("one", "other"),
    [("10.0.0.9", "10.0.0.10"), ("10.0.0.1", "10.0.0.1"), ("fd00::1", "fe80::2")],
)
def test_it_is_the_same_from_both_ends(proto, one, other):
    assert community_id(proto, one, 40000, other, 443) == community_id(proto, other, 443, one, 40000)


def test_addresses_as_bytes_and_in_other_spelling_are_the_same():
    packed = community_id(6, bytes([10, 0, 0, 1]), 1, bytes([10, 0, 0, 2]), 2)
    assert packed == community_id(6, "10.0.0.1", 1, "10.0.0.2", 2)
    long = community_id(6, "fd00:0000:0000:0000:0000:0000:0000:0001", 1, "fd00::2", 2)
    assert long == community_id(6, "fd00::1", 1, "fd00::2", 2)


def test_ports_count_where_there_are_any():
    assert community_id(6, "10.0.0.1", 1, "10.0.0.2", 2) != community_id(6, "10.0.0.1", 1, "10.0.0.2", 3)
    assert community_id(47, "10.0.0.1", 1, "10.0.0.2", 2) == community_id(47, "10.0.0.1", 0, "10.0.0.2", 0)


@pytest.mark.parametrize(("proto", "one", "other"), [(1, "10.0.0.1", "10.0.0.2"), (58, "fd00::1", "fd00::2")])
def test_question_and_answer_of_icmp_are_one_flow_and_what_has_no_answer_has_one_direction(proto, one, other):
    question, answer, alone = (8, 0, 3) if proto == 1 else (128, 129, 1)
    assert community_id(proto, one, question, other, 0) == community_id(proto, other, answer, one, 0)
    assert community_id(proto, one, alone, other, 1) != community_id(proto, other, alone, one, 1)
    assert community_id(proto, one, alone, other, 1) != community_id(proto, one, alone, other, 2)


def test_a_seed_gives_others():
    flow = (6, "128.232.110.120", 34855, "66.35.250.204", 80)
    assert community_id(*flow, seed=1) == "1:3V71V58M3Ksw/yuFALMcW0LAHvc="
    assert community_id(*flow, seed=65535) != community_id(*flow)


@pytest.mark.parametrize(
    "flow",
    [
        (6, "10.0.0.1", 1, "fd00::1", 2),
        (6, "host", 1, "10.0.0.2", 2),
        (6, "", 1, "", 2),
        (6, b"12345", 1, b"12345", 2),
        (6, "10.0.0.1", 65536, "10.0.0.2", 2),
        (6, "10.0.0.1", -1, "10.0.0.2", 2),
        (256, "10.0.0.1", 1, "10.0.0.2", 2),
        (6, "10.0.0.1", 1, "10.0.0.2", 2, 65536),
    ],
)
def test_what_is_no_flow_is_refused(flow):
    with pytest.raises(ValueError, match=r"family|address|can't be"):
        community_id(*flow)
