from microtome.cli.help_page import PAGE, page


def test_the_page_is_fresh():
    assert PAGE.read_text() == page(), "run `make docs`"
