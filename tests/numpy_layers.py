"""The network's layers in plain NumPy and float64, written from the paper and not from the code."""

import numpy as np


def conv(x, kernel, stride, padding):
    """Cross-correlation of [B, H, W, C] with [k, k, C, D]."""
    size = len(kernel)
    if padding == "SAME":
        low = (size - 1) // 2
        x = np.pad(x, ((0, 0), (low, size - 1 - low), (low, size - 1 - low), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.einsum("bhwcij,ijcd->bhwd", windows, kernel, optimize=True, dtype=float)


def max_pool(x):
    """3x3, stride 2, no padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return windows[:, ::2, ::2].max((-2, -1))


def relu(x):
    return np.maximum(x, 0)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def dense(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def backbone(images, params):
    """Table 1: the five ReLU outputs."""
    maps, x = [], np.asarray(images, float) / 255 - 1  # white, no motion, is 0
    for name, stride, padding, pooled in (
        ("conv1", 4, "VALID", True),
        ("conv2", 1, "SAME", True),
        ("conv3", 1, "SAME", False),
        ("conv4", 1, "SAME", False),
        ("conv5", 1, "SAME", False),
    ):
        maps.append(relu(conv(x, params[name]["kernel"], stride, padding) + params[name]["bias"]))
        x = max_pool(maps[-1]) if pooled else maps[-1]
    return maps


def joint_feature_module(lower, conv5, params):
    """Eq. 7 to 9: the softmax y^m of one JFM."""
    while lower.shape[1] > conv5.shape[1]:
        lower = max_pool(lower)
    joint = sum(  # Eq. 7, a product over the channels at each place, and Eq. 8
        np.einsum("bhwi,ij->bhwj", x, params[name]["kernel"][0, 0]) + params[name]["bias"]
        for x, name in ((lower, "lower"), (conv5, "upper"))
    )
    features = max_pool(relu(joint)).reshape(len(joint), -1)
    return softmax(dense(relu(dense(features, params["fc1"])), params["fc2"]))  # Eq. 9


def mjfn(images, params, num_jfms, fusion):
    """The fused prediction y [B, K]."""
    maps = backbone(images, params["backbone"])
    x = max_pool(maps[4]).reshape(len(images), -1)
    for name in ("fc1", "fc2"):
        x = relu(dense(x, params[name]))
    outputs = [softmax(dense(x, params["fc3"]))]
    for layer in range(4, 4 - num_jfms, -1):
        outputs.append(joint_feature_module(maps[layer - 1], maps[4], params[f"jfm{layer}"]))
    if len(outputs) == 1:
        return outputs[0]
    total = sum(outputs)
    return total / len(outputs) if fusion == "average" else softmax(total)  # Eq. 10, 11
