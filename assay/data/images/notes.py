"""What is odd in an archive of pictures, gathered by kind, told once with the names of the first ones."""

from __future__ import annotations

from assay.data.loaded import DataWarning

SHOWN = 5
MESSAGES = {
    "unreadable_image": "{n} file(s) are no readable pictures and are left out",
    "ignored_file": "{n} file(s) are neither pictures nor annotations and are ignored",
    "rotated_image": "{n} picture(s) were turned upright, as their EXIF data say",
    "converted_image": "{n} picture(s) were converted to 8-bit RGB or grey",
    "grey_image": "{n} picture(s) are grey while the others have colours; they are used as grey RGB",
    "scaled_image": "{n} picture(s) are stored smaller than they came",
    "duplicate_image": "{n} picture(s) have the same content as another one",
    "duplicate_across_splits": "{n} picture(s) are in more than one split; tasks use them in one only, test before val "
    "before train",
    "conflicting_labels": "{n} picture(s) have the same content as one with another label",
    "no_label": "{n} picture(s) lie in no class folder and have no label",
    "box_outside": "{n} box(es) reach outside their picture and are cut to it, or left out if nothing is left",
    "empty_box": "{n} box(es) have no width or no height and are left out",
    "no_objects": "{n} picture(s) are annotated as holding no object",
    "unannotated_image": "{n} picture(s) have no annotation; they are no examples, not even of nothing",
    "unknown_category": "{n} annotation(s) name a category that is not declared and are left out",
    "missing_image": "{n} annotation(s) are of pictures that are not there and are left out",
    "size_mismatch": "{n} annotation(s) were made for another size of their picture and are scaled",
    "bad_annotation": "{n} annotation(s) cannot be read and are left out",
    "mask_size": "{n} mask(s) differ in size from their picture and are scaled to it",
    "unmatched_mask": "{n} mask(s) have no picture of the same name and are left out",
}


class Notes:
    """Counts by code, with the first few names of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, code: str, name: str, why: str = "") -> None:
        """code: of MESSAGES.  name: of the member.  why: what was found, in a few words."""
        self._counts[code] = self._counts.get(code, 0) + 1
        names = self._names.setdefault(code, [])
        told = f"{name!r} ({why})" if why else repr(name)
        if len(names) < SHOWN and told not in names:
            names.append(told)

    def count(self, code: str) -> int:
        return self._counts.get(code, 0)

    def drop(self, code: str) -> None:
        self._counts.pop(code, None)

    def warnings(self) -> tuple[DataWarning, ...]:
        told = []
        for code, text in MESSAGES.items():
            n = self._counts.get(code, 0)
            if n:
                shown = ", ".join(self._names[code])
                more = ", ..." if n > len(self._names[code]) else ""
                told.append(DataWarning(code, None, f"{text.format(n=n)}: {shown}{more}"))
        return tuple(told)
