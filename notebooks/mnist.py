# %% [markdown]
# # A network reads digits, is fooled, and is repaired
#
# Nobody can write down the rule that turns 784 grey values into the digit they show. A network does not need it: it is
# a function with many adjustable numbers, and *learning* means to change these numbers, step by step, until the
# function is right about examples whose answer is known.
#
# What it learns depends on two things only: the **examples** and the **number that is made small**, the loss. This
# notebook trains a convolutional network on handwritten digits, looks inside, and shows both sides of that: the network
# gets good at what it saw, and fails at what it never saw, although a child would not notice the difference.

# %%
import matplotlib.pyplot as plt
import numpy as np

import gpunet
from gpunet import data, models, nn, optim, train, viz

generator = gpunet.manual_seed(0)  # the same weights, the same order of images, on every device

# %% [markdown]
# ## The examples
#
# MNIST is 28 x 28 grey images of digits, white ink on black. gpunet brings 12,000 of them for training and 2,000 others
# for the test along. The test images are never trained on: a network with a million weights could learn the training
# images by heart, and only new ones show whether it learned to *read*.

# %%
digits, test = data.MNIST(train=True), data.MNIST(train=False)
test_images, test_labels = test[:]
print(f"{len(digits):,} images to learn from, {len(test):,} for the test; one is {test_images[0].shape}")

figure, axes = plt.subplots(figsize=(9, 2.6))
viz.draw_images(axes, test_images[:20], test_labels[:20], columns=10)
plt.show()

# %% [markdown]
# ## A filter by hand
#
# A convolution slides a small window of weights, a **filter**, over the image. At each place it multiplies the weights
# with the pixels below them and adds up: one number that says how well this piece of the image fits the filter.
# Here are two filters made by hand: one answers to ink above nothing, one to ink left of nothing.

# %%
below = np.array([[1, 1, 1], [0, 0, 0], [-1, -1, -1]], np.float32)
filters = np.stack([below, below.T])[:, None]  # (out channels, in channels, height, width)
image = test_images[:1]  # a batch of one image with one channel: (1, 1, 28, 28)
response = gpunet.ops.conv2d(image, filters)
print(f"{image.shape} and {filters.shape} give {response.shape}: no window fits beyond the border")

row, column = 7, 12  # any place: the answer there is one dot product
window = image[0, 0, row : row + 3, column : column + 3]
assert np.isclose(response[0, 0, row, column], (window * below).sum(), atol=1e-5)

# %% [markdown]
# Where the answer is negative, the filter's opposite is in the image. **ReLU**, max(x, 0), drops these; **max pooling**
# keeps the largest of each 2 x 2 window. The image gets smaller, and where exactly in its window the best fit was is
# forgotten: when the digit moves by one pixel, the pooled answer changes less than the answer itself.


# %%
def move(array):
    """Move what is seen one pixel to the right; there is no ink at the border that could get lost."""
    return np.roll(array, 1, axis=3)


def change(before, after):
    """Return how much an answer changed, as a share of its size."""
    return np.linalg.norm(after - before) / np.linalg.norm(before)


fit = gpunet.ops.relu(response)
pooled = gpunet.ops.max_pool2d(fit, 2)
changes = change(fit, move(fit)), change(pooled, gpunet.ops.max_pool2d(move(fit), 2))
print("one pixel to the right changes the answer by {:.0%}, the pooled answer by {:.0%}".format(*changes))
assert changes[1] < changes[0]

titles = ["ink above nothing", "ink left of nothing", "first, ReLU and pooled", "second, the same"]
figure, panels = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
panels[0].imshow(image[0, 0], cmap="gray")
panels[0].set_title("image", fontsize=10)
for axes, picture, title in zip(panels[1:], [*response[0], *pooled[0]], titles, strict=True):
    axes.imshow(picture, cmap="RdBu_r", vmin=-10, vmax=10)
    axes.set_title(title, fontsize=10)
for axes in panels:
    axes.axis("off")
plt.show()

# %% [markdown]
# ## Train a network that finds its own filters
#
# `models.CNN` is two convolutions with 32 and 64 filters, one pooling, and two fully connected layers that turn what
# was found into ten numbers, one per digit. Nothing tells the filters what to look for: they begin as random numbers.
# While it learns, **dropout** hides a random part of what the fully connected layers are given (a quarter from the
# first, half from the second), so that no answer hangs on a single number. The loss is the **cross entropy**: minus the
# logarithm of the probability that the network gave to the right digit. Each step takes 64 images and moves all weights
# a little in the direction that makes their loss smaller.

# %%
model = models.CNN()
untrained = model.conv1.weight.detach().numpy().copy()
train_loader = data.DataLoader(digits, batch_size=64, shuffle=True)
test_loader = data.DataLoader(test, batch_size=250)


def one_epoch(augment=None):
    """Show the network every training image once, with smaller and smaller steps."""
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    (row,) = train.fit(
        model,
        train_loader,
        test_loader,
        optimizer,
        epochs=1,
        schedule=lambda done: 1 - done,
        augment=augment,
        progress=False,
    )
    return row["test_accuracy"]


accuracy = one_epoch()
print(f"{sum(weight.numel() for weight in model.parameters()):,} weights, {accuracy:.1%} of the test images right")
assert accuracy > 0.92  # a guess would be right in one case of ten

# %% [markdown]
# ## What it looks for
#
# The filters of the first layer, trained: red weights want ink, blue ones want none. Three by three pixels leave little
# room, but look for red on one side and blue on the other: these are detectors of edges, as the ones built by hand,
# each for its own direction.

# %%
assert not np.allclose(model.conv1.weight.detach().numpy(), untrained, atol=0.01)
figure, axes = plt.subplots(figsize=(9, 2.7), layout="constrained")
drawing = viz.draw_filters(axes, model.conv1.weight, columns=11)
figure.colorbar(drawing, ax=axes, label="weight")
plt.show()

# %% [markdown]
# A filter is understood best by what it answers. This is one 2, seen through the 20 filters that answer most, each on
# its own scale: some keep upper edges, some lower ones, some strokes of one slope, and some the empty background.

# %%
with gpunet.no_grad():
    answers = nn.functional.relu(model.conv1(gpunet.tensor(test_images[1:2]))).numpy()[0]
peaks = answers.max(axis=(1, 2))
strongest = np.sort(np.argsort(peaks)[-20:])
figure, axes = plt.subplots(figsize=(9, 2.2))
viz.draw_images(axes, answers[strongest] / peaks[strongest, None, None], columns=10)
plt.show()

# %% [markdown]
# ## Its mistakes
#
# A **confusion matrix** counts for each digit what it was taken for. The diagonal is right; every other number is a
# mistake with a name. At the right stands the recall: the share of this digit's images that were read correctly.


# %%
def predict(images):
    """Return the most likely digit of each image."""
    model.eval()
    with gpunet.no_grad():
        logits = [model(gpunet.tensor(images[i : i + 250])).numpy() for i in range(0, len(images), 250)]
    return np.concatenate(logits).argmax(axis=1)


predictions = predict(test_images)
counts = viz.confusion_matrix(test_labels, predictions)
wrong = np.flatnonzero(predictions != test_labels)
assert np.trace(counts) == round(accuracy * len(test)) and counts.sum() - np.trace(counts) == len(wrong)

figure, axes = plt.subplots(figsize=(6, 5.4))
viz.draw_confusion(axes, counts)
plt.show()

# %% [markdown]
# Some of the mistakes, as *true → read*. About a few of them people would argue, too; most are plain to us. The network
# has seen each training image once.

# %%
figure, axes = plt.subplots(figsize=(9, 2.6))
viz.draw_images(axes, test_images[wrong[:20]], test_labels[wrong[:20]], predictions[wrong[:20]], columns=10)
plt.show()

# %% [markdown]
# ## The same digits, black on white
#
# For us, a 7 in black ink is a 7. For the network it is an image unlike any that it was ever trained on. Nothing in the
# examples and nothing in the loss said that the colour of the ink does not matter. Why should it know?

# %%
to_black_on_white = data.RandomInvert(p=1.0, black=digits.black, white=digits.white)
inverted_images = to_black_on_white(gpunet.tensor(test_images)).numpy()
predictions = predict(inverted_images)
accuracy_inverted = (predictions == test_labels).mean()
print(f"right: {accuracy:.1%} white on black, {accuracy_inverted:.1%} black on white")
assert accuracy_inverted < accuracy - 0.25, "the network reads what it was trained on, not digits as such"

figure, axes = plt.subplots(figsize=(9, 2.6))
viz.draw_images(axes, inverted_images[:20], test_labels[:20], predictions[:20], columns=10)
plt.show()

# %% [markdown]
# ## Repair the examples, and the network follows
#
# The network is as good as before; its *examples* are poor. So we change them: **augmentation** inverts each training
# image with probability 1/2, anew every time that it is shown. No new digit is collected, and no line of the network
# changes. One more look at the training images is enough.

# %%
either_colour = data.RandomInvert(p=0.5, black=digits.black, white=digits.white)
repaired = one_epoch(augment=either_colour)
repaired_inverted = (predict(inverted_images) == test_labels).mean()
print(f"right: {repaired:.1%} white on black, {repaired_inverted:.1%} black on white")
assert repaired > 0.93 and repaired_inverted > 0.93, "both colours are read now"
assert repaired_inverted > accuracy_inverted + 0.25

# %%
figure, axes = plt.subplots(figsize=(6, 2.2), layout="constrained")
names = ["white on black", "black on white"]
for place, (values, colour, label) in enumerate(
    [
        ([accuracy, accuracy_inverted], "tab:gray", "trained on white ink only"),
        ([repaired, repaired_inverted], "tab:green", "trained on both"),
    ]
):
    bars = axes.barh(np.arange(2) + 0.36 * (place - 0.5), values, 0.34, color=colour, label=label)
    axes.bar_label(bars, [f"{value:.1%}" for value in values], padding=3, fontsize=9)
axes.set(yticks=range(2), yticklabels=names, xlim=(0, 1.12), xlabel="share of the test images that is read right")
axes.invert_yaxis()
axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
plt.show()

# %% [markdown]
# **To take along.** A network answers the question that its examples and its loss ask, and no other. When it fails,
# look at the examples first. Augmentation is how we tell it which differences do not matter.
#
# Try: `p=0.1` instead of `0.5`; train from the start with augmentation; the same from a shell with
# `gpunet train --augment invert`, which leaves these pictures in its run folder.
