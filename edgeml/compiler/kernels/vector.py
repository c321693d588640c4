"""Vector arithmetic for kernel generators: a kernel says the same for every processor, what is emitted differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

if TYPE_CHECKING:
    from edgeml.compiler.isa import VectorISA

# TVM's expressions and buffers have no static types.
Expr = Any
Buffer = Any

# 2^f on [0, 1], highest power first: minimax of the relative error, degree 5; in float32 within 3e-7.
_EXP2 = (0.00187757444, 0.00898934702, 0.0558263106, 0.24015362, 0.693153073, 0.999999925)
# Without it TVM asks its run time for memory inside parallel loops, and the "registers" are no registers.
_ON_STACK = {"disable_lower_builtin": True}
_LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Registers:
    """An array of vector registers: a buffer that is indexed by constants only, so LLVM keeps it in registers."""

    buffer: Buffer

    def __getitem__(self, index: int) -> Expr:
        return self.buffer[index]

    def __setitem__(self, index: int, value: Expr) -> None:
        T.buffer_store(self.buffer, value, [index])


@dataclass(frozen=True)
class Vector:
    """Emits float32 vector arithmetic of one instruction set into the kernel that is being built."""

    isa: VectorISA

    @property
    def lanes(self) -> int:
        """float32 values in a register."""
        return self.isa.lanes

    @property
    def dtype(self) -> str:
        """TVM's name of a register's type."""
        return f"float32x{self.lanes}"

    def of(self, dtype: str) -> str:
        """TVM's name of as many values of another type."""
        return f"{dtype}x{self.lanes}"

    def registers(self, count: int, dtype: str = "") -> Registers:
        """`count` registers, holding nothing yet."""
        return Registers(T.alloc_buffer((max(count, 1),), dtype or self.dtype, scope="local", annotations=_ON_STACK))

    def splat(self, value: Expr, dtype: str = "float32") -> Expr:
        """A number or scalar expression in every lane."""
        scalar = tirx.const(value, dtype) if isinstance(value, (int, float)) else value
        return tirx.Broadcast(scalar, self.lanes)

    def load(self, buffer: Buffer, index: Expr) -> Expr:
        """Neighbouring values from `index` on."""
        return buffer[tirx.Ramp(index, 1, self.lanes)]

    def store(self, buffer: Buffer, index: Expr, value: Expr) -> None:
        """Write neighbouring values from `index` on."""
        T.buffer_store(buffer, value, [tirx.Ramp(index, 1, self.lanes)])

    def prefetch(self, buffer: Buffer, index: Expr) -> None:
        """Have the cache line of an element brought near while other work goes on; beyond the end it does nothing."""
        address = tirx.address_of(buffer[index])
        hints = [tirx.const(hint, "int32") for hint in (_READ, _KEEP_IN_SECOND_LEVEL, _DATA)]
        T.evaluate(tirx.call_intrin("void", "tirx.prefetch", address, *hints))

    def operands(self, buffer: Buffer, index: Expr, count: int) -> Callable[[int], Expr]:
        """A function that gives the i-th of `count` neighbouring values in every lane.

        x86 broadcasts from memory for nothing; ARM multiplies by one lane of a register, so `lanes` values are loaded
        at once (`count` is then 1 or a whole register).
        """
        if self.isa.broadcast_operand or count == 1:
            return lambda position: self.splat(buffer[index + position])
        values = self.registers(1)
        values[0] = self.load(buffer, index)
        return lambda position: tirx.Shuffle([values[0]], [tirx.const(position, "int32")] * self.lanes)

    def maximum(self, left: Expr, right: Expr) -> Expr:
        """The larger of each lane."""
        return tirx.Max(left, right)

    def minimum(self, left: Expr, right: Expr) -> Expr:
        """The smaller of each lane."""
        return tirx.Min(left, right)

    def clip(self, value: Expr, low: float, high: float) -> Expr:
        """`value` between two numbers."""
        if high != float("inf"):
            value = tirx.Min(value, self.splat(high))
        if low != float("-inf"):
            value = tirx.Max(value, self.splat(low))
        return value

    def multiply_add(self, left: Expr, right: Expr, addend: Expr) -> Expr:
        """Left * right + addend, in one instruction where there is one."""
        if self.isa.explicit_fma:
            return self._intrinsic("llvm.fma", left, right, addend)
        return addend + left * right

    def round(self, value: Expr) -> Expr:
        """To the nearest integer, halves to even; without an instruction for it, of values within +-2^21."""
        if self.isa.rounds:
            return T.nearbyint(value)
        # Adding 1.5 * 2^23 leaves the integer in the lowest bits. As numbers, the compiler would take it away again.
        shifted = self.clip(value, -(2.0**21), 2.0**21) + self.splat(1.5 * 2**23)
        whole = T.reinterpret(self.of("int32"), shifted) - self.splat(_BITS_OF_SHIFT, "int32")
        return whole.astype(self.dtype)

    def keep(self, value: Expr, dtype: str = "") -> Expr:
        """`value` computed here and once, to be used several times; float32 unless a type is named."""
        register = self.registers(1, dtype)
        register[0] = value
        return register[0]

    def exp(self, value: Expr) -> Expr:
        """E to the power of each lane; relative error at most 3e-7 plus |x| units of 6e-8; overflows beyond +-87."""
        return self._exp2(value * self.splat(_LOG2_E))

    def _exp2(self, power: Expr) -> Expr:
        """Two to the power of each lane: 2^part by a polynomial, times 2^whole by the exponent's bits."""
        if self.isa.lanes == _AVX512_LANES:  # one instruction takes the part, another scales and saturates
            power = self.keep(power)
            part = self._intrinsic("llvm.x86.avx512.mask.reduce.ps.512", power, *self._control(_TOWARDS_MINUS_INFINITY))
            mantissa = self._polynomial(self.keep(part))
            return self._intrinsic("llvm.x86.avx512.mask.scalef.ps.512", mantissa, power, *self._control())
        power = self.keep(self.clip(power, -126.0, 127.0))
        if self.isa.rounds:
            whole = self.keep(tirx.floor(power).astype(self.of("int32")), self.of("int32"))
        else:  # towards zero is downwards above zero; next to an integer either neighbour will do
            above = (power + self.splat(128.0)).astype(self.of("int32"))
            whole = self.keep(above - self.splat(128, "int32"), self.of("int32"))
        mantissa = self._polynomial(self.keep(power - whole.astype(self.dtype)))
        exponent = whole << self.splat(23, "int32")
        return T.reinterpret(self.dtype, T.reinterpret(self.of("int32"), mantissa) + exponent)

    def _polynomial(self, part: Expr) -> Expr:
        value = self.splat(_EXP2[0])
        for coefficient in _EXP2[1:]:
            value = self.multiply_add(value, part, self.splat(coefficient))
        return value

    def _control(self, *immediate: int) -> tuple[Expr, ...]:
        """The operands that AVX-512 intrinsics end with: an immediate, what masked lanes hold, the mask, rounding."""
        constants = [tirx.const(value, "int32") for value in immediate]
        return (*constants, self.splat(0.0), tirx.const(-1, "int16"), tirx.const(4, "int32"))

    def divide(self, value: Expr, divisor: Expr) -> Expr:
        """Value / divisor for divisors of 1 to 2^127; where division is slow, within 3e-7."""
        if not self.isa.reciprocal:
            return value / divisor
        divisor = self.keep(divisor)
        guess = self._intrinsic(f"{self.isa.reciprocal}e.v4f32", divisor)
        for _ in range(_REFINEMENTS):
            guess = self.keep(guess)
            guess = guess * self._intrinsic(f"{self.isa.reciprocal}s.v4f32", divisor, guess)
        return value * guess

    def sigmoid(self, value: Expr) -> Expr:
        """1 / (1 + e^-x) of each lane."""
        return self.divide(self.splat(1.0), self._one_plus_exp(value))

    def silu(self, value: Expr) -> Expr:
        """X / (1 + e^-x) of each lane."""
        value = self.keep(value)
        return self.divide(value, self._one_plus_exp(value))

    def _one_plus_exp(self, value: Expr) -> Expr:
        return self._exp2(value * self.splat(-_LOG2_E)) + self.splat(1.0)

    def select(self, condition: Expr, if_true: Expr, if_false: Expr) -> Expr:
        """The one or the other by each lane of a condition."""
        return tirx.Select(condition, if_true, if_false)

    def _intrinsic(self, name: str, *arguments: Expr) -> Expr:
        return T.call_llvm_pure_intrin(self.dtype, name, *arguments)


_AVX512_LANES = 16
_BITS_OF_SHIFT = 0x4B400000  # 1.5 * 2^23 as float32
_TOWARDS_MINUS_INFINITY = 1
_REFINEMENTS = 2  # each doubles the 8 correct bits of an estimate
_READ, _KEEP_IN_SECOND_LEVEL, _DATA = 0, 2, 1  # LLVM's arguments of a prefetch
