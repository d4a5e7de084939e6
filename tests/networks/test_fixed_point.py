import pytest
import torch

from mdflow.errors import InputError
from mdflow.networks.fixed_point import (
    SECANTS,
    SOLVERS,
    Stop,
    implicit_gradient,
    phantom_gradient,
    solve,
    spectral_radius,
)


def contraction(batch=2, size=12, radius=0.8):
    """A smooth contraction x -> tanh(Ax + b) with |A| = radius; A and b differ between items."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(batch, size, size, generator=generator, dtype=torch.float64)
    matrix = radius * matrix / torch.linalg.matrix_norm(matrix, 2)[:, None, None]
    offset = torch.randn(batch, size, generator=generator, dtype=torch.float64)
    return lambda x: torch.tanh(torch.einsum("bij,bj->bi", matrix, x) + offset)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_find_the_fixed_point(solver):
    function = contraction()
    found = solve(function, torch.zeros(2, 12, dtype=torch.float64), solver, Stop(100, 1e-9))
    assert (function(found.state) - found.state).norm() < 1e-8
    assert (found.change < 1e-9).all()


def test_acceleration_saves_steps():
    slopes = torch.linspace(-0.5, 0.97, 12, dtype=torch.float64)
    start = torch.zeros(1, 12, dtype=torch.float64)
    steps = {solver: solve(lambda x: slopes * x + 10, start, solver, Stop(400, 1e-2)).step for solver in SOLVERS}
    assert steps["anderson"] < 0.7 * steps["naive"]
    assert steps["broyden"] < 0.7 * steps["naive"]


def test_broyden_converges_after_more_steps_than_it_remembers():
    slopes = torch.linspace(-0.9, 0.97, 60, dtype=torch.float64)
    found = solve(lambda x: slopes * x + 10, torch.zeros(1, 60, dtype=torch.float64), "broyden", Stop(400, 1e-6))
    assert found.step > SECANTS
    assert found.change < 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
def test_items_are_solved_apart(solver):
    function = contraction()
    start = torch.zeros(2, 12, dtype=torch.float64)
    # The second item starts at its fixed point and stops at once; the first must not notice.
    solution = solve(function, start, "naive", Stop(500, 1e-13)).state
    start[1] = solution[1]
    together = solve(function, start, solver, Stop(100, 1e-6))
    untouched = solve(function, torch.zeros_like(start), solver, Stop(100, 1e-6))
    torch.testing.assert_close(together.state[0], untouched.state[0])
    torch.testing.assert_close(together.state[1], solution[1], atol=1e-9, rtol=0)
    assert together.step[1] < together.step[0]


def test_relative_tolerance_is_in_units_of_the_state():
    function = contraction(batch=1)

    def large(x):
        return 100 * function(x / 100)

    start = torch.zeros(1, 12, dtype=torch.float64)
    small = solve(function, start, "naive", Stop(100, 1e-4, relative=True))
    scaled = solve(large, start, "naive", Stop(100, 1e-4, relative=True))
    assert small.step == scaled.step < solve(large, start, "naive", Stop(100, 1e-4)).step


def test_kept_points_lie_on_the_way_and_stay_after_convergence():
    function = contraction(batch=1)
    start = torch.zeros(1, 12, dtype=torch.float64)
    found = solve(function, start, "naive", Stop(100, 1e-6), keep=[1, 2, 100])
    torch.testing.assert_close(found.points[0], function(start))
    torch.testing.assert_close(found.points[1], function(function(start)))
    assert torch.equal(found.points[2], found.state)


def test_the_implicit_gradient_equals_that_of_many_unrolled_steps():
    function = contraction()
    offset = torch.zeros(2, 12, dtype=torch.float64, requires_grad=True)

    def shifted(x):
        return function(x) + offset

    start = torch.zeros(2, 12, dtype=torch.float64)
    point = solve(shifted, start, "anderson", Stop(100, 1e-12)).state
    unrolled = start
    for _ in range(200):
        unrolled = shifted(unrolled)
    (expected,) = torch.autograd.grad((unrolled**3).sum(), offset)
    for solver in SOLVERS:
        state = implicit_gradient(shifted, point, solver, Stop(200, 1e-12))
        (gradient,) = torch.autograd.grad((state**3).sum(), offset)
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)
    # The phantom gradient approaches it from one step on.
    errors = [
        (torch.autograd.grad((phantom_gradient(shifted, point, k) ** 3).sum(), offset)[0] - expected).norm()
        for k in (1, 5, 40)
    ]
    assert errors[0] > errors[1] > 100 * errors[2]


def test_the_spectral_radius_is_that_of_the_jacobian():
    matrix = torch.diag(torch.tensor([0.2, -0.9, 0.5])).double()
    torch.manual_seed(0)
    radius = spectral_radius(lambda x: x @ matrix, torch.zeros(1, 3, dtype=torch.float64))
    torch.testing.assert_close(radius, torch.tensor([0.9], dtype=torch.float64))


def test_an_unknown_solver_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="naive, anderson, broyden"):
        solve(torch.tanh, torch.zeros(1, 2), "newton", Stop(3))


@pytest.mark.parametrize(
    ("solver", "theirs"), [("naive", "fixed_point_iter"), ("anderson", "anderson"), ("broyden", "broyden")]
)
def test_solvers_equal_those_of_torchdeq(solver, theirs):
    torchdeq = pytest.importorskip("torchdeq.solver", reason="torchdeq is not installed")
    function = contraction(size=40, radius=1.3)
    start = torch.zeros(2, 40, dtype=torch.float64)
    for steps in (5, 12, 25):
        found = solve(function, start, solver, Stop(steps))
        expected = torchdeq.get_solver(theirs)(function, start, max_iter=steps, tol=0.0, stop_mode="abs")
        torch.testing.assert_close(found.state, expected[0])


def test_a_pair_of_complex_eigenvalues_has_a_size():
    """0.9 times a quarter turn: no vector is ever stretched along itself."""
    turn = torch.tensor([[0.0, 0.9], [-0.9, 0.0]], dtype=torch.float64)
    radius = spectral_radius(lambda x: x @ turn, torch.zeros(1, 2, dtype=torch.float64))
    torch.testing.assert_close(radius, torch.tensor([0.9], dtype=torch.float64))


def test_the_implicit_gradient_of_what_does_not_learn_is_none():
    point = implicit_gradient(contraction(), torch.zeros(2, 12, dtype=torch.float64), "anderson", Stop(5, 1e-3))
    assert not point.requires_grad
