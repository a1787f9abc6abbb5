"""The network's layers in plain NumPy and float64, written from the paper and not from the code."""

import numpy as np


def conv(x, kernel, stride, padding):
    """Cross-correlation of [B, H, W, C] with [k, k, C, D]."""
    size = len(kernel)
    if padding == "SAME":
        low = (size - 1) // 2
        x = np.pad(x, ((0, 0), (low, size - 1 - low), (low, size - 1 - low), (0, 0)))
    elif padding != "VALID":
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    return np.einsum("bhwcij,ijcd->bhwd", windows, kernel, optimize=True, dtype=float)


def max_pool(x, size=3, stride=2, before=0, after=0):
    """Windows of side `size`; `before` and `after` are the pixels added, that never are maxima."""
    around = (before, after)
    x = np.pad(np.asarray(x, float), ((0, 0), around, around, (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return windows[:, ::stride, ::stride].max((-2, -1))


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


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolved(x, layer, stride=1, padding="SAME"):
    """A convolution with its bias, if it has one."""
    return conv(x, layer["kernel"], stride, padding) + layer.get("bias", 0)


def batch_norm(x, params, stats):
    """With running statistics."""
    return (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]


def ststnet(flows, params, stats):
    """The three streams one by one: 3, 5 and 8 filters."""
    streams = []
    for mine in (slice(0, 3), slice(3, 8), slice(8, 16)):
        conv, norm, running = (
            {name: leaf[..., mine] for name, leaf in tree.items()}
            for tree in (params["streams"], params["bn"], stats["bn"])
        )
        x = batch_norm(relu(convolved(flows, conv)), norm, running)
        streams.append(max_pool(x, 3, 3, before=1, after=1))
    x = np.concatenate(streams, axis=-1)
    means = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return log_softmax(dense(sum(means).reshape(len(x), -1) / 4, params["fc"]))


def off_apexnet(flows, params):
    streams = []
    for channel, name in enumerate(("u", "v")):
        x = flows[..., channel, None]
        for layer in ("conv1", "conv2"):
            x = max_pool(relu(convolved(x, params[name][layer])), 2, 2)
        streams.append(x.reshape(len(x), -1))
    x = np.concatenate(streams, axis=-1)
    x = relu(dense(relu(dense(x, params["fc1"])), params["fc2"]))
    return log_softmax(dense(x, params["fc3"]))


def inception_block(x, params):
    def layer(x, name):
        return relu(convolved(x, params[name]))

    branches = [
        layer(x, "point_conv1"),
        layer(layer(x, "small_conv1"), "small_conv2"),
        layer(layer(x, "large_conv1"), "large_conv2"),
        layer(max_pool(x, 3, 1, before=1, after=1), "pool_conv1"),
    ]
    return max_pool(np.concatenate(branches, axis=-1), 2, 2)


def dual_inception(flows, params):
    streams = []
    for channel, name in enumerate(("u", "v")):
        x = inception_block(flows[..., channel, None], params[f"{name}_block1"])
        x = inception_block(x, params[f"{name}_block2"])
        streams.append(x.reshape(len(x), -1))
    x = relu(dense(np.concatenate(streams, axis=-1), params["fc1"]))
    return log_softmax(dense(x, params["fc2"]))


def resnet18(x, params, stats, stages, pool):
    def norm(x, name):
        return batch_norm(x, params[name], stats[name])

    def basic_block(x, params, stats, stride):
        y = convolved(x, params["conv1"], stride, 1)
        y = relu(batch_norm(y, params["bn1"], stats["bn1"]))
        y = batch_norm(convolved(y, params["conv2"], 1, 1), params["bn2"], stats["bn2"])
        if "shortcut" in params:
            x = convolved(x, params["shortcut"], stride, 0)
            x = batch_norm(x, params["shortcut_bn"], stats["shortcut_bn"])
        return relu(x + y)

    x = relu(norm(convolved(x, params["conv1"], 2, 3), "bn1"))
    if pool:
        x = max_pool(x, before=1, after=1)
    for stage in range(1, stages + 1):
        for block in (1, 2):
            name, stride = f"stage{stage}_block{block}", 1 + (stage > 1 and block == 1)
            x = basic_block(x, params[name], stats[name], stride)
    return x


def resnet10(x, params, stats):
    """Unit vectors; with masks if the parameters have them."""

    def norm(x, name):
        return batch_norm(x, params[name], stats[name])

    x = convolved(norm(x, "input_bn"), params["conv1"], 2, 3)
    x = max_pool(relu(norm(x, "conv1_bn")), after=1)
    for features in (64, 128, 256, 512):
        name = f"block{features}"
        if features == 64:
            shortcut, first = x, convolved(x, params[f"{name}_conv1"], 1, 1)
        else:
            x = relu(norm(x, f"{name}_bn1"))
            shortcut = convolved(x, params[f"{name}_shortcut"], 2, 0)
            first = convolved(x, params[f"{name}_conv1"], 2, 1)
        first = relu(norm(first, f"{name}_bn2"))
        second = convolved(first, params[f"{name}_conv2"], 1, 1)
        x = shortcut + second
        if f"{name}_attention" in params:
            maps = np.concatenate([shortcut, first, second], axis=-1)
            mixed = convolved(maps, params[f"{name}_attention"]["conv"])
            x = x + sigmoid(mixed.mean(-1, keepdims=True)) * x
    return unit_length(relu(norm(x, "last_bn")).mean((1, 2)))


def unit_length(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def micro_attention(images, params, stats):
    features = resnet10(images / 255, params["trunk"], stats["trunk"])
    return log_softmax(dense(features, params["fc"]))


def lstm(sequences, params):
    """[B, T, C] to [B, T, D]; the gates are input, forget, cell and output."""
    batch, steps, _ = sequences.shape
    hidden = cell = np.zeros((batch, len(params["hi"]["bias"])))
    outputs = []
    for step in range(steps):
        x, gates = sequences[:, step], {}
        for gate in "ifgo":
            recurrent = hidden @ params[f"h{gate}"]["kernel"] + params[f"h{gate}"]["bias"]
            gates[gate] = x @ params[f"i{gate}"]["kernel"] + recurrent
        cell = sigmoid(gates["f"]) * cell + sigmoid(gates["i"]) * np.tanh(gates["g"])
        hidden = sigmoid(gates["o"]) * np.tanh(cell)
        outputs.append(hidden)
    return np.stack(outputs, axis=1)


def atnet(images, motion, params, stats):
    spatial = resnet10(images / 255, params["trunk"], stats["trunk"])
    motion = lstm(lstm(motion, params["lstm1"]), params["lstm2"])
    features = np.concatenate([spatial, unit_length(motion.mean(1))], axis=-1)
    return log_softmax(dense(features, params["fc"]))


def squash(vector):
    """One vector."""
    length = np.sqrt(sum(vector**2))
    return vector * length / (1 + length**2)


def route(votes, iterations):
    """Class capsules [K, D] of one image's votes [N, K, D], and the last round's weights [N, K]."""
    agreements = np.zeros(votes.shape[:2])
    for _ in range(iterations):
        weights = softmax(agreements)
        capsules = []
        for k in range(votes.shape[1]):
            capsules.append(squash(sum(weights[n, k] * votes[n, k] for n in range(len(votes)))))
        for n in range(len(votes)):
            for k in range(votes.shape[1]):
                agreements[n, k] += votes[n, k] @ capsules[k]
    return np.stack(capsules), weights
