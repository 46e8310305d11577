"""What stands in for Labelbox in tests: what its SDK asks of models, model runs, exports, imports and pre-labels.

with labelbox_stand_in(folder) as labelbox:
    model = labelbox.add_model(ontology(radio("scene", ("forest", "sea"))))
    run = labelbox.add_model_run(model, [Row("cm...", file="1.png", content=..., labels=((single("scene", "sea"),),))])
    labelbox.fail("exportDataRowsInModelRunPyApi", "rate limit", times=2)
"""

from support.labelbox.front import KEY as KEY
from support.labelbox.ontologies import checklist as checklist
from support.labelbox.ontologies import entity as entity
from support.labelbox.ontologies import free_text as free_text
from support.labelbox.ontologies import ontology as ontology
from support.labelbox.ontologies import radio as radio
from support.labelbox.ontologies import rectangle as rectangle
from support.labelbox.rows import Row as Row
from support.labelbox.rows import Rows as Rows
from support.labelbox.rows import answered as answered
from support.labelbox.rows import box as box
from support.labelbox.rows import data_row_id as data_row_id
from support.labelbox.rows import multi as multi
from support.labelbox.rows import single as single
from support.labelbox.rows import span as span
from support.labelbox.stand_in import Imported as Imported
from support.labelbox.stand_in import LabelboxStandIn as LabelboxStandIn
from support.labelbox.stand_in import labelbox_stand_in as labelbox_stand_in
