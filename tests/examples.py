"""Records to test with: sound ones, any field of which a test can change."""

from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    ArtifactFile,
    CompanionInfo,
    EnergyPlan,
    MemorySample,
    OutputCheck,
    PhaseStart,
    RunRequest,
    RunSuccess,
    Samples,
    TensorFile,
    ThermalSample,
    Trace,
    WarmupRule,
)
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.artifact import Artifact, Delegation, ProgramOperator
from mobilekit.records.device import BatteryStatus, DeviceInfo, HostInfo
from mobilekit.records.energy import (
    GaugeEstimate,
    GaugeEvidence,
    GaugeGain,
    GaugeVerdict,
    SourceVerdict,
    UncertaintyTerm,
)
from mobilekit.records.measurement import Measurement, TimeSpent
from mobilekit.records.network import Description, LayerSpec, ModelCost, ModelSpec, Variant
from mobilekit.records.profile import LayerTrace, OperatorTime
from mobilekit.records.statistics import Interval

MS = 1_000_000
UNCHANGED = Variant()
PHASES = tuple(
    PhaseStart(phase=phase, at_ns=at_ns)
    for phase, at_ns in (
        ("verify", 0),
        ("load", 10 * MS),
        ("warmup", 300 * MS),
        ("iterate", 400 * MS),
        ("check", 4000 * MS),
        ("memory", 4001 * MS),
    )
)
THERMAL = ThermalSample(at_ns=0, status=0, headroom=None, cpu_khz=())


def device_info(device="flo", **fields) -> DeviceInfo:
    values = {
        "serial": "0123",
        "hardware_serial": "0123",
        "name": "nexus-7",
        "manufacturer": "asus",
        "model": "Nexus 7",
        "device": device,
        "android_release": "6.0.1",
        "android_sdk": 23,
        "abi": "armeabi-v7a",
        "cpu_features": None,
        "soc": "",
        "ram_bytes": None,
        "available_bytes": None,
        "virtual": False,
        "gauge": None,
        "link": "usb",
    }
    return DeviceInfo(**(values | fields))


def battery_status(**fields) -> BatteryStatus:
    values = {
        "level_percent": 80,
        "plugged": False,
        "charging": False,
        "charge_counter_uah": 3_000_000,
        "voltage_mv": 3900,
        "temperature_decicelsius": 270,
        "technology": "Li-ion",
    }
    return BatteryStatus(**(values | fields))


def artifact(variant=UNCHANGED, **fields) -> Artifact:
    values = {
        "model": ModelSpec(
            name="nin",
            path="models/nin.py",
            builder="build",
            title="Network in Network",
            source="a paper",
            license="BSD",
            input_shapes=((1, 3, 224, 224),),
            input_dtypes=("float32",),
            inputs_path=None,
            weights_path="nin.safetensors",
            variant=variant,
            content_sha256="0" * 64,
        ),
        "cost": ModelCost(parameters=7_595_176, macs=1_100_000_000),
        "file": ArtifactFile(sha256="a" * 64, format="pte", size_bytes=30, method="forward"),
        "backend": "xnnpack",
        "calibration": None,
        "delegation": Delegation(
            delegated_operators=30,
            portable_operators=0,
            delegated_macs=1_100_000_000,
            total_macs=1_100_000_000,
            portable_operator_counts={},
        ),
        "inputs": (TensorFile(sha256="b" * 64, dtype="float32", shape=(1, 3, 224, 224)),),
        "reference_outputs": (TensorFile(sha256="c" * 64, dtype="float32", shape=(1, 1000)),),
        "relative_tolerance": 1e-3,
        "relative_error": 2e-6,
        "tool_versions": {"torch": "2.13.0"},
        "export_ns": 10**10,
    }
    return Artifact(**(values | fields))


def run_request(**fields) -> RunRequest:
    made = artifact()
    values = {
        "protocol_version": PROTOCOL_VERSION,
        "run_id": "nin-nexus7-1",
        "artifact": made.file,
        "inputs": made.inputs,
        "reference_outputs": made.reference_outputs,
        "relative_tolerance": 1e-3,
        "choice": None,
        "threads": None,
        "cold_loads": 3,
        "warmup": WarmupRule(
            window_iterations=5, tolerance=0.04, max_iterations=100, max_duration_ns=10**10
        ),
        "min_iterations": 100,
        "min_duration_ns": 10**9,
        "max_duration_ns": 10**11,
        "profile_iterations": None,
        "segments": (),
        "evaluation": None,
        "energy": None,
    }
    return RunRequest(**(values | fields))


def energy_plan(**fields) -> EnergyPlan:
    """Refuses a cable at once, and waits for nothing."""
    values = {
        "blocks": 5,
        "idle_ns": 10**10,
        "load_ns": 10**10,
        "sample_period_ns": 10**9,
        "unplug_timeout_ns": None,
        "rest_ns": None,
        "temperature_gate": None,
        "sync_pattern": False,
    }
    return EnergyPlan(**(values | fields))


def energy_estimate(**fields) -> GaugeEstimate:
    """3.65 J gross, 2.55 J marginal, five blocks of 200 s at 1.08 s an inference."""
    values = {
        "origin": "measured",
        "source": "charge_counter",
        "plane": "battery",
        "blocks": 5,
        "spoiled_windows": 0,
        "gauge_steps": 500,
        "iterations": 925,
        "idle_w": 1.0,
        "load_w": 3.38,
        "seconds_per_inference": 1.08,
        "gross_j": 3.65,
        "gross_interval_j": Interval(low=3.43, high=3.87),
        "marginal_j": 2.55,
        "marginal_interval_j": Interval(low=2.40, high=2.70),
        "interval_kind": "interval_95",
        "budget": (
            UncertaintyTerm(
                name="gain",
                gross_j=0.11,
                marginal_j=0.077,
                gross_freedom=None,
                marginal_freedom=None,
                note="3.0%: no meter has been set against this gauge, an assumption",
            ),
        ),
        "drift_ratio": 0.0,
        "scatter_w": 0.01,
        "gauge_charge_uah": 260.0,
        "gauge_voltage_mv": 3900.0,
        "burst": None,
        "sustained": None,
    }
    return GaugeEstimate(**(values | fields))


def gauge_verdict(**fields) -> GaugeVerdict:
    """Of a MAX170xx, whose charge counter is trusted."""
    values = {
        "device": "virtual:nexus7",
        "run_id": "calibration-1",
        "measured_at": "2026-05-04T10:00:00+00:00",
        "source": "charge_counter",
        "sources": tuple(
            SourceVerdict(
                source=source,
                usable=usable,
                reason="resolution" if usable else "unsupported",
                expected_half_width=half_width,
            )
            for source, usable, half_width in (
                ("charge_counter", True, 0.008),
                ("current_now", True, 0.012),
                ("energy_counter", False, None),
                ("power_rails", False, None),
            )
        ),
        "stated_blocks": 5,
        "stated_window_s": 60.0,
        "charge_step_uah": 500.0,
        "charge_period_ms": 176.0,
        "current_step_ua": 156.25,
        "current_period_ms": 176.0,
        "current_scale": 1,
        "current_sign": 1,
        "charge_ratio": 1.002,
        "energy_step_nwh": None,
        "energy_period_ms": None,
        "rails": 0,
        "rail_age_ms": None,
        "idle_w": 1.0,
        "load_w": 3.38,
        "seconds_per_inference": 1.08,
        "scatter_w": 0.01,
        "evidence": (
            GaugeEvidence(
                name="charge ratio",
                value=1.002,
                unit="",
                text="integral of the current over the charge counter's change",
            ),
        ),
        "overridden": (),
    }
    return GaugeVerdict(**(values | fields))


def gauge_gain(**fields) -> GaugeGain:
    values = {
        "device": "virtual:nexus7",
        "gain": 1.03,
        "relative_uncertainty": 0.005,
        "trace_sha256": "d" * 64,
        "run_id": "nin-nexus7-1",
        "measured_at": "2026-05-04T11:00:00+00:00",
    }
    return GaugeGain(**(values | fields))


def samples(**fields) -> Samples:
    values = {
        "companion": CompanionInfo(
            name="mobilekit app",
            version="0.1.0",
            engine="executorch",
            engine_version="1.5.1",
            abi="arm64-v8a",
            threads=4,
            debuggable=False,
            battery="gauge",
        ),
        "phases": PHASES,
        "trials": (),
        "load_ns": (60 * MS, 65 * MS, 70 * MS),
        "warmup_ns": (20 * MS, 14 * MS),
        "warmup_settled": True,
        "iteration_ns": tuple(13 * MS + (index % 5) * 10_000 for index in range(200)),
        "output_check": OutputCheck(matches=True, max_absolute_error=1e-6, max_relative_error=2e-6),
        "memory": tuple(
            MemorySample(
                at_ns=at_ns,
                stage=stage,
                pss_bytes=pss_bytes,
                rss_bytes=pss_bytes + 1000,
                peak_rss_bytes=pss_bytes + 2000,
            )
            for at_ns, stage, pss_bytes in (
                (1, "closed", 10_000_000),
                (2, "loaded", 40_000_000),
                (3, "inferred", 48_000_000),
            )
        ),
        "battery": (),
        "thermal": (THERMAL,),
        "trace": None,
        "profile_refusal": None,
        "segments": (),
        "evaluation": None,
        "waits": (),
        "sync_patterns": (),
        "windows": (),
        "energy_refusal": None,
        "ended_ns": 10**10,
    }
    return Samples(**(values | fields))


def measurement(**fields) -> Measurement:
    values = {
        "id": "nin-nexus7-1",
        "purpose": "measure",
        "started_at": "2026-05-04T10:00:00+00:00",
        "artifact": artifact(),
        "candidates": (),
        "device": device_info(name="nexus7"),
        "profile": load_profiles()["nexus7"],
        "battery_before": battery_status(),
        "airplane_mode": True,
        "gauge": None,
        "gain": None,
        "full_charge_uah": None,
        "energy_wanted": False,
        "request": run_request(),
        "result": RunSuccess(
            protocol_version=PROTOCOL_VERSION, run_id="nin-nexus7-1", samples=samples()
        ),
        "host": HostInfo(
            name="desk",
            platform="Linux",
            cpu="a processor",
            cores=2,
            python_version="3.11",
            mobilekit_version="0.1.0",
        ),
        "findings": (),
        "time_spent": (TimeSpent(step="run", duration_ns=5 * 10**9),),
        "layer_trace": None,
        "cut": None,
        "virtual": False,
        "campaign": None,
        "examples": None,
        "classification": None,
        "predicted": None,
    }
    return Measurement(**(values | fields))


def layer(name, type="convolution", **fields) -> LayerSpec:
    values = {
        "name": name,
        "type": type,
        "output_shapes": ((1, 8),),
        "window": None,
        "parameters": 0,
        "macs": 0,
        "weights_bytes": 0,
        "input_bytes": 32,
        "output_bytes": 32,
        "in_place": False,
        "reads": (),
    }
    return LayerSpec(**(values | fields))


def description(*layers) -> Description:
    return Description(
        cost=ModelCost(
            parameters=sum(one.parameters for one in layers), macs=sum(one.macs for one in layers)
        ),
        layers=layers,
        unused_parameters=0,
        input_bytes=32,
        peak_activation_bytes=64,
        peak_layer=layers[0].name,
    )


def program_operator(name="", kind="aten.relu", layer=None, **fields) -> ProgramOperator:
    values = {"part": None, "delegated": True, "inputs": (), "outputs": ()}
    return ProgramOperator(name=name, kind=kind, layer=layer, **(values | fields))


def operator_time(name, duration_ns, **fields) -> OperatorTime:
    """One after the other in each iteration, which nothing here looks at."""
    values = {
        "role": "operator",
        "part": 0,
        "kind": name.partition(" #")[0],
        "started_ns": tuple(0 for _ in duration_ns),
    }
    return OperatorTime(name=name, duration_ns=tuple(duration_ns), **(values | fields))


def measured(id="a", **fields) -> Measurement:
    """A measurement with any field of it or of its samples."""
    sample_fields = {
        name: fields.pop(name) for name in list(fields) if name in Samples.__struct_fields__
    }
    result = RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(**sample_fields)
    )
    return measurement(**({"id": id, "result": result} | fields))


def traced_run(id, convolution_ns, feed_forward_ns, **fields) -> Measurement:
    """A run whose trace has a convolution and, unless that takes no time, a feed-forward layer."""
    whole_ns = convolution_ns + feed_forward_ns
    parts = [("model_run", "program", "", whole_ns), ("conv", "operator", "Conv", convolution_ns)]
    if feed_forward_ns:
        parts.append(("fc", "operator", "Gemm", feed_forward_ns))
    trace = LayerTrace(
        description=description(
            layer("0", "convolution", parameters=10, macs=100, weights_bytes=40),
            layer("1", "feed-forward", parameters=100, macs=100, weights_bytes=400),
        ),
        program=(
            program_operator("conv", "Conv", "0", delegated=False),
            program_operator("fc", "Gemm", "1", delegated=False),
        ),
        operators=tuple(
            operator_time(name, (duration_ns,) * 3, role=role, kind=kind, part=None)
            for name, role, kind, duration_ns in parts
        ),
    )
    made = Trace(kind="onnxruntime", sha256="f" * 64, size_bytes=9, latency_ns=(whole_ns,) * 3)
    return measured(id=id, trace=made, layer_trace=trace, **fields)
