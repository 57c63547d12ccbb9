# %% [markdown]
# # Backpropagation, step by step
#
# A network is a chain of simple functions with adjustable numbers in them. To learn is to change each of these numbers
# a little, in the direction that makes the loss smaller; and the direction is given by the **gradient**: how much the
# loss would change if this number did.
#
# **Backpropagation** finds all these slopes in one walk back through the chain. It is nothing but the chain rule, in an
# order that computes every piece once. Here we do it by hand, for a network with eight neurons, next to gpunet; then we
# check both against the definition of a slope.

# %%
import itertools

import matplotlib.pyplot as plt
import numpy as np

import gpunet
from gpunet import nn, optim, viz
from gpunet.nn import functional as F

generator = gpunet.manual_seed(2)
rng = np.random.default_rng(0)


def tensor(values):
    """Return a float64 tensor: slopes shall be compared to many digits."""
    return gpunet.tensor(np.asarray(values, np.float64))


# %% [markdown]
# ## One neuron, no hidden layer
#
# The smallest network is a weighted sum of its inputs plus a **bias**: linear regression. Its loss is the mean of the
# squared errors, the **MSE**. For this one there is a formula for the best weights, from linear algebra. Descending the
# gradient needs no formula, only patience, and arrives at the same place. That matters, since for every other network
# in this notebook no formula exists.

# %%
inputs = rng.uniform(-1, 1, (50, 1))
targets = 1.5 * inputs + 0.5 + rng.normal(0, 0.2, inputs.shape)

columns = np.hstack([inputs, np.ones_like(inputs)])  # the bias is the weight of a constant 1
slope, offset = np.linalg.solve(columns.T @ columns, columns.T @ targets).ravel()

neuron = nn.Linear(1, 1).double()
optimizer = optim.SGD(neuron.parameters(), lr=0.3)
losses = []
for _ in range(60):
    optimizer.zero_grad()
    loss = F.mse_loss(neuron(tensor(inputs)), tensor(targets))
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"formula: {slope:.4f} x + {offset:.4f}")
print(f"descent: {neuron.weight.item():.4f} x + {neuron.bias.item():.4f}")
assert np.allclose([neuron.weight.item(), neuron.bias.item()], [slope, offset], atol=1e-3)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
left.scatter(inputs, targets, s=12, color="0.5")
left.plot([-1, 1], [offset - slope, offset + slope], color="tab:red")
left.set(xlabel="input", ylabel="target", title="fifty examples and the line found")
right.semilogy(losses)
right.set(xlabel="step", ylabel="MSE", title="descending")
right.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## What bends a network
#
# A chain of weighted sums is one weighted sum, however long it is. So each hidden neuron passes its sum through a
# **nonlinearity**. What counts for learning is the slope of these curves, because the chain rule multiplies with it.
#
# * The **sigmoid** squeezes every number into (0, 1): good for probabilities. Its slope is 1/4 at best, at 0.
# * **Tanh** goes from -1 to 1 and is four times as steep at 0. Both are flat far from 0: there the slope *vanishes*.
# * **ReLU** is 0 for negative sums and leaves positive ones alone. Its slope is 0 or 1, which is cheap, and makes many
#   of the gradients exactly 0. In the corner at 0 there is no slope; by convention it is 0.
# * **Leaky ReLU** and **ELU** keep a little slope on the left.

# %%
x = tensor(np.linspace(-4, 4, 801)).requires_grad_()
curves = {"sigmoid": F.sigmoid, "tanh": F.tanh, "ReLU": F.relu, "leaky ReLU": F.leaky_relu, "ELU": F.elu}
at_zero = {}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, function in curves.items():
    x.grad = None
    y = function(x)
    y.backward(tensor(np.ones(801)))  # the slope at every point, by backpropagation
    slopes = x.grad.numpy()
    at_zero[name] = slopes[400]
    style = "--" if name in ("leaky ReLU", "ELU") else "-"
    left.plot(x.detach().numpy(), y.detach().numpy(), style, label=name)
    right.plot(x.detach().numpy(), slopes, style)
left.set(title="function", ylim=(-1.5, 2), xlabel="sum")
right.set(title="slope", xlabel="sum")
left.legend(fontsize=8)
for axes in (left, right):
    axes.grid(alpha=0.3)
plt.show()

assert at_zero["sigmoid"] == 0.25 and at_zero["tanh"] == 1 and at_zero["ReLU"] == 0

# %% [markdown]
# ## What is made small
#
# The loss decides what a mistake costs, and so how hard each example pulls.
#
# * **L1**, the absolute error, pulls with the same strength, 1, at every distance: a wrong label far away does not
#   outweigh the others.
# * **L2**, the squared error, pulls harder the larger the error.
# * **Cross entropy** is for classes: minus the logarithm of the probability given to the right one. It costs little to
#   be almost sure, and very much to be sure and wrong.

# %%
errors = np.linspace(-2, 2, 401)
prediction = tensor(errors).requires_grad_()
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
pull = {}
for name, loss_of in (("L1", F.l1_loss), ("L2", F.mse_loss)):
    prediction.grad = None
    loss = loss_of(prediction, tensor(np.zeros(401)), reduction="sum")
    loss.backward()
    pull[name] = prediction.grad.numpy()
    left.plot(errors, pull[name], label=name)
left.set(title="slope of the loss", xlabel="prediction - target")
left.legend()
assert set(pull["L1"][errors > 0]) == {1} and set(pull["L1"][errors < 0]) == {-1}
assert np.allclose(pull["L2"], 2 * errors)

probability = np.linspace(0.01, 0.99, 99)
logits = tensor(np.stack([np.log(probability), np.log(1 - probability)], axis=1))  # softmax gives probability back
cost = F.cross_entropy(logits, gpunet.tensor(np.zeros(99, np.int64)), reduction="none").numpy()
assert np.allclose(cost, -np.log(probability))
right.plot(probability, cost, color="tab:green")
right.set(title="cross entropy [nats]", xlabel="probability of the right class")
for axes in (left, right):
    axes.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## A network of eight neurons
#
# Two inputs, two hidden layers of three neurons, one output. Every arrow is a weight; every neuron but the inputs has a
# bias, too. The layers between are *hidden*: the data say what goes in and what should come out, but not what these
# neurons should do.

# %%
sizes = [2, 3, 3, 1]
network = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1)).double()
count = sum(parameter.numel() for parameter in network.parameters())
print(f"{count} numbers to learn")
assert count == (2 * 3 + 3) + (3 * 3 + 3) + (3 * 1 + 1)

figure, axes = plt.subplots(figsize=(7, 2.6))
places = [[(layer, row - (size - 1) / 2) for row in range(size)] for layer, size in enumerate(sizes)]
for before, after in itertools.pairwise(places):
    for start in before:
        for end in after:
            axes.plot(*zip(start, end, strict=True), color="0.75", lw=1, zorder=1)
for layer, colour, name in zip(
    places, ["0.9", "#fff3d6", "#fff3d6", "#d9ead3"], ["input", "hidden 1", "hidden 2", "output"], strict=True
):
    axes.scatter(*zip(*layer, strict=True), s=420, color=colour, edgecolor="0.4", zorder=2)
    axes.text(layer[0][0], -1.75, name, ha="center", fontsize=9)
axes.set(xlim=(-0.5, 3.5), ylim=(-2, 1.5))
axes.axis("off")
plt.show()

# %% [markdown]
# ## Forward, by hand
#
# Four points with the answers of "one or the other, but not both" (XOR): no line separates the 1s from the 0s, so one
# neuron cannot learn it. Each layer is a product with its weights, plus its bias, through tanh.

# %%
points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
answers = np.array([[0], [1], [1], [0]], np.float64)

W1, b1, W2, b2, W3, b3 = (parameter.detach().numpy().copy() for parameter in network.parameters())
h1 = np.tanh(points @ W1.T + b1)
h2 = np.tanh(h1 @ W2.T + b2)
y = h2 @ W3.T + b3
loss_by_hand = np.mean((y - answers) ** 2)

output = network(tensor(points))
loss = F.mse_loss(output, tensor(answers))
print("by hand:", y.ravel().round(6), f"loss {loss_by_hand:.6f}")
print("gpunet: ", output.detach().numpy().ravel().round(6), f"loss {loss.item():.6f}")
assert np.allclose(y, output.detach().numpy(), rtol=1e-14, atol=1e-14) and np.isclose(loss_by_hand, loss.item())

# %% [markdown]
# ## The tape
#
# While gpunet computed, it wrote down what it did: the **tape**. Yellow are the calls with the shape of what they made,
# green the parameters, where the gradients shall arrive; grey is data. Values went along the arrows. Gradients go
# against them.

# %%
names = {
    f"{letter}{layer}": getattr(network[2 * (layer - 1)], kind)
    for layer in (1, 2, 3)
    for letter, kind in (("W", "weight"), ("b", "bias"))
}
figure, axes = plt.subplots(figsize=(11, 2.7))
viz.draw_tape(axes, loss, names)
plt.show()

# %% [markdown]
# ## Backward, by hand
#
# Now the walk back. `g` stands for "slope of the loss by": `gy` by the output, `gh2` by what the second hidden layer
# gave, and so on. Each line takes the slope that it got from its right neighbour and multiplies with its own. Three
# rules are enough.
#
# * Through **y = h W' + b**: the weight W[j, i] carried h[i] to y[j], so its slope is gy[j] h[i], added up over the
#   examples; h[i] went to every y[j], so its slope is the sum of gy[j] W[j, i].
# * Through **h = tanh(a)**: times the slope of tanh, which is 1 - h².
# * Where a number was used in several places, its slopes are added.

# %%
gy = 2 * (y - answers) / len(points)  # the mean of (y - t)²

gW3, gb3 = gy.T @ h2, gy.sum(axis=0)
gh2 = gy @ W3
ga2 = gh2 * (1 - h2**2)

gW2, gb2 = ga2.T @ h1, ga2.sum(axis=0)
gh1 = ga2 @ W2
ga1 = gh1 * (1 - h1**2)

gW1, gb1 = ga1.T @ points, ga1.sum(axis=0)

loss.backward()
print("parameter  shape    slope of its first element: by hand    gpunet")
by_hand = {"W1": gW1, "b1": gb1, "W2": gW2, "b2": gb2, "W3": gW3, "b3": gb3}
for name, gradient in by_hand.items():
    computed = names[name].grad.numpy()
    print(f"{name:11}{gradient.shape!s:12}{gradient.flat[0]:30.9f}{computed.flat[0]:13.9f}")
    assert np.allclose(gradient, computed, rtol=1e-12, atol=1e-15)

# %% [markdown]
# ## Is it true? Ask the definition
#
# A slope is what happens when you take a small step: (loss(w + e) - loss(w - e)) / 2e. This needs two evaluations for
# every single number, hopeless for a million weights, but perfect to check with. A step too large misses the curve; one
# too small drowns in rounding. In between, the two agree to some ten digits.


# %%
def loss_with(weight, change):
    """Return the loss when one element of a parameter is changed."""
    original = weight.detach().numpy().copy()
    changed = original.copy()
    changed.flat[0] += change
    with gpunet.no_grad():
        weight.copy_(tensor(changed))
        value = F.mse_loss(network(tensor(points)), tensor(answers)).item()
        weight.copy_(tensor(original))
    return value


steps = 10.0 ** np.arange(-13, 0.5, 0.5)
numeric = [(loss_with(names["W1"], step) - loss_with(names["W1"], -step)) / (2 * step) for step in steps]
deviation = np.abs(np.array(numeric) / gW1.flat[0] - 1)
print(f"best agreement: {deviation.min():.1e}, with a step of {steps[deviation.argmin()]:.0e}")
assert deviation.min() < 1e-8

figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
axes.loglog(steps, deviation, "o-", ms=4)
axes.set(xlabel="step e", ylabel="relative deviation", title="numeric slope of W1[0, 0] against backpropagation")
axes.grid(alpha=0.3)
plt.show()

# %% [markdown]
# `gpunet.gradcheck` does it for all numbers at once: it steps in one random direction per parameter. A gradient that is
# wrong anywhere shows in almost every direction.

# %%
parameters = list(network.parameters())
assert gpunet.gradcheck(lambda *_: F.mse_loss(network(tensor(points)), tensor(answers)), parameters)

# %% [markdown]
# ## Descend
#
# With the slopes known, one step is short: take from every parameter its gradient times the **learning rate**. Then
# compute the slopes anew, and again.

# %%
before = names["W1"].detach().numpy().copy()
for parameter in parameters:
    parameter.grad = None
loss = F.mse_loss(network(tensor(points)), tensor(answers))
loss.backward()
optim.SGD(parameters, lr=0.1).step()
assert np.allclose(names["W1"].detach().numpy(), before - 0.1 * gW1, rtol=1e-12)
print(f"loss {loss.item():.6f} -> {F.mse_loss(network(tensor(points)), tensor(answers)).item():.6f} in one step")

# %% [markdown]
# The same on something harder: two hundred noisy points round the four corners. At the left the network before, in the
# middle after training; the colour is its answer at every place of the plane. Two hidden layers of three neurons are
# enough to bend the border twice.

# %%
centres = rng.integers(0, 2, (200, 2))
cloud = centres + rng.normal(0, 0.18, centres.shape)
wanted = np.logical_xor(*centres.T)[:, None].astype(np.float64)
grid = np.stack(np.meshgrid(np.linspace(-0.7, 1.7, 80), np.linspace(-0.7, 1.7, 80)), axis=-1)


def answer_everywhere():
    """Return the network's answer on a grid of 80 x 80 points."""
    with gpunet.no_grad():
        return network(tensor(grid.reshape(-1, 2))).numpy().reshape(80, 80)


untrained = answer_everywhere()
optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
losses = []
for _ in range(600):
    optimizer.zero_grad()
    loss = F.mse_loss(network(tensor(cloud)), tensor(wanted))
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
with gpunet.no_grad():
    right_share = ((network(tensor(cloud)).numpy() > 0.5) == wanted).mean()
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; {right_share:.1%} of the points on the right side")
assert losses[-1] < 0.05 and right_share > 0.95

figure, panels = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for axes, surface, title in zip(panels, [untrained, answer_everywhere()], ["before", "after"], strict=False):
    axes.imshow(surface, extent=(-0.7, 1.7, -0.7, 1.7), origin="lower", cmap="RdBu_r", vmin=-0.5, vmax=1.5)
    axes.scatter(*cloud.T, c=wanted, cmap="RdBu_r", s=10, edgecolor="black", linewidth=0.4)
    axes.set(title=title, xlabel="first input", ylabel="second input")
panels[2].semilogy(losses)
panels[2].set(xlabel="step", ylabel="MSE", title="loss")
panels[2].grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## Why slopes vanish
#
# Each layer on the way back multiplies with the slope of its nonlinearity. With the sigmoid this is a quarter at best,
# every time: the first layers of a deep network hardly learn. Tanh fares better, ReLU passes 1 where it passes
# anything. Here are networks of ten layers, all with the same random weights, and the size of the gradient in each.

# %%
figure, axes = plt.subplots(figsize=(6, 2.8), layout="constrained")
gradients = {}
signals, goals = tensor(rng.normal(size=(100, 30))), tensor(rng.normal(size=(100, 30)))
for name, kind in (("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh), ("ReLU", nn.ReLU)):
    gpunet.manual_seed(0)
    layers = [nn.Linear(30, 30) for _ in range(10)]
    deep = nn.Sequential(*[part for layer in layers for part in (layer, kind())]).double()
    loss = F.mse_loss(deep(signals), goals)
    loss.backward()
    gradients[name] = [np.linalg.norm(layer.weight.grad.numpy()) for layer in layers]
    axes.semilogy(range(1, 11), gradients[name], "o-", ms=4, label=name)
axes.set(xlabel="layer", ylabel="size of the gradient", xticks=range(1, 11))
axes.legend()
axes.grid(alpha=0.3)
plt.show()
shrinking = gradients["sigmoid"][0] / gradients["sigmoid"][-1]
print(f"sigmoid: the first layer's gradient is {shrinking:.0e} of the last one's")
assert shrinking < 1e-4 < gradients["tanh"][0] / gradients["tanh"][-1]

# %% [markdown]
# **To take along.** Backpropagation is the chain rule walked from the loss to the weights, so that each slope is
# computed once. A tape remembers the way; finite differences check it; the slope of the nonlinearities decides how much
# arrives.
#
# Try: `nn.Sigmoid()` in the network of eight neurons (what does it do to the number of steps?); L1 instead of L2 after
# you moved ten of the two hundred answers to the wrong side; break one line of the backward pass, and look which
# gradients notice.
