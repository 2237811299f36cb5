import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.features.together import Unkept


def test_features_that_were_not_kept_have_layers_and_no_values():
    samples = pd.DataFrame({"id": ["i0", "i1"]})
    store = Unkept(("m", "x"), {"weights": "w"}, samples, {"a": 3, "b": 1})
    assert list(store) == ["a", "b"] and len(store) == 2 and store.samples is samples
    assert store.manifest["layers"] == [{"name": "a", "width": 3}, {"name": "b", "width": 1}]
    other = Unkept(("m", "x"), {"weights": "v"}, samples, {"a": 3})
    assert store.manifest["key_sha256"] != other.manifest["key_sha256"]
    with pytest.raises(FeaturespaceError, match="features of 'm' on 'x' were not kept; leave --no-store out"):
        store["a"]
