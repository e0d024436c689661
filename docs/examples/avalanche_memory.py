"""Give an Avalanche strategy a memory of condensed images."""

import torch
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.supervised import Naive

import condense
from continual import CondensedBuffer, make_benchmark

digits = condense.load("digits")
tasks = [digits.with_classes([first, first + 1]) for first in range(0, 10, 2)]
benchmark = make_benchmark(tasks, head="class")  # or any benchmark of Avalanche

settings = condense.preset(condense.GradientMatching, "smoke")
memory = CondensedBuffer(20, method="dsa", settings=settings)  # 20 whole images in total

network = condense.Network(width=16, depth=2)
model = condense.build(network, digits.shape, digits.classes, condense.generator(0))
strategy = Naive(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), lr=0.003),
    train_mb_size=32,
    train_epochs=4,
    plugins=[ReplayPlugin(20, storage_policy=memory)],
    evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
)
for experience in benchmark.train_stream:
    strategy.train(experience)

results = strategy.eval(benchmark.test_stream)
(accuracy,) = results.values()
print(f"{len(memory.buffer)} condensed images in {memory.bytes} bytes")
print(f"accuracy over all ten digits: {100 * accuracy:.1f} %")
