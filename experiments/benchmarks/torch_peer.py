"""MJFN and its training step in plain PyTorch, one fold: what the sweep is measured against.

Not a part of the project; `experiments/benchmark.py train` uses it where torch is installed.
On a GPU the step is captured in a CUDA graph, which is the fastest way there.
"""

import resource
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class JointFeatureModule(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.lower, self.upper = nn.Conv2d(channels, 128, 1), nn.Conv2d(128, 128, 1)
        self.fc1, self.fc2 = nn.Linear(5 * 5 * 128, 256), nn.Linear(256, 3)

    def forward(self, lower, upper):
        joint = F.max_pool2d(F.relu(self.lower(lower) + self.upper(upper)), 3, 2)
        return self.fc2(F.dropout(F.relu(self.fc1(joint.flatten(1))), 0.5, self.training))


class MJFN(nn.Module):
    """The network of `mjfn_jax.models.mjfn`, with three JFMs and the fusion of Eq. 11."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 48, 11, stride=4)
        self.conv2 = nn.Conv2d(48, 128, 5, padding=2)
        self.conv3, self.conv4, self.conv5 = (nn.Conv2d(128, 128, 3, padding=1) for _ in range(3))
        self.fc1, self.fc2, self.fc3 = nn.Linear(3200, 256), nn.Linear(256, 256), nn.Linear(256, 3)
        self.jfms = nn.ModuleList(JointFeatureModule(128) for _ in range(3))

    def forward(self, images):
        maps = [F.max_pool2d(F.relu(self.conv1(images)), 3, 2)]
        maps.append(F.max_pool2d(F.relu(self.conv2(maps[-1])), 3, 2))
        for conv in (self.conv3, self.conv4, self.conv5):
            maps.append(F.relu(conv(maps[-1])))
        x = F.max_pool2d(maps[-1], 3, 2).flatten(1)
        for layer in (self.fc1, self.fc2):
            x = F.dropout(F.relu(layer(x)), 0.5, self.training)
        fused = self.fc3(x).softmax(-1)
        for jfm, lower in zip(self.jfms, maps[1:4], strict=True):
            fused = fused + jfm(lower, maps[4]).softmax(-1)
        return fused


def prepare(
    steps: int, precision: str, clips: int = 133, batch: int = 12
) -> tuple[Callable[[], None], Callable[[], float]]:
    """A function that trains for `steps` steps and waits for the end, and one for peak memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "highest"
    model = MJFN().to(device)
    adam = torch.optim.Adam(model.parameters(), 1e-4, capturable=device == "cuda")
    images = torch.randint(0, 256, (clips, 3, 224, 224), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 3, (clips,), device=device)
    chosen = torch.zeros(batch, dtype=torch.int64, device=device)

    def step():
        adam.zero_grad(set_to_none=False)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(images[chosen] / 255 - 1)
        F.cross_entropy(outputs, labels[chosen]).backward()
        adam.step()

    run = step
    if device == "cuda":
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay

    def turn():
        for _ in range(steps):
            chosen.copy_(torch.randint(0, clips, (batch,)))
            run()
        if device == "cuda":
            torch.cuda.synchronize()

    def peak():
        if device == "cuda":
            return torch.cuda.max_memory_allocated() / 1e9
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9

    return turn, peak
