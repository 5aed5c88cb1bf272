"""The design matrix: the same from NumPy and from the graph, honest on training rows, defined for anything."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.data.dates import PARTS, date_parts
from assay.data.prepare import Preparation, Recipe, fit
from assay.data.table import ColumnType, Table, Words
from assay.families import Target
from assay.model.gate import gate_table, raw_feeds, synthetic_rows
from assay.model.graph import Port, encode

RECIPES = [
    Recipe(),
    Recipe("standard", True, "onehot"),
    Recipe("robust", True, "target", interactions=True),
    Recipe("quantile", False, "ordinal"),
    Recipe("quantile", True, "onehot", max_onehot=3, interactions=True),
    Recipe("raw", True, "target", interactions=True),
    Recipe("standard", False, "drop"),
]
TARGETS = {"binary": Target("binary", 2), "multiclass": Target("multiclass", 3), "regression": Target("regression")}


def graph_matrix(preparation: Preparation, table: Table) -> np.ndarray:
    """The matrix as onnxruntime computes it from the raw columns."""
    graph = preparation.to_onnx({c: f"raw:{c}" for c in table.names})
    ports = [
        Port(f"raw:{c}", "string" if isinstance(v, Words) else "float32", ["N", 1]) for c, v in table.columns.items()
    ]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = encode(graph, ports, [Port(graph.output, "float32", ["N", len(preparation.names)])])
    session = onnxruntime.InferenceSession(model, options)
    return session.run(None, {f"raw:{c}": v for c, v in raw_feeds(table).items()})[0]


def mixed(n: int, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    days = np.datetime64("2015-06-01T00:00:00") + rng.integers(0, 86400 * 2000, n).astype("timedelta64[s]")
    size = rng.lognormal(size=n)
    size[rng.random(n) < 0.1] = np.nan
    colour = np.array(["red", "green", "blue", ""], object)[rng.integers(0, 4, n)]
    town = np.array([f"town {i}" for i in range(90)], object)[rng.integers(0, 90, n)]
    note = np.array(["good value", "bad  value", "so good", "", "bad", "plain words here"], object)
    return Table(
        {
            "size": size,
            "age": rng.integers(0, 90, n).astype(float),
            "colour": Words.of(colour),
            "town": Words.of(town),
            "yes": Words.of(np.array(["true", "false"], object)[rng.integers(0, 2, n)]),
            "when": Words.of([str(d).replace("T", " ") for d in days]),
            "note": Words.of(note[rng.integers(0, 6, n)]),
            "label": Words.of([f"id{i}" for i in range(n)]),
        },
        {
            "size": ColumnType.NUMBER,
            "age": ColumnType.INTEGER,
            "colour": ColumnType.CATEGORY,
            "town": ColumnType.CATEGORY,
            "yes": ColumnType.BOOLEAN,
            "when": ColumnType.DATETIME,
            "note": ColumnType.TEXT,
            "label": ColumnType.ID,
        },
    )


def answers(kind: str, n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) if kind == "regression" else rng.integers(0, TARGETS[kind].n_classes, n)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_numpy_and_graph_agree_on_new_and_on_hard_rows(recipe: Recipe, kind: str) -> None:
    table = mixed(400)
    preparation, x = fit(recipe, table.take(np.arange(300)), answers(kind, 300), TARGETS[kind], seed=3)
    new = gate_table(table, np.random.default_rng(0), 100)
    expected, found = preparation.transform(new), graph_matrix(preparation, new)
    assert x.dtype == expected.dtype == np.float32
    assert x.shape[1] == expected.shape[1] == len(preparation.names) == len(preparation.groups)
    np.testing.assert_array_equal(found, expected)  # bit for bit: a tree would see any difference
    assert np.isfinite(expected).all() or not recipe.impute


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_one_row_and_no_row_are_answered_like_a_batch(recipe: Recipe) -> None:
    table = mixed(200)
    preparation, _ = fit(recipe, table, answers("binary", 200), TARGETS["binary"], seed=0)
    hard = synthetic_rows(table, np.random.default_rng(1))
    batch = preparation.transform(hard)
    for i in (0, 1, 4, 20):
        np.testing.assert_array_equal(graph_matrix(preparation, hard.take(np.array([i]))), batch[[i]])
    none = hard.take(np.empty(0, np.int64))
    assert graph_matrix(preparation, none).shape == preparation.transform(none).shape == (0, batch.shape[1])


word = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
number = st.one_of(st.none(), st.floats(width=64), st.sampled_from([0.0, -0.0, 1e38, -1e300, 1e-44, 3.0]))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, Table]:
    """A training table of any content, and other rows with the same columns."""
    n, m = draw(st.integers(2, 60)), draw(st.integers(0, 12))
    parts = "0123456789-:T "
    datelike = st.one_of(
        st.datetimes().map(lambda d: d.strftime("%Y-%m-%d %H:%M:%S")), st.dates().map(str), st.text(parts, max_size=12)
    )
    kinds = draw(st.lists(st.sampled_from(["number", "category", "datetime", "text"]), min_size=1, max_size=4))
    columns, types = [{}, {}], {}
    for i, kind in enumerate(kinds):
        pool = {"number": number, "category": word, "datetime": datelike, "text": st.lists(word).map(" ".join)}[kind]
        few = draw(st.lists(pool, min_size=1, max_size=8))
        for side, size in ((0, n), (1, m)):
            values = draw(st.lists(st.sampled_from(few) if side == 0 else pool, min_size=size, max_size=size))
            if kind == "number":
                columns[side][f"c{i}"] = np.array([np.nan if v is None else v for v in values], np.float64)
            else:
                columns[side][f"c{i}"] = Words.of(values)
        types[f"c{i}"] = ColumnType(kind)
    return Table(columns[0], types), Table(columns[1], types)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(), st.sampled_from(RECIPES), st.sampled_from(list(TARGETS)), st.integers(0, 9))
def test_any_table_gives_the_same_matrix_from_numpy_and_graph(
    both: tuple[Table, Table], recipe: Recipe, kind: str, seed: int
) -> None:
    train, new = both
    preparation, x = fit(recipe, train, answers(kind, len(train), seed), TARGETS[kind], seed)
    assert x.shape == (len(train), len(preparation.names))
    assert not np.isinf(x).any()
    for table in (train, new):
        np.testing.assert_array_equal(graph_matrix(preparation, table), preparation.transform(table))
    if recipe.impute:
        assert np.isfinite(preparation.transform(new)).all()


def test_target_means_of_training_rows_do_not_leak_their_own_target() -> None:
    n = 600
    rng = np.random.default_rng(0)
    table = Table({"c": Words.of([f"v{i}" for i in rng.integers(0, 150, n)])}, {"c": ColumnType.CATEGORY})
    y = rng.normal(size=n)  # has nothing to do with the column
    preparation, x = fit(Recipe(categories="target"), table, y, TARGETS["regression"], seed=0)
    leaking = preparation.transform(table)[:, 0]
    assert np.corrcoef(leaking, y)[0, 1] > 0.25
    assert abs(np.corrcoef(x[:, 0], y)[0, 1]) < 0.12


def test_target_means_keep_a_real_signal_and_weights_count() -> None:
    codes = np.arange(400) % 4
    table = Table({"c": Words.of([f"v{i}" for i in codes])}, {"c": ColumnType.CATEGORY})
    y = codes.astype(float)
    preparation, x = fit(Recipe(categories="target"), table, y, TARGETS["regression"], seed=0)
    assert preparation.names[0] == "c target mean"
    assert np.corrcoef(x[:, 0], y)[0, 1] > 0.99
    weight = np.where(codes == 3, 1e-9, 1.0)
    weighted, _ = fit(Recipe(categories="target"), table, y, TARGETS["regression"], seed=0, weight=weight)
    assert weighted.transform(table)[3, 0] == pytest.approx(1.0, abs=0.01)  # all prior: the mean of 0, 1 and 2


def test_unseen_missing_and_rare_levels_have_their_own_rows() -> None:
    words = ["a"] * 40 + ["b"] * 30 + ["c"] * 20 + [""] * 10 + ["once"]
    table = Table({"c": Words.of(words)}, {"c": ColumnType.CATEGORY})
    y = np.arange(len(words)) % 2
    preparation, _ = fit(Recipe("standard", True, "onehot"), table, y, TARGETS["binary"], seed=0)
    assert preparation.names == ("c = a", "c = b", "c = c", "c is missing")
    new = Table({"c": Words.of(["a", "", "never", "once"])}, table.types)
    np.testing.assert_array_equal(preparation.transform(new), [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_ordinal_codes_follow_the_target_mean_and_unseen_is_nan() -> None:
    words = ["low", "high", "mid", "high"] * 30
    y = np.array([0.0, 2.0, 1.0, 2.0] * 30)
    table = Table({"c": Words.of(words)}, {"c": ColumnType.CATEGORY})
    preparation, x = fit(Recipe(), table, y, TARGETS["regression"], seed=0)
    assert x[:4, 0].tolist() == [0, 2, 1, 2]
    assert np.isnan(preparation.transform(Table({"c": Words.of(["?", ""])}, table.types))).all()
    filled, _ = fit(Recipe(impute=True), table, y, TARGETS["regression"], seed=0)
    assert filled.transform(Table({"c": Words.of(["?", ""])}, table.types)).tolist() == [[1], [1]]


def test_three_classes_order_levels_along_their_main_direction() -> None:
    words = ["all of class 0", "mixed", "all of class 2", "mixed"] * 50
    y = np.array([0, 0, 2, 2] * 50)
    table = Table({"c": Words.of(words)}, {"c": ColumnType.CATEGORY})
    _, x = fit(Recipe(), table, y, TARGETS["multiclass"], seed=0)
    assert x[1, 0] == x[3, 0] == 1
    assert {x[0, 0], x[2, 0]} == {0, 2}


def test_more_levels_than_shown_add_target_mean_and_frequency() -> None:
    table = Table({"c": Words.of([f"v{i % 20:02}" for i in range(400)])}, {"c": ColumnType.CATEGORY})
    preparation, _ = fit(Recipe(categories="onehot", max_onehot=5), table, np.arange(400) % 2, TARGETS["binary"], 0)
    assert preparation.names[:2] == ("c = v00", "c = v01")
    assert "c share of class 1" in preparation.names and len(preparation.names) <= 7


def test_the_number_of_onehot_columns_is_bounded() -> None:
    n, rng = 2000, np.random.default_rng(0)
    columns = {f"c{i}": Words.of([f"v{v}" for v in rng.integers(0, 300, n)]) for i in range(12)}
    table = Table(columns, dict.fromkeys(columns, ColumnType.CATEGORY))
    _, x = fit(Recipe(categories="onehot", max_onehot=1000), table, np.arange(n) % 2, TARGETS["binary"], 0)
    assert 1000 < x.shape[1] <= 2000 + 2 * 12


def test_missing_numbers_get_the_median_and_an_indicator() -> None:
    table = Table({"a": np.array([1.0, np.nan, 3.0, 8.0])}, {"a": ColumnType.NUMBER})
    preparation, x = fit(Recipe("raw", impute=True), table, np.arange(4.0), TARGETS["regression"], 0)
    assert preparation.names == ("a", "a is missing")
    assert x.tolist() == [[1, 0], [3, 1], [3, 0], [8, 0]]


def test_standard_columns_have_mean_zero_and_deviation_one() -> None:
    _, x = fit(Recipe("standard", True, "drop"), mixed(500), answers("binary", 500), TARGETS["binary"], 0)
    assert abs(x[:, :2].mean(0)).max() < 1e-5
    assert abs(x[:, :2].std(0) - 1).max() < 1e-3


def test_quantiles_make_a_skewed_column_normal() -> None:
    rng = np.random.default_rng(0)
    table = Table({"a": np.exp(3 * rng.normal(size=5000))}, {"a": ColumnType.NUMBER})
    _, x = fit(Recipe("quantile"), table, rng.normal(size=5000), TARGETS["regression"], 0)
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05
    assert abs((x**3).mean()) < 0.2


def test_robust_values_end_at_three() -> None:
    table = Table({"a": np.append(np.arange(99.0), 1e30)}, {"a": ColumnType.NUMBER})
    _, x = fit(Recipe("robust"), table, np.arange(100.0), TARGETS["regression"], 0)
    assert 2.9 < x.max() <= 3.0


def test_products_name_their_factors_and_belong_to_the_first() -> None:
    rng = np.random.default_rng(0)
    table = Table({"a": rng.normal(size=50), "b": rng.normal(size=50)}, dict.fromkeys("ab", ColumnType.NUMBER))
    preparation, x = fit(Recipe("raw", interactions=True), table, rng.normal(size=50), TARGETS["regression"], 0)
    assert preparation.names == ("a", "b", "a squared", "a x b", "b squared")
    assert preparation.groups.tolist() == [0, 1, 0, 0, 1]
    np.testing.assert_array_equal(x[:, 3], x[:, 0] * x[:, 1])


def test_columns_that_say_nothing_are_left_out_and_none_left_is_one_zero() -> None:
    table = Table(
        {"a": np.full(5, 2.0), "b": np.full(5, np.nan), "c": Words.of(["x"] * 5), "d": Words.of([""] * 5)},
        dict(zip("abcd", map(ColumnType, ["number", "number", "category", "category"]), strict=True)),
    )
    preparation, x = fit(Recipe(), table, np.arange(5.0), TARGETS["regression"], 0)
    assert x.tolist() == [[0]] * 5
    assert graph_matrix(preparation, table).tolist() == [[0]] * 5


def test_date_parts_are_those_of_the_calendar() -> None:
    from datetime import datetime

    texts = ["2000-01-01 00:00:00", "1999-12-31 23:59:59", "2024-02-29 06:30:00", "1000-01-01 00:00:00"]
    texts += ["2999-12-31 12:00:00", "1900-03-01 00:00:00", "2000-03-01 18:45:00"]
    parts = dict(zip(PARTS, date_parts(Words.of(texts)).T, strict=True))
    for i, text in enumerate(texts):
        d = datetime.fromisoformat(text)
        assert parts["year"][i] == d.year and parts["month"][i] == d.month and parts["day"][i] == d.day
        assert parts["weekday"][i] == d.weekday()
        assert parts["day of year"][i] == d.timetuple().tm_yday
        assert parts["days since 2000-01-01"][i] == (d.date() - datetime(2000, 1, 1).date()).days
        assert parts["hour"][i] == pytest.approx(d.hour + d.minute / 60)
    assert parts["sine of day"][2] == pytest.approx(np.sin(2 * np.pi * 6.5 / 24))


@pytest.mark.parametrize("text", ["2024-02-29", "2024-02-29T06:30:00", "2024-02-29T06:30", " 2024-2-29  06:30:00Z"])
def test_other_spellings_of_a_date_are_read_alike(text: str) -> None:
    plain = date_parts(Words.of(["2024-02-29 06:30:00", "2024-02-29 00:00:00"]))
    np.testing.assert_array_equal(date_parts(Words.of([text]))[0], plain[0 if ":" in text else 1])


@pytest.mark.parametrize(
    "text", ["", "x", "2024", "2024-13-01", "2024-01-32", "24-01-01", "2024-01-01 25:00", "9999-01-01"]
)
def test_what_is_no_date_is_missing_in_every_part(text: str) -> None:
    assert np.isnan(date_parts(Words.of([text, "2020-01-01 00:00:00"]))[0]).all()


def test_a_text_column_finds_the_words_that_tell_the_target() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    common = ["the", "a", "of", "thing"]
    texts = [" ".join([*rng.permutation(common)[:2], "awful" if v and rng.random() < 0.8 else "fine"]) for v in y]
    table = Table({"t": Words.of(texts)}, {"t": ColumnType.TEXT})
    preparation, x = fit(Recipe(), table, y, TARGETS["binary"], 0)
    assert {"t has 'awful'", "t has 'fine'"} == set(preparation.names[1:3])
    assert preparation.names[0] == "t words" and set(x[:, 0]) == {3.0}


def test_the_same_seed_gives_the_same_matrix_and_order_of_columns_is_that_of_the_table() -> None:
    table = mixed(300)
    one, x = fit(Recipe("standard", True, "target"), table, answers("binary", 300), TARGETS["binary"], 5)
    two, again = fit(Recipe("standard", True, "target"), table, answers("binary", 300), TARGETS["binary"], 5)
    np.testing.assert_array_equal(x, again)
    assert one.names == two.names
    assert not any(n.startswith("label") for n in one.names)  # an id is passed over
    _, other = fit(Recipe("standard", True, "target"), table, answers("binary", 300), TARGETS["binary"], 6)
    assert (x != other).any()


def test_an_unknown_way_of_preparing_is_named() -> None:
    table = mixed(20)
    with pytest.raises(ValueError, match="choose one of raw, standard"):
        fit(Recipe(numbers="magic"), table, answers("binary", 20), TARGETS["binary"], 0)
    with pytest.raises(ValueError, match="choose onehot, ordinal"):
        fit(Recipe(categories="magic"), table, answers("binary", 20), TARGETS["binary"], 0)
