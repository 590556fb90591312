"""Samples from a function of the project: run apart, minded, and refused by name and line."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import source_files
from trtpipe.datasets.locations import GivenFiles
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import SpecError
from trtpipe.loader.project import Project
from trtpipe.spec.dataset import DatasetSpec

X = TensorInfo("x", "float32", (None, 3))
DRAW = """\
import numpy as np

def draw():
    for number in range(5):
        yield {"x": np.float32([number, 1, 2]), "label": number % 2}
"""


@pytest.fixture
def project(tmp_path):
    def write(text, **fields):
        (tmp_path / "calibration").mkdir(exist_ok=True)
        (tmp_path / "calibration/samples.py").write_text(text)
        return DatasetSpec.model_validate({"schema": 1, "python": "calibration.samples:draw", **fields})

    write.root = tmp_path
    return write


def opened(root, spec, inputs=(X,)):
    files = source_files(spec, ProjectFiles(Project(root)))
    return open_dataset(spec, GivenFiles(files), list(inputs))


def refused(root, spec):
    with pytest.raises(SpecError) as caught, opened(root, spec) as data:
        list(data)
    return caught.value.problems[0].fact


def test_a_function_yields_samples_that_can_be_drawn_in_any_order(project):
    spec = project(DRAW, labels="label", shuffle=True, seed=3, batch=2)

    with opened(project.root, spec) as data:
        batches, again = list(data), list(data)

    order = np.random.Generator(np.random.PCG64(3)).permutation(5)
    assert np.concatenate([inputs["x"] for inputs, _ in batches])[:, 0].tolist() == order.tolist()
    assert np.concatenate([labels for _, labels in batches]).tolist() == (order % 2).tolist()
    assert all(np.array_equal(one["x"], two["x"]) for (one, _), (two, _) in zip(batches, again, strict=True))


def test_samples_may_differ_in_size_one_at_a_time(project):
    text = "import numpy as np\ndef draw():\n    yield {'x': np.eye(2, 3)}\n    yield {'x': np.eye(2, 5)}\n"
    info = TensorInfo("x", "float64", (None, 2, None))

    with opened(project.root, project(text), [info]) as data:
        assert [inputs["x"].shape for inputs, _ in data] == [(1, 2, 3), (1, 2, 5)]


def test_an_endless_function_is_asked_for_no_more_than_the_set_needs(project):
    text = (
        "def draw():\n    n = 0\n    while True:\n        n += 1\n        yield {'x': [float(n), 0.0, 1.0]}\n"
    )
    info = TensorInfo("x", "float64", (None, 3))

    with opened(project.root, project(text, samples=4), [info]) as data:
        assert [inputs["x"][0, 0] for inputs, _ in data] == [1, 2, 3, 4]


def test_it_runs_in_the_projects_root_and_may_read_what_is_declared(project):
    project(DRAW)
    (project.root / "calibration/words.txt").write_text("7")
    (project.root / "shared_code.py").write_text("WORDS = 'calibration/words.txt'\n")
    text = (
        "import numpy as np, pathlib, shared_code\ndef draw():\n"
        "    yield {'x': np.float32([int(pathlib.Path(shared_code.WORDS).read_text()), 0, 1])}\n"
    )
    spec = project(text, files=["calibration/*.txt", "shared_code.py"])

    assert list(source_files(spec, ProjectFiles(Project(project.root)))) == [
        "calibration/samples.py", "calibration/words.txt", "shared_code.py",
    ]  # fmt: skip
    with opened(project.root, spec) as data:
        assert [inputs["x"][0, 0] for inputs, _ in data] == [7]

    sys.modules.pop("shared_code")
    assert refused(project.root, project(text, files=["shared_code.py"])) == (
        "calibration.samples:draw reads files that the data set does not declare: calibration/words.txt"
    )
    sys.modules.pop("shared_code")
    assert refused(project.root, project(text, files=["calibration/words.txt"])).endswith("shared_code.py")


FAILS = {
    "raises": (
        "def draw():\n    yield {'x': [1.0, 2.0, 3.0]}\n    raise ValueError('no more')\n",
        "calibration.samples:draw failed at samples.py:3: ValueError: no more",
    ),
    "in a library": (
        "import numpy as np\ndef draw():\n    yield {'x': np.load('nothing.npy')}\n",
        "calibration.samples:draw failed at samples.py:3: FileNotFoundError: ",
    ),
    "at import": (
        "import nothing_of_that_name\ndef draw():\n    pass\n",
        "failed at samples.py:1: ModuleNotFoundError",
    ),
    "exits": ("import sys\ndef draw():\n    sys.exit(3)\n", "failed at samples.py:3: SystemExit: 3"),
    "no generator": ("def draw():\n    return 3\n", "TypeError: "),
    "no mapping": ("def draw():\n    yield [1.0]\n", "yields list as sample 0"),
    "other arrays": (
        "def draw():\n    yield {'x': 1.0}\n    yield {'y': 1.0}\n",
        "yields 'y' as sample 1, but 'x' before it",
    ),
    "other types": (
        "def draw():\n    yield {'x': [1.0]}\n    yield {'x': [1]}\n",
        "'x' of sample 1 of calibration.samples:draw is int64",
    ),
    "other ranks": (
        "def draw():\n    yield {'x': [1.0]}\n    yield {'x': [[1.0]]}\n",
        "is 1x1, the first one 1",
    ),
    "objects": ("def draw():\n    yield {'x': [None]}\n", "holds object, not numbers"),
    "text": ("def draw():\n    yield {'x': 'a'}\n", "not numbers"),
    "empty": ("def draw():\n    yield {'x': []}\n", "is empty (0)"),
    "nothing": ("def draw():\n    yield from ()\n", "yields no samples"),
}


@pytest.mark.parametrize(("text", "fact"), FAILS.values(), ids=FAILS)
def test_what_goes_wrong_is_one_error_with_its_line(project, text, fact):
    assert fact in refused(project.root, project(text))


def test_the_source_is_parsed_but_not_run_where_keys_are_made(project):
    marker = project.root / "ran"
    spec = project(f"open({str(marker)!r}, 'w')\ndef draw():\n    pass\n")

    source_files(spec, ProjectFiles(Project(project.root)))

    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("def drew():\n    pass\n", "'calibration/samples.py' defines no function 'draw'"),
        ("def draw(:\n", "calibration/samples.py:1: "),
        ("def draw():\n    pass\n\0", "calibration/samples.py"),
    ],
)
def test_a_module_without_the_function_is_refused_before_anything_runs(project, text, fact):
    with pytest.raises(SpecError) as caught:
        source_files(project(text), ProjectFiles(Project(project.root)))

    assert fact in caught.value.problems[0].fact


def test_nothing_is_left_behind(project):
    before = list(sys.path), sys.dont_write_bytecode

    with opened(project.root, project(DRAW)) as data:
        list(data)

    assert (list(sys.path), sys.dont_write_bytecode) == before
    assert sorted(path.name for path in (project.root / "calibration").iterdir()) == ["samples.py"]
