"""Synthetic faces: aligned, 112x112, in colour, so that demos and tests need no photograph.

A :class:`~wds_face.synthetic.look.Look` is what makes an identity, a
:class:`~wds_face.synthetic.variation.Variation` what makes one image of it.  Both come from generators seeded by
nothing but their numbers, so face ``(seed, identity, image)`` is the same picture whatever was drawn before it.
"""

from wds_face.synthetic.folder import write_folder
from wds_face.synthetic.portrait import face, faces
from wds_face.synthetic.template import ARCFACE_112

__all__ = ["ARCFACE_112", "face", "faces", "write_folder"]
