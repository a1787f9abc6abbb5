"""`experiments/report.py`: one page from finished runs, that a browser shows as it should."""

import base64
import contextlib
import csv
import io
import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest
import scripts
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.clips import CLASSES
from flow.errors import InputError, one_line
from flow.shards import Shards
from mjfn_jax.commands.report import Report
from mjfn_jax.report import amplitude, finished
from mjfn_jax.report import page as pages
from mjfn_jax.report.figures import bands
from mjfn_jax.report.text import duration, fact, finding, flattened, slugs
from mjfn_jax.scores import metrics
from mjfn_jax.scores.logs import Prediction
from mjfn_jax.scores.parts import over_seeds, score_parts

FLOWS = scripts.FLOWS
KEYS = tuple(zip(FLOWS.databases, FLOWS.subjects, FLOWS.clips, strict=True))
AMPLITUDES = np.linspace(0.2, 2.2, len(KEYS))[::-1]
HARDWARE = {"devices": ["cpu"], "processor": "made up", "cores": 2}
HOSTILE = "<script>document.title = 'taken'</script> & \"quoted\" in /home/someone/secret/run.json"


def predictions(seed, sure=True):
    """Made-up predictions of all clips; half of them are right."""
    random = np.random.default_rng(seed)
    records = []
    for key, label in zip(KEYS, FLOWS.labels.tolist(), strict=True):
        probabilities = random.dirichlet(np.ones(3))
        if random.random() < 0.5:
            probabilities = np.roll(np.sort(probabilities), label + 1)
        guess = int(probabilities.argmax())
        shown = tuple(probabilities.tolist()) if sure else None
        records.append(Prediction(*key, label, guess, shown))
    return records


def as_json(records):
    return [dict(vars(record)) for record in records]


def method(title, **settings):
    return {"name": title.lower(), "title": title, "settings": settings, "code": "c0de" * 16}


RECIPE = {"epochs": 3, "batch_size": 12, "learning_rate": 1e-4, "seed": 0, "precision": "highest",
          "pretrained": None}  # fmt: skip
COMMON = {
    "data": {
        "dataset": "synthetic", "takes": "image", "clips": 11, "content": "f00d" * 16,
        "databases": {
            "smic": {"fingerprint": "0" * 64, "parameters": {"tau": 0.25}, "backend": "opencv"},
        },
    },
    "protocol": {"split": "leave-one-subject-out", "held_out": ["samm/6", "samm/7"]},
    "versions": {"jax": "0.10.2"},
    "device": "cpu",
}  # fmt: skip
"""What the runs of a table share of their identity."""


def row(seeds, sure=True, title="MJFN", recipe=RECIPE, **further):
    """A row of table3.json."""
    return {
        "kind": "image",
        "epochs": 4,
        "parameters": 1234567,
        "training_seconds": 3725.0,
        "milliseconds_a_clip": 1.25,
        **over_seeds({seed: predictions(seed, sure) for seed in seeds}),
        "paper": {"pooled_uf1": 0.8338, "pooled_uar": None, "smic_uf1": 0.2},
        "identity": {"method": method(title), "recipe": recipe},
    } | further


def table3(failed=None, **methods):
    return {
        "dataset": "synthetic",
        "folds": sorted({f"{database}/{subject}" for database, subject, _ in KEYS}),
        "seeds": [0, 1],
        "identity": COMMON,
        "versions": COMMON["versions"],
        "hardware": HARDWARE,
        "failed": {"AlexNet": HOSTILE} if failed is None else failed,
        "methods": methods,
    }


def results(records=None, identity=None, **changes):
    """A results.json."""
    records = records or predictions(0)
    folds = sorted({f"{record.database}/{record.subject}" for record in records})
    people = np.array([f"{record.database}/{record.subject}" for record in records])
    labels = np.array([record.label for record in records])
    guesses = metrics.majority(labels, people) if len(folds) > 1 else labels
    majority = [
        Prediction(one.database, one.subject, one.clip, one.label, int(guess))
        for one, guess in zip(records, guesses, strict=True)
    ]
    mjfn = {"method": method("MJFN", num_jfms=3, fusion="softmax"), "recipe": RECIPE}
    return {
        "identity": mjfn | COMMON | (identity or {}),
        "versions": {"jax": "0.10.2"},
        "hardware": HARDWARE,
        "seconds": 61.2,
        "scores": score_parts(records, draws=20),
        "majority": score_parts(majority, draws=20),
        "failed": [],
        "predictions": as_json(records),
        "history": {fold: {"loss": [1.1, 0.9, 0.7], "accuracy": [0.3, 0.5, 0.8]} for fold in folds},
    } | changes


def networks():
    """An ablation.json."""
    return [
        results(identity={"method": method(title, num_jfms=n, fusion="softmax")})
        for title, n in (("MJFN", 3), ("MJFN-BbN", 0))
    ]


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def make(*folders, data_dir, out):
    flags = (*folders, f"--data_dir={data_dir}", f"--out={out}")
    with one_line():
        tyro.cli(Report, args=[*map(str, flags)]).run()
    return out.read_text()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Flow images of stand-ins, with the amplitudes that they were drawn with."""
    folder = tmp_path_factory.mktemp("data")
    scripts.write_shards(folder / "synthetic")
    truth = folder / "synthetic" / "mini" / "truth" / "truth.csv"
    truth.parent.mkdir(parents=True)
    lines = ["database,subject,clip,amplitude_px"]
    lines += [",".join(key) + f",{px}" for key, px in zip(KEYS, AMPLITUDES, strict=True)]
    truth.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def page(data_dir, tmp_path_factory):
    """A page of three runs."""
    folder = tmp_path_factory.mktemp("runs")
    history = {"loss": np.ones((5, 6)), "accuracy": np.full((5, 6), 0.5)}
    against = {"uf1": -0.1, "uf1_interval": [-0.2, 0.1], "uf1_p": 0.3, "uf1_p_holm": 0.6}
    against |= {name.replace("uf1", "uar"): value for name, value in against.items()}
    oracle = {"pooled": {"uf1": 0.91, "uar": 0.92}}
    gained = {key: 0.0432 if value == -0.1 else value for key, value in against.items()}
    drawn = {"scores": row([8, 9])["scores"], "gained": gained}
    rows = {
        "NewNet": row([7], title="NewNet", paper=None),
        "LBP-TOP": row([5], sure=False, title="LBP-TOP", recipe=None, parameters=None, epochs=None,
                       regions="landmarks", milliseconds_a_clip=None, against_mjfn=against),
        "MJFN": row([0, 1], curves=bands(history), oracle=oracle, drawn=drawn),
        "MJFN-BbN": row([2, 3], title="MJFN-BbN", parameters=99,
                        start="/home/someone/weights/resnet_50.npz"),
    }  # fmt: skip
    write(folder / "table & 3", "table3.json", table3(**rows))
    write(folder / "loso", "results.json", results())
    write(folder / "jfms", "ablation.json", networks())
    out = folder / "page.html"
    make(*(folder / name for name in ("table & 3", "loso", "jfms")), data_dir=data_dir, out=out)
    return out


def test_the_page_has_every_part_of_every_run(page):
    text = page.read_text()
    titles = re.findall(r"<h([23])>(.*?)</h", text)
    of_a_run = [
        *("Scores: 3DB", "Scores by database", "Recipe and cost", "Confusion matrices"),
        "Training curves",
        *("By amplitude of the motion", "Most confidently wrong", "By subject"),
    ]
    assert [title for _, title in titles] == [
        *("table &amp; 3", "Failed", *of_a_run),
        *("loso", *of_a_run),
        *("jfms", "Number of JFMs and fusion"),
    ]
    for shown in (
        *("0.834", "1,234,567", "1 h 2 min", "landmarks"),
        *("−0.100", "0.910", "+0.043", "made up"),
    ):
        assert shown in text, shown
    assert "MJFN&#39;s UF1 minus MJFN-BbN&#39;s is" in text
    assert page.stat().st_size < 5e6


def test_what_files_say_is_escaped_and_no_path_of_a_machine_is_in_the_page(page):
    text = page.read_text()
    assert "&lt;script&gt;document.title = &#39;taken&#39;&lt;/script&gt; &amp;" in text
    assert "run.json" in text and "resnet_50.npz" in text
    for kept in (page, *page.with_name("page_files").glob("*.[ctj]*")):
        assert not re.search(r"/(home|tmp|work)/|someone", kept.read_text()), kept
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'"data:.*?"', "", text))


def test_figures_and_tables_are_beside_the_page(page):
    beside = page.with_name("page_files")
    names = {path.name for path in beside.iterdir()}
    for stem in (
        "table-3-confusion-mjfn-bbn",
        "table-3-curves-mjfn",
        "table-3-confusion-newnet",
        "loso-amplitude",
        "jfms-jfms",
    ):
        assert {f"{stem}.png", f"{stem}.svg"} <= names
    inside = re.findall(r'src="data:image/svg\+xml;base64,(.*?)" alt="(.*?)"', page.read_text())
    assert {base64.b64decode(source) for source, _ in inside} == {
        path.read_bytes() for path in beside.glob("*.svg")
    }
    assert all(alt for _, alt in inside)
    with (beside / "table-3.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["method"] for line in lines] == ["LBP-TOP", "MJFN-BbN", "MJFN", "NewNet"]
    expected = row([0, 1])["scores"]["samm"]
    assert float(lines[2]["samm_uf1"]) == expected["uf1"]
    assert float(lines[2]["pooled_uf1_drawn"]) == row([8, 9])["scores"]["pooled"]["uf1"]
    assert float(lines[2]["uf1_drawn_minus_plain"]) == 0.0432
    assert lines[0]["pooled_uf1_drawn"] == ""
    assert float(lines[2]["samm_uf1_highest_seed"]) == max(expected["uf1_seeds"])
    assert float(lines[2]["pooled_uf1_oracle"]) == 0.91
    assert lines[0]["parameters"] == "" and lines[0]["uf1_minus_mjfn_p_holm"] == "0.6"


NAME = st.from_regex(r"[a-z0-9_.-]*[a-z0-9]", fullmatch=True)


@settings(max_examples=50)
@given(st.lists(NAME, min_size=1), NAME, st.sampled_from(["/", "file:///", "~/", "C:\\"]))
def test_of_a_path_only_the_last_name_is_kept(folders, name, root):
    path = root + "/".join([*folders, name])
    expected = [{f"see '{name}': it": 1}, f"--out={name}, casme2/sub01 and </b> stay", 2, None]
    given = [{f"see '{path}': it": 1}, f"--out={path}, casme2/sub01 and </b> stay", 2, None]
    assert finished.without_paths(given) == expected


def test_runs_of_one_name_have_names_of_their_own():
    assert slugs(["run", "Run", "run-2", "run", "…"]) == [
        *("run", "run-2", "run-2-2", "run-3", "run-4")
    ]


def guesses(records_by_seed):
    return finished.guesses({k: as_json(one) for k, one in enumerate(records_by_seed)})


def test_scores_by_amplitude_are_those_of_each_third_and_intervals_resample_subjects():
    methods = {
        title: guesses([predictions(seed) for seed in seeds])
        for title, seeds in {"MJFN": (0, 1), "MJFN-BbN": (2, 3, 4)}.items()
    }
    motion = np.array([AMPLITUDES[KEYS.index(key)] for key in methods["MJFN"].keys])
    found = amplitude.by_amplitude(methods, motion, draws=40)
    assert [entry["clips"] for entry in found["bins"]] == [4, 3, 4]
    assert found["bins"][0]["low"] == pytest.approx(0.2)
    assert sum(found["bins"][1]["databases"].values()) == 3

    labels = methods["MJFN"].labels
    people = np.array(["/".join(person) for person in methods["MJFN"].people])
    order = np.argsort(motion)
    thirds = [order[:4], order[4:7], order[7:]]
    names = sorted(set(people))
    times = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, size=40)

    def uf1(title, clips):
        if not len(clips):
            return np.nan
        return np.mean(
            [metrics.scores(labels[clips], g[clips]).uf1 for g in methods[title].predictions]
        )

    drawn = {title: np.full((40, 3), np.nan) for title in methods}
    for number, third in enumerate(thirds):
        for draw, counts in enumerate(times):
            clips = [n for name, k in zip(names, counts, strict=True) for _ in range(k)
                     for n in third if people[n] == name]  # fmt: skip
            for title in methods:
                drawn[title][draw, number] = uf1(title, np.array(clips, int))
        for title in methods:
            value, interval = found["methods"][title][number]["uf1"]
            assert value == pytest.approx(uf1(title, third))
            alone = len(set(people[third])) == 1
            expected = np.nanquantile(drawn[title][:, number], (0.025, 0.975))
            assert alone or interval == pytest.approx(tuple(expected))
            for label, pair in enumerate(found["methods"][title][number]["recalls"]):
                mine = third[labels[third] == label]
                if len(mine) == 0:
                    assert pair is None
                    continue
                recall = np.mean([(g[mine] == label).mean() for g in methods[title].predictions])
                assert pair[0] == pytest.approx(recall)
                assert (pair[1] is None) == (len(set(people[mine])) == 1)
    lead = drawn["MJFN"] - drawn["MJFN-BbN"]
    assert found["lead"][2][1] == pytest.approx(tuple(np.nanquantile(lead[:, 2], (0.025, 0.975))))
    trend = np.nanquantile(lead[:, 0] - lead[:, 2], (0.025, 0.975))
    assert found["trend"] == (
        pytest.approx(found["lead"][0][0] - found["lead"][2][0]), pytest.approx(tuple(trend))
    )  # fmt: skip


def test_clips_that_all_move_alike_are_one_third_and_nothing_follows():
    methods = {name: guesses([predictions(k)]) for k, name in enumerate(("MJFN", "MJFN-BbN"))}
    found = amplitude.by_amplitude(methods, np.ones(len(KEYS)))
    assert [entry["clips"] for entry in found["bins"]] == [11, 0, 0]
    assert found["methods"]["MJFN"][1]["uf1"] is None
    assert found["trend"] is None and finding(found) is None


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.1, 0.3), "contains 0, so these clips do not show"),
        ((0.05, 0.3), "above 0, so on these clips joint features help weak expressions more"),
        ((-0.3, -0.1), "below 0, so on these clips joint features help weak expressions less"),
        (None, "too few subjects"),
    ],
)
def test_the_finding_says_what_the_interval_shows_and_no_more(interval, said):
    pair = (0.1, (-0.2, 0.4))
    text = finding({"lead": [pair, pair, pair], "trend": (0.1, interval)})
    assert said in text and "+0.100 [−0.200, 0.400]" in text


def test_amplitude_is_measured_from_the_flow_where_the_truth_is_not_known(monkeypatch, tmp_path):
    random = np.random.default_rng(0)
    flow = random.normal(size=(224, 224, 2)).astype(np.float32)
    record = {"database": "samm", "subject": "6", "clip": "006_1_2", "label": 1, "flow": flow}
    opened = Shards({"samm": [record]}, {})
    monkeypatch.setattr(amplitude, "open_shards", lambda dataset, data_dir: opened)
    moved = amplitude.read_motion("samm", tmp_path)
    length = np.sort(np.sqrt((flow.astype(float) ** 2).sum(-1)), axis=None)
    at = 0.95 * (224 * 224 - 1)
    expected = length[int(at)] + (at % 1) * (length[int(at) + 1] - length[int(at)])
    assert moved.amplitudes == {("samm", "6", "006_1_2"): pytest.approx(expected)}


def test_the_wrong_clips_are_the_surest_ones_in_order(data_dir):
    moved = amplitude.read_motion("synthetic", data_dir)
    shown = pages.mistakes(guesses([predictions(3)]), moved)
    wrong = [one for one in predictions(3) if one.prediction != one.label]
    wrong.sort(key=lambda one: -max(one.probabilities))
    assert len(wrong) == 5
    assert [one["clip"] for one in shown] == [one.clip for one in wrong]
    assert shown[0]["probability"] == max(wrong[0].probabilities)
    assert (shown[0]["truth"], shown[0]["prediction"]) == (
        CLASSES[wrong[0].label], CLASSES[wrong[0].prediction],
    )  # fmt: skip
    number = KEYS.index((wrong[0].database, wrong[0].subject, wrong[0].clip))
    assert shown[0]["amplitude"] == pytest.approx(AMPLITUDES[number])
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(shown[0]["image"].partition(",")[2])))
    small = np.asarray(picture, float)
    assert small.mean() == pytest.approx(FLOWS.inputs[number].mean(), abs=2)
    assert small[36 * FLOWS.labels[number] :][:36].mean() > small.mean() + 40  # the bright block
    assert pages.mistakes(guesses([predictions(3, sure=False)]), moved) == []


def test_the_majority_of_a_table_is_that_of_the_data_set(data_dir):
    moved = amplitude.read_motion("synthetic", data_dir)
    found = pages.majority(guesses([predictions(0)]), moved)
    assert found["pooled"]["uf1"] == results()["majority"]["pooled"]["uf1"]


def test_right_clips_of_a_subject_are_counted_over_the_seeds():
    shown = pages.by_subject({"MJFN": guesses([predictions(0), predictions(1)])})
    records = [*predictions(0), *predictions(1)]
    assert [(one["subject"], one["clips"]) for one in shown] == [
        ("sub01", 2), ("sub02", 2), ("6", 2), ("7", 2), ("s1", 1), ("s2", 2),
    ]  # fmt: skip
    right = sum(one.label == one.prediction for one in records if one.subject == "6")
    assert shown[2]["right"]["MJFN"] == right / 2


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take most of a page's time."""
    monkeypatch.setattr(pages, "_drawn", lambda *args, **kwargs: "data:,")


def test_without_flow_images_the_page_says_which_flag_to_give_and_builds_nothing(undrawn, tmp_path):
    folder = write(tmp_path / "run", "results.json", results())
    text = make(folder, data_dir=tmp_path / "secret" / "nothing", out=tmp_path / "page.html")
    assert "--data_dir=nothing" in text and "Give --data_dir" in text
    assert "Scores: 3DB" in text and "Most confidently wrong" not in text
    assert str(tmp_path) not in text and "secret" not in text
    assert not (tmp_path / "secret").exists()


def test_flow_images_of_other_clips_are_not_taken_for_the_runs(undrawn, data_dir, tmp_path):
    records = [Prediction(one.database, one.subject, one.clip + "x", one.label, one.prediction)
               for one in predictions(0)]  # fmt: skip
    folder = write(tmp_path / "run", "results.json", results(records))
    text = make(folder, data_dir=data_dir, out=tmp_path / "page.html")
    assert "other clips than the run" in text


def test_one_database_and_one_subject_have_scores_without_intervals(undrawn, data_dir, tmp_path):
    records = [one for one in predictions(0) if one.subject == "6"]
    folder = write(tmp_path / "run", "results.json", results(records))
    text = make(folder, data_dir=data_dir, out=tmp_path / "page.html")
    assert "Scores: SAMM" in text and "Scores by database" not in text
    assert "2 clips of 1 subjects" in text


def test_a_run_with_a_failed_fold_has_no_scores(undrawn, data_dir, tmp_path):
    failed = [{"fold": "samm/7", "epoch": 2}]
    content = results(failed=failed, scores=None, majority=None)
    folder = write(tmp_path / "run", "results.json", content)
    text = make(folder, data_dir=data_dir, out=tmp_path / "page.html")
    assert "<strong>samm/7</strong>: no finite loss from epoch 2" in text
    assert "Scores: 3DB" not in text and "No scores" in text


def test_runs_with_the_same_folder_name_each_have_a_section(undrawn, data_dir, tmp_path):
    folders = [write(tmp_path / name / "run", "results.json", results()) for name in "ab"]
    text = make(*folders, data_dir=data_dir, out=tmp_path / "page.html")
    assert re.findall(r'<section id="(.*?)">', text) == ["run", "run-2"]
    assert (tmp_path / "page_files" / "run-2.csv").exists()


def test_a_folder_without_a_run_is_answered_with_the_commands_that_make_one(tmp_path):
    with pytest.raises(InputError, match=r"nothing: no finished run; .*loso\.py --out=.*table3"):
        finished.read(tmp_path / "nothing")
    with pytest.raises(InputError, match="give the folder of a run"):
        Report(runs=()).run()


EARLIER = {"configuration": {"dataset": "3db", "method": "mjfn", "num_jfms": 3}, "scores": None}


def changed(**changes):
    """A results.json whose identity is another."""
    return results(identity=changes)


DAMAGED = {
    "cut": ("results.json", json.dumps(results())[:200]),
    "binary": ("results.json", "\x00\x01"),
    "list": ("results.json", []),
    "number": ("results.json", 5),
    "nested": ("results.json", "[" * 100_000),
    "earlier": ("results.json", EARLIER),
    "earlier table": ("table3.json", {"dataset": "3db", "configuration": {}, "methods": {}}),
    "earlier ablation": ("ablation.json", [EARLIER]),
    "no identity": ("results.json", results() | {"identity": []}),
    "no method": ("results.json", changed(method=None)),
    "a title": ("results.json", changed(method={"title": 5})),
    "a data set": ("results.json", changed(data=COMMON["data"] | {"dataset": ["3db"]})),
    "no databases": ("results.json", changed(data={"dataset": "3db"})),
    "a time": ("results.json", results(seconds="12")),
    "an endless time": ("results.json", json.dumps(results(seconds=0)).replace(
        '"seconds": 0', '"seconds": 1e999')),
    "no scores": ("results.json", {k: v for k, v in results().items() if k != "scores"}),
    "scores of nothing": ("results.json", results(scores={})),
    "other parts": ("results.json", results(majority={
        k: v for k, v in results()["majority"].items() if k != "samm"})),
    "half an interval": ("results.json", results(scores={
        k: v | {"uf1_interval": [0.1]} for k, v in results()["scores"].items()})),
    "no predictions": ("results.json", results() | {"predictions": []}),
    "a class": ("results.json", results()
                | {"predictions": [vars(Prediction("samm", "6", "a", 7, 0))]}),
    "a database": ("results.json", results()
                   | {"predictions": [vars(Prediction("<b>", "6", "a", 1, 0))]}),
    "a row": ("table3.json", table3(MJFN={"kind": "image"})),
    "a row of an earlier version": ("table3.json", table3(A={
        k: v for k, v in row([0]).items() if k != "identity"})),
    "other clips": ("table3.json", table3(A=row([0]), B=row([0], predictions={"0": as_json(
        predictions(0)[1:])}))),
    "a text": ("table3.json", table3(A=row([0], parameters="many"))),
    "half a comparison": ("table3.json", table3(A=row([0], against_mjfn={"uf1": 0.1}))),
    "half an oracle": ("table3.json", table3(A=row([0], oracle={"pooled": {"uf1": 0.1}}))),
    "curves": ("table3.json", table3(A=row([0], curves={"folds": 1, "loss": [[1, 2]]}))),
    "empty": ("ablation.json", []),
    "numbers": ("ablation.json", [1, 2]),
    "no JFMs": ("ablation.json", [results(identity={"method": method("STSTNet")})]),
    "a network of features": ("ablation.json", [results(identity={"recipe": None})]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (2.34, "2.3 s"),
        (12.4, "12 s"),
        (250, "4 min 10 s"),
        (3599.7, "1 h 0 min"),
        (75780, "21 h 3 min"),
    ],
)
def test_a_time_is_given_in_its_two_largest_units(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_or_earlier_file_is_one_line_that_names_it(case, tmp_path):
    name, content = DAMAGED[case]
    folder = write(tmp_path, name, content)
    with pytest.raises(InputError, match=rf"{name}: damaged .*make it again") as caught:
        finished.read(folder)
    assert "\n" not in str(caught.value)
    assert ("no identity, so it is of an earlier version" in str(caught.value)) == (
        case.startswith("earlier") or case == "list"
    )


def test_what_is_known_of_a_run_is_shown_and_hashes_are_cut(undrawn, data_dir, tmp_path):
    folder = write(tmp_path / "table", "table3.json", table3(MJFN=row([0, 1])))
    write(folder, "results.json", results())
    page = make(folder, data_dir=data_dir, out=tmp_path / "page.html")
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["num jfms"] == "3" and facts["epochs"] == "3"
    assert facts["code"] == "c0dec0dec0de…" and facts["content"] == "f00df00df00d…"
    assert facts["SMIC"] == "fingerprint: 000000000000…, tau: 0.25, backend: opencv"
    assert facts["seeds"] == "0, 1"
    assert facts["MJFN"].startswith("name: mjfn, code: c0dec0dec0de…, epochs: 3")
    assert facts["held out"] == "samm/6, samm/7" and facts["device"] == "cpu"
    groups = re.findall(r"<h4>(.*?)</h4>", page)
    shared = ["Data", "Protocol", "Versions", "Hardware"]
    assert groups == ["Methods", *shared, "Method", "Recipe", *shared]


def test_facts_in_facts_are_flattened():
    assert flattened({"a": {"b": {"c": 1}, "d": [2]}, "e": {}}) == {"c": 1, "d": [2]}
    assert flattened({"a": {"b": 1}, "c": {"b": 2, "d": 3}, "d": 4}) == {
        "b": 1, "c b": 2, "c d": 3, "d": 4,
    }  # fmt: skip
    assert fact({"a": None, "b": [1e-4, "f" * 64]}) == "a: –, b: 0.0001, ffffffffffff…"


def test_a_handcrafted_method_has_dashes_where_a_network_has_numbers(undrawn, data_dir, tmp_path):
    content = results(
        predictions(0, sure=False),
        identity={"method": method("LBP-TOP"), "recipe": None},
        history={},
        majority=None,
    )
    folder = write(tmp_path / "run", "results.json", content)
    page = make(folder, data_dir=data_dir, out=tmp_path / "page.html")
    recipe = page[page.index("Recipe and cost") : page.index("Confusion matrices")]
    cells = re.findall(r"<td.*?>(.*?)</td>", recipe)
    assert cells == ["image", "–", "–", "1 min 1 s", "–", ""]
    assert "Training curves" not in page and "Most confidently wrong" not in page
    assert "Majority class" in page  # that of the flow images


def test_a_method_that_the_paper_does_not_list_stands_last_without_the_papers_figures(
    undrawn, data_dir, tmp_path
):
    rows = {"NewNet": row([1], paper=None), "MJFN": row([0]),
            "Another": row([2], paper=dict.fromkeys(["pooled_uf1"]))}  # fmt: skip
    folder = write(tmp_path / "run", "table3.json", table3({}, **rows))
    page = make(folder, data_dir=data_dir, out=tmp_path / "page.html")
    scores = page[page.index("Scores: 3DB") : page.index("Scores by database")]
    lines = re.findall(r'<tr[^>]*><th scope="row">(.*?)</th>(.*?)</tr>', scores, re.DOTALL)
    assert [title for title, _ in lines] == ["MJFN", "NewNet", "Another", "Majority class"]
    assert re.findall(r"<tr( class=\"ours\")?>", scores)[1:] == ["", *[' class="ours"'] * 2, ""]
    assert [">0.834<" in line for _, line in lines] == [True, False, False, False]
    assert lines[1][1].count("–</td>") == 2


@pytest.mark.parametrize("there", ["file", "page_files"])
def test_a_page_below_a_file_is_refused_in_one_line(undrawn, data_dir, tmp_path, there):
    folder = write(tmp_path / "run", "results.json", results())
    (tmp_path / there).touch()
    out = tmp_path / ("page.html" if there == "page_files" else "file/page.html")
    with pytest.raises(SystemExit, match=r"error: --out=.*a file stands in its way; choose") as end:
        make(folder, data_dir=data_dir, out=out)
    assert "\n" not in str(end.value)


# In a browser

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("chromium or chromedriver is not on this machine: apt-get install "
                    "chromium chromium-driver")  # fmt: skip
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    driver.get("about:blank")  # the browser's own first page asks for much
    yield driver
    with contextlib.suppress(Exception):
        driver.quit()


@pytest.fixture
def opened(browser, page):
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    return browser


def columns(table):
    """The texts of a table by row, without the small print."""
    script = """
        const value = (cell) => cell.dataset.sort ?? cell.textContent.trim();
        return [...arguments[0].tBodies[0].rows].map((row) => [...row.cells].map(value));
    """
    return table.parent.execute_script(script, table)


def test_a_browser_shows_the_page_without_an_error_or_a_request(opened, page):
    assert opened.title == "Micro-expression recognition: table & 3, loso, jfms"
    assert opened.get_log("browser") == []
    events = [json.loads(one["message"])["message"] for one in opened.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert page.as_uri() in asked
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    broken = (
        "return [...document.images].filter(i => i.checkVisibility() && !i.naturalWidth).length"
    )
    assert opened.execute_script(broken) == 0


def test_a_column_is_sorted_both_ways_and_missing_values_come_last(opened):
    from selenium.webdriver.common.keys import Keys

    table = opened.find_element("css selector", "[aria-label^=Recipe] table")
    heads = table.find_elements("css selector", "thead th")
    names = [head.text.partition("\n")[0] for head in heads]
    before = columns(table)
    n = names.index("Parameters")
    assert [line[n] for line in before] == ["", "99", "1234567", "1234567"]
    for order, key in (("ascending", None), ("descending", Keys.ENTER), ("ascending", Keys.SPACE)):
        button = heads[n].find_element("tag name", "button")
        button.send_keys(key) if key else button.click()
        assert heads[n].get_attribute("aria-sort") == order
        numbers = ["99", "1234567", "1234567"]
        numbers = numbers if order == "ascending" else numbers[::-1]
        assert [line[n] for line in columns(table)] == [*numbers, ""]
    titles = ["LBP-TOP", "MJFN", "MJFN-BbN", "NewNet"]
    for wanted in (titles, titles[::-1]):
        heads[0].find_element("tag name", "button").click()
        assert [line[0] for line in columns(table)] == wanted
    assert heads[n].get_attribute("aria-sort") is None
    assert sorted(columns(table)) == sorted(before)


@pytest.mark.parametrize(("width", "medium"), [(400, ""), (1280, ""), (688, "print")])
def test_nothing_is_wider_than_the_page(opened, width, medium):
    """688 px are the width of A4 between the margins."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium})
    wide = "return [document.documentElement.scrollWidth, document.body.scrollWidth]"
    try:
        assert max(opened.execute_script(wide)) <= width
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_is_printed_with_everything_open(opened):
    script = """
        window.open_in_print = null;
        addEventListener("beforeprint", () => {
          window.open_in_print = document.querySelectorAll("details:not([open])").length;
        });
    """
    opened.execute_script(script)
    assert opened.execute_script("return document.querySelectorAll('details[open]').length") == 0
    pdf = base64.b64decode(opened.print_page())
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 1
    assert opened.execute_script("return window.open_in_print") == 0
    assert opened.execute_script("return document.querySelectorAll('details[open]').length") == 0
