"""TF-IDF of word and character n-grams with a linear model, each class's n-grams weighed by how telling they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.data.texts import TextRecipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, When

_ORDERS = {"none": (), "2-4": (2, 3, 4), "3-5": (3, 4, 5), "2-5": (2, 3, 4, 5), "3-6": (3, 4, 5, 6)}


@dataclass(frozen=True)
class TfidfLinearConfig:
    """C: inverse strength of the penalty.  log_counts: n-grams scaled by class log-count ratios ("NB-SVM").

    words: longest word n-gram, 0 for none (single words then, if there are no characters either).  chars: lengths of
    character n-grams, over the ends of words.  char_scale: length of the characters' part, that of the words being 1.
    For a numeric target logistic means ridge regression.
    """

    model: Annotated[str, Choice("logistic", "svm", "ridge")] = "logistic"
    C: Annotated[float, Float(0.03, 300.0, log=True)] = 8.0
    log_counts: Annotated[bool, Choice(True, False), When("model", "logistic", "svm")] = True
    words: Annotated[int, Choice(0, 1, 2, 3)] = 2
    chars: Annotated[str, Choice(*_ORDERS)] = "2-5"
    char_scale: Annotated[float, Float(0.3, 2.0, log=True)] = 1.0
    term_weight: Annotated[str, Choice("sublinear", "binary")] = "sublinear"
    idf: Annotated[bool, Choice(True, False)] = True


class TfidfLinear:
    name: ClassVar[str] = "tfidf_linear"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_classification", "text_regression"})
    lane: ClassVar[str] = "cpu"
    fits_whole: ClassVar[bool] = True
    Config: ClassVar[type] = TfidfLinearConfig
    reference: ClassVar[str] = (
        "Wang, Manning: Baselines and Bigrams: Simple, Good Sentiment and Topic Classification. ACL 2012; solver: "
        "Fan, Chang, Hsieh, Wang, Lin: LIBLINEAR: A Library for Large Linear Classification. JMLR 9, 2008"
    )

    def recipe(self, config: TfidfLinearConfig) -> TextRecipe:
        return TextRecipe(("chars", "words"))

    def steps(self, config: TfidfLinearConfig) -> int:
        return 1

    def cost(self, config: TfidfLinearConfig, shape: Shape) -> Cost:
        # of many classes a part is fitted once more for the link; 47 of TREC took 4.5 times what 6 took
        k = 1.0 if shape.n_classes <= 2 else 1.8 * shape.n_classes**0.75
        grams = 40.0 * config.words * shape.text_length(4096) + 110.0 * len(_ORDERS[config.chars]) * shape.text_length()
        grams += 20.0
        return Cost(0.05 + shape.n_rows * grams * (1e-7 + 1.5e-7 * k), int(shape.n_rows * (4_000 + 24 * grams) + 2e7))

    def fit(self, config: TfidfLinearConfig, data: Split, ctx: TrialContext) -> Predictor:
        from scipy.sparse import csr_matrix, hstack

        from search_spaces.tabular._answers import Constant, prior
        from search_spaces.text import _linear
        from search_spaces.text._bags import Kind, fit_bag

        orders = _ORDERS[config.chars]
        words = config.words or (0 if orders else 1)
        kinds = [Kind("words", tuple(range(1, words + 1)))] if words else []
        kinds += [Kind("chars", orders, 2, config.char_scale)] if orders else []
        fitted = [f for k in kinds if (f := fit_bag(data.x, k, config.term_weight == "sublinear", config.idf))]
        if not fitted or not np.any(data.y != data.y[0]):
            return Constant(prior(data.target, data.y, data.weight))
        if ctx.seconds_left() <= 0:
            raise TrialStopped
        bags = tuple(bag for bag, _ in fitted)
        x = csr_matrix(hstack([m for _, m in fitted], format="csr"))

        if data.target.is_regression:
            weights, bias = _linear.fit_numbers(config.model, x, data.y, config.C, data.weight, ctx.seed)
            bounds = (float(data.y.min()), float(data.y.max()))
            parts = _linear.split_bags(_linear.rounded(weights), bags)
            return _linear.BagPredictor(bags, parts, bias, "linear", None, bounds)

        classes, y = _linear.class_codes(data)
        k = classes.n_seen
        ratios = config.log_counts and config.model != "ridge"

        def margins(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            weight = None if data.weight is None else data.weight[rows]
            factors = _linear.log_count_ratios(x[rows], y[rows], k, weight) if ratios else None
            return _linear.fit_margins(config.model, x[rows], y[rows], k, config.C, weight, factors, ctx)

        weights, bias = margins(np.ones(len(y), bool))
        link = "ovr"
        if config.model != "logistic" or k > 2:
            z, told = [], []
            for out in _linear.held_out(y, np.random.default_rng(ctx.seed)):
                if out.any() and len(np.unique(y[~out])) == k:
                    w, b = margins(~out)
                    z.append(x[out] @ w + b)
                    told.append(y[out])
            link = "ovr" if config.model == "logistic" else "softmax"
            if z:
                link, scale = _linear.link_of(np.concatenate(z), np.concatenate(told), link)
                weights, bias = weights * np.float32(scale), bias * np.float32(scale)
        return _linear.BagPredictor(bags, _linear.split_bags(_linear.rounded(weights), bags), bias, link, classes)


family = TfidfLinear()
