"""How trials are chosen, counted, taken up again and given up."""

import optuna
import pytest
from optuna.trial import TrialState

from labelloop.run.search.journal import BEGUN, OUTCOME, bury, mend, next_trial, open_study, release, tried
from labelloop.run.search.result import best_of, importances
from labelloop.run.search.search_folder import SearchFolder
from labelloop.run.search.space import Space


def begin(study: optuna.Study, folder: SearchFolder, space: Space, most: int = 99, worker: int = 0) -> optuna.Trial:
    asked = next_trial(study, folder, space, seed=0, most=most, worker=worker)
    assert asked is not None
    return asked[0]


def finish(study: optuna.Study, trial: optuna.Trial, accuracy: float) -> None:
    trial.set_user_attr(OUTCOME, {"state": "finished", "accuracy": accuracy})
    study.tell(trial, accuracy)


def test_a_head_has_no_optimizer(study: optuna.Study, folder: SearchFolder, space: Space) -> None:
    chosen = []
    for _ in range(12):
        asked = next_trial(study, folder, space, seed=0, most=99, worker=0)
        assert asked is not None
        study.tell(asked[0], 0.5)
        chosen.append(asked[1])
    both = {"recipe", "model", "image_size"}
    assert {frozenset(one) for one in chosen if one["recipe"] == "head"} == {frozenset(both)}
    assert {frozenset(one) for one in chosen if one["recipe"] == "finetune"} == {
        frozenset(both | {"optimizer", "augmentations", "learning_rate"})
    }
    assert all(1e-4 <= float(one.get("learning_rate", 0.01)) <= 0.1 for one in chosen)


def test_no_more_than_asked_for(study: optuna.Study, folder: SearchFolder, space: Space) -> None:
    for number in range(3):
        assert begin(study, folder, space, most=3).number == number
    assert next_trial(study, folder, space, seed=0, most=3, worker=1) is None
    assert begin(study, folder, space, most=4).number == 3


def test_a_search_that_goes_on_in_another_process_chooses_as_it_would_have(folder: SearchFolder, space: Space) -> None:
    whole, parts = (SearchFolder(type(folder.run)(folder.path / name)) for name in ("whole", "parts"))
    chosen: list[list[dict[str, object]]] = [[], []]
    for at, place in enumerate((whole, parts)):
        place.path.mkdir(parents=True)
        study = open_study(place, 1)
        for number in range(14):
            if at:
                study = open_study(place, 1)
            trial = begin(study, place, space)
            if at and number % 5 == 3:
                release(study)
                trial = begin(study, place, space)
            chosen[at].append(dict(trial.params))
            finish(study, trial, number / 20)
    assert chosen[0] == chosen[1]


def test_an_interrupted_trial_is_tried_anew_and_not_counted(
    study: optuna.Study, folder: SearchFolder, space: Space
) -> None:
    first = begin(study, folder, space, most=1)
    release(study)
    again = begin(study, folder, space, most=1)

    assert again.params == first.params
    assert again.user_attrs[BEGUN]["origin"] == first.number
    assert [one.state for one in tried(study)] == ["interrupted", "running"]
    assert next_trial(study, folder, space, seed=0, most=1, worker=0) is None
    release(study)
    assert begin(study, folder, space, most=1).user_attrs[BEGUN]["origin"] == first.number


def test_a_trial_that_ended_its_process_fails_and_says_why(
    study: optuna.Study, folder: SearchFolder, space: Space
) -> None:
    for worker in (0, 1):
        begin(study, folder, space, worker=worker)
    bury(study, 1, "its process ended with signal 9")

    assert [(one.state, one.reason) for one in tried(study)] == [
        ("running", ""),
        ("failed", "its process ended with signal 9"),
    ]


def test_the_journal_survives_a_line_that_was_cut_off(folder: SearchFolder, space: Space) -> None:
    study = open_study(folder, 1)
    finish(study, begin(study, folder, space), 0.5)
    with folder.journal.open("a") as journal:
        journal.write('{"op_code": 4, "worker')
    mend(folder)
    study = open_study(folder, 1)
    finish(study, begin(study, folder, space), 0.7)

    assert [one.accuracy for one in tried(open_study(folder, 1))] == [0.5, 0.7]


def test_two_processes_know_of_each_other_s_trials(folder: SearchFolder, space: Space) -> None:
    one, other = open_study(folder, 1), open_study(folder, 1)

    assert [begin(study, folder, space).number for study in (one, other, one)] == [0, 1, 2]


def test_the_best_is_the_first_of_the_highest_score(study: optuna.Study, folder: SearchFolder, space: Space) -> None:
    assert best_of(tried(study)) is None
    for accuracy in (0.5, 0.9, 0.9):
        finish(study, begin(study, folder, space), accuracy)
    pruned = begin(study, folder, space)
    pruned.report(1.0, 1)
    pruned.set_user_attr(OUTCOME, {"state": "pruned", "accuracy": 1.0})
    study.tell(pruned, state=TrialState.PRUNED)

    best = best_of(tried(study))
    assert best is not None
    assert (best.number, best.accuracy) == (1, 0.9)


@pytest.mark.train  # imports scikit-learn
def test_importances_name_what_made_the_difference(study: optuna.Study, folder: SearchFolder, space: Space) -> None:
    for _ in range(30):
        trial = begin(study, folder, space)
        finish(study, trial, {"a": 0.2, "b": 0.9}[trial.params["model"]] + 0.001 * (trial.params["image_size"] == 64))
    best = best_of(tried(study))
    assert best is not None
    shares = importances(study, best)

    assert next(iter(shares)) == "model"
    assert shares["model"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) <= set(best.parameters) - {"recipe"}


def test_too_few_trials_say_nothing_of_importance(study: optuna.Study, folder: SearchFolder, space: Space) -> None:
    for accuracy in (0.5, 0.6, 0.7):
        finish(study, begin(study, folder, space), accuracy)
    best = best_of(tried(study))
    assert best is not None
    assert importances(study, best) == {}
