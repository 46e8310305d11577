"""What may be asked of AutoML: model types and budgets by kind, and the trainer's address."""

import pytest

from labelloop.cloud.google.automl_terms import MODELS, Wish
from labelloop.errors import CloudError, SettingsError
from labelloop.trainers.vertex_automl import AutoMlAddress
from labelloop.types import BOXES, IMAGES


def test_what_is_not_said_is_the_first_type_of_the_kind_and_the_least_it_takes() -> None:
    assert Wish().of(IMAGES) == Wish("CLOUD", 8_000)
    assert Wish().of(BOXES) == Wish("CLOUD_HIGH_ACCURACY_1", 20_000)
    assert Wish("MOBILE_TF_VERSATILE_1").of(BOXES) == Wish("MOBILE_TF_VERSATILE_1", 1_000)
    assert Wish(budget=30_000).of(BOXES).hours == "30 node hours"


@pytest.mark.parametrize(("kind", "model"), [(kind, model) for kind, models in MODELS.items() for model in models])
def test_a_budget_is_within_what_its_type_takes(kind: str, model: str) -> None:
    least, most = MODELS[kind][model]
    for budget in (least, most):
        assert Wish(model, budget).of(kind).budget == budget
    for budget in (least - 1, most + 1):
        with pytest.raises(SettingsError, match=f"{model}: it takes {least} to {most} milli node hours"):
            Wish(model, budget)


def test_a_type_of_the_other_kind_and_a_budget_that_its_first_type_does_not_take_are_refused() -> None:
    with pytest.raises(CloudError, match="model=CLOUD is not for object-detection: there are CLOUD_HIGH_ACCURACY_1"):
        Wish("CLOUD").of(BOXES)
    with pytest.raises(CloudError, match="budget=8000 is none for CLOUD_HIGH_ACCURACY_1: it takes 20000 to 900000"):
        Wish(budget=8_000).of(BOXES)


def test_an_address_is_project_location_and_what_is_asked() -> None:
    found = AutoMlAddress.parse("vertex-automl://shop/europe-west4?model=CLOUD&budget=9000")
    assert found == AutoMlAddress("shop", "europe-west4", Wish("CLOUD", 9_000))
    assert AutoMlAddress.parse("vertex-automl://example.com:shop/us-central1").wish == Wish()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("vertex-automl://shop", "expected a project and a location: vertex-automl://PROJECT/LOCATION"),
        ("vertex-automl://shop/europe-west4/7", "expected a project and a location"),
        ("vertex-automl://shop/europe-west4#x", "expected a project and a location"),
        ("vertex-automl://shop/europe-west4?modell=CLOUD", "knows no option 'modell'. Possible are model, budget"),
        ("vertex-automl://shop/europe-west4?budget=8000&budget=9000", "is given twice"),
        ("vertex-automl://shop/europe-west4?budget=8h", "budget='8h' is no number of milli node hours"),
        ("vertex-automl://shop/europe-west4?model=cloud", "model 'cloud' is none. There are CLOUD, MOBILE_TF_LOW"),
        ("vertex-automl://shop/europe-west4?model=CLOUD&budget=7999", "it takes 8000 to 800000 milli node hours"),
    ],
)
def test_an_address_that_is_none_is_refused_with_what_is_possible(address: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        AutoMlAddress.parse(address)
    assert says in str(raised.value)
