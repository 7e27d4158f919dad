"""From an engine's operators to layers: what is told apart, what is folded, what is not guessed."""

import pytest
from examples import (
    MS,
    description,
    layer,
    measured,
    measurement,
    operator_time,
    program_operator,
    samples,
    traced_run,
)

from mobilekit.analysis.layers.matching import LAYOUT_CHANGE, resolve
from mobilekit.analysis.layers.profile import (
    derive_profile,
    derive_segment_profile,
    least_disturbed,
    profile_of,
    was_disturbed,
    why_by_segments,
)
from mobilekit.contract.protocol import PROTOCOL_VERSION, ArtifactFile, RunSuccess, SegmentLatency
from mobilekit.contract.samples import interrupted
from mobilekit.errors import RunFailedError
from mobilekit.records.artifact import Cut, SegmentArtifact
from mobilekit.records.profile import LayerTrace

CHAIN = description(
    layer("conv1", "convolution", macs=1000),
    layer("relu1", "non-linear", reads=("conv1",)),
    layer("drop", "dropout", reads=("relu1",), in_place=True),
    layer("conv2", "convolution", macs=3000, reads=("drop",)),
    layer("relu2", "non-linear", reads=("conv2",)),
    layer("fc", "feed-forward", macs=500, reads=("relu2",)),
)
CONV, FC = "Convolution (NHWC, F32) IGEMM", "Fully Connected (NC, F32) GEMM"


def delegated(*operators, part=0):
    return tuple(
        program_operator(kind=f"aten.{kind}", layer=name, part=part) for kind, name in operators
    )


def traced(*operators, part=0, whole_ns=(1000, 1000, 1000)):
    times = [operator_time(name, durations, part=part) for name, durations in operators]
    return (*times, operator_time("Method::execute", whole_ns, role="program", part=None))


PROGRAM = delegated(
    ("convolution", "conv1"),
    ("relu", "relu1"),
    ("convolution", "conv2"),
    ("relu", "relu2"),
    ("linear", "fc"),
)
OPERATORS = (
    ("Transpose (ND, X32) #1", (10, 20, 30)),
    (f"{CONV} #1", (100, 200, 300)),
    (f"{FC} #1", (400, 500, 600)),
    (f"{FC} #2", (90, 100, 110)),
)


def test_order_tells_layers_apart():
    """The second product is a convolution that XNNPACK calls fully connected."""
    trace = LayerTrace(description=CHAIN, program=PROGRAM, operators=traced(*OPERATORS))

    profile = derive_profile(trace, (1000, 800, 1000), (1050, 1100, 1050))

    costs = {cost.layer.name: cost for cost in profile.layers}
    assert {name: cost.p50_ns for name, cost in costs.items() if cost.p50_ns is not None} == {
        "conv1": 200,
        "conv2": 500,
        "fc": 100,
    }
    assert {name: (cost.fate, cost.folded_into) for name, cost in costs.items()} == {
        "conv1": ("measured", ()),
        "relu1": ("folded", ("conv1",)),
        "drop": ("idle", ()),
        "conv2": ("measured", ()),
        "relu2": ("folded", ("conv2",)),
        "fc": ("measured", ()),
    }
    assert costs["conv2"].operators == (f"{FC} #1",)
    assert costs["conv2"].share == pytest.approx(500 / 820)
    assert costs["conv2"].macs_per_s == pytest.approx(3000 / 500e-9)
    assert [(cost.type, cost.p50_ns, cost.measured_layers, cost.layers) for cost in profile.types][
        :3
    ] == [("convolution", 700, 2, 2), ("feed-forward", 100, 1, 1), (LAYOUT_CHANGE, 20, 0, 0)]
    assert sum(cost.share for cost in profile.types) == pytest.approx(1)
    assert profile.problems == ()


def test_the_sum_is_set_against_the_plain_inference():
    """Operators and what is outside them, in medians and in the fastest of each."""
    trace = LayerTrace(description=CHAIN, program=PROGRAM, operators=traced(*OPERATORS))

    profile = derive_profile(trace, (1000, 700, 1000), (630, 860, 1070))

    # Of 600, 820 and 1040 in operators.
    assert (profile.operators_ns, profile.outside_ns, profile.sum_ns) == (820, 30, 850)
    assert profile.difference == pytest.approx(-0.15)
    assert profile.fastest_difference == pytest.approx(-0.1)
    assert profile.overhead == pytest.approx(-0.14)
    assert profile.iterations == 3


def test_unequal_numbers_are_said_and_not_guessed():
    """One product too few: none of them is given to a layer, but what kind it is is known."""
    trace = LayerTrace(description=CHAIN, program=PROGRAM, operators=traced(*OPERATORS[:-1]))

    profile = derive_profile(trace, (1000,), (1000,))

    costs = {cost.layer.name: cost for cost in profile.layers}
    assert {name for name, cost in costs.items() if cost.fate == "unresolved"} >= {
        "conv1",
        "conv2",
        "fc",
    }
    assert [cost.p50_ns for cost in profile.layers] == [None] * 6
    assert {cost.type: cost.p50_ns for cost in profile.types if cost.p50_ns} == {
        "convolution": 200,
        "convolution or feed-forward": 500,
        LAYOUT_CHANGE: 20,
    }
    (problem,) = profile.problems
    assert "2 operators" in problem
    assert "3 operations" in problem


def test_an_activation_that_was_not_folded_is_found_between_its_neighbours():
    """Of two, the one whose operator runs after the second convolution."""
    operators = (
        *OPERATORS[:3],
        ("Clamp (NC) #1", (50, 60, 70)),
        OPERATORS[3],
    )
    trace = LayerTrace(description=CHAIN, program=PROGRAM, operators=traced(*operators))

    costs = {cost.layer.name: cost for cost in derive_profile(trace, (1,), (1,)).layers}

    assert (costs["relu2"].fate, costs["relu2"].p50_ns) == ("measured", 60)
    assert costs["relu1"].fate == "folded"


def test_two_candidates_are_not_guessed_between():
    """One clamp where two activations lie between the same neighbours."""
    network = description(
        layer("conv", "convolution"),
        layer("relu1", "non-linear", reads=("conv",)),
        layer("relu2", "non-linear", reads=("relu1",)),
    )
    program = delegated(("convolution", "conv"), ("relu", "relu1"), ("hardtanh", "relu2"))
    trace = LayerTrace(
        description=network,
        program=program,
        operators=traced((f"{CONV} #1", (5,)), ("Clamp (NC) #1", (3,)), whole_ns=(8,)),
    )

    profile = derive_profile(trace, (8,), (8,))

    assert [cost.fate for cost in profile.layers] == ["measured", "unresolved", "unresolved"]
    assert {cost.type: cost.p50_ns for cost in profile.types} == {"convolution": 5, "non-linear": 3}
    assert len(profile.problems) == 1


def test_each_delegate_counts_for_itself():
    """And a kernel between them is its layer's."""
    network = description(
        layer("conv1", "convolution"),
        layer("elu", "non-linear", reads=("conv1",)),
        layer("conv2", "convolution", reads=("elu",)),
    )
    program = (
        *delegated(("convolution", "conv1"), part=0),
        program_operator(kind="aten.elu", layer="elu", part=1, delegated=False),
        *delegated(("convolution", "conv2"), part=2),
    )
    operators = (
        operator_time(f"{CONV} #1", (5,), part=0),
        operator_time("native_call_elu.out", (7,), part=1, kind="aten.elu"),
        operator_time(f"{CONV} #1", (9,), part=2),
        operator_time("Method::execute", (21,), role="program", part=None),
    )

    resolution = resolve(LayerTrace(description=network, program=program, operators=operators))

    assert resolution.layer_of == {0: "conv1", 1: "elu", 2: "conv2"}
    assert resolution.problems == ()


def test_a_loops_step_is_of_its_layer_each_time():
    """What its delegate runs is as many operators as there are steps; what counts the steps is
    called and does not time itself."""
    chain = description(layer("gru", "recurrent", macs=9), layer("fc", "feed-forward", macs=1))
    program = (
        *delegated(("addmm", "gru"), ("tanh", "gru"), part=0),
        program_operator(kind="executorch_prim.add", layer="gru", part=1, delegated=False),
        *delegated(("linear", "fc"), ("relu", "fc"), part=2),
    )
    step = traced(("Batch Matrix Multiply #1", (10,)), ("TanH #2", (5,)), part=0)[:-1]
    call = operator_time("DELEGATE_CALL", (15,), role="part", part=0)
    operators = (
        *(*step, call) * 3,
        operator_time("OPERATOR_CALL", (1,), role="part", part=1),
        *traced((f"{FC} #1", (7,)), part=2, whole_ns=(60,)),
    )

    found = resolve(LayerTrace(description=chain, program=program, operators=operators))

    assert found.layer_of == dict.fromkeys((0, 1, 3, 4, 6, 7), "gru") | {10: "fc"}
    assert found.problems == ()


def test_a_program_of_other_parts_is_said():
    """A trace of another program than the one that was exported resolves to nothing."""
    operators = (
        operator_time(f"{CONV} #1", (5,), part=0),
        operator_time(f"{CONV} #1", (9,), part=1),
        operator_time("Method::execute", (21,), role="program", part=None),
    )

    resolution = resolve(LayerTrace(description=CHAIN, program=PROGRAM, operators=operators))

    assert resolution.layer_of == {}
    assert set(resolution.type_of.values()) == {"convolution"}
    assert "2 kernels and delegates" in resolution.problems[0]


def test_conversions_belong_to_no_layer():
    """A quantized program's operators resolve as others do; what converts is a type of its own."""
    program = (
        *delegated(("dequantize_per_channel", None), ("quantize_per_tensor", None)),
        *PROGRAM,
    )
    operators = (("Convert (NC) #1", (1, 2, 3)), *OPERATORS)
    trace = LayerTrace(description=CHAIN, program=program, operators=traced(*operators))

    profile = derive_profile(trace, (1,), (1,))

    assert {cost.type: cost.p50_ns for cost in profile.types}["precision change"] == 2
    assert profile.problems == ()


def test_an_operator_of_an_unknown_kind_is_said():
    """Its time counts as other work."""
    operators = (("Levitate (NC) #1", (40, 50, 60)), *OPERATORS)
    trace = LayerTrace(description=CHAIN, program=PROGRAM, operators=traced(*operators))

    profile = derive_profile(trace, (1,), (1,))

    assert {cost.type: cost.p50_ns for cost in profile.types}["other"] == 50
    assert "Levitate" in profile.problems[0]


NODES = (
    program_operator("node_conv", "Conv", "conv1", inputs=("x", "w"), outputs=("conv",)),
    program_operator("node_relu", "Relu", "relu1", inputs=("conv",), outputs=("relu",)),
    program_operator("node_conv_1", "Conv", "conv2", inputs=("relu", "w2"), outputs=("conv_1",)),
    program_operator("node_relu_1", "Relu", "relu2", inputs=("conv_1",), outputs=("relu_1",)),
    program_operator("node_linear", "Gemm", "fc", inputs=("relu_1", "w3"), outputs=("linear",)),
)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("node_conv", "Conv", "conv1"),
        ("node_relu_1", "Relu", "relu2"),
        ("relu_1_nchwc", "Conv", "conv2"),
        ("conv_1_nchwc", "Conv", "conv2"),
        ("fused node_linear", "FusedGemm", "fc"),
        ("node_linear/MatMulAddFusion", "Gemm", "fc"),
        ("ReorderOutput_token_5", "ReorderOutput", None),
    ],
)
def test_names_tell_onnx_operators_apart(name, kind, expected):
    """A fused one is the node of its own kind upstream of the output that it is named after."""
    operators = (
        operator_time(name, (5,), part=None, kind=kind),
        operator_time("model_run", (6,), role="program", part=None),
    )

    resolution = resolve(LayerTrace(description=CHAIN, program=NODES, operators=operators))

    assert resolution.layer_of.get(0) == expected
    assert resolution.problems == ()


def test_an_onnx_operator_of_no_known_name_is_said():
    """It keeps its time and its kind."""
    operators = (
        operator_time("mystery", (5,), part=None, kind="Conv"),
        operator_time("model_run", (6,), role="program", part=None),
    )

    resolution = resolve(LayerTrace(description=CHAIN, program=NODES, operators=operators))

    assert resolution.type_of == {0: "convolution"}
    assert "mystery" in resolution.problems[0]


def test_an_engine_that_cannot_trace_is_an_error_with_its_reason():
    """The measurement is there, a profile is not."""
    refused = samples(profile_refusal="LiteRT records no operators")
    result = RunSuccess(protocol_version=PROTOCOL_VERSION, run_id="nin-1", samples=refused)

    with pytest.raises(RunFailedError, match="LiteRT records no operators") as caught:
        profile_of(measurement(result=result))
    assert "--segments" in caught.value.fix


# --- by segments -------------------------------------------------------------------------------


def part(*layers):
    file = ArtifactFile(sha256="a" * 64, format="tflite", size_bytes=9, method="forward")
    return SegmentArtifact(layers=layers, file=file, inputs=(), relative_error=0.0)


def cut(*groups):
    return Cut(
        description=CHAIN,
        segments=tuple(part(*group) for group in groups),
        call=part(),
    )


CUT_CHAIN = cut(("conv1", "relu1"), ("conv2", "relu2"), ("fc",))
SEGMENTS_NS = ((260, 250, 350), (550, 750, 650), (140, 160, 150))
CALL_NS = (40, 50, 60)


def test_a_segments_time_is_its_working_layers():
    """Less that of a call. What is computed with it is said to be in it; dropout is in none."""
    profile = derive_segment_profile(CUT_CHAIN, (800, 700, 1000), SEGMENTS_NS, CALL_NS)

    assert (profile.by, profile.iterations) == ("segments", 3)
    costs = {cost.layer.name: cost for cost in profile.layers}
    assert {name: (cost.fate, cost.p50_ns, cost.folded_into) for name, cost in costs.items()} == {
        "conv1": ("measured", 210, ()),
        "relu1": ("folded", None, ("conv1",)),
        "drop": ("idle", None, ()),
        "conv2": ("measured", 600, ()),
        "relu2": ("folded", None, ("conv2",)),
        "fc": ("measured", 100, ()),
    }
    assert costs["conv2"].share == pytest.approx(600 / 910)
    assert [(cost.type, cost.p50_ns, cost.measured_layers, cost.layers) for cost in profile.types][
        :2
    ] == [("convolution", 810, 2, 2), ("feed-forward", 100, 1, 1)]


def test_the_segments_sum_is_set_against_the_whole():
    """With one call in it, as the whole has, and without a tracer's overhead."""
    profile = derive_segment_profile(CUT_CHAIN, (800, 700, 1000), SEGMENTS_NS, CALL_NS)

    assert (profile.operators_ns, profile.outside_ns, profile.sum_ns) == (910, 50, 960)
    assert profile.difference == pytest.approx(960 / 800 - 1)
    assert profile.fastest_difference == pytest.approx((210 + 510 + 100 + 40) / 700 - 1)
    assert (profile.traced_p50_ns, profile.overhead) == (None, None)


def test_a_segment_that_a_call_outlasts_takes_nothing():
    """Below a clock's step their difference is chance, and no layer gives time back."""
    profile = derive_segment_profile(
        CUT_CHAIN, (800, 700, 1000), (*SEGMENTS_NS[:2], (49, 48, 51)), CALL_NS
    )

    (last,) = (cost for cost in profile.layers if cost.layer.name == "fc")
    assert (last.fate, last.p50_ns, last.share) == ("measured", 0, 0)
    assert profile.sum_ns == 860


def test_half_of_the_segments_are_no_profile():
    """A run that was lost among them has measured something, and nothing is made up for it."""
    measured = samples(segments=(SegmentLatency(segment=0, latency_ns=(1, 2, 3)),))
    result = RunSuccess(protocol_version=PROTOCOL_VERSION, run_id="nin-1", samples=measured)

    with pytest.raises(RunFailedError, match="of 4 programs, the segments and a call, 1 were"):
        profile_of(measurement(result=result, cut=CUT_CHAIN))


def test_what_writes_over_its_input_is_folded_and_not_idle():
    """In memory it is in place, and there is something to compute all the same."""
    network = description(
        layer("conv", "convolution"),
        layer("relu", "non-linear", reads=("conv",), in_place=True),
        layer("flatten", "reshape", reads=("relu",), in_place=True),
    )
    trace = LayerTrace(
        description=network,
        program=delegated(("convolution", "conv"), ("relu", "relu"), ("view_copy", "flatten")),
        operators=traced((f"{CONV} #1", (5,)), whole_ns=(8,)),
    )

    profile = derive_profile(trace, (8,), (8,))

    assert [cost.fate for cost in profile.layers] == ["measured", "folded", "idle"]


def test_folded_into_either_of_two():
    """Which operand's operator took an addition up is not told, so both are named."""
    network = description(
        layer("a", "convolution"),
        layer("b", "convolution", reads=("a",)),
        layer("add", "addition", reads=("a", "b")),
    )
    program = (
        program_operator("na", "Conv", "a", outputs=("a",)),
        program_operator("nb", "Conv", "b", inputs=("a",), outputs=("b",)),
        program_operator("nadd", "Add", "add", inputs=("a", "b"), outputs=("c",)),
    )
    operators = (
        operator_time("a_nchwc", (5,), part=None, kind="Conv"),
        operator_time("b_nchwc", (5,), part=None, kind="Conv"),
        operator_time("model_run", (11,), role="program", part=None),
    )

    trace = LayerTrace(description=network, program=program, operators=operators)
    (*_, add) = derive_profile(trace, (11,), (11,)).layers

    assert (add.fate, add.folded_into) == ("folded", ("a", "b"))


@pytest.mark.parametrize(
    ("plain_us", "traced_us", "is_swollen"),
    [
        (100, 109, False),
        (100, 120, True),
        (100, 80, False),  # No overhead makes a traced inference faster.
        (999, 1200, True),
        (1000, 1200, False),  # Tracing does not cost so much: other work did.
    ],
)
def test_an_inference_that_tracing_swells_is_better_cut(plain_us, traced_us, is_swollen):
    """By how much, for inferences of microseconds only."""
    run = traced_run("a", traced_us * 500, traced_us * 500, iteration_ns=(plain_us * 1000,) * 3)

    assert (why_by_segments(run) is not None) == is_swollen


def test_operators_that_the_clock_cannot_tell_are_better_cut():
    """Two operators lose up to 2 us to it, half of that on average: a tenth of 10 us."""
    coarse, fine = (
        traced_run("a", 5000, 4000, iteration_ns=(plain_ns,) * 3) for plain_ns in (9000, 11_000)
    )

    assert "too coarse for 2 operators in 9 us" in why_by_segments(coarse)
    assert why_by_segments(fine) is None


def test_why_a_run_is_better_cut():
    """An engine's refusal is; a failure is not mended by another run."""
    refused = measured(profile_refusal="LiteRT records no operators")
    failed = measured(result=interrupted("nin-1", (), "gone"))

    assert why_by_segments(refused) == "No trace: LiteRT records no operators"
    assert why_by_segments(failed) is None


@pytest.mark.parametrize(
    ("plain_ms", "expected"),
    [
        pytest.param((13, 13, 8), True, id="other work slowed most inferences"),
        pytest.param((13, 13, 13), False, id="the fastest misses it too"),
        pytest.param((4, 4, 8), False, id="and on the other side"),
        pytest.param((7, 7, 8), False, id="near enough"),
    ],
)
def test_a_disturbed_pass_is_told_from_one_that_always_misses(plain_ms, expected):
    """By the fastest of each, which other work disturbs least."""
    run = traced_run("a", 6 * MS, 2 * MS, iteration_ns=tuple(each * MS for each in plain_ms))

    assert was_disturbed(run) == expected


def test_the_pass_that_was_disturbed_less_counts():
    """A pass that failed counts for nothing, and has nothing to repeat."""
    near, far = (traced_run("a", 6 * MS, 2 * MS, iteration_ns=(each * MS,) * 3) for each in (7, 20))
    failed = measurement(result=interrupted("r", [], "-"))

    assert least_disturbed(near, far) == least_disturbed(far, near) == near
    assert least_disturbed(far, failed) == far
    assert not was_disturbed(failed)
