"""Condense a data set, look at the images, and train new networks on them."""

import condense

data = condense.load("digits")  # or mnist, cifar10, …, or the path of a folder
small = condense.condense(data, "dsa", preset="smoke", ipc=1)
print(small)

small.grid("digits.png")  # one row per class
small.save("digits.safetensors")

accuracy = condense.evaluate(small, data, preset="smoke", epoch_eval_train=None, steps=200, lr=0.05)
print(f"test accuracy: {accuracy}")
