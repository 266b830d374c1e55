"""Train a network and segment slices that it has not seen.

A U-Net of an eighth of the published width, on small slices, for a few seconds. It shows how
arrays go in and out; a network that finds lesions wants more slices, pixels and epochs.
"""

import ssinfnet as ss

images, masks = ss.phantom.example_slices(12, size=64)
config = ss.TrainingConfig(epochs=6, batch_size=4, learning_rate=3e-3, scales=(1.0,))
trained = ss.train(images[:10], masks[:10], network=ss.UNet(3, 1, width=0.125), config=config)
print(trained)

lesion = trained.predict(images[10:])
print(trained.score(images[10:], masks[10:]).round(2))
figure = ss.plots.plot_training(trained.history)
first, last = trained.history["train_loss"].iloc[[0, -1]]
print(f"training loss from {first:.2f} to {last:.2f}; maps of {lesion.shape}")
