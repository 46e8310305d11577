"""What a label config asks, in words."""

from labelloop.studio.assignment import assignment_of
from labelloop.studio.label_config import parse_label_config
from labelloop.types import Assignment, Wanted, WantedLabel

WHOLE = """<View>
  <Header value="What is this text about?"/><Header value="$title"/>
  <Text name="text" value="$text"/>
  <Choices name="topic" toName="text">
    <Choice value="Sports" alias="1" hint="games, athletes"/><Choice value="Politics" alias="2"/><Choice value="rest"/>
  </Choices>
  <Choices name="tone" toName="text" choice="multiple"><Choice value="glad"/><Choice value="sad"/></Choices>
  <Taxonomy name="place" toName="text" maxUsages="1">
    <Choice value="Europe" alias="EU"><Choice value="Italy" alias="IT" hint="a boot"/></Choice>
  </Taxonomy>
  <Labels name="who" toName="text"><Label value="Person"/></Labels>
  <TextArea name="summary" toName="text" placeholder="in one sentence"/>
  <Rating name="stars" toName="text" maxRating="3"/>
  <Number name="year" toName="text" min="1900"/>
</View>"""


def test_every_tag_that_can_be_answered_in_words_is_asked() -> None:
    assert assignment_of(parse_label_config(WHOLE)) == Assignment(
        (
            Wanted(
                "topic",
                "labels",
                (
                    WantedLabel("1", "Sports", "games, athletes"),
                    WantedLabel("2", "Politics"),
                    WantedLabel("rest", "rest"),
                ),
            ),
            Wanted("tone", "labels", (WantedLabel("glad", "glad"), WantedLabel("sad", "sad")), "multiple"),
            Wanted(
                "place",
                "labels",
                (WantedLabel("EU", "EU", "Europe"), WantedLabel("EU/IT", "EU/IT", "Italy; a boot")),
            ),
            Wanted("who", "spans", (WantedLabel("Person", "Person"),), "multiple"),
            Wanted("summary", "text", hint="in one sentence"),
            Wanted("stars", "number", least=1.0, most=3.0, whole=True),
            Wanted("year", "number", least=1900.0),
        ),
        "What is this text about?",
    )


def test_a_label_goes_by_its_alias_where_its_value_is_that_of_another() -> None:
    text = (
        '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="b" alias="a"/>'
        '<Choice value="x" alias="b"/><Choice value="x" alias="c"/></Choices></View>'
    )
    (wanted,) = assignment_of(parse_label_config(text)).wanted
    assert [(label.name, label.shown, label.hint) for label in wanted.labels] == [
        ("a", "a", "b"),
        ("b", "b", "x"),
        ("c", "c", "x"),
    ]


def test_what_is_drawn_is_not_asked_in_words() -> None:
    text = (
        '<View><Image name="i" value="$i"/><RectangleLabels name="b" toName="i"><Label value="cat"/></RectangleLabels>'
        "</View>"
    )
    assert assignment_of(parse_label_config(text)) == Assignment()
