"""Infer the depth at which the identities of a folder tree lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wds_face.errors import SourceError

#: Minimum number of sibling folders that are not taken for variants of one identity, unless other identities have them
#: too. With a smaller number, more trees of few identities are read without an error, but more variants cause one.
MANY = 10

_SPLITS = frozenset(
    {
        *("train", "training", "trainset", "trainval", "test", "testing", "testset", "val", "valid", "validation"),
        *("dev", "eval", "evaluation", "heldout", "held-out", "held_out", "holdout", "gallery", "probe", "query"),
    }
)

_COLLECTIONS = frozenset(
    {
        "all",
        "aligned",
        "crop",
        "cropped",
        "crops",
        "data",
        "faces",
        "image",
        "images",
        "img",
        "img_align_celeba",
        "imgs",
        "jpeg",
        "jpg",
        "labels",
        "masks",
        "photos",
        "pictures",
        "raw",
    }
)


class Layout(NamedTuple):
    """How a folder tree is read.

    Attributes:
        depth: Depth of the identity folders below the root: 1 for ``ROOT/<identity>``.
        notes: Lines for the user about the choice.
    """

    depth: int
    notes: list[str]


class FolderTree:
    """The folders of a tree that hold images at any depth.

    Args:
        folders: Paths below the root of the folders with images directly in them; the root itself is ``""``.
        images: Number of images directly in each folder, in the same order.
    """

    def __init__(self, folders: Sequence[str], images: Sequence[int]) -> None:
        self.images = dict(zip(folders, images, strict=True))
        self.children: dict[str, set[str]] = {}
        for folder in folders:
            path = folder
            while path:
                parent, _, name = path.rpartition("/")
                siblings = self.children.setdefault(parent, set())
                if name in siblings:  # all folders above are known too
                    break
                siblings.add(name)
                path = parent
        #: Folders with at least :data:`MANY` sub-folders, and all folders above these.
        self.wide: set[str] = set()
        for folder, names in self.children.items():
            if len(names) >= MANY:
                parts = folder.split("/")
                self.wide.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))

    def below(self, folders: Iterable[str]) -> list[str]:
        """Return the sub-folders of some folders, sorted."""
        return sorted(
            f"{folder}/{name}" if folder else name for folder in folders for name in self.children.get(folder, ())
        )

    def at_depth(self, depth: int) -> list[str]:
        """Return the folders at this depth, sorted."""
        level = [""]
        for _ in range(depth):
            level = self.below(level)
            if not level:
                break
        return level

    def holder(self, folder: str) -> str:
        """Return the folder itself, or the first one below it that has images or more than one sub-folder."""
        while not self.images.get(folder) and len(self.children.get(folder, ())) == 1:
            (name,) = self.children[folder]
            folder = f"{folder}/{name}"
        return folder

    def is_nested(self, folder: str) -> bool:
        """Return whether a folder may hold identities: only sub-folders, or :data:`MANY` siblings somewhere below."""
        holder = self.holder(folder)
        only_sub_folders = len(self.children.get(holder, ())) > 1 and not self.images.get(holder)
        return only_sub_folders or folder in self.wide


def choose_depth(root: str, tree: FolderTree) -> Layout:
    """Find the depth at which the identities of a tree lie.

    Only folders with images at any depth count.

    - If images lie directly in the folders, these are the identities, including the images of their sub-folders.
    - A single folder that holds another single one, or leads to :data:`MANY` or more siblings, is a level above the
      identities: look below it.
    - If several folders hold only sub-folders, with fewer distinct names than there are such folders
      (``<person>/frontal``, ``<person>/profile``), the sub-folders are variants within identities.
    - Anything else is ambiguous: a folder of only sub-folders that is named like a split (``train``, ``test``, …) and
      has siblings, one whose sub-folders are named differently from those of its siblings, or one that holds
      :data:`MANY` or more folders. So are folders with images directly in them that are all named like splits or
      collections (``images``, ``faces``, …).

    Args:
        root: Path of the tree, for messages.
        tree: Its folders.

    Raises:
        SourceError: The depth is ambiguous. The message gives both readings and the option that chooses one.
    """
    depth = 1
    level = tree.below([""])
    while nested := [folder for folder in level if tree.is_nested(folder)]:
        if len(level) == 1:
            if not _is_level_above(tree, level[0]):
                raise SourceError(_ambiguity(root, tree, depth, nested))
        elif _are_variants(tree, nested):
            return Layout(depth, [*_lone_note(root, level, depth), _variants_note(tree, nested, depth)])
        else:
            raise SourceError(_ambiguity(root, tree, depth, nested))
        depth += 1
        level = tree.below(level)
    names = [folder.rpartition("/")[2] for folder in level]
    if names and all(is_split(name) or _bare(name) in _COLLECTIONS for name in names):
        shown = ", ".join(map(repr, names[:3])) + (", …" if names[3:] else "")
        looks = (
            "which do not look like names of people" if names[1:] else "which does not look like the name of a person"
        )
        raise SourceError(
            f"{root} has its images in {shown}, {looks}: give a folder with one sub-folder per identity, or say "
            f"--identity-depth {depth} to take each folder for an identity"
        )
    return Layout(depth, _lone_note(root, level, depth))


def _is_level_above(tree: FolderTree, lone: str) -> bool:
    """Return whether the only folder of its depth cannot be an identity."""
    stray = tree.images.get(lone, 0) < MANY  # a few images next to many folders decide nothing
    return stray and (len(tree.children[lone]) == 1 or lone in tree.wide)


def _lone_note(root: str, level: list[str], depth: int) -> list[str]:
    if depth == 1:
        return []
    above = level[0].rpartition("/")[0]
    return [
        f"{root}/{above} is the only folder with images: each of its {len(level):,} sub-folders is an identity "
        f"(--identity-depth {depth})"
    ]


def _variants_note(tree: FolderTree, nested: list[str], depth: int) -> str:
    names = sorted(set().union(*(tree.children[tree.holder(folder)] for folder in nested)))
    more = ", …" if names[2:] else ""
    return (
        f"{len(nested):,} identities have sub-folders ({', '.join(map(repr, names[:2]))}{more}) whose images are "
        f"theirs; say --identity-depth {depth + 1} if the sub-folders are the identities"
    )


def _are_variants(tree: FolderTree, nested: list[str]) -> bool:
    if any(is_split(folder.rpartition("/")[2]) for folder in nested):
        return False
    names: set[str] = set()
    for folder in nested:
        names |= tree.children[tree.holder(folder)]
    return len(names) < len(nested)


def _ambiguity(root: str, tree: FolderTree, depth: int, nested: list[str]) -> str:
    folders = tree.at_depth(depth)
    shallow = name_identities(folders)
    deeper = depth + 1
    while len(tree.at_depth(deeper)) == len(folders) and tree.at_depth(deeper + 1):  # lone folders in each
        deeper += 1
    deep = name_identities(tree.at_depth(deeper))
    above = sum(images for folder, images in tree.images.items() if depth_of(folder) < deeper)
    lost = f" ({above:,} images above these left out)" if above else ""
    deepest = max(map(depth_of, tree.images))
    more = f", or as {_count(name_identities(tree.at_depth(deepest)))} with --identity-depth {deepest}"
    further = more if deepest > deeper else ""
    train = next((folder for folder in nested if folder.rpartition("/")[2].casefold().startswith("train")), None)
    alone = f", or give {os.path.join(root, train)} alone" if train else ""
    return (
        f"{root} can be read as {_count(shallow)} with --identity-depth {depth}, or as {_count(deep)} with "
        f"--identity-depth {deeper}{lost}{further}: choose one{alone}"
    )


def _count(names: Sequence[str]) -> str:
    different = sorted(set(names))
    more = ", …" if different[2:] else ""
    return f"{_plural(len(different), 'identity', 'identities')} ({', '.join(map(repr, different[:2]))}{more})"


def is_split(name: str) -> bool:
    """Return whether a folder name is that of a split: ``train``, ``Val_2``, …"""
    return _bare(name) in _SPLITS


def _bare(name: str) -> str:
    return name.casefold().strip("0123456789_-. ")


def name_identities(folders: Sequence[str]) -> list[str]:
    """Return the identity names of folders at one depth. Folders with the same name are one identity.

    The name is the path below the root without split names (``train``, ``test``, …) and without folders that contain
    all identities: ``train/ann`` and ``test/ann`` are both ``ann``; ``a/0`` and ``b/0`` stay two identities.
    """
    paths = [folder.split("/") for folder in folders]
    if not paths:
        return []
    upper = range(len(paths[0]) - 1)
    shared = {i for i in upper if len({path[i] for path in paths}) == 1}
    names = []
    for path in paths:
        kept = [path[i] for i in upper if i not in shared and not is_split(path[i])]
        names.append("/".join([*kept, path[-1]]))
    return names


def notes_on_identities(folders: Sequence[str], names: Sequence[str], images: Sequence[int]) -> list[str]:
    """Return lines for the user about identities that consist of several folders, or lie in several splits.

    Args:
        folders: Identity folders, ``[n]``; one may occur more than once, with a part of its images each.
        names: Names of their identities, ``[n]``.
        images: Number of images in each, ``[n]``.
    """
    notes = []
    splits: dict[str, set[str]] = {}
    totals: Counter[str] = Counter()
    for folder, name, count in zip(folders, names, images, strict=True):
        for part in filter(is_split, folder.split("/")[:-1]):
            splits.setdefault(part, set()).add(name)
            totals[part] += count
    if len(splits) > 1:
        listed = [
            f"{split} ({_plural(len(splits[split]), 'identity', 'identities')}, "
            f"{_plural(totals[split], 'image', 'images')})"
            for split in sorted(splits)
        ]
        notes.append(f"splits are read together: {', '.join(listed)}; to hold one back, give the others alone")
    several = sorted(name for name, folders_of in _group(folders, names).items() if len(folders_of) > 1)
    if several:
        more = ", …" if several[2:] else ""
        shown = ", ".join(map(repr, several[:2]))
        named = _plural(len(several), "name is", "names are")
        notes.append(f"{named} in more than one split, and each is one identity: {shown}{more}")
    return notes


def _group(folders: Sequence[str], names: Sequence[str]) -> dict[str, set[str]]:
    """Return the different folders of each name."""
    found: dict[str, set[str]] = {}
    for folder, name in zip(folders, names, strict=True):
        found.setdefault(name, set()).add(folder)
    return found


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def depth_of(folder: str) -> int:
    """Return how deep a folder lies below the root, 0 for the root itself, ``""``."""
    return folder.count("/") + 1 if folder else 0


__all__ = [
    "MANY",
    "FolderTree",
    "Layout",
    "choose_depth",
    "depth_of",
    "is_split",
    "name_identities",
    "notes_on_identities",
]
