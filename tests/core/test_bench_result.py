from edgeml.core.bench_result import Contender, Launch


def launch(*latency_ms: float) -> Launch:
    return Launch(
        latency_ms=latency_ms,
        block=tuple(range(len(latency_ms))),
        warmup=3,
        stable=True,
        load_ms=1.0,
        peak_memory_bytes=1,
    )


def test_the_samples_of_all_launches_are_read_together() -> None:
    contender = Contender(
        artifact="m.onnx",
        model="tinynet-e",
        precision="fp32",
        runtime="onnxruntime",
        device="local",
        threads=1,
        batch=1,
        size_bytes=1,
        sha256="0" * 64,
        launches=(launch(1.0, 2.0), launch(3.0)),
        accuracy=None,
    )
    assert contender.latency_ms == (1.0, 2.0, 3.0)
