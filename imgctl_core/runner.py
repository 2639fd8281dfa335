"""What is done with the items of one run. Only this and `rows` call promoters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from imgctl_core.context import Context
from imgctl_core.errors import AuditUnavailable, Cancelled, DeadlineExceeded
from imgctl_core.journal import Journal
from imgctl_core.locks import LockTable
from imgctl_core.models import Action, Failure, Outcome, Phase
from imgctl_core.outcomes import end_with_error, still_open
from imgctl_core.phases import STEPS
from imgctl_core.store import ItemRun, PromotionRun

#: Items of one promotion that are worked on at once. Their threads mostly wait: a
#: promoter bounds its own work.
_ITEMS_AT_ONCE = 32


class Runner:
    """Takes the items of a run from a plan to the end that they come to."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._locks = LockTable()

    def promote(self, run: PromotionRun) -> None:
        """Take every item as far as it gets; its outcome says how far that was."""
        self.plan(run)
        if not still_open(run.items):
            return
        run.enter(Phase.LOCK, still_open(run.items))
        try:
            with self._locks.hold(_keys(run), run.cancel, run.deadline) as waited:
                if waited:
                    # Somebody else wrote there meanwhile.
                    self.plan(run)
                self._carry_out(run)
        except (Cancelled, DeadlineExceeded, AuditUnavailable) as error:
            for item in still_open(run.items):
                end_with_error(run, item, error)

    def plan(self, run: PromotionRun) -> None:
        """Plan every item; what can't be promoted, or needs it not, ends here."""
        run.enter(Phase.PLAN, still_open(run.items))

        def plan(item: ItemRun, context: Context) -> None:
            # What an earlier plan found out may be true no longer.
            item.scratch.clear()
            item.planned(item.promoter.plan(item.item, context))

        self._each(run, still_open(run.items), plan)
        if any(item.outcome and not item.outcome.good for item in run.items):
            for item in still_open(run.items):
                message = "not started: another item of this promotion can't be promoted"
                item.end(Outcome.CANCELLED, Failure(Cancelled.reason, message))
        for item in still_open(run.items):
            if item.plan is not None and item.plan.unchanged:
                item.end(Outcome.UNCHANGED)

    def _carry_out(self, run: PromotionRun) -> None:
        if not still_open(run.items):
            return
        self._journal.requested(run)
        for phase, step in STEPS:
            run.enter(phase, still_open(run.items))
            self._each(run, still_open(run.items), step)
        for item in still_open(run.items):
            item.end(run.action.done)

    def _each(
        self,
        run: PromotionRun,
        items: Iterable[ItemRun],
        step: Callable[[ItemRun, Context], None],
    ) -> None:
        """Take one step with every item, each in a guard of its own."""

        def guarded(item: ItemRun) -> None:
            context = _context(run, item)
            try:
                context.check()
                step(item, context)
            except Exception as error:  # noqa: BLE001 - a promoter's bug is its item's end
                end_with_error(run, item, error)
                if run.fail_fast:
                    run.cancel.cancel(f"stopped, since {item.item.text} failed")

        todo = list(items)
        if len(todo) == 1:
            guarded(todo[0])
        elif todo:
            with ThreadPoolExecutor(min(_ITEMS_AT_ONCE, len(todo))) as pool:
                list(pool.map(guarded, todo))


def _context(run: PromotionRun, item: ItemRun) -> Context:
    """Return what a promoter is handed for the step that is taken now."""
    if run.phase is Phase.VERIFY:
        # What is published is published: only this says what is there, so nothing cuts it short.
        return Context(run.id, item.progress, scratch=item.scratch)
    return Context(run.id, item.progress, run.cancel, run.deadline, scratch=item.scratch)


def _keys(run: PromotionRun) -> set[tuple[str | None, ...]]:
    """Return what nobody else may write meanwhile: a version, or what is live of all."""
    refs = [item.item.ref for item in run.items]
    if run.action is Action.ACTIVATE:
        return {(run.action, ref.kind, run.destination, ref.name) for ref in refs}
    return {(run.action, ref.kind, run.destination, ref.name, ref.version) for ref in refs}
