"""Signs and the slopes that stand in for theirs."""

from __future__ import annotations

import pytest
import torch

from edgeml.core.errors import UsageError
from edgeml.models.binary.estimators import approx_sign, clipped_identity, find_estimator, sign

pytestmark = pytest.mark.torch

VALUES = torch.tensor([-torch.inf, -1.5, -1.0, -0.25, -1e-45, -0.0, 0.0, 0.25, 0.5, 1.0, 1.5, torch.inf, torch.nan])
SIGNS = torch.tensor([-1.0, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("function", [sign, approx_sign, clipped_identity])
def test_only_numbers_below_zero_are_negative(function: object) -> None:
    assert callable(function)
    assert torch.equal(function(VALUES), SIGNS)


def test_the_sign_of_an_expanded_tensor_is_not_written_through_its_shared_memory() -> None:
    assert torch.equal(sign(torch.tensor([[-1.0], [1.0]]).expand(2, 3)), torch.tensor([[-1.0] * 3, [1.0] * 3]))


@pytest.mark.parametrize(
    ("name", "slopes"),
    [
        ("approx_sign", [0.0, 0, 0, 1.5, 2, 2, 2, 1.5, 1, 0, 0, 0]),
        ("clipped_identity", [0.0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
    ],
)
def test_slopes_are_those_of_the_papers(name: str, slopes: list[float]) -> None:
    x = VALUES[:-1].clone().requires_grad_()
    find_estimator(name)(x).backward(torch.full_like(x, 3))  # type: ignore[no-untyped-call]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 3 * torch.tensor(slopes))


def test_approx_sign_has_the_slope_of_the_parabola_it_is_named_after() -> None:
    def parabola(x: torch.Tensor) -> torch.Tensor:
        inside = torch.where(x < 0, 2 * x + x * x, 2 * x - x * x)
        return torch.where(x.abs() < 1, inside, torch.sign(x))

    x = torch.linspace(-2, 2, 81, requires_grad=True)
    (expected,) = torch.autograd.grad(parabola(x).sum(), x)
    (slope,) = torch.autograd.grad(approx_sign(x).sum(), x)
    torch.testing.assert_close(slope, expected)


def test_an_unknown_estimator_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown estimator 'soft'; allowed: approx_sign, clipped_identity"):
        find_estimator("soft")
