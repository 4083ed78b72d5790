"""Forms, buttons and charts of the App. What they do is in `curate.app.actions` and `curate.app.panels`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import fiftyone as fo
import fiftyone.operators as foo
import fiftyone.operators.types as types

from curate.app import actions, launch, panels, sample
from curate.app.dataset import add_faces
from curate.app.operators import Ban, CorrectFace, Free, Operator, Pin, SomebodyElse, ThisIsTheSubject, notified
from curate.app.views import LEFT_OUT, SELECTED
from curate.dataset.faceset import open_faceset
from curate.errors import FacesetError
from curate.options import option_of, options_of
from curate.select.gaps import gaps_for
from curate.select.options import Floors, SelectionOptions, Weights
from curate.select.outcome import read_outcome

T = TypeVar("T", Floors, Weights)
BUDGET = option_of(SelectionOptions, "budget")
NO_TARGET = "none"
ASK_TARGET = "Choose a target: the faceset whose performance your footage has to cover."
NO_GAP = "There are no gaps: every face of the target has a counterpart in the footage."
TITLES = {"footage": "Footage", "selection": "Selection", "shown": "Faces in the other panels", "target": "Target"}
SHADES = [[0, "#262a31"], [0.001, "#1d4a78"], [0.4, "#4489c9"], [1, "#d2e8fb"]]


def facesets() -> dict[str, str]:
    """Folder to dataset name of every faceset that is loaded."""
    found = {}
    for name in fo.list_datasets():
        folder = dict(fo.load_dataset(name).info.get(launch.INFO, {})).get("folder")
        if folder:
            found[folder] = name
    return found


def given(last: T, params: dict[str, Any]) -> T:
    """A dataclass of options as a form was filled in; what is empty is as in the last selection."""
    kind: Any = type(last)
    found: Any = {one.name: params.get(one.parameter) for one in options_of(kind)}
    return replace(last, **{name: float(value) for name, value in found.items() if value is not None})


def target_of(folder: str | None) -> Path | None:
    return Path(folder) if folder and folder != NO_TARGET else None


class ChooseAgain(Operator):
    name, label = "choose_again", "Choose again"
    hint = "Choose other faces and show them; nothing is saved before Write selection"
    icon, form = "shuffle", True

    def resolve_input(self, ctx: Any) -> Any:
        """The form."""
        inputs, last = types.Object(), actions.last(ctx.dataset)
        inputs.str("budget", label="Budget", description=BUDGET.help, default=last.budget, required=True)
        cover = types.Dropdown()
        for value, text in (("space", "every kind of face alike"), ("footage", "as filmed"), ("target", "a target")):
            cover.add_choice(value, label=text)
        inputs.enum("cover", cover.values(), label="Represent", default=last.cover or "space", view=cover)
        if ctx.params.get("cover") == "target":
            inputs.enum("target", _targets(ctx).values(), label="Target", required=True, view=_targets(ctx))
        for one in options_of(Weights):
            inputs.float(one.parameter, label=one.help, default=getattr(last.weights, one.name))
        for one in options_of(Floors):
            inputs.float(one.parameter, label=one.help, default=getattr(last.floors, one.name), required=False)
        return types.Property(inputs, view=types.View(label=self.label))

    def execute(self, ctx: Any) -> dict[str, str]:
        """Run the operator; its message."""

        def work() -> str:
            """Choose with the form's options; the message."""
            last = actions.last(ctx.dataset)
            options = replace(
                last,
                budget=str(ctx.params.get("budget", last.budget)),
                cover=ctx.params.get("cover", last.cover or "space"),
                floors=given(last.floors, ctx.params),
                weights=given(last.weights, ctx.params),
            )
            choice = actions.propose(ctx.dataset, options, target_of(ctx.params.get("target")))
            ctx.ops.reload_dataset()
            notes = "".join(f" Note: {note}." for note in choice.notes)
            text = panels.outcome_text(ctx.dataset.info.get(panels.OUTCOME))
            return f"{text} Use Write selection to save this choice.{notes}"

        return notified(ctx, work)


class WriteSelection(Operator):
    name, label = "write_selection", "Write selection"
    hint = "Save the selection shown to the faceset"
    icon = "save"

    def execute(self, ctx: Any) -> dict[str, str]:
        """Run the operator; its message."""
        return notified(ctx, lambda: f"The selection of {actions.write(ctx.dataset)} faces is saved.")


def _targets(ctx: Any) -> Any:
    """A menu of the other facesets."""
    choices = types.Dropdown(label="Target")
    choices.add_choice(NO_TARGET, label="no target")
    for folder, name in facesets().items():
        if name != ctx.dataset.name:
            choices.add_choice(folder, label=name)
    return choices


def shown_faces(ctx: Any) -> set[str] | None:
    """Ids of the faces that are picked on the map, or else those of the view; None: all, or the selection."""
    picked = (ctx.extended_selection or {}).get("selection") or ()
    if picked:
        return set(ctx.dataset.select(list(picked)).values("face_id"))
    if not ctx.view._all_stages or ctx.view.name == SELECTED:
        return None
    return set(ctx.view.values("face_id"))


class LeftOut(Operator):
    name, label = "left_out", "Left out"
    hint = "Show the faces that are not selected, by reason, the most doubtful of each reason last"
    icon = "filter_alt_off"

    def execute(self, ctx: Any) -> dict[str, str]:
        """Show the view; a message with the number of faces for each reason."""
        view = ctx.dataset.load_saved_view(LEFT_OUT)
        ctx.ops.set_view(view)
        counts = sorted(view.count_values("left_out").items(), key=lambda item: -item[1])
        message = "; ".join(f"{reason}: {count}" for reason, count in counts) or "No face is left out."
        ctx.ops.notify(message, variant="info")
        return {"message": message}


class Selection(Operator):
    name, label = "selection", "Selection"
    hint = "Show the selected faces, in order of choice"
    icon = "checklist"

    def execute(self, ctx: Any) -> dict[str, str]:
        """Show the view; a message about it."""
        ctx.ops.set_view(ctx.dataset.load_saved_view(SELECTED))
        message = panels.outcome_text(ctx.dataset.info.get(panels.OUTCOME))
        ctx.ops.notify(message, variant="info")
        return {"message": message}


class CoveragePanel(foo.Panel):  # type: ignore[misc]  # FiftyOne has no types
    @property
    def config(self) -> Any:
        return foo.PanelConfig(name="coverage", label="Coverage", icon="grid_on")

    def on_load(self, ctx: Any) -> None:
        ctx.panel.state.chart = ctx.panel.state.chart or "pose"
        ctx.panel.state.target = ctx.panel.state.target or NO_TARGET
        self._fill(ctx)

    def on_change_dataset(self, ctx: Any) -> None:
        ctx.panel.state.target = NO_TARGET
        self._fill(ctx)

    def on_change_view(self, ctx: Any) -> None:
        self._fill(ctx)

    def on_change_extended_selection(self, ctx: Any) -> None:
        self._fill(ctx)

    def on_chart(self, ctx: Any) -> None:
        ctx.panel.state.chart = ctx.params["value"]
        self._fill(ctx)

    def on_target(self, ctx: Any) -> None:
        ctx.panel.state.target = ctx.params["value"]
        self._fill(ctx)

    def again(self, ctx: Any) -> None:
        self._fill(ctx)

    def on_footage(self, ctx: Any) -> None:
        self._show(ctx, {"kept": True})

    def on_selection(self, ctx: Any) -> None:
        self._show(ctx, {"kept": True, "selected": True})

    def _show(self, ctx: Any, faces: dict[str, Any]) -> None:
        chart = panels.CHARTS[ctx.panel.state.chart]
        try:
            cell = panels.bounds(chart, float(ctx.params["x"]), float(ctx.params["y"]))
        except FacesetError as error:
            ctx.ops.notify(str(error), variant="error")
            return
        ctx.ops.set_view(ctx.dataset.match({**faces, **cell}))

    def _fill(self, ctx: Any) -> None:
        chart = panels.CHARTS[ctx.panel.state.chart or "pose"]
        try:
            faceset = actions.faceset_of(ctx.dataset)
            target = target_of(ctx.panel.state.target)
            wanted = open_faceset(target) if target else None
            selected = set(ctx.dataset.match({"selected": True}).values("face_id"))
            outcome = panels.outcome_text(ctx.dataset.info.get(panels.OUTCOME))
            ctx.panel.state.outcome = f"{outcome} {sample.words(ctx.dataset)}".strip()
            found = panels.maps(chart, faceset, selected, wanted, shown_faces(ctx))
            ctx.panel.state.error = ""
        except FacesetError as error:
            ctx.panel.state.error = str(error)
            return
        ctx.panel.state.shown = [name for name in ("shown", "target") if name in found]
        middles = [(edges[:-1] + edges[1:]) / 2 for edges in (chart.x_edges, chart.y_edges)]
        for name, cells in found.items():
            # Shades by root, or a pose that was held long hides all others; the text is the count.
            heat = {
                "type": "heatmap", "x": middles[0].tolist(), "y": middles[1].tolist(), "z": (cells**0.5).tolist(),
                "text": cells.tolist(), "hovertemplate": "%{x:.3g}, %{y:.3g}: %{text} faces<extra></extra>",
                "colorscale": SHADES, "showscale": False, "xgap": 1, "ygap": 1,
            }  # fmt: skip
            ctx.panel.set_data(name, [heat])

    def render(self, ctx: Any) -> Any:
        """The panel's content."""
        panel = types.Object()
        if ctx.panel.state.error:
            panel.md(panels.escaped(ctx.panel.state.error), name="error")
            return types.Property(panel)
        chart = panels.CHARTS[ctx.panel.state.chart or "pose"]
        bar = panel.h_stack("bar", gap=2)
        shown = types.Dropdown(label="Axes")
        for name, entry in panels.CHARTS.items():
            shown.add_choice(name, label=entry.label)
        bar.enum("chart_choice", shown.values(), default=ctx.panel.state.chart, view=shown, on_change=self.on_chart)
        targets = _targets(ctx)
        bar.enum(
            "target_choice", targets.values(), default=ctx.panel.state.target, view=targets, on_change=self.on_target
        )
        panel.md(ctx.panel.state.outcome or "", name="outcome")
        panel.btn("again", label="Refresh", on_click=self.again)
        clicks = {"footage": self.on_footage, "selection": self.on_selection}
        for name in ("footage", "selection", *(ctx.panel.state.shown or ())):
            layout = {
                "title": {"text": TITLES[name]}, "width": 460, "height": 340, "autosize": False,
                "margin": {"l": 60, "r": 20, "t": 40, "b": 50}, "xaxis": {"title": {"text": chart.x_title}},
                "yaxis": {"title": {"text": chart.y_title}, "autorange": "reversed" if chart.down else True},
            }  # fmt: skip
            panel.plot(name, layout=layout, config={"displayModeBar": False}, on_click=clicks.get(name))
        return types.Property(panel)


class GapsPanel(foo.Panel):  # type: ignore[misc]  # FiftyOne has no types
    @property
    def config(self) -> Any:
        return foo.PanelConfig(name="gaps", label="Gaps", icon="rule")

    def on_load(self, ctx: Any) -> None:
        ctx.panel.state.gaps = []
        ctx.panel.state.said = ASK_TARGET

    def on_target(self, ctx: Any) -> None:
        """Show the gaps of another target."""
        target = target_of(ctx.params["value"])
        ctx.panel.state.gaps, ctx.panel.state.target = [], ctx.params["value"]
        if target is None:
            ctx.panel.state.said = ASK_TARGET
            return
        try:
            faceset = actions.faceset_of(ctx.dataset)
            wanted = open_faceset(target)
            found = gaps_for(faceset, wanted, read_outcome(faceset).weights)
        except FacesetError as error:
            ctx.panel.state.said = panels.escaped(str(error))
            return
        ctx.panel.state.gaps = [
            {"text": panels.gap_text(i, gap, wanted.clips), "near": list(gap.nearest)} for i, gap in enumerate(found, 1)
        ]
        number = "1 gap:" if len(found) == 1 else f"{len(found)} gaps, the largest first:"
        ctx.panel.state.said = number if found else NO_GAP

    def show(self, ctx: Any) -> None:
        faces = ctx.panel.state.gaps[int(ctx.params["number"])]["near"]
        add_faces(ctx.dataset, actions.faceset_of(ctx.dataset), faces)
        ctx.ops.set_view(ctx.dataset.match({"face_id": {"$in": faces}}))

    def render(self, ctx: Any) -> Any:
        """The panel's content."""
        panel = types.Object()
        targets = _targets(ctx)
        chosen = ctx.panel.state.target or NO_TARGET
        panel.enum("target_choice", targets.values(), default=chosen, view=targets, on_change=self.on_target)
        panel.md(ctx.panel.state.said or "", name="said")
        for i, gap in enumerate(ctx.panel.state.gaps or []):
            panel.md(gap["text"], name=f"gap_{i}")
            panel.btn(
                f"show_{i}", label="Show the nearest faces of the footage", on_click=self.show, params={"number": i}
            )
        return types.Property(panel)


OPERATORS = (
    Selection, LeftOut, ChooseAgain, WriteSelection, Pin, Ban, Free, ThisIsTheSubject, SomebodyElse, CorrectFace,
    CoveragePanel, GapsPanel,
)  # fmt: skip


def register(plugin: Any) -> None:
    """FiftyOne's entry."""
    for operator in OPERATORS:
        plugin.register(operator)
