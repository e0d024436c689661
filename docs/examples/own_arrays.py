"""Condense images that are in NumPy arrays."""

import numpy as np

import condense

draws = np.random.default_rng(0)
pixels = draws.random((200, 16, 16, 3))  # [n, height, width, channels], from 0 to 1
labels = np.array(["dark", "light"] * 100)
pixels[labels == "dark"] *= 0.5

data = condense.ImageData.from_arrays(pixels, labels, name="brightness")
print(f"{len(data.x_train)} training and {len(data.x_test)} test images of {data.class_names}")

small = condense.condense(data, "dm", preset="smoke", ipc=2)
accuracy = condense.evaluate(small, data, preset="smoke", epoch_eval_train=None, steps=200, lr=0.05)
print(f"{small}\ntest accuracy: {accuracy}")
