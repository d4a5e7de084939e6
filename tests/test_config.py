from pathlib import Path

import pytest
import yaml

from mdflow.config import (
    AugmentConfig,
    ConfidenceConfig,
    DistillConfig,
    OptimiserConfig,
    PretrainConfig,
    QuantizeConfig,
    SuperviseConfig,
)
from mdflow.errors import InputError
from mdflow.settings import build, dump

KINDS = [PretrainConfig, DistillConfig, SuperviseConfig, QuantizeConfig]


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_valid_and_frozen(kind):
    config = build(kind)
    assert config == kind()
    with pytest.raises(ValueError, match="frozen"):
        config.steps = 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dumped_is_read_back(tmp_path, kind):
    changes = ["steps=7", "optimiser.learning_rate=3e-4", "augment.zoom=[-1, 0.5]", "data.sources=[a.mp4, 'b:2']"]
    config = build(kind, overrides=changes, out=tmp_path / "run")
    assert build(kind, write(tmp_path, dump(config))) == config


def test_the_dump_is_plain_yaml():
    values = yaml.safe_load(dump(PretrainConfig(out="runs/mine")))
    assert values["out"] == "runs/mine"
    assert values["data"]["frame"] == [256, 320]
    assert values["network"]["init"] == "untrained"


def test_a_file_then_flags_then_settings(tmp_path):
    file = write(tmp_path, "steps: 10\nseed: 3\nbatch_size: 2\naugment: {crop: [64, 128], rotation: 5}\n")
    config = build(PretrainConfig, file, ["seed=5", "augment.rotation=0"], seed=4, steps=None, network__name="raft")
    assert (config.steps, config.seed, config.batch_size) == (10, 5, 2)
    assert (config.augment.crop, config.augment.rotation) == ((64, 128), 0)
    assert config.network.name == "raft"
    assert config.augment.flip_vertical == AugmentConfig().flip_vertical


def test_one_setting_of_a_group_leaves_the_verbs_own_defaults_of_the_others(tmp_path):
    config = build(QuantizeConfig, write(tmp_path, "data: {workers: 0}\n"), ["optimiser.clip=2"])
    assert config.optimiser.learning_rate == QuantizeConfig().optimiser.learning_rate != OptimiserConfig().learning_rate
    assert config.data.synthetic.motion == QuantizeConfig().data.synthetic.motion
    distillation = build(DistillConfig, overrides=["student.options.iterations=3"])
    assert distillation.student.name == DistillConfig().student.name == "raft_small"
    assert distillation.student.options == {"iterations": 3}


def test_values_are_written_as_in_yaml():
    config = build(
        DistillConfig,
        overrides=[
            "optimiser.learning_rate=3e-4",
            "loss.full_image_warp=false",
            "confidence.quantile=null",
            "confidence.threshold=8",
            "student.options.iterations=4",
            "student.options={iterations: 5}",
            "out=a=b",
        ],
    )
    assert config.optimiser == OptimiserConfig(learning_rate=0.0003)
    assert config.loss.full_image_warp is False
    assert config.confidence == ConfidenceConfig(quantile=None, threshold=8.0)
    assert config.student.options == {"iterations": 5}
    assert config.out == Path("a=b")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loss.cencus=1", "Unknown setting 'loss.cencus': did you mean 'census'?"),
        ("stepz=1", "Unknown setting 'stepz': did you mean 'steps'?"),
        ("data.synthetic.lenght=1", "Unknown setting 'data.synthetic.lenght': did you mean 'length'?"),
        ("confidence=1", "'confidence' is 1: input should be a valid dictionary"),
        ("self_loss.qqq=1", "Unknown setting 'self_loss.qqq': expected one of gamma, level_weights"),
        ("batch_size=0", "'batch_size' is 0: input should be greater than or equal to 1"),
        ("augment.eraser=1.5", "'augment.eraser' is 1.5: input should be less than or equal to 1"),
        ("augment.crop=[64]", "'augment.crop.1'"),
        ("augment.crop=[64, 0]", "'augment.crop.1' is 0: input should be greater than or equal to 1"),
        ("precision=float8", "'precision' is 'float8': input should be 'auto', 'float32' or 'bfloat16'"),
        ("optimiser.learning_rate=fast", "'optimiser.learning_rate' is 'fast'"),
        ("data.synthetic.motion=[0, 20]", "'data.synthetic.motion.0' is 0"),
        ("score_pairs=0", "'score_pairs' is 0"),
        ("augment.colour=9", "'augment.colour' is 9"),
        ("steps", "Cannot read the setting 'steps'; expected key.sub=value."),
        ("augment.crop=[64", "Cannot read the value in 'augment.crop=[64'"),
        ("steps.more=1", "'steps.more' goes below 'steps', which holds a single value."),
    ],
)
def test_what_is_wrong_is_named(override, sentence):
    kind = DistillConfig if override.startswith("confidence") else PretrainConfig
    with pytest.raises(InputError) as error:
        build(kind, overrides=[override], steps=5)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_everything_wrong_is_named_at_once(tmp_path):
    file = write(tmp_path, "steps: -1\nlos: {}\ndata: {workers: many}\n")
    with pytest.raises(InputError) as error:
        build(PretrainConfig, file)
    for name in ("'steps'", "'los'", "'data.workers'"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"steps: [1", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"- 1\n- 2", "holds a list; expected key: value lines"),
        (b"3", "holds a int; expected key: value lines"),
        (b"1: 2", "'1'"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, content, sentence):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.yaml|'1'") as error:
        build(PretrainConfig, file)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_file_means_the_defaults(tmp_path):
    assert build(PretrainConfig, write(tmp_path, "# nothing\n")) == PretrainConfig()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml'.*No such file"):
        build(PretrainConfig, tmp_path / "nowhere.yaml")


def test_recipes_are_valid_for_one_of_the_verbs():
    recipes = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
    for recipe in recipes:
        reasons = []
        for kind in KINDS:
            try:
                build(kind, recipe)
                break
            except InputError as error:
                reasons.append(str(error))
        else:
            pytest.fail(f"{recipe.name}: {reasons}")


@pytest.mark.parametrize(
    "text",
    [
        "data: 2020-13-45",
        "network: " + "[" * 3000,
        "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "network: {options: &a [*a]}",
        "steps: \x00",
        "steps: !!python/object/apply:os.mkdir [executed]",
        "? [1, 2]\n: 3",
    ],
    ids=["date", "nested", "aliases", "itself", "zero", "code", "key"],
)
def test_yaml_that_means_mischief_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=r"a\.yaml'"):
        build(PretrainConfig, tmp_path / "a.yaml")
    with pytest.raises(InputError):
        build(PretrainConfig, None, [f"data={text}"])


@pytest.mark.parametrize("seed", [-1, 10**14])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(InputError, match="seed"):
        build(PretrainConfig, seed=seed)
