"""What is asked of a phone for its check-up."""

from mobilekit.phone import phone_facts


class SetClock:
    """A computer's clock that is set an hour forth while the phone answers, for two seconds."""

    def __init__(self):
        self.asked = False

    def time(self):
        return 1000.0 + 3600 * self.asked

    def monotonic(self):
        return 5.0 + 2 * self.asked

    def ask(self, phone, command):
        self.asked = True
        return "1011\n"


def test_clocks_are_compared_by_one_that_is_not_set(monkeypatch):
    """The phone's 1011.5 s, told a second after 1000 s here, are 10.5 s ahead."""
    clock = SetClock()
    monkeypatch.setattr(phone_facts, "time", clock)
    monkeypatch.setattr(phone_facts, "_ask", clock.ask)

    assert phone_facts._compare_clocks(None) == (10.5, 1.5)
