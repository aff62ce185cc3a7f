"""Brings stages up to date: in order, each is looked at in its turn, then skipped, restored or run, and recorded.

Write order (docs/design.md): objects, then the stage cache, then the lock file. A run that is killed at any point has
recorded a stage whole or not at all, and running it again goes on from there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pyexp.errors import CorruptObject, MissingObject, PyexpError, RemoteError, StageFailed
from pyexp.events import Note, OnEvent, Output, StageEvent, null
from pyexp.formats import lockfile
from pyexp.model import OutSpec, StageLock, StageSpec
from pyexp.pipeline import command, plan, record, share, stagecache
from pyexp.pipeline.journal import Journal
from pyexp.pipeline.load import Pipeline, open_workspace
from pyexp.pipeline.options import Options, Result, Surroundings, chosen
from pyexp.pipeline.workspace import Workspace, missing_params

if TYPE_CHECKING:
    from pyexp.project import Project

__all__ = ["Options", "Result", "Surroundings", "chosen", "repro"]


def repro(
    project: Project, options: Options = Options(), around: Surroundings = Surroundings(), on_event: OnEvent = null
) -> Result:
    """Brings the targets and what they need up to date.

    Raises GraphError, FormatError, and StageFailed for the first stage that fails (with ``keep_going``: after all
    others have had their turn).
    """
    pipeline = open_workspace(project)
    graph = plan.graph(pipeline)
    stages = plan.order(
        pipeline,
        graph,
        chosen(pipeline, options),
        single_item=options.single_item,
        downstream=options.downstream,
        whole=options.pipeline,
    )
    run = _Run(project, pipeline, graph, options, around, on_event)
    if (
        not options.dry
        and sys.platform != "win32"
        and os.geteuid() == 0
        and (owner := os.stat(project.home.root).st_uid) != 0
    ):
        on_event(Note(f"this project belongs to user {owner}, and its commands run as root", "warning"))
    with nullcontext() if options.dry else project.live():
        try:
            if options.jobs > 1:
                _side_by_side(run, stages)
            else:
                for address in stages:
                    run.visit_locked(pipeline.stages[address])
        finally:
            with run.mutex:
                run.settle(everything=True)
            run.reaper.close()
            project.statcache.save()
    if run.result.failed and not options.ignore_errors:
        names = ", ".join(f"'{name}'" for name in run.result.failed)
        raise StageFailed(f"failed to reproduce {names}", stage=run.result.failed[0])
    return run.result


def _side_by_side(run: _Run, stages: list[str]) -> None:
    """Visits stages in threads, each after all it needs; records are written in the order of one job.

    Everything but the commands themselves happens under the run's lock. After a failure nothing new is started, and what
    is running is waited for (a KeyboardInterrupt stops it).
    """
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait  # only -j pays for it

    inside = set(stages)
    waiting = {address: [need for need in run.graph.upstream[address] if need in inside] for address in stages}
    run.in_order = list(stages)
    finished: set[str] = set()
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(run.options.jobs) as pool:
        try:
            while waiting or running:
                ready = [address for address, needs in waiting.items() if finished.issuperset(needs)]
                for address in ready[: run.options.jobs - len(running)]:
                    del waiting[address]
                    running[pool.submit(run.visit_locked, run.pipeline.stages[address])] = address
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    address = running.pop(future)
                    future.result()
                    finished.add(address)
        except PyexpError:
            raise
        except BaseException:
            run.interrupted = True
            raise


class _Run:
    """One pass over the stages: what the steps share."""

    def __init__(
        self,
        project: Project,
        pipeline: Pipeline,
        graph: plan.Graph,
        options: Options,
        around: Surroundings,
        on_event: OnEvent,
    ) -> None:
        self.project = project
        self.pipeline = pipeline
        self.graph = graph
        self.options = options
        self.around = around
        self.on_event = on_event
        self.workspace = Workspace(project, on_event)
        self.reaper = command.Reaper(around.hold)
        self.result = Result()
        self.locks = dict(pipeline.locks)
        self.forced: set[str] = set()
        self.given_up: set[str] = set()
        self.asked = False
        # One thread at a time decides and records. With several jobs a record waits for those before it, so that the
        # lock file is the same as with one.
        self.mutex = threading.Lock()
        self.journal = Journal(project, self.mutex, self.result.written.extend)
        self.interrupted = False
        self.in_order: list[str] = []
        self.settled: set[str] = set()
        self.held_back: dict[str, StageLock] = {}

    @property
    def parallel(self) -> bool:
        return self.options.jobs > 1

    def visit_locked(self, stage: StageSpec) -> None:
        """``visit``, while no other thread decides or records."""
        with self.mutex:
            if not self.interrupted:
                self.visit(stage)
                self.settled.add(stage.address)
                self.settle()

    def settle(self, *, everything: bool = False) -> None:
        """Hands on the records that wait for none before them; ``everything``: all there are, to the files at once."""
        while self.in_order and self.in_order[0] in self.settled:
            self.hand_on(self.in_order.pop(0))
        if everything or not self.parallel:
            for address in list(self.held_back):
                self.hand_on(address)
        if everything:
            self.journal.flush()

    def hand_on(self, address: str) -> None:
        lock = self.held_back.pop(address, None)
        if lock is not None:
            stage = self.pipeline.stages[address]
            self.journal.add(stage, lock, at_once=not (self.options.commit and stagecache.savable(stage)))

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Lets other threads decide and record while a command runs."""
        self.mutex.release()
        try:
            yield
        finally:
            self.mutex.acquire()

    def stop(self) -> bool:
        return self.interrupted or (self.around.stop is not None and self.around.stop())

    def visit(self, stage: StageSpec) -> None:
        """Looks at one stage in its turn and does what its verdict asks for."""
        address = stage.address
        if address in self.given_up:
            self.result.skipped.append(address)
            self.on_event(StageEvent(address, "skipped", has_cmd=not stage.is_data))
            return
        self.result.checked.append(address)
        try:
            changed = self.data(stage) if stage.cmd is None else self.stage(stage)
        except PyexpError as error:
            self.fail(stage, error)
            return
        if changed and self.options.force_downstream:
            self.forced.update(self.graph.downstream[address])

    def fail(self, stage: StageSpec, error: PyexpError) -> None:
        failure = error if isinstance(error, StageFailed) else _failed(stage, str(error), error.hint)
        if not (self.options.keep_going or self.options.ignore_errors):
            raise failure from error
        self.result.failed.append(stage.address)
        if self.options.ignore_errors:
            self.on_event(Note(f"{failure} (ignored)", "warning"))
            return
        users = sorted(plan.dependents(self.graph, stage.address))
        self.given_up.update(users)
        self.on_event(Note(str(failure), "warning"))
        if users:
            names = ", ".join(f"'{name}'" for name in users)
            self.on_event(Note(f"skipped because of this failure: {names}", "warning"))

    # -- data -----------------------------------------------------------------------------------------------------

    def data(self, stage: StageSpec) -> bool:
        """A .dvc file: its data is as recorded, is restored, or is recorded anew."""
        lock = self.pipeline.lock(stage.address)
        if stage.is_import and not self.options.dry:
            lock = self.brought(stage, lock)
        observed = self.workspace.observed(stage, lock)
        reasons = plan.output_reasons(stage, lock, observed)
        if not reasons:
            return self.clean(stage)
        gone = [out for out in stage.outs if observed.outs.get(out.path) is None]
        if self.options.dry:
            return self.would_run(stage, reasons)
        if gone:
            self.bring_back(stage, lock, {out.path for out in gone})
        if any(reason.word in ("modified", "new") for reason in reasons) or self.lost(reasons, gone):
            new = record.outputs(self.workspace, stage, lock, commit=self.options.commit)
            self.result.written += [*record.hide(self.project, stage), *record.write(self.project, [(stage, new)])]
            self.locks[stage.address] = new
            self.on_event(StageEvent(stage.address, "done", _texts(reasons), has_cmd=False))
            return True
        self.result.clean.append(stage.address)
        return False

    def brought(self, stage: StageSpec, lock: StageLock) -> StageLock:
        """An import's record once its data is here, as far as that is repro's to see to."""
        from pyexp.pipeline import reimport  # only a project with imports pays for it

        if not reimport.refresh(self.project, stage, lock, pull=self.options.pull, on_event=self.on_event):
            return lock
        self.result.written.append(stage.file)
        self.workspace.forget(stage.relpath(out.path) for out in stage.outs)
        return lockfile.parse_dvc(self.project.read_text(stage.file) or "", stage.file)[1]

    @staticmethod
    def lost(reasons: list[plan.Reason], gone: list[OutSpec]) -> bool:
        """Whether the cache lacks what the workspace still has: it is put back by recording it again."""
        return not gone and any(reason.word == "not in cache" for reason in reasons)

    def bring_back(self, stage: StageSpec, lock: StageLock, paths: set[str]) -> None:
        """Restores missing data from the cache, or from the remote with ``pull``."""
        entries = {entry.path: entry.entry for entry in lock.outs}
        for path in sorted(paths):
            entry = entries.get(path)
            if entry is not None and self.options.pull and not self.workspace.cached(entry):
                share.fetch(self.project, [entry], on_event=self.on_event)
            if entry is not None and self.workspace.cached(entry):
                self.workspace.restore(stage.relpath(path), entry)
                self.on_event(StageEvent(stage.address, "restored", has_cmd=False))
            elif not self.options.allow_missing:
                raise _failed(
                    stage,
                    f"'{stage.relpath(path)}' is missing, and the cache does not have it",
                    f"put it back, fetch it (pyexp pull), or stop tracking it: pyexp remove {stage.file}",
                )

    # -- stages ---------------------------------------------------------------------------------------------------

    def stage(self, stage: StageSpec) -> bool:
        """A stage with a command; returns whether its outputs may have changed."""
        lock = self.locks.get(stage.address, StageLock(cmd=None))
        forced = self.options.force or stage.address in self.forced
        observed = self.workspace.observed(stage, lock, outs=False)
        inputs = self.relevant(stage, lock, plan.input_reasons(stage, lock, observed))
        outs: list[plan.Reason] = []
        if not inputs or stage.frozen:
            made = self.workspace.observed(stage, lock)
            outs = self.relevant(stage, lock, plan.output_reasons(stage, lock, made))
        if stage.frozen:
            return self.frozen(stage, outs)
        reasons = [*inputs, *outs]
        if not reasons and not forced:
            return self.clean(stage)
        if not inputs and not forced and all(reason.word == "not in cache" for reason in outs):
            kept = self.keep_again(stage, lock, outs)
            if kept:
                return self.clean(stage)
        if self.options.dry or self.upstream_would_run(stage):
            return self.would_run(stage, reasons)
        if self.options.confirm is not None and not self.options.confirm(stage.address):
            raise PyexpError(f"stage '{stage.address}' was declined", hint="nothing after it was looked at")
        self.check_inputs(stage)
        now = record.inputs(self.workspace, stage, lock)
        if not forced and self.restore(stage, lock, now, inputs):
            return True
        self.execute(stage, now, [str(reason) for reason in reasons] or ["forced"])
        return True

    def relevant(self, stage: StageSpec, lock: StageLock, reasons: list[plan.Reason]) -> list[plan.Reason]:
        """Reasons that count: with ``allow_missing``, data that is only not here does not (FORMATS.md §6.3)."""
        if not self.options.allow_missing:
            return reasons
        kept = []
        for reason in reasons:
            if reason.key or reason.word not in ("deleted", "not in cache"):
                kept.append(reason)
            elif reason.group == "deps" and self.made_anew(stage, lock, reason.path):
                kept.append(plan.Reason("deps", "modified", reason.path))
        return kept

    def made_anew(self, stage: StageSpec, lock: StageLock, dep: str) -> bool:
        """Whether the maker of a missing dep has recorded something else since."""
        mine = next((entry.entry for entry in lock.deps if entry.path == dep), None)
        for producer in self.graph.upstream[stage.address]:
            spec = self.pipeline.stages[producer]
            for entry in self.locks.get(producer, StageLock(cmd=None)).outs:
                if spec.relpath(entry.path) == stage.relpath(dep):
                    return mine is None or entry.entry is None or entry.entry.oid != mine.oid
        return mine is None

    def clean(self, stage: StageSpec) -> bool:
        self.result.clean.append(stage.address)
        self.on_event(StageEvent(stage.address, "clean", has_cmd=stage.cmd is not None))
        return False

    def would_run(self, stage: StageSpec, reasons: list[plan.Reason]) -> bool:
        texts = _texts(reasons) or ("something it needs would be made anew",)
        self.result.would_run.append(stage.address)
        self.on_event(StageEvent(stage.address, "would-run", texts, stage.commands, has_cmd=stage.cmd is not None))
        return True

    def upstream_would_run(self, stage: StageSpec) -> bool:
        return any(need in self.result.would_run for need in self.graph.upstream[stage.address])

    def frozen(self, stage: StageSpec, outs: list[plan.Reason]) -> bool:
        """A frozen stage is never run: its outputs must be there."""
        gone = [reason.path for reason in outs if reason.word == "deleted"]
        if gone:
            self.bring_back(stage, self.locks.get(stage.address, StageLock(cmd=None)), set(gone))
        self.result.clean.append(stage.address)
        self.on_event(StageEvent(stage.address, "frozen"))
        return False

    def keep_again(self, stage: StageSpec, lock: StageLock, outs: list[plan.Reason]) -> bool:
        """Puts outputs that the workspace has as recorded back into a cache that lost them."""
        recorded = {entry.path: entry.entry for entry in lock.outs}
        for reason in outs:
            entry = recorded[reason.path]
            if not plan.same(
                entry, self.workspace.content(stage.relpath(reason.path), entry.oid.algo if entry else None)
            ):
                return False
        if not self.options.dry:
            self.result.written += record.hide(self.project, stage)
            for reason in outs:
                self.workspace.keep(stage.relpath(reason.path))
        return True

    def check_inputs(self, stage: StageSpec) -> None:
        for dep in stage.deps:
            relpath = stage.relpath(dep)
            if self.workspace.content(relpath) is None:
                raise _failed(
                    stage,
                    f"dependency '{relpath}' does not exist",
                    f"make it, or take it out of stage '{stage.name}' in {stage.file}",
                )
        missing_params(stage, self.workspace)

    def restore(self, stage: StageSpec, lock: StageLock, now: StageLock, inputs: list[plan.Reason]) -> bool:
        """Brings back a result seen before: the lock's own when only outputs are gone, else the stage cache's."""
        candidates = [] if inputs else [lock]
        if self.options.run_cache:
            found = stagecache.find(self.project, stage, now)
            if found is None and self.options.pull and not self.asked:
                self.ask_remote()
                found = stagecache.find(self.project, stage, now)
            candidates += [found] if found is not None else []
        for candidate in candidates:
            if not self.complete(stage, candidate):
                continue
            record.rescue(self.workspace, stage, force=self.options.force)
            self.result.written += record.hide(self.project, stage)
            try:
                for entry in candidate.outs:
                    self.workspace.restore(stage.relpath(entry.path), entry.entry, force=True)
            except (CorruptObject, MissingObject) as damage:
                # The damaged object is set aside now; the command makes a good one.
                self.on_event(Note(f"{damage}; stage '{stage.address}' is run instead", "warning"))
                continue
            new = StageLock(now.cmd, now.deps, now.params, candidate.outs)
            self.result.restored.append(stage.address)
            self.on_event(StageEvent(stage.address, "restored", _texts(inputs)))
            self.finish(stage, new)
            return True
        return False

    def ask_remote(self) -> None:
        """Brings the results that a remote knows; without them stages are run."""
        from pyexp.pipeline import runs  # only with ``pull``

        self.asked = True
        try:
            runs.fetch(self.project, None, None)
        except RemoteError as error:
            self.on_event(Note(f"results of stages were not fetched: {error}", "warning"))

    def complete(self, stage: StageSpec, lock: StageLock) -> bool:
        """Whether every output of a result can be had from the cache (or, with ``pull``, from the remote)."""
        entries = {entry.path: entry.entry for entry in lock.outs}
        if set(entries) != {out.path for out in stage.outs}:
            return False
        wanted = [entry for entry in entries.values() if entry is not None]
        if len(wanted) != len(entries):
            return False
        lacking = [entry for entry in wanted if not self.workspace.cached(entry)]
        if lacking and self.options.pull:
            share.fetch(self.project, lacking, on_event=self.on_event)
            lacking = [entry for entry in lacking if not self.workspace.cached(entry)]
        return not lacking

    def execute(self, stage: StageSpec, now: StageLock, reasons: list[str]) -> None:
        project, address = self.project, stage.address
        cwd = project.path(stage.wdir) if stage.wdir else str(project.root)
        if not os.path.isdir(cwd):
            raise _failed(stage, f"its working directory '{stage.wdir}' does not exist", f"see wdir in {stage.file}")
        self.on_event(StageEvent(address, "running", tuple(reasons), stage.commands))
        self.result.written += record.hide(self.project, stage)
        record.rescue(self.workspace, stage, force=self.options.force)
        record.clear(self.workspace, stage)
        env = dict(os.environ if self.around.env is None else self.around.env)
        env.setdefault("DVC_ROOT", str(project.home.root))
        env["DVC_STAGE"] = address
        sink = self.around.sink
        if sink is None and self.parallel:
            sink = self.forward(address)
        for line in stage.commands:
            with self.unlocked():
                status = command.run(
                    line,
                    cwd=cwd,
                    env=env,
                    sink=sink,
                    reaper=self.reaper,
                    stop=self.stop if self.parallel or self.around.stop is not None else None,
                    timeout=self.around.timeout,
                    stdin_null=self.around.stdin_null or self.parallel,
                    terminal=self.around.terminal and not self.parallel,
                )
            if status != 0:
                self.workspace.forget(stage.relpath(out.path) for out in stage.outs)
                self.on_event(StageEvent(address, "failed"))
                raise _failed(
                    stage,
                    f"failed to run: {line}, {_how_it_ended(status)}",
                    "its own output above says why; nothing was recorded for it",
                    status,
                )
        self.workspace.forget(stage.relpath(out.path) for out in stage.outs)
        new = record.outputs(self.workspace, stage, now, commit=self.options.commit)
        record.warn_of_changed_inputs(self.workspace, stage, now, self.on_event)
        self.result.ran.append(address)
        self.finish(stage, new, save=self.options.commit)
        self.on_event(StageEvent(address, "done"))

    def forward(self, address: str) -> command.Sink:
        return lambda data: self.on_event(Output(address, data))

    def finish(self, stage: StageSpec, new: StageLock, *, save: bool = True) -> None:
        """Records a result: the stage cache first, then the lock file."""
        if save:
            self.project.store().flush()
            stagecache.save(self.project, stage, new)
        self.result.locks[stage.address] = new
        self.locks[stage.address] = new
        self.held_back[stage.address] = new


def _texts(reasons: Iterable[plan.Reason]) -> tuple[str, ...]:
    return tuple(str(reason) for reason in reasons)


def _failed(stage: StageSpec, why: str, hint: str | None, status: int | None = None) -> StageFailed:
    return StageFailed(f"failed to reproduce '{stage.address}': {why}", stage=stage.address, status=status, hint=hint)


def _how_it_ended(status: int) -> str:
    return f"exited with {status}" if status >= 0 else f"killed by signal {-status}"
