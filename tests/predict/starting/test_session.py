"""A predictor is a session that targets can be made of."""

import inspect

from sam_moe.predict.predictor import Predictor
from sam_moe.predict.starting.session import Session
from sam_moe.prompts import Point
from tests.predict.starting.bright import bright_model, scan_of


def test_a_predictor_has_every_method_of_a_session_with_its_parameters():
    methods = {name: found for name, found in vars(Session).items() if inspect.isfunction(found)}
    own = {name: found for name, found in methods.items() if not name.startswith("_")}
    assert set(own) == {"predict", "refine", "undo", "redo", "standing"}
    for name, found in own.items():
        assert inspect.signature(getattr(Predictor, name)) == inspect.signature(found)


def test_and_its_properties():
    session: Session = bright_model().open(scan_of())
    assert session.model.id == "bright" and session.scan.grid.shape == (24, 24, 24)
    assert len(session.prompt) == 0 and session.standing() is None
    found = session.predict(Point((10, 10, 10)))
    assert session.prompt == found.prompt and session.standing().prompt == found.prompt
