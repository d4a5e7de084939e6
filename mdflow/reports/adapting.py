"""The report of an adaptation: what was done to which footage, what it gave, before and after side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np

from mdflow.adapt import Candidate, best
from mdflow.data.sample import Dataset, Sample
from mdflow.examine import image_planes, shrunk
from mdflow.inference import Predictor, image_tensor
from mdflow.metrics import endpoint_error
from mdflow.networks.network import FlowNetwork
from mdflow.quality import CENSUS_OF_UNRELATED, unexplained
from mdflow.reports import page
from mdflow.reports.chart import Line, line_chart
from mdflow.reports.tables import Column
from mdflow.runs.history import Curve, read_metrics
from mdflow.visualize import error_image, flow_to_colour, panel, typical_speed

SHOWN_PAIRS = 3
LARGEST_ERROR = 5.0
UNEXPLAINED = (
    "Unexplained: how unlike frame 1 what its flow leads to in frame 2 looks; black is alike, white as far off as "
    "unrelated texture, as all is that frame 2 hides."
)
LABEL_FREE = (
    Column("score", "score", ".2f"),
    Column("census", "census", ".2f"),
    Column("consistency", "consistency px", ".2f"),
    Column("visible", "visible %", ".1f"),
)
LABELLED = (Column("epe", "EPE px", ".2f"), Column("fl", "Fl-all %", ".1f"), Column("score", "score", ".2f"))
Figures = Mapping[str, float]


@dataclass(frozen=True)
class Account:
    """What a report tells.

    starts: sentences on the weights that the networks started from. candidates: the start first. others: networks
    shown for comparison. curated: one row a clip, as CURATION heads them. judged: for each labelled root the
    figures of the candidates and others, by name.
    """

    command: str
    starts: Sequence[str]
    candidates: Sequence[Candidate]
    others: Sequence[Candidate]
    curated: Sequence[Sequence[str]] = ()
    judged: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)


CURATION = ("clip", "frames", "pairs used", "left out")


def write_report(path: Path, account: Account, folders: Sequence[Path], shown: Mapping[str, Dataset]) -> None:
    """Write the page; `folders` are the stages' run folders in order, `shown` the datasets whose pairs are pictured."""
    start, result = account.candidates[0], best(account.candidates)
    body = [
        page.command_line(account.command),
        *map(page.note, account.starts),
        page.section("Figures", *figure_sections(account)),
        page.section("How it went", *charts(folders, start.figures["score"])),
        *(
            page.section(f"Before and after: {name}", *pictures(dataset, start.network, result.network))
            for name, dataset in shown.items()
        ),
    ]
    if account.curated:
        body.append(page.section("What curation chose", page.table(CURATION, account.curated)))
    page.write_page(path, page.page("Flow adapted to your footage", lead(start, result), body))


def lead(start: Candidate, result: Candidate) -> str:
    """The outcome in one sentence."""
    before, after = start.figures["score"], result.figures["score"]
    if result is start:
        return f"Nothing that was tried beats the start (label-free score {before:.2f}), so the start is the result."
    gain = 100 * (before - after) / before
    return f"The label-free score fell from {before:.2f} to {after:.2f}, by {gain:.0f} %: {result.name}."


def figure_sections(account: Account) -> list[str]:
    """The label-free table, and one for each labelled root; the result is marked."""
    everyone = [*account.others, *account.candidates]
    marked = len(account.others) + list(account.candidates).index(best(account.candidates))
    figures = {one.name: one.figures for one in everyone}
    parts = [
        page.note(
            "On the footage, without labels; less is better but for the visible share. The score is the census "
            f"distance, where a pixel that is not visible costs {CENSUS_OF_UNRELATED:g}; the marked row is the result."
        ),
        figure_table(figures, LABEL_FREE, marked),
    ]
    for root, found in account.judged.items():
        parts += [page.note(f"Judged with the labels of {root}, which nothing was trained on or chosen by:")]
        parts += [figure_table({one.name: found[one.name] for one in everyone}, LABELLED, marked)]
    return parts


def figure_table(figures: Mapping[str, Figures], columns: Sequence[Column], marked: int) -> str:
    """One row a network."""
    lines = [[name, *(format(found[c.key], c.form) for c in columns)] for name, found in figures.items()]
    return page.table(["network", *(column.heading for column in columns)], lines, marked)


def charts(folders: Sequence[Path], start: float) -> list[str]:
    """The held-out score and the loss over the steps of all stages, one after the other."""
    stages = {name: curve for folder in folders for name, curve in read_metrics(folder).items()}
    turns = [name for name in stages if not name.endswith("/held-out")]
    begins = dict(zip(turns, accumulate((max(stages[turn]) + 1 for turn in turns), initial=0), strict=False))
    scores = [line_of(turn, stages[f"{turn}/held-out"], begins[turn], "score") for turn in turns]
    scores[0] = scores[0]._replace(points=[(0, start), *scores[0].points])
    losses = [line_of(turn, totals(stages[turn]), begins[turn], "loss") for turn in turns]
    return [
        page.note("Label-free score on the footage:"),
        line_chart(scores, "step", "score", {"start": start}),
        page.note("Loss of the training steps; its terms differ from stage to stage:"),
        line_chart(losses, "step", "loss"),
    ]


def line_of(turn: str, curve: Curve, begin: int, key: str) -> Line:
    """A figure of a turn over the steps of the whole run."""
    learner = "student" if turn.endswith("student") else "network"
    return Line(learner, [(begin + step, row[key]) for step, row in curve.items()], int(learner == "student"))


def totals(curve: Curve) -> Curve:
    """The sum of the loss terms of each step."""
    return {step: {"loss": sum(terms.values())} for step, terms in curve.items()}


def pictures(dataset: Dataset, before: FlowNetwork, after: FlowNetwork) -> list[str]:
    """Figures of a few pairs spread over the dataset."""
    places = np.linspace(0, len(dataset) - 1, min(SHOWN_PAIRS + 2, len(dataset))).astype(int)
    inner = places[1:-1] if len(places) > SHOWN_PAIRS else places
    return [page.picture(*comparison(dataset[int(place)], before, after)) for place in inner]


def comparison(sample: Sample, before: FlowNetwork, after: FlowNetwork) -> tuple[np.ndarray, str]:
    """A panel of one pair, two rows of three, and its caption: with truth the errors, else what stays unexplained."""
    flows = [Predictor(network)(sample.image1, sample.image2) for network in (before, after)]
    truth = sample.flow12
    scale = typical_speed(flows[1] if truth is None else truth)
    colours = [flow_to_colour(flow, scale) for flow in flows]
    if truth is None:
        below = [sample.image2, *(unexplained_picture(sample, flow) for flow in flows)]
        labels = ["frame 2", "unexplained, before", "unexplained, after"]
        meaning = UNEXPLAINED
    else:
        known = sample.known1
        errors = [endpoint_error(flow, np.where(known[..., None], truth, 0)) for flow in flows]
        below = [flow_to_colour(truth, scale, known), *(error_image(e, known, LARGEST_ERROR) for e in errors)]
        means = [f"{error[known].mean():.2f} px" for error in errors]
        labels = ["truth", f"error, before: {means[0]}", f"error, after: {means[1]}"]
        meaning = f"Errors: black is none, white {LARGEST_ERROR:g} px and more."
    rows = [[shrunk(sample.image1), *colours], below]
    caption = f"{sample.name}; full colour is {scale:.1f} px a frame. {meaning}"
    return panel(rows, [["frame 1", "flow, before", "flow, after"], labels]), caption


def unexplained_picture(sample: Sample, flow: np.ndarray) -> np.ndarray:
    """The census distance that a flow leaves: black is explained, white is as far as unrelated texture."""
    distance = unexplained(image_tensor(sample.image1), image_tensor(sample.image2), image_planes(flow))
    return error_image(distance[0, 0].numpy(), largest=CENSUS_OF_UNRELATED)
