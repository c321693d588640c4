"""What a rule returns: the nodes that one kernel replaces, and how to call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeml.compiler.isa import VectorISA
from edgeml.compiler.lowering.chain import Chain
from edgeml.compiler.lowering.graph import Graph, Node
from edgeml.compiler.lowering.values import Values
from edgeml.compiler.placed_operator import OperatorPrecision


@dataclass(frozen=True)
class Group:
    """Nodes that become one kernel.

    Attributes:
        kernel: the kind of kernel, for reports.
        precision: the arithmetic of its multiplications.
        last: where in the order of execution the kernel is called: after everything that it reads.
        nodes: the nodes it replaces.
        emit: calls the kernel and records where its results lie.
    """

    kernel: str
    precision: OperatorPrecision
    last: Node
    nodes: tuple[Node, ...]
    emit: Callable[[Values], None]


@dataclass(frozen=True)
class Plan:
    """What a rule may look at.

    Attributes:
        graph: the imported model.
        isa: the vector unit.
        taken: nodes that earlier groups replace.
    """

    graph: Graph
    isa: VectorISA
    taken: frozenset[Node]

    def chain(self, node: Node) -> Chain:
        """What can be done together with the node that computes a value."""
        return Chain(self.graph, node.var, self.taken).follow()


Rule = Callable[[Plan, Node], "Group | None"]
