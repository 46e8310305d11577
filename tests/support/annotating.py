"""What people do in Label Studio, through its API."""

from labelloop.demo.label_studio import LabelStudio
from labelloop.types import Json

LABEL_CONFIG = (
    '<View><Image name="picture" value="$image"/><Choices name="kind" toName="picture">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)


def choice(label: str) -> Json:
    """One region that chooses a label of the projects in tests/e2e."""
    return {"from_name": "kind", "to_name": "picture", "type": "choices", "value": {"choices": [label]}}


def prediction(task: int, label: str, version: str, score: float = 0.5) -> Json:
    """One item for the import of predictions."""
    return {"task": task, "result": [choice(label)], "score": score, "model_version": version}


def add_tasks(studio: LabelStudio, project: int, count: int) -> list[int]:
    """Import tasks and give their ids, in order."""
    studio.import_tasks(project, [{"image": f"http://pictures.example/{number}.png"} for number in range(count)])
    query = f"/api/tasks?project={project}&page_size=100000&include=id"
    return [task["id"] for task in studio.request("GET", query)["tasks"]]


def submit(studio: LabelStudio, task: int, label: str, parent_prediction: int | None = None) -> int:
    """Submit an annotation, perhaps one that began with a prediction, and give its id."""
    body = {"result": [choice(label)], "parent_prediction": parent_prediction}
    return int(studio.request("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])


def skip(studio: LabelStudio, task: int) -> int:
    """Skip a task and give the id of the cancelled annotation."""
    body = {"result": [], "was_cancelled": True}
    return int(studio.request("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])


def draft(studio: LabelStudio, task: int, label: str) -> None:
    """Begin an annotation without submitting it."""
    studio.request("POST", f"/api/tasks/{task}/drafts", json={"result": [choice(label)]})


def delete_task(studio: LabelStudio, task: int) -> None:
    """Delete a task."""
    studio.request("DELETE", f"/api/tasks/{task}/")
