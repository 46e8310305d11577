"""What a text must be to go on the wire."""


def unwritable_text(text: str) -> str:
    """Say why a text cannot be sent; empty when it can. JSON can smuggle half characters into a task."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text is not valid Unicode"
    return ""
