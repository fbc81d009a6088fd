"""The crops of the papers, with the few settings one changes: size, strength of the color, blur, mirroring.

By default they are for images of 32 pixels, as the papers have them for CIFAR-10 where they say so: without
blur. The papers' figures for 224 pixels stand beside the settings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from counterpoint.core.config import Config
from counterpoint.views.image import Crops, MultiCrop


@dataclass(frozen=True, kw_only=True)
class Preset(Config, ABC):
    """Sets of crops by a few settings."""

    size: int = 32
    """Side of a crop in pixels."""
    strength: float = 0.5
    """How strongly colors are jittered; 0 turns jitter off."""
    flip: float = 0.5
    """Share of crops that are mirrored left and right; 0 where sides matter: digits, text, organs."""

    @abstractmethod
    def crops(self) -> tuple[Crops, ...]:
        """The sets, in full."""

    def build(self) -> MultiCrop:
        """The viewer; raises ``InputError`` for a setting out of its range."""
        return MultiCrop(self.crops())


@dataclass(frozen=True, kw_only=True)
class SimCLRCrops(Preset):
    """SimCLR's two crops (arXiv:2002.05709, appendix A; B.9 for CIFAR-10)."""

    blur: float = 0.0
    """Share of crops that are blurred; the paper blurs half of them on ImageNet, at strength 1."""

    def crops(self) -> tuple[Crops, ...]:
        """One set of two."""
        return (
            Crops(
                count=2,
                size=self.size,
                area=(0.08, 1.0),
                strength=self.strength,
                blur=self.blur,
                flip=self.flip,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class ManyCrops(Preset):
    """Any number of crops by SimCLR's law (arXiv:2002.05709), as multi-view losses take them."""

    count: int = 4
    """How many crops of every sample."""
    area: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the sample's area that a crop shows; near 1 for weak augmentation."""

    def crops(self) -> tuple[Crops, ...]:
        """One set of ``count``."""
        (two,) = SimCLRCrops(size=self.size, strength=self.strength, flip=self.flip).crops()
        return (replace(two, count=self.count, area=self.area),)


@dataclass(frozen=True, kw_only=True)
class CACRCrops(Preset):
    """CACR's query and four positives (arXiv:2105.03746, its code for CIFAR-10): every crop is jittered."""

    count: int = 5
    """How many crops of every sample."""
    strength: float = 1.0
    """How strongly colors are jittered; 0 turns jitter off."""

    def crops(self) -> tuple[Crops, ...]:
        """One set of ``count``."""
        law = Crops(jitter=(0.4, 0.4, 0.4, 0.4), jittered=1.0, strength=self.strength, flip=self.flip)
        return (replace(law, count=self.count, size=self.size),)


@dataclass(frozen=True, kw_only=True)
class MoCoCrops(Preset):
    """MoCo v2's two crops (arXiv:2003.04297), SimSiam's too (arXiv:2011.10566, section 3)."""

    blur: float = 0.0
    """Share of crops that are blurred; the papers blur half of them on ImageNet."""

    def crops(self) -> tuple[Crops, ...]:
        """One set of two."""
        return (Crops(count=2, size=self.size, strength=self.strength, blur=self.blur, flip=self.flip),)


@dataclass(frozen=True, kw_only=True)
class PlainCrop(Preset):
    """One crop whose color stays, for methods that divide it into views (CMC, arXiv:1906.05849)."""

    strength: float = 0.0
    """How strongly colors are jittered; 0 turns jitter off."""

    def crops(self) -> tuple[Crops, ...]:
        """One set of one."""
        return (Crops(size=self.size, strength=self.strength, gray=0.0, flip=self.flip),)


@dataclass(frozen=True, kw_only=True)
class UnlikeCrops(Preset):
    """MoCo's two crops, of which the first keeps away from the middle (Wu et al. 2023, arXiv:2307.12168)."""

    off_center: float = 0.1
    """Law of the first crop's place, less is farther from the middle; 0.1 for CIFAR, 0.6 for ImageNet."""

    def crops(self) -> tuple[Crops, ...]:
        """Two sets of one."""
        anywhere = Crops(size=self.size, strength=self.strength, flip=self.flip)
        return (replace(anywhere, off_center=self.off_center), anywhere)


@dataclass(frozen=True, kw_only=True)
class BYOLCrops(Preset):
    """BYOL's two unlike crops (arXiv:2006.07733, table 6), Barlow Twins' too (arXiv:2103.03230, 2.2)."""

    strength: float = 1.0
    """How strongly colors are jittered; 0 turns jitter off."""
    blur: tuple[float, float] = (0.0, 0.0)
    """Share of first and of second crops that are blurred; (1, 0.1) in the paper, for 224 pixels."""

    def crops(self) -> tuple[Crops, ...]:
        """Two sets of one; the second is solarized at times."""
        first = Crops(
            size=self.size,
            area=(0.08, 1.0),
            interpolation="bicubic",
            jitter=(0.4, 0.4, 0.2, 0.1),
            strength=self.strength,
            blur=self.blur[0],
            flip=self.flip,
        )
        return (first, replace(first, blur=self.blur[1], solarize=0.2))


@dataclass(frozen=True, kw_only=True)
class SwAVCrops(Preset):
    """SwAV's two global crops and its local ones (arXiv:2006.09882, appendix A)."""

    strength: float = 1.0
    """How strongly colors are jittered; 0 turns jitter off."""
    blur: float = 0.0
    """Share of crops that are blurred; 0.5 in the paper, for 224 pixels."""
    local: int = 16
    """Side of the local crops in pixels; 96 in the paper, for 224."""
    locals: int = 6
    """How many local crops; 0 for none."""

    def crops(self) -> tuple[Crops, ...]:
        """A set of two, a set of ``locals``."""
        wide = Crops(
            count=2,
            size=self.size,
            area=(0.14, 1.0),
            strength=self.strength,
            blur=self.blur,
            flip=self.flip,
        )
        return (wide, replace(wide, count=self.locals, size=self.local, area=(0.05, 0.14), role="local"))


@dataclass(frozen=True, kw_only=True)
class DINOCrops(Preset):
    """DINO's crops: BYOL's two, and local ones (arXiv:2104.14294, 3.2)."""

    strength: float = 1.0
    """How strongly colors are jittered; 0 turns jitter off."""
    blur: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Share of first, second and local crops that are blurred; (1, 0.1, 0.5) in the paper, for 224 pixels."""
    local: int = 16
    """Side of the local crops in pixels; 96 in the paper, for 224."""
    locals: int = 8
    """How many local crops; 0 for none."""

    def crops(self) -> tuple[Crops, ...]:
        """Two sets of one, a set of ``locals``."""
        two = BYOLCrops(size=self.size, strength=self.strength, blur=self.blur[:2], flip=self.flip)
        first, second = (replace(c, area=(0.4, 1.0)) for c in two.crops())
        small = replace(
            first, count=self.locals, size=self.local, area=(0.05, 0.4), blur=self.blur[2], role="local"
        )
        return (first, second, small)


@dataclass(frozen=True, kw_only=True)
class OBoWCrops(Preset):
    """OBoW's whole image, crops and patches (arXiv:2012.11552, appendix on implementation)."""

    strength: float = 1.0
    """How strongly colors of crops and patches are jittered; 0 turns jitter off."""
    blur: float = 0.0
    """Share of crops and patches that are blurred; 0.5 in the paper, for 160 pixels."""
    crop: int = 24
    """Side of the crops in pixels; 160 in the paper, for 224."""
    cropped: int = 2
    """How many crops; 0 for none."""
    local: int = 16
    """Side of the patches in pixels; 96 in the paper, for 224."""
    locals: int = 5
    """How many patches; 0 for none."""

    def crops(self) -> tuple[Crops, ...]:
        """The whole image, mirrored at times; a set of crops; a set of patches."""
        whole = Crops(
            size=self.size,
            area=(1.0, 1.0),
            ratio=(1.0, 1.0),
            flip=self.flip,
            strength=self.strength,
            jittered=0.0,
            gray=0.0,
            role="whole",
        )
        law = Crops(
            count=self.cropped,
            size=self.crop,
            area=(0.08, 0.6),
            flip=self.flip,
            jitter=(0.4, 0.4, 0.4, 0.1),
            strength=self.strength,
            blur=self.blur,
            role="crops",
        )
        # a patch is (96/256)² of a crop of 0.6 to 1 of the image
        small = replace(law, count=self.locals, size=self.local, area=(0.084, 0.14), role="patches")
        return (whole, law, small)
