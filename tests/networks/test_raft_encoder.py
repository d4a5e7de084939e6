import pytest
import torch

from mdflow.kernels.native import without_kernels
from mdflow.networks.raft_encoder import BottleneckBlock, InstanceNorm, ResidualBlock, ResidualEncoder

BLOCKS = {"residual": ResidualBlock, "bottleneck": BottleneckBlock}


def encoder(norm, block=ResidualBlock):
    """A narrow one whose statistics, if it has some, are not those of a new one."""
    torch.manual_seed(0)
    made = ResidualEncoder(24, norm, (32, 32, 32), block).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_mean, module.weight, module.bias):
                values.data.normal_()
            module.running_var.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_features_are_those_of_plain_operations(norm, block, count):
    made, images = encoder(norm, block), torch.rand(count, 3, 40, 56)
    with torch.no_grad():
        found = made(images)
        with without_kernels():
            expected = made(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_features_in_half_precision_are_as_near_as_by_plain_operations():
    made, images = encoder("instance"), torch.rand(2, 3, 40, 56)
    with torch.no_grad():
        exact = made(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = made(images)
            with without_kernels():
                plain = made(images)
    errors = [(each.float() - exact).norm() / exact.norm() for each in (found, plain)]
    assert errors[0] < 1.2 * errors[1]


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_every_weight_has_a_gradient(norm):
    made = encoder(norm)
    made(torch.rand(1, 3, 32, 32)).sum().backward()
    assert all(weight.grad is not None for weight in made.parameters())


def test_batch_norm_learns_its_statistics_without_a_gradient_too():
    made = encoder("batch").train()
    before = made.norm1.running_mean.clone()
    with torch.no_grad():
        made(torch.rand(2, 3, 32, 32))
    assert not made.norm1.running_mean.equal(before)


def test_biases_of_a_batch_norm_learn_alone():
    made = encoder("batch").eval()
    for name, parameter in made.named_parameters():
        parameter.requires_grad_("norm" in name and name.endswith("bias"))
    made(torch.rand(1, 3, 32, 32)).square().sum().backward()
    assert made.norm1.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_single_pixel_is_its_own_mean(count):
    made = encoder("instance").eval()
    with torch.no_grad():
        with without_kernels():
            plain = made(torch.rand(count, 3, 8, 8))
        assert plain.isfinite().all()
        assert not InstanceNorm()(torch.rand(count, 4, 1, 1)).any()
