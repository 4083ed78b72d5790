"""Operators of the App on ticked faces: pin, ban, free, name the subject, correct. The plugin registers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import fiftyone.operators as foo
import fiftyone.operators.types as types

from curate.app import actions, launch, panels
from curate.errors import FacesetError


def notified(ctx: Any, work: Callable[[], str]) -> dict[str, str]:
    """The message of `work`, or of its error, which is shown to the user."""
    try:
        message, variant = work(), "success"
    except FacesetError as error:
        message, variant = str(error), "error"
    ctx.ops.notify(message, variant=variant)
    return {"message": message}


class Operator(foo.Operator):  # type: ignore[misc]  # FiftyOne has no types
    """An operator whose result is a message."""

    name, label, hint, icon = "", "", "", ""
    risk = "low"
    form = False

    @property
    def config(self) -> Any:
        """Name, label and risk."""
        return foo.OperatorConfig(
            name=self.name,
            label=self.label,
            description=self.hint,
            icon=self.icon,
            dynamic=self.form,
            risk_level=types.RiskLevel(self.risk),
        )

    def resolve_placement(self, ctx: Any) -> Any:
        """A button above the faces, on datasets of a faceset."""
        if launch.INFO not in ctx.dataset.info:
            return None
        button = types.Button(label=self.label, icon=self.icon, prompt=self.form)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)


class _Mark(Operator):
    how: Literal["pin", "ban", "free"]
    done = ""

    def execute(self, ctx: Any) -> dict[str, str]:
        """Run the operator; its message."""

        def work() -> str:
            """Mark the faces that are selected or shown; the message."""
            wanted = ctx.selected or (ctx.view.values("id") if ctx.has_custom_view else [])
            count = actions.mark(ctx.dataset, wanted, self.how)
            ctx.ops.clear_selected_samples()
            ctx.ops.reload_dataset()
            faces = "1 face is" if count == 1 else f"{count} faces are"
            return f"{faces} {self.done}. This takes effect the next time you use Choose again."

        return notified(ctx, work)


class Pin(_Mark):
    how, icon = "pin", "push_pin"
    name, label, hint, done = "pin", "Pin faces", "Always choose the ticked faces, or those of the view", "pinned"


class Ban(_Mark):
    how, icon = "ban", "block"
    name, label, hint, done = "ban", "Ban faces", "Never choose the ticked faces, or those of the view", "banned"


class Free(_Mark):
    how, icon = "free", "link_off"
    name, label, hint, done = (
        "free",
        "Free faces",
        "Remove the pin or ban of the ticked faces, or of those of the view",
        "neither pinned nor banned any more",
    )


class ThisIsTheSubject(Operator):
    name, label = "this_is_the_subject", "This is the subject"
    hint = "Make the person on the ticked faces the subject, and choose faces of that person"
    icon, risk = "how_to_reg", "medium"

    def execute(self, ctx: Any) -> dict[str, str]:
        """Run the operator; its message."""

        def work() -> str:
            person = actions.make_subject(ctx.dataset, ctx.selected)
            ctx.ops.clear_selected_samples()
            ctx.ops.reload_dataset()
            return f"Person {person} is now the subject. Faces were chosen with the options of the last selection."

        return notified(ctx, work)


class CorrectFace(Operator):
    name, label = "correct_face", "Correct a face"
    hint = "Open the page on which the landmarks and the mask of a ticked face are corrected by dragging"
    icon = "edit"

    def execute(self, ctx: Any) -> dict[str, str]:
        """Links to the pages of the ticked faces."""

        try:
            links = actions.correction_pages(ctx.dataset, ctx.selected)
        except FacesetError as error:
            ctx.ops.notify(str(error), variant="error")
            return {"links": panels.escaped(str(error))}
        return {"links": "  \n".join(f"[Correct {face}]({page})" for face, page in links.items())}

    def resolve_output(self, ctx: Any) -> Any:
        """The links."""
        outputs = types.Object()
        outputs.md(ctx.results.get("links", ""), name="pages")
        return types.Property(outputs, view=types.View(label=self.label))


class SomebodyElse(Operator):
    name, label = "somebody_else", "This is somebody else"
    hint = "Ban all faces of the tracks of the ticked faces: they do not show the subject"
    icon, risk = "person_off", "medium"

    def execute(self, ctx: Any) -> dict[str, str]:
        """Run the operator; its message."""

        def work() -> str:
            count = actions.ban_tracks(ctx.dataset, ctx.selected)
            ctx.ops.clear_selected_samples()
            ctx.ops.reload_dataset()
            return f"{count} faces are banned. This takes effect the next time you use Choose again."

        return notified(ctx, work)
