import pytest

from featurespace.errors import FeaturespaceError, nearest, unknown, visible
from featurespace.progress import Progress


def test_nearest_finds_the_close_name_in_any_case():
    assert nearest("ResNet5O", ["resnet50", "vit", "resnet18"])[0] == "resnet50"


def test_unknown_names_the_close_choices_and_the_next_step():
    error = unknown(
        "layer", "layer5", ["layer4", "stem"], where="resnet50", hint="`featurespace inspect resnet50` lists them"
    )
    assert str(error) == (
        "layer 'layer5' is not known in resnet50; did you mean 'layer4'? `featurespace inspect resnet50` lists them"
    )


def test_unknown_lists_the_choices_when_none_is_close():
    assert "allowed: alpha, beta" in str(unknown("metric", "zzz", ["alpha", "beta"]))


def test_unknown_lists_at_most_a_dozen():
    assert str(unknown("metric", "zzz", [f"a{i}" for i in range(30)])).endswith("and 18 more")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 中\n\t", "plain ü 中\n\t"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\rb\0", r"a\rb\x00"),
        ("\udcff\u202e", r"\udcff\u202e"),
    ],
)
def test_a_name_can_do_nothing_to_a_terminal(text, shown):
    progress = Progress()
    progress.say(text)
    assert visible(text) == str(FeaturespaceError(text)) == progress.messages[0] == visible(shown) == shown


def test_a_log_has_no_line_of_what_was_nothing(capsys):
    from featurespace.progress import RichProgress

    for total in (0, None, 2):
        with RichProgress().bar(f"of {total}", total, "layers") as advance:
            advance(total or 0)
    printed = capsys.readouterr().err
    assert "of 0" not in printed and "of None: 0 layers" in printed and "of 2: 2 layers" in printed


def test_brackets_and_backslashes_of_a_message_are_printed_as_they_are(capsys):
    from featurespace.progress import RichProgress

    progress = RichProgress(verbose=True)
    progress.say("C:\\data\\[bold]x\\")
    progress.detail("a [red]b\\")
    printed = capsys.readouterr().err
    assert "C:\\data\\[bold]x\\\n" in printed and "a [red]b\\\n" in printed
