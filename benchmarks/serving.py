"""What serving costs over the bare session, and what batches bring: python benchmarks/serving.py --model tinynet-e.onnx

Five questions, answered over loopback with the load in another process than the server. Servers are stopped (SIGSTOP)
while it is not their turn, so that all meet the same machine and none disturbs another.

1. overhead: how much later is an answer there than onnxruntime's `session.run` would have had it? One client, batch 1,
   tensors in binary, one thread; by clients that do as little as Python can and by tritonclient, over HTTP and gRPC,
   and from the peers LitServe and mosec. Calls are timed in turns, in an order that rotates. The limit is 0.5 ms
   between the medians of edgeml over HTTP and of the bare session.
2. batching: how many more requests of 32 clients are answered a second where requests are joined? The limit is twice as
   many. Peers answer the same clients; so does a network of dense layers whose weights no cache holds, which is what
   joining is best at.
3. settings: the same by threads, instances and largest batch.
4. bare: what joining could bring at most: the bare session's time for a sample by batch size.
5. stack: the same ASGI application on uvicorn and on granian.

A launch starts every server anew. Figures are of a typical launch, with Student's 95% intervals over launches; ratios
are of paired launches. Peers that are not installed are left out. `--quick` proves that everything runs, and records
nothing.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from record import record
from serving_client import Connection, GrpcCall, TritonCall, base64_request, closed_loop, protocol_request, raw_request
from serving_models import bare_session, sample_of, write_dense
from serving_servers import Served, Server, edgeml_command, free_port, script_command

from edgeml.edge_bench.conditions.environment import host_info
from edgeml.edge_bench.statistics import Estimate, typical
from edgeml.runtime.threads import available_threads

OVERHEAD_LIMIT_MS = 0.5
BATCHING_LIMIT = 2.0
BATCHES = (1, 2, 4, 8, 16, 32)
LARGEST = 32
# Calls of a turn that are not counted: its server was stopped, and the caches are another's.
SETTLE = 5
PARTS = ("overhead", "batching", "settings", "bare", "stack")
PEERS = tuple(name for name in ("litserve", "mosec") if find_spec(name) is not None)
PACKAGES = ("onnxruntime", "uvicorn", "httptools", "uvloop", "grpcio", "tritonclient", "granian", *PEERS)
BARE, HTTP = "bare session", "edgeml, HTTP"

Samples = defaultdict[str, list[float]]
Call = Callable[[], Any]


def main() -> None:
    """Measure, record, and fail beyond a limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="ONNX file of one input with a dynamic batch")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--turns", type=int, default=6, help="of each contender in a launch")
    parser.add_argument("--calls", type=int, default=100, help="in a turn of one client")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn of many clients")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--server-cores", type=int, nargs="+", default=(), help="that servers are bound to")
    parser.add_argument("--quick", action="store_true", help="prove that everything runs; record nothing")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.launches, arguments.turns, arguments.calls, arguments.seconds = 2, 1, 10, 0.2
    host = host_info()
    with tempfile.TemporaryDirectory() as directory:
        figures = Benchmark(arguments, Path(directory)).figures()
    missed = []
    if "overhead" in figures and figures["overhead"]["over_bare_ms"][HTTP]["value"] > OVERHEAD_LIMIT_MS:
        missed.append("overhead")
    if "batching" in figures and figures["batching"]["gain"]["edgeml"]["value"] < BATCHING_LIMIT:
        missed.append("batching")
    figures["limits"] = {"overhead_ms": OVERHEAD_LIMIT_MS, "batching": BATCHING_LIMIT, "missed": missed}
    if arguments.quick:
        print(figures)
        return
    record(host, figures)
    sys.exit(bool(missed))


class Benchmark:
    """One run of the parts that were asked for."""

    def __init__(self, arguments: argparse.Namespace, directory: Path) -> None:
        self._arguments = arguments
        self._model: Path = arguments.model
        self._dense = write_dense(directory / "dense.onnx")
        self._input, self._sample = sample_of(self._model)

    def figures(self) -> dict[str, Any]:
        """Everything that is recorded."""
        found: dict[str, Any] = {
            "model": self._model.name,
            "sample": list(self._sample.shape),
            "threads": available_threads(),
            "packages": {name: version(name) for name in PACKAGES if find_spec(name.replace("grpcio", "grpc"))},
        }
        for name in self._arguments.parts:
            tell(name)
            found[name] = getattr(self, name)()
        return found

    def overhead(self) -> dict[str, Any]:
        """Latency of one client, and how much of it is not the bare session's."""
        medians: Samples = defaultdict(list)
        tails: Samples = defaultdict(list)
        for launch in range(self._arguments.launches):
            samples: Samples = defaultdict(list)
            with ExitStack() as stack:
                ours = self._start(stack, self._edgeml("edgeml", ["--threads", "1"]))
                peers = [self._start(stack, self._peer(name, 1)) for name in PEERS]
                calls = self._calls(stack, ours, peers)
                for turn in range(self._arguments.turns):
                    for way in rotated(list(calls), launch + turn):
                        samples[way] += self._one_client(*calls[way])
            for way, each in samples.items():
                medians[way].append(float(np.median(each)))
                tails[way].append(float(np.quantile(each, 0.99)))
            tell(", ".join(f"{way} {each[-1]:.3f} ms" for way, each in medians.items()))
        return {
            "p50_ms": estimates(medians),
            "p99_ms": estimates(tails),
            "over_bare_ms": {way: difference(each, medians[BARE]) for way, each in medians.items() if way != BARE},
        }

    def batching(self) -> dict[str, Any]:
        """Requests a second with and without batches, of edgeml and of the peers."""
        names = {"edgeml": self._model, "edgeml, dense": self._dense}
        contenders = [
            self._edgeml(f"{name}, {way}", ["--threads", "1", "--max-batch", str(batch)], model)
            for name, model in names.items()
            for way, batch in (("no batches", 0), ("batches", LARGEST))
        ]
        for peer in PEERS:
            contenders += [self._peer(peer, 1, "no batches"), self._peer(peer, LARGEST, "batches")]
        found, rates = self._many_clients(contenders)
        found["gain"] = {
            name: ratio(rates[f"{name}, batches"], rates[f"{name}, no batches"]) for name in (*names, *PEERS)
        }
        found["edgeml_over"] = {name: ratio(rates["edgeml, batches"], rates[f"{name}, batches"]) for name in PEERS}
        return found

    def settings(self) -> dict[str, Any]:
        """Requests a second by threads, instances and largest batch."""
        cores = available_threads()
        contenders, alone = [], {}
        for threads, instances in dict.fromkeys([(1, 1), (cores, 1), (1, cores)]):
            for batch in (1, 4, 8, LARGEST):
                name = f"threads {threads}, instances {instances}, batches of {batch}"
                alone[name] = f"threads {threads}, instances {instances}, batches of 1"
                joined = str(0 if batch == 1 else batch)
                options = ["--threads", str(threads), "--instances", str(instances), "--max-batch", joined]
                contenders.append(self._edgeml(name, options))
        found, rates = self._many_clients(contenders)
        found["gain"] = {name: ratio(rates[name], rates[other]) for name, other in alone.items() if name != other}
        return found

    def bare(self) -> dict[str, Any]:
        """Milliseconds that the bare session takes for a sample, by model, threads and batch size."""
        found = {}
        for path in (self._model, self._dense):
            name, sample = sample_of(path)
            for threads in dict.fromkeys([1, available_threads()]):
                session = bare_session(path, threads)
                samples: defaultdict[int, list[float]] = defaultdict(list)
                for _ in range(5 * self._arguments.turns):
                    for batch in BATCHES:
                        feeds = {name: np.repeat(sample, batch, axis=0)}
                        session.run(None, feeds)
                        samples[batch] += timed(lambda: session.run(None, feeds), max(1, 8 // batch))  # noqa: B023
                per_sample = {batch: float(np.median(each)) / batch for batch, each in samples.items()}
                found[f"{path.stem}, threads {threads}"] = {
                    "ms_per_sample": {str(batch): round(each, 4) for batch, each in per_sample.items()},
                    "most_that_batches_bring": round(per_sample[1] / min(per_sample.values()), 3),
                }
                tell(f"{path.stem}, threads {threads}: {found[f'{path.stem}, threads {threads}']}")
        return found

    def stack(self) -> dict[str, Any]:
        """The ASGI application on two servers: requests a second, and one client's latency."""
        request = protocol_request(self._model.stem, self._input, self._sample)
        contenders = []
        for name in ("uvicorn", "granian"):
            if find_spec(name) is not None:
                port = free_port()
                contenders.append(
                    Served(name, script_command(f"serving_asgi.py {name}", self._model, port, LARGEST), port, request)
                )
        found, rates = self._many_clients(contenders)
        medians: Samples = defaultdict(list)
        for launch in range(self._arguments.launches):
            samples: Samples = defaultdict(list)
            with ExitStack() as stack:
                servers = [self._start(stack, each) for each in contenders]
                connections = [stack.enter_context(closing(Connection(each.port))) for each in contenders]
                pairs = list(zip(servers, connections, strict=True))
                for turn in range(self._arguments.turns):
                    for server, connection in rotated(pairs, launch + turn):
                        samples[server.served.name] += self._one_client(server, lambda c=connection: c.call(request))
            for name, each in samples.items():
                medians[name].append(float(np.median(each)))
        found["one_client_p50_ms"] = estimates(medians)
        if len(contenders) > 1:
            found["granian_over_uvicorn"] = {
                "per_second": ratio(rates["granian"], rates["uvicorn"]),
                "one_client_p50_ms": ratio(medians["granian"], medians["uvicorn"]),
            }
        return found

    def _many_clients(self, contenders: Sequence[Served]) -> tuple[dict[str, Any], Samples]:
        """Figures of all contenders, and the requests a second of each in each launch."""
        rates: Samples = defaultdict(list)
        latencies: Samples = defaultdict(list)
        clients, seconds = self._arguments.clients, self._arguments.seconds
        for launch in range(self._arguments.launches):
            answered: Samples = defaultdict(list)
            with ExitStack() as stack:
                servers = [self._start(stack, each) for each in contenders]
                for turn in range(self._arguments.turns):
                    for server in rotated(servers, launch + turn):
                        served = server.served
                        with server.turn():
                            load = closed_loop(served.port, served.request, clients, seconds)
                        answered[served.name].append(load.per_second)
                        latencies[served.name] += load.latency_ms
            for name, each in answered.items():
                rates[name].append(float(np.mean(each)))
            tell(", ".join(f"{name}: {each[-1]:.0f}/s" for name, each in rates.items()))
        found = {
            "per_second": estimates(rates),
            "latency_ms": {
                name: {f"p{share}": round(float(np.percentile(each, share)), 3) for share in (50, 90, 99)}
                for name, each in latencies.items()
            },
        }
        return found, rates

    def _calls(self, stack: ExitStack, ours: Server, peers: Sequence[Server]) -> dict[str, tuple[Server | None, Call]]:
        """What one client calls, by the name of the way; every way's answer is held against the bare session's."""
        session, feeds = bare_session(self._model, 1), {self._input: self._sample}
        model, port, grpc_port = self._model.stem, ours.served.port, ours.served.grpc_port
        of_model = (model, self._input, self._sample)

        def opened(connection: Any) -> Any:
            return stack.enter_context(closing(connection))

        http = opened(Connection(port))
        calls: dict[str, tuple[Server | None, Call]] = {
            BARE: (None, lambda: session.run(None, feeds)),
            HTTP: (ours, lambda: http.call(ours.served.request)),
            "edgeml, gRPC": (ours, opened(GrpcCall(grpc_port, *of_model)).call),
            "edgeml, HTTP, tritonclient": (ours, opened(TritonCall(port, *of_model, grpc=False)).call),
            "edgeml, gRPC, tritonclient": (ours, opened(TritonCall(grpc_port, *of_model, grpc=True)).call),
        }
        for peer in peers:
            connection = opened(Connection(peer.served.port))
            calls[peer.served.name] = (peer, lambda c=connection, r=peer.served.request: c.call(r))
        (expected,) = session.run(None, feeds)
        with ours.turn():
            for way in ("edgeml, HTTP, tritonclient", "edgeml, gRPC, tritonclient"):
                np.testing.assert_array_equal(calls[way][1](), expected)
            for way in (HTTP, "edgeml, gRPC"):
                assert expected.tobytes() in calls[way][1](), way
        return calls

    def _one_client(self, server: Server | None, call: Call) -> list[float]:
        """Latencies of a turn in milliseconds."""
        with nullcontext() if server is None else server.turn():
            return timed(call, SETTLE + self._arguments.calls)[SETTLE:]

    def _start(self, stack: ExitStack, served: Served) -> Server:
        return stack.enter_context(Server(served, self._arguments.server_cores))

    def _edgeml(self, name: str, options: Sequence[str], model: Path | None = None) -> Served:
        path = self._model if model is None else model
        port, grpc_port = free_port(), free_port()
        request = protocol_request(path.stem, *sample_of(path))
        return Served(name, edgeml_command(path, port, grpc_port, options), port, request, grpc_port)

    def _peer(self, name: str, batch: int, way: str = "") -> Served:
        port = free_port()
        if name == "mosec":
            request = raw_request("/inference", self._sample)
        else:
            request = base64_request("/predict", self._sample)
        command = script_command(f"serving_{name}.py", self._model, port, batch)
        return Served(f"{name}, {way}" if way else name, command, port, request)


def tell(line: str) -> None:
    """How far it is."""
    print(line, file=sys.stderr, flush=True)


def rotated(values: Sequence[Any], by: int) -> list[Any]:
    """The values from another one on."""
    start = by % len(values)
    return [*values[start:], *values[:start]]


def timed(call: Call, count: int) -> list[float]:
    """Milliseconds of each of so many calls."""
    found = []
    for _ in range(count):
        began = perf_counter()
        call()
        found.append((perf_counter() - began) * 1e3)
    return found


def estimates(launches: Samples) -> dict[str, Any]:
    """Of a typical launch, from a figure for each."""
    return {name: shown(typical(np.log(each))) for name, each in launches.items()}


def ratio(these: Sequence[float], those: Sequence[float]) -> dict[str, Any]:
    """How many times as large the figures of the same launches are."""
    return shown(typical(np.log(these) - np.log(those)))


def difference(these: Sequence[float], those: Sequence[float]) -> dict[str, Any]:
    """Mean of the differences of the same launches, with Student's 95% interval."""
    found = typical(np.subtract(these, those))  # which takes logarithms, and gives their mean's exponential
    return shown(Estimate(value=float(np.log(found.value)), ci95=tuple(np.log(found.ci95))))


def shown(estimate: Estimate) -> dict[str, Any]:
    """As it is recorded."""
    return {"value": round(estimate.value, 4), "ci95": [round(float(bound), 4) for bound in estimate.ci95]}


if __name__ == "__main__":
    main()
