"""Labels for pixels that the next frame hides, from the frame before (SMURF, Stone et al., CVPR 2021)."""

import torch
from torch import Tensor

from mdflow.geometry import coordinate_grid
from mdflow.imitation import pseudo_labels
from mdflow.networks.network import FlowNetwork
from mdflow.occlusion import visible_inside

ENOUGH = 0.1  # of a frame's pixels must be visible in both other frames, or nothing is said
RIDGE = 1e-6  # against frames that move as a whole: their motion tells nothing that the constant does not


def hidden_labels(
    network: FlowNetwork, image0: Tensor, image1: Tensor, flow12: Tensor, visible12: Tensor, known0: Tensor
) -> tuple[Tensor, Tensor]:
    """(flow (B,2,H,W), weight (B,1,H,W)): labels of image1's pixels that image2 hides and image0 shows.

    A frozen network's flow to the frame before foretells that to the frame after: as `foretell` learns on pixels
    that both show. flow12, visible12 (B,1,H,W): its flow to the frame after, and where that is visible; known0 (B,)
    bool: whether image0 is a frame. SMURF fits a small network to each image, a linear map is five numbers a component.
    """
    flow10, flow01 = pseudo_labels(network, image1, image0)
    visible10 = visible_inside(flow10, flow01) * known0.view(-1, 1, 1, 1)
    both = visible10 * visible12
    enough = both.mean((1, 2, 3), keepdim=True) >= ENOUGH
    return foretell(flow10, flow12, both), (1 - visible12) * visible10 * enough


@torch.no_grad()
def foretell(flow10: Tensor, flow12: Tensor, weight: Tensor) -> Tensor:
    """The linear map of (flow10, x, y, 1) that is nearest to flow12 where weight is set, at all pixels, (B,2,H,W).

    Least squares for each image, in float64.
    """
    count, _, height, width = flow10.shape
    with torch.autocast(flow10.device.type, enabled=False):
        place = coordinate_grid(height, width, flow10.device).double() / max(height, width)
        given = torch.cat([flow10.double(), place.expand(count, -1, -1, -1)], dim=1)
        given = torch.cat([given, torch.ones_like(given[:, :1])], dim=1).flatten(2)
        weighted = given * weight.double().flatten(2)
        ridge = RIDGE * weight.double().sum((1, 2, 3)).clamp(min=1).view(-1, 1, 1)
        products = weighted @ given.mT + ridge * torch.eye(given.shape[1]).to(given)
        factors = torch.linalg.solve(products, weighted @ flow12.double().flatten(2).mT)
        return (factors.mT @ given).view(count, 2, height, width).float()
