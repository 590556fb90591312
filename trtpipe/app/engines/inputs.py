"""The inputs that a command asks for, as feeds: files, images, samples of a data set, or random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trtpipe.datasets.images import SUFFIXES
from trtpipe.errors import Problem, SpecError
from trtpipe.loader.project import find_project
from trtpipe.loader.specs import load_dataset
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.chance import random_feed
from trtpipe.runners.feeds.feeds import Feed, split_feed, unknown_inputs
from trtpipe.runners.feeds.given import Given, named_file, read_given
from trtpipe.runners.feeds.recorded import recorded_feeds
from trtpipe.runners.feeds.samples import SampleRequest, image_feeds, project_feeds
from trtpipe.runners.feeds.signature import Signature
from trtpipe.shapes import Shape, parse_shape


@dataclass(frozen=True)
class FeedRequest:
    """The source of inputs; exactly one of given files, a data set's samples and random numbers."""

    inputs: Sequence[str] = ()
    data: str | None = None
    """The data set that samples, or the preprocessing of images, are taken from."""
    samples: int | None = None
    random: bool = False
    seed: int = 0
    shapes: Sequence[str] = ()
    """`NAME=1x3x224x224`, of random inputs."""
    profile: int | None = None
    batch: int | None = None
    cast: bool = False

    def words(self) -> str:
        """Where the inputs came from, as text for people."""
        if self.random:
            return f"random, seed {self.seed}"
        if self.inputs:
            return ", ".join(self.inputs) + (f", prepared as {self.data}" if self.data else "")
        return f"samples of {self.data}"


def feeds_of(asked: FeedRequest, signature: Signature, cwd: Path) -> list[Feed]:
    """The feeds; their types have not been checked yet. Raises SpecError."""
    _refuse_contradictions(asked, signature)
    if asked.random:
        return [chance(asked.shapes, asked.profile, asked.seed, signature)]
    if not asked.inputs:
        return _sampled(asked, signature, cwd)
    recorded = _recorded(asked, signature, cwd)
    if recorded:
        return recorded
    given = read_given(asked.inputs, signature, cwd, SUFFIXES)
    if given.images:
        return _with_images(asked, given, signature, cwd)
    if asked.data is not None:
        raise SpecError(
            Code.OPTIONS_EXCLUDE,
            "--data without --samples prepares images, but no image was given",
            "arrays are used unchanged; leave it out",
        )
    whole = Feed(given.arrays)
    problems = [*unknown_inputs(list(given.arrays), signature)]
    if problems:
        raise SpecError(problems)
    return [*split_feed(whole, signature, asked.batch)] if asked.batch else [whole]


def _recorded(asked: FeedRequest, signature: Signature, cwd: Path) -> list[Feed]:
    """The runs of a recording, when that is what the one input is."""
    file = asked.inputs[0]
    if len(asked.inputs) > 1 or not file.endswith(".npz") or not (cwd / file).is_file():
        return []
    feeds = recorded_feeds(cwd / file, file, signature)
    if feeds and (asked.data or asked.batch):
        raise SpecError(
            Code.OPTIONS_EXCLUDE,
            f"'{file}' is a recording, whose runs are used unchanged",
            "leave out --data and --batch",
        )
    return feeds


def _refuse_contradictions(asked: FeedRequest, signature: Signature) -> None:
    facts = []
    if not (asked.random or asked.inputs or asked.data):
        inputs = f"the inputs are {signature.described()}"
        raise SpecError(
            Code.NOTHING_TO_FEED,
            "nothing to run it on",
            f"use --input NAME=FILE.npy, --data NAME or --random; {inputs}",
        )
    if asked.random and (asked.inputs or asked.data):
        facts.append("--random excludes --input and --data")
    if asked.samples is not None and (asked.inputs or not asked.data):
        facts.append("--samples applies to a data set: it needs --data and excludes --input")
    if asked.shapes and not asked.random:
        facts.append("--shape applies to random inputs: it needs --random")
    if asked.random and asked.batch:
        facts.append("--batch splits given inputs; for random inputs, set the batch with --shape")
    if facts:
        raise SpecError([Problem(Code.OPTIONS_EXCLUDE, fact) for fact in facts])


def chance(shapes: Sequence[str], profile: int | None, seed: int, signature: Signature) -> Feed:
    """Random inputs at the given shapes, or at the profile's opt. Raises SpecError."""
    index = profile or 0
    if not 0 <= index < max(len(signature.profiles), 1):
        count = len(signature.profiles)
        raise SpecError(
            Code.NO_SUCH_PROFILE,
            f"there is no profile {index}",
            f"choose from 0 to {count - 1}" if count else "leave it out",
        )
    said = parsed_shapes(shapes, signature)
    return random_feed(signature, {**signature.shapes(index), **said}, signature.values(index), seed)


def parsed_shapes(texts: Sequence[str], signature: Signature) -> dict[str, Shape]:
    """`NAME=1x3x224x224`, by input. Raises SpecError with every problem."""
    found: dict[str, Shape] = {}
    problems: list[Problem] = []
    for text in texts:
        name, shape = named_file(text, signature.names, Path("/nonexistent"))
        if name is None:
            problems.append(
                Problem(
                    Code.BAD_ARGUMENT, f"--shape {text!r} does not name an input", "write NAME=1x3x224x224"
                )
            )
            continue
        problems += unknown_inputs([name], signature)
        try:
            found[name] = parse_shape(shape)
        except ValueError as error:
            problems.append(Problem(Code.BAD_ARGUMENT, f"--shape of {name!r}: {error}"))
            continue
        if -1 in found[name]:
            problems.append(
                Problem(Code.BAD_ARGUMENT, f"--shape of {name!r} has a dynamic dim: {shape}", "give its size")
            )
    if problems:
        raise SpecError(problems)
    return found


def _sampled(asked: FeedRequest, signature: Signature, cwd: Path) -> list[Feed]:
    assert asked.data is not None
    of = SampleRequest(asked.data, asked.samples, asked.batch, asked.profile or 0)
    return project_feeds(of, find_project(cwd), signature)


def _with_images(asked: FeedRequest, given: Given, signature: Signature, cwd: Path) -> list[Feed]:
    """Images prepared as the data set prepares its own, with the arrays that were given for other inputs."""
    if asked.data is None:
        raise SpecError(
            Code.DATA_SET_UNUSABLE,
            "an image was given without a data set that says how to prepare it",
            "name a data set: --data NAME",
        )
    project = find_project(cwd)
    loaded = load_dataset(project.dataset(asked.data), project)
    feeds = image_feeds(asked.data, loaded.spec, given.images, signature, cwd, batch=asked.batch)
    return [Feed({**given.arrays, **feed.arrays}, feed.rows, feed.labels) for feed in feeds]
