import numpy as np

from fritz_compress.surgery.labels import Labels


def test_united_labels_share_a_root_and_the_reason():
    labels = Labels()
    first, second, third = (labels.new(3) for _ in range(3))
    labels.freeze(third[1:2], "because")
    labels.unite(second, third)
    assert labels.reason(first[1]) is None
    labels.unite(first, second)

    np.testing.assert_array_equal(labels.roots(third), [0, 1, 2])
    assert [labels.reason(label) for label in second] == [
        None,
        "because",
        None,
    ]


def test_first_reason_stays():
    labels = Labels()
    label = labels.new(1)
    labels.freeze(label, "first")
    labels.freeze(label, "second")
    assert labels.reason(label[0]) == "first"


def test_a_reason_that_overrules_takes_its_place():
    labels = Labels()
    label = labels.new(1)
    labels.freeze(label, "first")
    labels.freeze(label, "better", overrule=True)
    labels.freeze(label, "third")
    assert labels.reason(label[0]) == "better"


def test_broadcast_ties_all_to_one():
    labels = Labels()
    many, one = labels.new(4), labels.new(1)
    labels.unite(many, one)
    assert len(np.unique(labels.roots(many))) == 1


def test_agrees_with_a_search_through_the_pairs():
    rng = np.random.default_rng(0)
    labels = Labels()
    labels.new(60)
    pairs = rng.integers(60, size=(40, 2))
    for left, right in pairs:
        labels.unite(np.array([left]), np.array([right]))

    classes = [{i} for i in range(60)]
    for left, right in pairs:
        if classes[left] is not classes[right]:
            classes[left] |= classes[right]
            for member in classes[left]:
                classes[member] = classes[left]
    expected = [min(members) for members in classes]
    np.testing.assert_array_equal(labels.roots(np.arange(60)), expected)
