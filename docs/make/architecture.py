"""The picture of the architecture: from a connection's packets to what Zeek writes. Its numbers are the code's and the
bundle's."""

from __future__ import annotations

import svg

from mmtt_agent import bundle, features
from mmtt_agent.series import MAX_PAYLOAD_PACKETS


def picture() -> str:
    shipped = bundle.load()
    layers = shipped.trained["architecture"]
    height, width = features.PICTURE_SHAPE
    patches = (height // layers["patch"]) * (width // layers["patch"])

    def layered(name: str) -> str:
        count = layers[name]
        return f"{count} layer{'s' * (count > 1)}, width {layers['width']}"

    parts = [
        svg.rectangle(16, 44, 218, 420, "#f8fbf8", svg.GREEN[1]),
        svg.text(125, 34, "Zeek, on the sensor", "middle", bold=True, colour=svg.GREEN[1]),
        svg.rectangle(300, 44, 684, 420, "#f7faff", svg.BLUE[1]),
        svg.text(642, 34, "the agent: ONNX Runtime, no torch", "middle", bold=True, colour=svg.BLUE[1]),
        # The sensor.
        svg.box(32, 62, 186, 56, svg.PLAIN, ["a connection's packets", "TCP or UDP, QUIC too"]),
        svg.arrow((125, 118), (125, 144)),
        svg.box(
            32, 146, 186, 78, svg.GREEN,
            ["a window", "size, direction, time of", f"≤ {MAX_PAYLOAD_PACKETS} packets with payload",
             "no payload, no address"],
        ),
        svg.box(32, 300, 186, 62, svg.GREEN, ["a row", "score and label, or", "unknown, or why none"]),
        svg.arrow((125, 362), (125, 388)),
        svg.box(32, 390, 186, 56, svg.PLAIN, ["mmtt.log, conn.log,", "notices, telemetry"]),
        # Between them.
        svg.line(218, 185, 318, 185),
        svg.text(268, 174, "WebSocket", "middle", colour=svg.GREY, size=11),
        svg.text(268, 202, "64 windows", "middle", colour=svg.GREY, size=11),
        svg.text(268, 215, "a message", "middle", colour=svg.GREY, size=11),
        # The model's two readings of a window.
        svg.box(320, 62, 176, 92, svg.BLUE, [
            "as a sentence", f"{features.STATISTICS} words of statistics,", "then a word a packet:",
            "signed size, gap before it"]),
        svg.box(320, 218, 176, 92, svg.BLUE, [
            "as a picture", "packets counted by time", f"and signed size, {height} by {width},",
            f"in {patches} patches"]),
        svg.arrow((318, 185), (408, 185), (408, 156)),
        svg.arrow((318, 185), (408, 185), (408, 216)),
        svg.arrow((496, 108), (528, 108)),
        svg.arrow((496, 264), (528, 264)),
        svg.box(530, 74, 150, 68, svg.AMBER, ["text encoder", "transformer", layered("text_layers")]),
        svg.box(530, 230, 150, 68, svg.AMBER, ["image encoder", "vision transformer", layered("image_layers")]),
        svg.arrow((680, 108), (712, 108), (712, 160), (728, 160)),
        svg.arrow((680, 264), (712, 264), (712, 212), (728, 212)),
        svg.box(730, 134, 238, 104, svg.AMBER, [
            "joint decoder", "questions that attend to", "each other, and to both encoders",
            layered("decoder_layers")]),
    ]  # fmt: skip
    heads = (
        ("service", f"{len(shipped.services)} answers", 711),
        ("application", f"{len(shipped.applications)} answers", 779),
        ("malicious", "yes or no", 847),
        ("its kind", f"{len(shipped.malicious_kinds)} answers", 915),
    )
    for name, answers, x in heads:
        parts += [
            svg.arrow((x + 32, 238), (x + 32, 288)),
            svg.box(x, 290, 64, 44, svg.AMBER, [name, answers]),
            svg.arrow((x + 32, 334), (x + 32, 370)),
        ]
    parts += [
        svg.box(
            530, 372, 438, 62, svg.BLUE,
            ["calibration and thresholds", "an application must fit the service;",
             "below its threshold an answer is unknown"],
        ),
        svg.arrow((530, 403), (268, 403), (268, 331), (220, 331)),
        svg.text(400, 396, "a verdict a window", "middle", colour=svg.GREY, size=11),
        svg.text(642, 454, f"{shipped.name}: {shipped.trained['parameters']:,} parameters", "middle", colour=svg.GREY,
                 size=11),
    ]  # fmt: skip
    return svg.document(1000, 480, "From a connection's packets to a verdict", parts)
