"""The ten checks of the recipe, each made to fail or be UNKNOWN, alone where that is possible.

The cheats stand in the modules `cheats_…`. None reads VALID, and every reason that is not a passing one is the answer
to some cheat.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chopmark.reasons import REASONS
from chopmark.verdict import Outcome, Result

from tests.sdk import cheats_at_the_inspection, cheats_with_the_code, cheats_with_the_log
from tests.sdk.attack_stage import LENIENT, Stage
from tests.sdk.cheats import CHEATS, FAIL, PASSING, REMARKS, UNKNOWN, Cheat

PLAYBOOKS = (cheats_with_the_code, cheats_at_the_inspection, cheats_with_the_log)


def play_name(cheat: Cheat) -> str:
    return cheat.play.__name__


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("cheat", CHEATS, ids=play_name)
def test_each_cheat_is_caught_by_its_own_check(cheat: Cheat, tmp_path: Path) -> None:
    verdict = cheat.play(Stage(tmp_path))
    found = {check.number: (check.result, check.reason) for check in verdict.checks if check.result is not Result.PASS}
    assert {number: reason for number, (_, reason) in found.items()} == {cheat.number: cheat.reason, **cheat.besides}
    assert found[cheat.number][0] is cheat.result
    assert cheat.says in verdict.checks[cheat.number].message("en")
    fails = any(result is FAIL for result, _ in found.values())
    assert verdict.outcome is (Outcome.INVALID if fails else Outcome.INDETERMINATE)
    assert not verdict.provisional
    assert [check.number for check in verdict.checks] == list(range(10))
    messages = [check.message(language) for check in verdict.checks for language in ("zh", "en")]
    assert not re.search(r"\{[a-z_]*\}", " ".join(messages)), "a detail is missing"


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("cheat", CHEATS, ids=play_name)
def test_no_cheat_reads_valid_under_the_most_lenient_policy(cheat: Cheat, tmp_path: Path) -> None:
    verdict = cheat.play(Stage(tmp_path, policy=LENIENT))
    left_out = {check.number for check in verdict.checks if check.result is UNKNOWN} <= {2, 9}
    fails = any(check.result is FAIL for check in verdict.checks)
    # What such a policy gives up, and nothing else: who shows the licence, and what happened since.
    assert (verdict.outcome is Outcome.VALID) is (left_out and not fails)
    assert cheat.number in {2, 9} or verdict.outcome is not Outcome.VALID
    assert not verdict.provisional or cheat.reason == "not_shown_logged"


def test_every_playbook_is_played() -> None:
    assert {cheat.play.__module__ for cheat in CHEATS} == {playbook.__name__ for playbook in PLAYBOOKS}


def test_every_reason_not_to_pass_is_given_to_some_cheat() -> None:
    answered = {cheat.reason for cheat in CHEATS} | {why for cheat in CHEATS for why in cheat.besides.values()}
    assert answered == REASONS.keys() - PASSING - REMARKS


def test_every_check_is_the_only_one_to_catch_some_cheat() -> None:
    alone = {cheat.number for cheat in CHEATS if not cheat.besides}
    # Without decoding nothing is parsed; without the key no signature is checked; without a place in the log there
    # is no time at which authority could be judged. So nothing but these two catches a cheat in company only.
    assert alone == set(range(10)) - {0, 6}
