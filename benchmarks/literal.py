"""The mission's transforms as its text has them: PIL, torchvision and the global generators, image by image.

This is what the benchmark compares with, not something to train with: the docstrings of wds_face.transforms say what is
wrong in it.
"""

import random
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import ColorJitter, Compose, Normalize
from torchvision.transforms.functional import to_tensor

from wds_face.transforms.textures import BUILT_IN

POINTS = [(48.0252, 71.7366), (33.5493, 92.3655), (62.7299, 92.2041)]


class LiteralAugmenter:
    """Crop, photometric, low resolution."""

    def __init__(self, crop_prob: float, photometric_prob: float, low_res_prob: float) -> None:
        self.crop_prob, self.photometric_prob, self.low_res_prob = crop_prob, photometric_prob, low_res_prob
        self.jitter = ColorJitter(0.2, 0.2, 0.2)

    def augment(self, img: Image.Image) -> Image.Image:
        if random.random() < self.crop_prob:
            side = int(img.size[0] * random.uniform(0.8, 1.0))
            left, top = random.randint(0, img.size[0] - side), random.randint(0, img.size[1] - side)
            img = img.crop((left, top, left + side, top + side)).resize((112, 112), Image.BILINEAR)
        if random.random() < self.photometric_prob:
            img = self.jitter(img)
        if random.random() < self.low_res_prob:
            small = int(img.size[0] * random.uniform(0.25, 0.75))
            img = img.resize((small, small), Image.BILINEAR).resize((112, 112), Image.BILINEAR)
        return img


class LiteralMask:
    """One picture, resized, rotated and pasted."""

    def __init__(self, prob: float) -> None:
        self.prob = prob
        # A small picture: PIL reads every pixel of it each time, of a large one for 4 ms.
        self.mask_img = Image.open(BUILT_IN / "surgical-blue-front.png").convert("RGBA").resize((256, 180))

    def __call__(self, img: Image.Image) -> tuple[Image.Image, Image.Image]:
        if random.random() > self.prob:
            return img, Image.new("L", img.size, 255)
        nose, left, right = (np.array(point) + np.random.uniform(-3, 3, 2) for point in POINTS)  # noqa: NPY002
        shift_x, shift_y = random.uniform(-5, 5), random.uniform(-5, 5)
        scale, angle = random.uniform(0.95, 1.10), random.uniform(-7, 7)
        width = int(np.linalg.norm(right - left) * 4.0 * scale)
        height = int((right[1] - nose[1]) * 4.0 * scale)
        mask = self.mask_img.resize((width, height)).rotate(angle, expand=True)
        corner = int(nose[0] + shift_x) - mask.width // 2, int(nose[1] - 25 + shift_y)
        img = img.copy()
        img.paste(mask, corner, mask)
        binary = Image.new("L", img.size, 255)
        alpha = np.array(mask)[:, :, 3]
        binary.paste(Image.fromarray(np.where(alpha > 128, 0, 255).astype(np.uint8)), corner)
        return img, binary


def to_tensor_with_mask(pair: tuple[Image.Image, Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
    img, mask = pair
    return to_tensor(img), torch.from_numpy(np.array(mask)).float().unsqueeze(0) / 255.0


def literal_transform() -> Callable[[Image.Image], tuple[torch.Tensor, torch.Tensor]]:
    """The mission's standard training."""
    return Compose([
        LiteralAugmenter(0.1, 0.3, 0.2).augment,
        lambda img: img.transpose(Image.FLIP_LEFT_RIGHT) if random.random() > 0.5 else img,
        LiteralMask(prob=0.5),
        to_tensor_with_mask,
        lambda x: (Normalize(mean=[0.5] * 3, std=[0.5] * 3)(x[0]), x[1]),
    ])  # fmt: skip
