"""What heads promise that answer with objects, beside what all heads promise."""

import torch

from microtome.structures import Instances, LabelLayers, Segmentation
from microtome.testing import HeadContract


class InstanceContract(HeadContract):
    """Subclasses say `make` and `certain`."""

    def certain(self, masks, labels, images):
        """The prediction that is sure of masks [N, *S] and their classes, in all images."""
        raise NotImplementedError

    def truth(self, shape):
        """Four bars, glands and nuclei in turn, on background."""
        width = shape[-1] // 8
        column = torch.arange(shape[-1]) // width
        ids = torch.where(column % 2 == 1, column // 2 + 1, 0).expand(*shape)
        layers = LabelLayers.from_ids(ids)
        labels = torch.tensor([1, 2, 1, 2])[: len(layers)]
        classes = torch.cat([torch.zeros(1, dtype=torch.long), labels])[ids]
        return Segmentation(classes, Instances(labels, masks=layers))

    def _truths(self, canvas):
        yield self.truth(canvas)
        none = torch.zeros(canvas, dtype=torch.long)
        nothing = Instances(torch.zeros(0, dtype=torch.long), masks=LabelLayers.from_ids(none))
        yield Segmentation(none, nothing)
        ignored = torch.full(tuple(canvas), self.classes.ignore_index)
        yield Segmentation(ignored, self.truth(canvas).instances)

    def test_the_decoded_truth_is_the_truth(self):
        head = self.make().eval()
        images, _ = self._batch()
        truth = self.truth(images.canvas)
        masks = truth.instances.masks.dense().tensor
        results = head.decode(self.certain(masks, truth.instances.labels, images), images)
        for result, shape in zip(results, images.shapes.tolist(), strict=True):
            window = tuple(slice(s) for s in shape)
            expected = truth.instances.masks.maps[0][window]
            found = result.instances
            assert (found.masks.maps[0] > 0).equal(expected > 0)
            assert len(found) == len(expected[expected > 0].unique()) >= 3
            assert found.scores.min() > 0.99
            for index, label in enumerate(found.labels, start=1):
                own = expected[found.masks.maps[0] == index].unique()
                assert len(own) == 1 and truth.instances.labels[own.item() - 1] == label
