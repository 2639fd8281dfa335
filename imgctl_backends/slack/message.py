"""What Slack is told: seven facts, in text that nobody else can give a shape to."""

from __future__ import annotations

from typing import Final

from imgctl_core import Action, ItemResult, Outcome, Promotion, PromotionEvent

_MARK: Final = {
    Outcome.PROMOTED: ":white_check_mark:",
    Outcome.UNCHANGED: ":heavy_equals_sign:",
    Outcome.FAILED: ":x:",
    Outcome.CANCELLED: ":no_entry_sign:",
    Outcome.DENIED: ":lock:",
    Outcome.CONFLICT: ":warning:",
    Outcome.ACTIVATED: ":rocket:",
}
#: Slack cuts texts at 40,000 characters; nobody reads as much.
_MOST_ITEMS: Final = 20
_LONGEST: Final = 300
_APART: Final = "\u200b"
_SIGNS: Final = frozenset("*~`")


def compose(event: PromotionEvent) -> str:
    """Return the message: outcome, artifacts, ends, actor, digests, duration."""
    promotion = event.promotion
    outcome = promotion.outcome or Outcome.FAILED
    actor, took = escape(promotion.actor.display), _duration(promotion.seconds)
    lines = [
        f"{_MARK[outcome]} *{outcome.value}*: {_what(promotion)}",
        f"by {actor} in {took}, {escape(promotion.id)}",
    ]
    lines += [_item(item, outcome) for item in promotion.items[:_MOST_ITEMS]]
    left = len(promotion.items) - _MOST_ITEMS
    if left > 0:
        lines.append(f"… and {left} more")
    return "\n".join(lines)


def escape(text: str) -> str:
    """Return text from outside as text, and nothing else, in Slack's mrkdwn.

    `&`, `<` and `>` are written as Slack's reference says ("Formatting text for app
    surfaces"), which takes links and mentions away. Control characters and line ends,
    which would make lines of their own, become spaces. The signs of bold, strike-through
    and code stand between zero-width spaces, so that they act upon nothing; `_` does
    not, because names have it in them and are copied from messages.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > _LONGEST:
        line = line[: _LONGEST - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"{_APART}{char}{_APART}" if char in _SIGNS else char for char in line)


def _what(promotion: Promotion) -> str:
    """Return what was moved where, or what is live where, if it came to that."""
    subject, destination = _subject(promotion), escape(promotion.destination)
    if promotion.action is Action.PROMOTE:
        return f"{subject} from {escape(promotion.source) or '(no source)'} to {destination}"
    if promotion.outcome is Outcome.ACTIVATED:
        return f"{subject} is live in {destination} now"
    if promotion.outcome is Outcome.UNCHANGED:
        return f"{subject} was live in {destination} already"
    return f"making {subject} live in {destination}"


def _subject(promotion: Promotion) -> str:
    if len(promotion.items) == 1:
        return escape(promotion.items[0].text)
    return f"{len(promotion.items)} artifacts"


def _item(item: ItemResult, overall: Outcome) -> str:
    outcome = item.outcome or overall
    line = f"• {escape(item.text)}: {outcome.value}"
    if item.digest:
        line += f", {escape(item.digest)}"
    if item.error:
        line += f", {escape(item.error.message)}"
    return line


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
