"""Records with learning curves: those that UniAD's paper reports, or given ones."""

from tests.support.records import make_learning_curve, make_record

PUBLISHED = {
    "shortcut_mlp": ((0.8, 0.2, 0.02), (0.8, 0.9, 0.7)),
    "shortcut_cnn": ((0.8, 0.2, 0.03), (0.8, 0.88, 0.75)),
    "shortcut_transformer": ((0.8, 0.4, 0.2), (0.8, 0.9, 0.87)),
    "uniad": ((0.8, 0.5, 0.32), (0.7, 0.9, 0.899)),
}
TITLES = {"shortcut_mlp": "MLP", "shortcut_cnn": "CNN", "shortcut_transformer": "Transformer", "uniad": "UniAD"}


def record(method, curve, seed=0, pixel=None, epochs_per_point=100, **more):
    """A unified run of a method with a learning curve: losses and I-AUROCs, and P-AUROCs if they differ."""
    fields = {"title": TITLES.get(method, method), "method": method, "seed": seed, "steps": 30, **more}
    if method == "uniad":
        fields["fit_config"] = {"query": "all", **fields.get("fit_config", {})}
    points = make_learning_curve(*curve, pixel)
    points = [point.model_copy(update={"epoch": point.epoch * epochs_per_point}) for point in points]
    return make_record(learning_curve=points, **fields)
